// Package problem is how riposte reports what is wrong in files that people
// write: rules, playbooks, configuration. A Problem has a place a person can
// click on, says what is wrong and what to do; a List collects every problem of
// a load, so that nobody mends a file ten times for ten mistakes.
package problem

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Problem is one mistake, or one warning, at one place.
type Problem struct {
	// File, Line and Col say where; Line and Col are 1-based, 0 when unknown.
	File string
	Line int
	Col  int
	// Message says what is wrong and why, in lower case.
	Message string
	// Hint says what to do, when that is known: `did you mean "eventName"?`.
	Hint string
	// Snippet is the offending line as written; with Col it gets a caret.
	Snippet string
	// Warning marks a problem that does not stop a load.
	Warning bool
}

// Error renders "file:line:col: message (hint)", and the snippet with a caret below.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
			if p.Col > 0 {
				fmt.Fprintf(&b, ":%d", p.Col)
			}
		}
		b.WriteString(": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	if p.Snippet != "" {
		line, at := window([]rune(p.Snippet), p.Col-1)
		b.WriteString("\n    " + string(line))
		if p.Col > 0 {
			// Tabs stay tabs so that the caret stands under the right column.
			for i, r := range line[:at] {
				if r != '\t' {
					line[i] = ' '
				}
			}
			b.WriteString("\n    " + string(line[:at]) + "^")
		}
	}
	return b.String()
}

// maxSnippet is how many characters of a line are shown; a terminal breaks longer
// ones and the caret stands under nothing.
const maxSnippet = 160

// window cuts a long line to what is around column at, counted from 0, and
// returns where the column is in it. The result is its own.
func window(line []rune, at int) ([]rune, int) {
	at = min(max(at, 0), len(line))
	from, to := 0, len(line)
	if len(line) > maxSnippet {
		from = max(0, min(at-maxSnippet/2, len(line)-maxSnippet))
		to = from + maxSnippet
	}
	out := append([]rune(nil), line[from:to]...)
	if from > 0 {
		out[0] = '…'
	}
	if to < len(line) {
		out[len(out)-1] = '…'
	}
	return out, at - from
}

// List is every problem of one load. It is an error when any is not a warning.
type List []*Problem

// Add appends a problem.
func (l *List) Add(p *Problem) { *l = append(*l, p) }

// AddErr appends what err holds: the problems of a List or a *Problem as they
// are, anything else as a Problem of file.
func (l *List) AddErr(file string, err error) {
	if err == nil {
		return
	}
	var list List
	var one *Problem
	switch {
	case errors.As(err, &list):
		*l = append(*l, list...)
	case errors.As(err, &one):
		*l = append(*l, one)
	default:
		*l = append(*l, &Problem{File: file, Message: err.Error()})
	}
}

// Sort orders by file, line and column.
func (l List) Sort() {
	sort.SliceStable(l, func(i, j int) bool {
		a, b := l[i], l[j]
		if a.File != b.File {
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
}

// Err returns the list as an error when it holds one that is not a warning, else nil.
func (l List) Err() error {
	if len(l.Errors()) == 0 {
		return nil
	}
	return l
}

// Errors returns those that are not warnings.
func (l List) Errors() List { return l.filter(false) }

// Warnings returns those that are.
func (l List) Warnings() List { return l.filter(true) }

func (l List) filter(warning bool) List {
	var out List
	for _, p := range l {
		if p.Warning == warning {
			out = append(out, p)
		}
	}
	return out
}

// Error renders one problem a line, sorted as they were added.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, p := range l {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Suggest returns `did you mean "x"?` for the candidate nearest to word, or ""
// when none is near enough to be a slip of the hand.
func Suggest(word string, candidates []string) string {
	best, dist := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		d := distance(strings.ToLower(word), strings.ToLower(c))
		if d < dist {
			best, dist = c, d
		}
	}
	if best == "" || best == word {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance is the edit distance, but letters that only changed places are one
// slip: that is how hands mistype.
func distance(a, b string) int {
	d := levenshtein.ComputeDistance(a, b)
	if d > 1 && len(a) == len(b) {
		x, y := []byte(a), []byte(b)
		slices.Sort(x)
		slices.Sort(y)
		if bytes.Equal(x, y) {
			return 1
		}
	}
	return d
}
