// Package playbooks embeds the playbooks that riposte ships: one YAML file each,
// with its tests inside.
package playbooks

import "embed"

// FS holds the playbooks.
//
//go:embed *.yaml
var FS embed.FS

// World is the JSON of the small AWS that the tests inside the playbooks plan against.
//
//go:embed testdata/world.json
var World []byte
