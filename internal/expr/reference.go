package expr

import (
	"slices"
	"strings"
)

// FieldDoc is one field that expressions may read.
type FieldDoc struct {
	// Path is how it is written: userIdentity.sessionContext.sourceIdentity.
	Path string
	// Type is CEL's name for its type: string, bool, int, timestamp, list(string), dyn.
	Type string
	// Indexed is whether the rule index can look it up.
	Indexed bool
}

// Fields lists every field of the environment, for the reference.
func (e *Env) Fields() []FieldDoc {
	var out []FieldDoc
	var walk func(prefix string, members map[string]member, depth int)
	walk = func(prefix string, members map[string]member, depth int) {
		for name, m := range members {
			path := prefix + name
			if o := e.schema.objects[m.typ.TypeName()]; o != nil && depth < 6 {
				walk(path+".", o.members, depth+1)
				continue
			}
			out = append(out, FieldDoc{Path: path, Type: m.typ.String(), Indexed: m.field != none && (m.text || m.flag)})
		}
	}
	walk("", e.schema.variables, 0)
	slices.SortFunc(out, func(a, b FieldDoc) int { return strings.Compare(a.Path, b.Path) })
	return out
}
