package yamlfile

import (
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"riposte/internal/problem"
)

// Text is a string in a file that knows where it stands, for strings that hold
// a language of their own. The zero Text is absent.
type Text struct {
	Value string
	File  string
	// Line and Col are the 1-based place of the value's first character, or of
	// the block indicator of a | or > block.
	Line, Col int

	block   bool     // a | block: lines map one to one
	folded  bool     // a > block: lines do not map, and begin below
	wrapped bool     // a plain or quoted scalar over several lines
	indent  int      // the columns that a block's lines are indented by
	lines   []string // the file
}

// NewText is a Text that stands in no file, for tests and for code.
func NewText(value string) Text {
	return Text{Value: value, File: "<expression>", Line: 1, Col: 1, lines: strings.Split(value, "\n"), block: true}
}

// IsZero reports whether the text was not given.
func (t Text) IsZero() bool { return t.Line == 0 }

// String returns the value.
func (t Text) String() string { return t.Value }

func (t *Text) decodeNode(d *decoder, n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.wrong(n, path, "text")
		return
	}
	*t = Text{Value: n.Value, File: d.file, Line: n.Line, Col: n.Column, lines: d.lines}
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle:
		t.block = true
		t.indent = t.blockIndent()
	case yaml.FoldedStyle:
		t.folded = true
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		t.Col++ // past the quote
		t.wrapped = !strings.Contains(d.rest(t.Line, t.Col), firstWord(n.Value, 1<<20))
	default:
		t.wrapped = !strings.HasPrefix(d.rest(t.Line, t.Col), n.Value)
	}
}

// rest is the line from a 1-based column on.
func (d *decoder) rest(line, col int) string {
	r := []rune(d.line(line))
	return string(r[min(max(col-1, 0), len(r)):])
}

// firstWord is s up to n words; a value that does not stand whole on its first
// line was wrapped.
func firstWord(s string, n int) string {
	if words := strings.Fields(s); len(words) > n {
		return strings.Join(words[:n], " ")
	}
	return strings.TrimSpace(s)
}

// blockIndent is by how many columns the file indents the block's lines: what
// its first written line has more than the same line of the value, which keeps
// blanks of its own under an indentation indicator.
func (t *Text) blockIndent() int {
	at := t.Line // the line after the indicator's, 0-based
	for l := range strings.Lines(t.Value) {
		if strings.TrimSpace(l) != "" && at < len(t.lines) {
			return max(0, blanks(t.lines[at])-blanks(l))
		}
		at++
	}
	return 0
}

func blanks(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// Place maps a 1-based line and column inside Value, in characters, to the file.
// In a folded block or a wrapped scalar, whose lines do not map one to one, it
// finds the place by counting words; in a quoted scalar with escapes it is near
// rather than exact.
func (t Text) Place(line, col int) (fileLine, fileCol int) {
	switch {
	case t.File == "<expression>":
		return line, col
	case t.block:
		return t.Line + line, t.indent + col
	case t.folded:
		return t.wordPlace(line, col, t.Line, 0)
	case t.wrapped:
		return t.wordPlace(line, col, t.Line-1, t.Col-1)
	case line == 1:
		return t.Line, t.Col + col - 1
	}
	return t.Line + line - 1, col
}

// wordPlace counts the words before the place, which folding leaves in order,
// and finds that word in the file from the 0-based line and column on.
func (t Text) wordPlace(line, col, fromLine, fromCol int) (int, int) {
	before := 0 // words that end before the place
	into := 0   // characters between the word's start and the place
	for l := range strings.Lines(t.Value) {
		if line--; line > 0 {
			before += len(strings.Fields(l))
			continue
		}
		r := []rune(l)
		head := r[:min(max(col-1, 0), len(r))]
		for into < len(head) && !unicode.IsSpace(head[len(head)-1-into]) {
			into++
		}
		before += len(strings.Fields(string(head[:len(head)-into])))
		break
	}
	for n := fromLine; n < len(t.lines); n++ {
		r := []rune(t.lines[n])
		i := 0
		if n == fromLine {
			i = min(fromCol, len(r))
		}
		for i < len(r) {
			if unicode.IsSpace(r[i]) {
				i++
				continue
			}
			if before == 0 {
				return n + 1, i + into + 1
			}
			before--
			for i < len(r) && !unicode.IsSpace(r[i]) {
				i++
			}
		}
	}
	return t.Line, t.Col
}

// Problem is a problem at a 1-based place inside Value, with the line of the file.
func (t Text) Problem(line, col int, message string) *problem.Problem {
	l, c := t.Place(line, col)
	p := &problem.Problem{File: t.File, Line: l, Col: c, Message: message}
	if l >= 1 && l <= len(t.lines) {
		p.Snippet = strings.TrimRight(t.lines[l-1], "\r")
	}
	return p
}

// Where is the place of the whole text.
func (t Text) Where() Place {
	p := Place{File: t.File, Line: t.Line, Col: t.Col}
	if t.Line >= 1 && t.Line <= len(t.lines) {
		p.snippet = strings.TrimRight(t.lines[t.Line-1], "\r")
	}
	return p
}

// MarshalText writes the value, so that a Text in JSON is its string.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.Value), nil }
