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
	if len(text) == 0 {
		r.win.pos += len(line)
		return nil
	}
	if f, ok := r.header(text); ok {
		if f != nil {
			r.format = f
		}
		r.win.pos += len(line)
		return nil
	}
	offset, number := r.win.offset(), r.win.lineAt()
	if known, err := r.flowRecord(text, offset, number); err != nil {
		return err
	} else if !known {
		if !r.started && r.stats.Broken == 0 {
			return errForeign
		}
		if err := r.broken(event.FlowLog, offset, number, text, "this line is no flow log record"); err != nil {
			return err
		}
	}
	r.win.pos += len(line)
	return nil
}

// header recognises a line that names the columns, or comments on them ("# fields:
// ..."). The format is nil for another comment.
func (r *Reader) header(text []byte) (*event.FlowFormat, bool) {
	switch {
	case text[0] == '#':
		if _, fields, ok := strings.Cut(string(text), "fields:"); ok {
			if f, err := event.ParseFlowFormat(fields); err == nil {
				return f, true
			}
		}
		return nil, true
	case !isLetter(text[0]) && text[0] != '$':
		return nil, false
	case r.format != nil && text[0] != '$':
		// Records may begin with a letter as well: only a name of a field is looked at closer.
		if first, _, _ := bytes.Cut(text, []byte{' '}); !event.IsFlowField(string(first)) {
			return nil, false
		}
	}
	f, err := event.ParseFlowFormat(string(text))
	// Prose may hold the name of a column too.
	return f, err == nil && f.Len() >= 3 && len(f.Extras())*2 <= f.Len()
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// flowRecord keeps a record, or sets it aside. It is not known when it does not
// look like one at all.
func (r *Reader) flowRecord(text []byte, offset, line int64) (known bool, err error) {
	if r.format == nil {
		f, name, err := event.GuessFlowFormat(text)
		if err != nil {
			if !event.MayBeFlow(text) {
				return false, nil
			}
			return true, r.broken(event.FlowLog, offset, line, text, fmt.Sprintf(
				"the columns of this flow log are not known: it has no header, the source no flow_format, and the line has %s; set flow_format to the flow log's format string", err))
		}
		r.format = f
		r.notice(fmt.Sprintf("flow log records without a header: taken for the format %s (%d columns), set flow_format to be sure", name, f.Len()))
	}
	if err := r.slot().ScanFlow(r.format, text); err != nil {
		if !r.started && r.stats.Broken == 0 && !event.MayBeFlow(text) {
			return false, nil
		}
		return true, r.broken(event.FlowLog, offset, line, text, err.Error())
	}
	return true, r.keep(offset, line)
}
