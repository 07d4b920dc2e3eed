// Package logs holds the mappings that ship with the program: where the records
// of logs that are not AWS's keep their time, id, actor and the rest. One YAML
// file a log, named after it; the fields are those of event.MappingSpec. A
// configuration adds its own under logs.
package logs

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"riposte/event"
	"riposte/internal/yamlfile"
)

//go:embed *.yaml
var files embed.FS

// Shipped returns the mappings by the names of their logs.
func Shipped() (map[string]*event.Mapping, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	out := map[string]*event.Mapping{}
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := Parse(name, data)
		if err != nil {
			return nil, err
		}
		if m.Log()+".yaml" != path.Base(name) {
			return nil, fmt.Errorf("logs/%s: the log %s stands in a file of another name", name, m.Log())
		}
		out[m.Log()] = m
	}
	return out, nil
}

// Parse reads a mapping file.
func Parse(name string, data []byte) (*event.Mapping, error) {
	var s event.MappingSpec
	if err := yamlfile.Decode(name, data, &s); err != nil {
		return nil, err
	}
	m, err := event.NewMapping(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return m, nil
}
