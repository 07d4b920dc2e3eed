package main

import (
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/fatih/color"
	"golang.org/x/term"

	"riposte/event"
)

// isTerminal reports whether f is a terminal whose user has not asked for plain output.
func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// palette paints text for a terminal; painting with the zero palette changes nothing.
type palette struct{ on bool }

// paletteFor honours NO_COLOR and paints only on terminals.
func paletteFor(w any) palette {
	f, ok := w.(*os.File)
	return palette{on: ok && isTerminal(f) && os.Getenv("NO_COLOR") == ""}
}

func (p palette) paint(s string, attrs ...color.Attribute) string {
	if !p.on {
		return s
	}
	c := color.New(attrs...)
	c.EnableColor()
	return c.Sprint(s)
}

func (p palette) bold(s string) string  { return p.paint(s, color.Bold) }
func (p palette) faint(s string) string { return p.paint(s, color.Faint) }
func (p palette) good(s string) string  { return p.paint(s, color.FgGreen) }
func (p palette) bad(s string) string   { return p.paint(s, color.FgRed) }

// severity renders a severity padded to the longest name.
func (p palette) severity(s event.Severity) string {
	text := s.String() + strings.Repeat(" ", max(0, len("critical")-len(s.String())))
	switch s {
	case event.Critical:
		return p.paint(text, color.FgHiWhite, color.BgRed, color.Bold)
	case event.High:
		return p.paint(text, color.FgRed, color.Bold)
	case event.Medium:
		return p.paint(text, color.FgYellow)
	case event.Low:
		return p.paint(text, color.FgCyan)
	}
	return p.faint(text)
}

// printable makes text from an event safe for a terminal: control characters
// and direction overrides, which could rewrite the screen, are shown escaped.
func printable(s string) string {
	clean := func(r rune) bool {
		return !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r) && r != unicode.ReplacementChar
	}
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if clean(r) {
			b.WriteRune(r)
			continue
		}
		q := strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		b.WriteString(q)
	}
	return b.String()
}
