package ingest

import (
	"bytes"
	"fmt"
	"strings"

	"riposte/event"
)

// maxFlowLine bounds a flow log line; a record of every field is under 2 KB.
const maxFlowLine = 64 << 10

// flow reads flow log records, a line each. A line of column names, as the first
// line of AWS's files has, sets the format; without one it is the default format.
func (r *Reader) flow() error {
	for {
		line, ok, err := r.nextLine()
		if err != nil || !ok {
			return err
		}
		if err := r.flowLine(line); err != nil {
			return err
		}
	}
}

// nextLine returns the next line without taking it; false at the end. A line
// beyond maxFlowLine is set aside.
func (r *Reader) nextLine() ([]byte, bool, error) {
	for {
		if i := bytes.IndexByte(r.win.rest(), '\n'); i >= 0 {
			return r.win.rest()[:i+1], true, nil
		}
		if len(r.win.rest()) > maxFlowLine {
			if !r.started && r.stats.Broken == 0 {
				return nil, false, errForeign
			}
			if err := r.longLine(); err != nil {
				return nil, false, err
			}
			continue
		}
		ok, err := r.more()
		if err != nil {
			return nil, false, err
		}
		if !ok {
			return r.win.rest(), len(r.win.rest()) > 0, nil
		}
	}
}

func (r *Reader) longLine() error {
	offset, number := r.win.offset(), r.win.lineAt()
	head := bytes.Clone(r.win.rest()[:maxFlowLine])
	var s skipper
	for {
		n, done := s.pass(r.win.rest(), true)
		r.win.pos += n
		if done {
			break
		}
		if ok, err := r.more(); err != nil {
			return err
		} else if !ok {
			break
		}
	}
	return r.broken(event.FlowLog, offset, number, head, fmt.Sprintf("the line is longer than %d KiB", maxFlowLine>>10))
}

// flowLine takes one line: a header, a comment or a record.
func (r *Reader) flowLine(line []byte) error {
	text := bytes.TrimSpace(line)
	switch {
	case len(text) == 0:
		r.win.pos += len(line)
		return nil
	case text[0] == '#':
		// A comment; "# fields: ..." says what the columns are.
		if _, fields, ok := strings.Cut(string(text), "fields:"); ok {
			if f, err := event.ParseFlowFormat(fields); err == nil {
				r.format = f
			}
		}
		r.win.pos += len(line)
		return nil
	case isLetter(text[0]) || text[0] == '$':
		f, err := event.ParseFlowFormat(string(text))
		switch {
		case err == nil && header(string(text)):
			r.format = f
			r.win.pos += len(line)
			return nil
		case !r.started && r.stats.Broken == 0:
			return errForeign
		}
	}
	offset, number := r.win.offset(), r.win.lineAt()
	if r.format == nil {
		if bytes.Count(text, []byte{' '}) != 13 || text[0] < '2' || text[0] > '9' {
			if !r.started && r.stats.Broken == 0 {
				return errForeign
			}
		}
		r.format = event.DefaultFlowFormat()
	}
	err := r.slot().ScanFlow(r.format, text)
	r.win.pos += len(line)
	if err != nil {
		return r.broken(event.FlowLog, offset, number, text, err.Error())
	}
	return r.keep(offset, number)
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// header tells a line of column names from prose that happens to hold one.
func header(line string) bool {
	f, err := event.ParseFlowFormat(line)
	if err != nil {
		return false
	}
	names := strings.Fields(f.String())
	return len(names) >= 3 && len(f.Extras())*2 <= len(names)
}
