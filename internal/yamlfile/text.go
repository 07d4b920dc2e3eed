package yamlfile

import (
	"strings"

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

	block  bool     // a | block: lines map one to one
	folded bool     // a > block or a wrapped plain scalar: lines do not map
	indent int      // the columns that a block's lines are indented by
	lines  []string // the file
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
	case yaml.LiteralStyle, yaml.FoldedStyle:
		t.block = n.Style&yaml.LiteralStyle != 0
		t.folded = !t.block
		for l := n.Line; l < len(d.lines); l++ {
			if line := d.lines[l]; strings.TrimSpace(line) != "" {
				t.indent = len(line) - len(strings.TrimLeft(line, " "))
				break
			}
		}
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		t.Col++ // past the quote
	}
}

// Place maps a 1-based line and column inside Value to the file. In a folded
// block, whose lines do not map one to one, it finds the place by counting
// words; in a quoted scalar with escapes it is near rather than exact.
func (t Text) Place(line, col int) (fileLine, fileCol int) {
	switch {
	case t.File == "<expression>":
		return line, col
	case t.block:
		return t.Line + line, t.indent + col
	case t.folded:
		return t.foldedPlace(line, col)
	case line == 1:
		return t.Line, t.Col + col - 1
	}
	return t.Line + line - 1, col
}

// foldedPlace walks the block's words, which folding leaves in order.
func (t Text) foldedPlace(line, col int) (int, int) {
	before := 0
	for l := range strings.Lines(t.Value) {
		if line--; line == 0 {
			before += len(strings.Fields(l[:min(max(col-1, 0), len(l))]))
			if cut := min(max(col-1, 0), len(l)); cut > 0 && cut < len(l) && l[cut-1] != ' ' && l[cut] != ' ' {
				before-- // inside a word
			}
			break
		}
		before += len(strings.Fields(l))
	}
	for n := t.Line; n < len(t.lines); n++ {
		words := strings.Fields(t.lines[n])
		if before < len(words) {
			at := 0
			for _, w := range words[:before] {
				at = strings.Index(t.lines[n][at:], w) + at + len(w)
			}
			at += strings.Index(t.lines[n][at:], words[before])
			return n + 1, at + 1
		}
		before -= len(words)
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
func (t Text) Where() Place { return Place{File: t.File, Line: t.Line, Col: t.Col} }

// MarshalText writes the value, so that a Text in JSON is its string.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.Value), nil }
