// Package logs holds the mappings that ship with the program: where the records
// of logs that are not AWS's keep their time, id, actor and the rest. One YAML
// file a log, named after it; the fields are those of event.MappingSpec. A
// configuration adds its own under logs.
package logs

import "embed"

// FS holds the mappings as <log>.yaml.
//
//go:embed *.yaml
var FS embed.FS
