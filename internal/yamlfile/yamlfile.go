// Package yamlfile reads the YAML that people write for riposte: rules,
// playbooks, configuration. It is strict, because a misspelt key that is
// silently dropped is a rule that silently does less: an unknown key, a key
// given twice, a value of the wrong type or a second document is a problem with
// its place, and all problems of a file are reported at once.
//
// Decoding fills structs by their `yaml:"name"` tags. Text keeps the place of a
// string, so that a mistake inside an expression can be shown where it stands in
// the file; Place keeps the place of a mapping.
package yamlfile

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"riposte/internal/problem"
)

// maxNodes bounds what aliases may expand to: a YAML bomb of a few hundred bytes
// would otherwise become gigabytes.
const maxNodes = 200_000

// Decode reads the one document in data into the struct that v points to. The
// error is a problem.List.
func Decode(file string, data []byte, v any) error {
	d := &decoder{file: file, lines: splitLines(string(data))}
	reader := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, second yaml.Node
	switch err := reader.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && (len(doc.Content) == 0 || doc.Content[0].Tag == "!!null"):
		d.add(&problem.Problem{File: file, Message: "the file is empty"})
		return d.list.Err()
	case err != nil:
		d.syntax(err)
		return d.list.Err()
	}
	if err := reader.Decode(&second); !errors.Is(err, io.EOF) {
		line := second.Line
		if err != nil || line == 0 {
			d.add(&problem.Problem{File: file, Message: "the file holds more than one YAML document: want one a file"})
		} else {
			d.at(&second, "a second YAML document begins here: want one a file", "")
		}
	}
	d.decode(doc.Content[0], reflect.ValueOf(v).Elem(), "")
	d.list.Sort()
	return d.list.Err()
}

// breaks are YAML's line breaks, which lines are counted by.
var breaks = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

func splitLines(s string) []string { return breaks.Split(s, -1) }

// Place is where a mapping or scalar stands. A struct that embeds it, or has a
// field of it tagged `yaml:"-"`, learns its own place.
type Place struct {
	File      string
	Line, Col int

	snippet string // the line, for messages
}

// Problem is a problem at this place.
func (p Place) Problem(message string) *problem.Problem {
	return &problem.Problem{File: p.File, Line: p.Line, Col: p.Col, Message: message, Snippet: p.snippet}
}

type decoder struct {
	file  string
	lines []string
	list  problem.List
	nodes int
}

func (d *decoder) add(p *problem.Problem) { d.list.Add(p) }

func (d *decoder) at(n *yaml.Node, message, hint string) {
	d.add(&problem.Problem{File: d.file, Line: n.Line, Col: n.Column, Message: message, Hint: hint, Snippet: d.line(n.Line)})
}

func (d *decoder) line(n int) string {
	if n < 1 || n > len(d.lines) {
		return ""
	}
	return strings.TrimRight(d.lines[n-1], "\r")
}

// syntax turns the library's "yaml: line 3: ..." into a problem with a place.
func (d *decoder) syntax(err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if n, after, ok := strings.Cut(rest, ": "); ok {
			if v, err := strconv.Atoi(n); err == nil {
				line, message = v, after
			}
		}
	}
	d.add(&problem.Problem{File: d.file, Line: line, Col: min(line, 1), Message: "not valid YAML: " + message, Snippet: d.line(line)})
}

// custom is how a type decodes itself and still knows the file.
type custom interface {
	decodeNode(d *decoder, n *yaml.Node, path string)
}

var (
	placeType    = reflect.TypeFor[Place]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()
)

// decode fills v from n. path names the value for messages.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.at(n, fmt.Sprintf("the file expands to more than %d values", maxNodes), "do aliases repeat aliases?")
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if c, ok := v.Addr().Interface().(custom); ok {
		c.decodeNode(d, n, path)
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		switch v.Kind() {
		case reflect.Interface:
			v.SetZero()
		case reflect.Struct:
			d.fields(n, v, map[string]reflect.Value{}, new([]string)) // empty, but it has a place
		}
		return
	}
	if v.Type() == durationType {
		d.duration(n, v, path)
		return
	}
	if v.Kind() != reflect.Pointer && v.Addr().Type().Implements(textType) {
		d.unmarshalText(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.decode(n, v.Elem(), path)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.sequence(n, v, path)
	case reflect.Interface:
		v.Set(reflect.ValueOf(d.any(n)))
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	fields := map[string]reflect.Value{}
	var names []string
	d.fields(n, v, fields, &names) // which has a place even if it is nothing else
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "keys and values")
		return
	}
	for key, value := range d.pairs(n) {
		field, ok := fields[key.Value]
		if !ok {
			hint := problem.Suggest(key.Value, names)
			if hint == "" {
				hint = "want one of " + strings.Join(names, ", ")
			}
			d.at(key, fmt.Sprintf("unknown key %q", key.Value), hint)
			continue
		}
		d.decode(value, field, join(path, key.Value))
	}
}

// fields collects the settable fields of a struct by their YAML names, those of
// embedded structs included, and fills Places on the way.
func (d *decoder) fields(n *yaml.Node, v reflect.Value, out map[string]reflect.Value, names *[]string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Type == placeType {
			v.Field(i).Set(reflect.ValueOf(Place{File: d.file, Line: n.Line, Col: n.Column, snippet: d.line(n.Line)}))
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.Anonymous && (options == "inline" || name == "") && f.Type.Kind() == reflect.Struct {
			d.fields(n, v.Field(i), out, names)
			continue
		}
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		out[name] = v.Field(i)
		*names = append(*names, name)
	}
}

// pairs yields the keys and values of a mapping, each key once.
func (d *decoder) pairs(n *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				d.at(key, "a key must be plain text", "")
				continue
			}
			if line, twice := seen[key.Value]; twice {
				d.at(key, fmt.Sprintf("key %q is given twice, first on line %d", key.Value, line), "")
				continue
			}
			seen[key.Value] = key.Line
			if !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "keys and values")
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for key, value := range d.pairs(n) {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, elem, join(path, key.Value))
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), elem)
	}
}

func (d *decoder) sequence(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.decode(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

func (d *decoder) duration(n *yaml.Node, v reflect.Value, path string) {
	t, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.wrong(n, path, "a duration such as 30s or 1h")
		return
	}
	v.SetInt(int64(t))
}

func (d *decoder) unmarshalText(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, "text")
		return
	}
	err := v.Addr().Interface().(interface{ UnmarshalText([]byte) error }).UnmarshalText([]byte(n.Value))
	if err != nil {
		d.at(n, subject(path)+err.Error(), "")
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	want := map[reflect.Kind]string{reflect.String: "text", reflect.Bool: "true or false"}[v.Kind()]
	if want == "" {
		want = "a number"
	}
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, want)
		return
	}
	switch v.Kind() {
	case reflect.String:
		// A bare number or date where text belongs is text: ids look like numbers.
		v.SetString(n.Value)
		return
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.wrong(n, path, want)
			return
		}
	}
	// The library knows YAML's ways to write numbers and their limits.
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.wrong(n, path, want+" ("+v.Kind().String()+")")
	}
}

// any decodes free-form YAML: maps with text keys, lists, text, bools, numbers.
func (d *decoder) any(n *yaml.Node) any {
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.at(n, fmt.Sprintf("the file expands to more than %d values", maxNodes), "do aliases repeat aliases?")
		}
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		return d.any(n.Alias)
	case yaml.MappingNode:
		m := map[string]any{}
		for key, value := range d.pairs(n) {
			m[key.Value] = d.any(value)
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, len(n.Content))
		for i, item := range n.Content {
			l[i] = d.any(item)
		}
		return l
	}
	if n.Tag == "!!timestamp" {
		return n.Value // a date in an event is text, as it is in JSON
	}
	var v any
	if err := n.Decode(&v); err != nil {
		d.at(n, err.Error(), "")
	}
	return v
}

func (d *decoder) wrong(n *yaml.Node, path, want string) {
	got := map[yaml.Kind]string{yaml.MappingNode: "keys and values", yaml.SequenceNode: "a list"}[n.Kind]
	if got == "" {
		got = strconv.Quote(n.Value)
	}
	d.at(n, fmt.Sprintf("%swant %s, got %s", subject(path), want, got), "")
}

func subject(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
