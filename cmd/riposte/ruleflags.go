package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"riposte/detect"
	"riposte/event"
	shipped "riposte/rules"
)

// ruleFlags choose the rules of a command.
type ruleFlags struct {
	dirs   []string
	config string
}

func (r *ruleFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&r.dirs, "rules", nil, "folder of rules, may be repeated (default: the built-in rules)")
	cmd.Flags().StringVar(&r.config, "config", "", "configuration file, for its lists and rules")
}

// load compiles the chosen rules: --rules alone when given, else what the
// configuration says, else the built-in ones. Warnings go to warn.
func (r *ruleFlags) load(warn io.Writer) (*detect.RuleSet, error) {
	c, err := loadConfig(r.config)
	if err != nil {
		return nil, err
	}
	if len(r.dirs) > 0 {
		c.Detect.Builtin, c.Detect.Rules = false, r.dirs
	}
	rules, err := loadRules(&c)
	if err != nil {
		return nil, err
	}
	for _, w := range rules.Warnings() {
		fmt.Fprintln(warn, w)
	}
	return rules, nil
}

// mapping finds the mapping of a log by name, as the configuration has it; nil for "".
func (r *ruleFlags) mapping(log string) (*event.Mapping, error) {
	c, err := loadConfig(r.config)
	if err != nil {
		return nil, err
	}
	return c.mapping(log)
}

// loadRules compiles the rules that a configuration names. Every mistake in
// every folder is in the error.
func loadRules(c *Config) (*detect.RuleSet, error) {
	lists, err := c.lists()
	if err != nil {
		return nil, err
	}
	logs, err := c.mappings("")
	if err != nil {
		return nil, err
	}
	return detect.LoadAll(ruleFolders(c), detect.Options{Lists: lists, Logs: logs, Disable: slices.Clone(c.Detect.Disable)})
}

// ruleFolders are the file systems that hold a configuration's rules, with the
// names that their files have in messages.
func ruleFolders(c *Config) []detect.Folder {
	var folders []detect.Folder
	if c.Detect.Builtin {
		folders = append(folders, detect.Folder{Name: "rules", FS: fs.FS(shipped.FS)})
	}
	for _, dir := range c.Detect.Rules {
		folders = append(folders, detect.Folder{Name: dir, FS: os.DirFS(dir)})
	}
	return folders
}
