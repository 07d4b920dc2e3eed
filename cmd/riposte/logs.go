package main

import (
	"fmt"
	"maps"
	"slices"

	"riposte/event"
	"riposte/internal/problem"
	"riposte/internal/yamlfile"
	"riposte/logs"
)

// LogConfig is the mapping of a log that is not AWS's.
type LogConfig struct {
	yamlfile.Place    `yaml:"-"`
	event.MappingSpec `yaml:",inline"`
}

// mappings are those of the logs that riposte ships and of the configuration,
// which may replace a shipped one. The error is a problem.List.
func (c *Config) mappings(file string) (map[string]*event.Mapping, error) {
	var list problem.List
	out, err := logs.Shipped()
	if err != nil {
		return nil, err
	}
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
	return mappingOf(log, all)
}

func mappingOf(log string, all map[string]*event.Mapping) (*event.Mapping, error) {
	m := all[log]
	if m == nil && log != "" {
		return nil, fmt.Errorf("unknown log %q (%s): want one that riposte ships, or one under logs in the configuration", log, hintOr(log, slices.Sorted(maps.Keys(all))))
	}
	return m, nil
}
