package main

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"riposte/event"
	"riposte/internal/problem"
	"riposte/internal/yamlfile"
	shippedlogs "riposte/logs"
)

// LogConfig is the mapping of a log that is not AWS's.
type LogConfig struct {
	yamlfile.Place    `yaml:"-"`
	event.MappingSpec `yaml:",inline"`
}

// mappings are those of the logs that riposte ships and of the configuration,
// which may replace a shipped one. The error is a problem.List.
func (c *Config) mappings(file string) (map[string]*event.Mapping, error) {
	out := map[string]*event.Mapping{}
	var list problem.List
	err := fs.WalkDir(shippedlogs.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := shippedlogs.FS.ReadFile(name)
		if err != nil {
			return err
		}
		var l LogConfig
		if err := yamlfile.Decode("logs/"+name, data, &l); err != nil {
			return err
		}
		m, err := event.NewMapping(l.MappingSpec)
		if err != nil {
			return fmt.Errorf("logs/%s: %w", name, err)
		}
		out[m.Log()] = m
		return nil
	})
	list.AddErr("", err)
	mine := map[string]bool{}
	for i := range c.Logs {
		l := &c.Logs[i]
		m, err := event.NewMapping(l.MappingSpec)
		for _, e := range unjoin(err) {
			list.Add(&problem.Problem{File: file, Line: l.Line, Col: l.Col, Message: fmt.Sprintf("logs[%d].%v", i, e)})
		}
		if err != nil {
			continue
		}
		if mine[m.Log()] {
			list.Add(&problem.Problem{File: file, Line: l.Line, Col: l.Col, Message: fmt.Sprintf("logs[%d]: the log %q is there twice", i, m.Log())})
		}
		mine[m.Log()], out[m.Log()] = true, m
	}
	return out, list.Err()
}

// mapping finds the mapping of a log that somebody names; nil for "".
func (c *Config) mapping(log string) (*event.Mapping, error) {
	if log == "" {
		return nil, nil
	}
	all, err := c.mappings("")
	if err != nil {
		return nil, err
	}
	m := all[log]
	if m == nil {
		return nil, fmt.Errorf("unknown log %q (%s): want one that riposte ships, or one under logs in the configuration", log, hintOr(log, slices.Sorted(maps.Keys(all))))
	}
	return m, nil
}
