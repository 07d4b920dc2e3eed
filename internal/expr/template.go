package expr

import (
	"slices"
	"strings"
	"unicode/utf8"

	"riposte/internal/problem"
	"riposte/internal/yamlfile"
)

// Template is text with expressions inside: "Trail ${requestParameters.name} stopped".
type Template struct {
	parts []part
}

type part struct {
	text    string
	program *Program
}

// CompileTemplate checks the expressions of a template.
func (env *Env) CompileTemplate(t yamlfile.Text) (*Template, problem.List) {
	var list problem.List
	out := &Template{}
	rest, at := t.Value, 0
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			out.parts = append(out.parts, part{text: rest})
			break
		}
		out.parts = append(out.parts, part{text: rest[:i]})
		end := closing(rest[i+2:])
		if end < 0 {
			line, col := lineCol(t.Value, at+i)
			list.Add(t.Problem(line, col, "${ is not closed"))
			return nil, list
		}
		inner := rest[i+2 : i+2+end]
		program, problems := env.Compile(yamlfile.NewText(inner), Any)
		line, col := lineCol(t.Value, at+i+2)
		for _, p := range problems {
			moved := t.Problem(line+p.Line-1, p.Col+map[bool]int{true: col - 1}[p.Line == 1], p.Message)
			moved.Hint, moved.Warning = p.Hint, p.Warning
			list.Add(moved)
		}
		if program != nil {
			out.parts = append(out.parts, part{program: program})
		}
		rest, at = rest[i+2+end+1:], at+i+2+end+1
	}
	if list.Err() != nil {
		return nil, list
	}
	return out, list
}

// closing finds the brace that ends an expression, past nested braces and quotes.
func closing(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			depth++
		case c == '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// lineCol is the 1-based place of a byte, columns in characters.
func lineCol(s string, offset int) (line, col int) {
	before := s[:offset]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}

// Text renders the template. A part that cannot be evaluated reads "?", and the
// first such error is returned beside the text.
func (t *Template) Text(in *Input) (string, error) {
	var b strings.Builder
	var first error
	for _, p := range t.parts {
		if p.program == nil {
			b.WriteString(p.text)
			continue
		}
		s, err := p.program.Text(in)
		if err != nil {
			if first == nil {
				first = err
			}
			s = "?"
		}
		b.WriteString(s)
	}
	return b.String(), first
}

// ReadsResources reports whether any expression of the template asks for a resource.
func (t *Template) ReadsResources() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.program != nil && p.program.ReadsResources() })
}
