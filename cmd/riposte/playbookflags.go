package main

import (
	"os"

	"riposte/internal/problem"
	shipped "riposte/playbooks"
	"riposte/respond"
)

// loadPlaybooks compiles the playbooks that a configuration names, against the
// actions that exist. Every mistake in every folder is in the error.
func loadPlaybooks(c *Config, actions map[string]respond.Action) (*respond.Playbooks, error) {
	var list problem.List
	lists, err := c.lists()
	list.AddErr("lists", err)
	playbooks, err := respond.LoadPlaybooks(playbookFolders(c), actions, lists)
	list.AddErr("playbooks", err)
	return playbooks, list.Err()
}

// playbookFolders are the file systems that hold a configuration's playbooks.
func playbookFolders(c *Config) []respond.Folder {
	var folders []respond.Folder
	if c.Respond.Builtin {
		folders = append(folders, respond.Folder{Name: "playbooks", FS: shipped.FS})
	}
	for _, dir := range c.Respond.Playbooks {
		folders = append(folders, respond.Folder{Name: dir, FS: os.DirFS(dir)})
	}
	return folders
}
