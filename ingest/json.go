package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"riposte/event"
)

// containers are the members whose lists hold records: CloudTrail's log files,
// Config's snapshots and history files, and the answer of LookupEvents.
var containers = map[string]bool{"Records": true, "configurationItems": true, "Events": true}

// preambles are the members that stand before the list in a container.
var preambles = map[string]bool{"fileVersion": true, "configSnapshotId": true, "NextToken": true, "ResultMetadata": true}

// json reads a sequence of JSON values: one document, NDJSON or documents end to end.
func (r *Reader) json() error {
	for {
		c, ok, err := r.peek()
		if err != nil || !ok {
			return err
		}
		switch {
		case c == '[':
			r.win.pos++
			err = r.list()
		case c == ',' || c == ']':
			r.win.pos++ // between documents that somebody joined by hand
		case c != '{':
			err = r.lost(0, "a JSON object should stand here")
		default:
			inside := false
			if r.log == nil {
				inside, err = r.container()
			}
			if err == nil && !inside {
				err = r.record(false)
			}
		}
		if err != nil {
			return err
		}
	}
}

// container enters an object that is a list of records with words around it.
// It looks at the first key only; nothing is taken when it is not one.
func (r *Reader) container() (bool, error) {
	key, _, err := r.key(1)
	if err != nil || !containers[key] && !preambles[key] {
		return false, err
	}
	r.win.pos++ // the brace
	for {
		var size int
		if key, size, err = r.key(0); err != nil {
			return true, err
		}
		if size == 0 {
			return true, r.lost(0, "a key should stand here")
		}
		r.win.pos += size
		c, ok, err := r.peek()
		if err != nil || !ok {
			return true, err
		}
		if containers[key] && c == '[' {
			r.win.pos++
			if err := r.list(); err != nil {
				return true, err
			}
		} else if err := r.skipValue(); err != nil {
			return true, err
		}
		if c, ok, err = r.peek(); err != nil || !ok {
			return true, err
		}
		r.win.pos++
		if c != ',' {
			return true, nil // the closing brace, or rubbish that the caller meets next
		}
	}
}

// key reads the key at the window's position plus skip, and returns it with the
// size of all up to and with its colon; 0 when no key stands there.
func (r *Reader) key(skip int) (string, int, error) {
	for {
		rest := r.win.rest()
		i := skip
		for i < len(rest) && isSpace(rest[i]) {
			i++
		}
		if i < len(rest) && rest[i] != '"' {
			return "", 0, nil
		}
		if i < len(rest) {
			if end := bytes.IndexByte(rest[i+1:], '"'); end >= 0 {
				key := string(rest[i+1 : i+1+end])
				for j := i + end + 2; j < len(rest); j++ {
					if rest[j] == ':' {
						return key, j + 1, nil
					}
					if !isSpace(rest[j]) {
						return "", 0, nil
					}
				}
			} else if len(rest)-i > 200 {
				return "", 0, nil
			}
		}
		if ok, err := r.more(); err != nil || !ok {
			return "", 0, err
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// list reads the elements of an array whose bracket is taken, and its end.
func (r *Reader) list() error {
	for {
		c, ok, err := r.peek()
		if err != nil {
			return err
		}
		if !ok {
			return r.broken(0, r.win.offset(), 0, nil, "the data ends inside a list of records")
		}
		switch c {
		case ']':
			r.win.pos++
			return nil
		case ',':
			r.win.pos++
		case '}':
			// It closes nothing: the rest of a record that was set aside, or
			// one brace too many behind a good one.
			offset := r.win.offset()
			r.win.pos++
			if offset == r.aside {
				r.aside++
			} else if err := r.broken(0, offset, 0, []byte{c}, "a closing brace without its opening one"); err != nil {
				return err
			}
		case '{':
			if err := r.record(true); err != nil {
				return err
			}
		default:
			offset := r.win.offset()
			if err := r.skipValue(); err != nil {
				return err
			}
			if err := r.broken(0, offset, 0, nil, "a record is a JSON object"); err != nil {
				return err
			}
		}
	}
}

// record reads the object at the window's position. inList says how to go on
// after one that is broken.
func (r *Reader) record(inList bool) error {
	for {
		n, err := r.scan(r.win.rest())
		if err == nil {
			return r.take(n, inList)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			ok, moreErr := r.more()
			if moreErr != nil {
				return moreErr
			}
			if ok {
				continue
			}
			if r.win.full() {
				return r.tooLarge(inList)
			}
			// The end of the data.
			raw := r.win.rest()
			offset, line := r.win.offset(), r.line(inList)
			r.win.pos = r.win.end
			return r.broken(r.kind(), offset, line, raw, "the data ends inside a record")
		}
		return r.resync(err, inList)
	}
}

// kind is that of the records of the object, as far as it is known before they are read.
func (r *Reader) kind() event.Kind {
	if r.log != nil {
		return event.Log
	}
	return event.CloudTrail
}

func (r *Reader) scan(b []byte) (int, error) {
	if r.log != nil {
		return r.slot().ScanLog(r.log, b)
	}
	return r.slot().Scan(event.CloudTrail, b)
}

func (r *Reader) line(inList bool) int64 {
	if inList {
		return 0
	}
	return r.win.lineAt()
}

// take looks at what kind of object was scanned and keeps what it holds.
func (r *Reader) take(n int, inList bool) error {
	offset, line := r.win.offset(), r.line(inList)
	e := r.slot()
	if r.log != nil || isCloudTrail(e) {
		if inList {
			r.lead = append(r.lead[:0], lead(e.Raw)...)
		}
		r.win.pos += n
		return r.settle(offset, line)
	}
	raw := bytes.TrimSpace(r.win.buf[r.win.pos : r.win.pos+n])
	known, err := r.unwrap(raw, offset, line, 0)
	if err != nil {
		return err
	}
	if !known {
		if !r.started && r.stats.Broken == 0 {
			return errForeign
		}
		err = r.broken(0, offset, line, raw, "this object is no record or envelope that is known")
	}
	r.win.pos += n
	return err
}

// settle keeps the record in the slot, as the kind it turns out to be.
func (r *Reader) settle(offset, line int64) error {
	e := r.slot()
	if r.log != nil && r.log.Timed() && e.Time().IsZero() {
		r.started = true
		return r.broken(event.Log, offset, line, e.Raw, fmt.Sprintf("the record has no time that can be read at %s, where the mapping of %s says it is", r.log.Spec().Time, r.log.Log()))
	}
	if r.log == nil && e.Has(event.InsightDetails) {
		if _, err := e.Scan(event.Insight, e.Raw); err != nil {
			return r.broken(event.Insight, offset, line, e.Raw, err.Error())
		}
	}
	return r.keep(offset, line)
}

func isCloudTrail(e *event.Event) bool {
	return e.Has(event.EventSource) && e.Has(event.EventName) && e.Text(event.EventSource) != "aws:s3" ||
		e.Has(event.EventVersion) && e.Has(event.EventType)
}

// maxWraps is how deep envelopes may lie inside envelopes.
const maxWraps = 4

// unwrap keeps what a known object holds: a Config item, or an envelope of
// EventBridge, SNS, LookupEvents or a Config rule's invocation around one, or a
// finding of GuardDuty or Security Hub. raw stays where it is while events alias
// it, or is a copy of its own.
func (r *Reader) unwrap(raw []byte, offset, line int64, depth int) (known bool, err error) {
	if depth > maxWraps {
		return false, nil
	}
	e := r.slot()
	if _, err := e.Scan(event.CloudTrail, raw); err == nil && depth > 0 && isCloudTrail(e) {
		return true, r.settle(offset, line)
	}
	if kind := entryKind(raw); kind != 0 {
		if _, err := e.Scan(kind, raw); err != nil {
			return true, r.broken(kind, offset, line, raw, err.Error())
		}
		return true, r.keep(offset, line)
	}
	if v := event.Member(raw, "findings"); depth > 0 && len(v) > 0 && v[0] == '[' {
		return r.unwrapList(v, offset, line, depth)
	}
	if known, err := r.cloudWatch(raw, offset, line, depth); known || err != nil {
		return known, err
	}
	inner := func(v []byte) (bool, error) {
		if len(v) > 0 && v[0] == '"' { // JSON inside a string
			parsed, err := event.ParseJSON(v)
			if err != nil {
				return false, nil
			}
			v = AfterWords([]byte(parsed.(string)))
		}
		if len(v) == 0 || v[0] != '{' {
			return false, nil
		}
		return r.unwrap(v, offset, line, depth+1)
	}
	for _, envelope := range []string{"detail", "CloudTrailEvent", "invokingEvent", "Message"} {
		if v := event.Member(raw, envelope); v != nil {
			if known, err := inner(v); known || err != nil {
				return known, err
			}
		}
	}
	if _, err := e.Scan(event.ConfigItem, raw); err == nil {
		if isItem(e) {
			return true, r.item(raw, offset, line)
		}
		if silentMessage(e) {
			return true, nil
		}
	}
	if v := event.Member(raw, "configurationItems"); len(v) > 0 && v[0] == '[' {
		return true, r.snapshot(v, offset, line)
	}
	return r.wrappedLine(raw, offset, line)
}

// AfterWords is a text from where its JSON begins: Config writes words for people
// before an oversized notification, in which a brace may stand too.
func AfterWords(text []byte) []byte {
	for i, tries := bytes.IndexByte(text, '{'), 0; i >= 0 && tries < maxBraces; tries++ {
		if n, err := event.SkipValue(text[i:]); err == nil && len(bytes.TrimSpace(text[i+n:])) == 0 {
			return text[i:]
		}
		next := bytes.IndexByte(text[i+1:], '{')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return text
}

// maxBraces is how many braces of a text are tried.
const maxBraces = 8

// lead is how a record begins: its brace and its first key. A program writes its
// records alike, and inside a JSON string the quotes would be escaped, so the
// next lead is the next record.
func lead(raw []byte) []byte {
	if i := bytes.IndexByte(raw, '"'); i >= 0 {
		if j := bytes.IndexByte(raw[i+1:], '"'); j >= 0 {
			return raw[:i+j+2]
		}
	}
	return nil
}

// resync sets a broken record aside and finds where the next begins.
func (r *Reader) resync(cause error, inList bool) error {
	offset, line := r.win.offset(), r.line(inList)
	rest := r.win.rest()
	reason := cause.Error()
	var syntax *event.SyntaxError
	if errors.As(cause, &syntax) {
		reason = fmt.Sprintf("%s (byte %d of the record)", syntax.Reason, syntax.Offset)
	}
	n := len(rest)
	if inList {
		n = r.nextElement(rest)
	} else if end := nextDocument(rest); end >= 0 {
		n = end
	}
	if n == len(rest) && !r.win.full() {
		// The end of the broken record may still come.
		if ok, err := r.more(); err != nil {
			return err
		} else if ok {
			return r.resync(cause, inList)
		}
		n = len(r.win.rest())
	}
	raw := r.win.rest()[:n]
	r.win.pos += n
	r.aside = r.win.offset()
	return r.broken(r.kind(), offset, line, raw, reason)
}

// nextElement is where the element of a list that begins rest ends: where its
// braces close, or before that where something begins as records do. It looks at
// pieces that grow, so that what it costs is in proportion to what it passes.
func (r *Reader) nextElement(rest []byte) int {
	leads := [][]byte{r.lead, lead(rest[:min(len(rest), 256)])}
	for size := 1 << 10; ; size *= 4 {
		piece := rest[:min(size, len(rest))]
		n := len(piece)
		if end, err := event.SkipValue(piece); err == nil {
			n = end
		}
		for _, l := range leads {
			if len(l) == 0 {
				continue
			}
			if next := bytes.Index(piece[1:n], l); next >= 0 {
				n = next + 1
			}
		}
		if n < len(piece) || len(piece) == len(rest) {
			return n
		}
	}
}

// nextDocument is the start of the next line that begins with an object or a
// list; lines of a document that somebody indented do not.
func nextDocument(rest []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(rest[i:], '\n')
		if n < 0 || i+n+1 >= len(rest) {
			return -1
		}
		i += n + 1
		if rest[i] == '{' || rest[i] == '[' {
			return i
		}
	}
}

// lost sets aside what cannot be understood between records, up to the next document.
func (r *Reader) lost(skip int, reason string) error {
	if !r.started && r.stats.Broken == 0 {
		return errForeign
	}
	r.win.pos += skip
	return r.resync(&event.SyntaxError{Reason: reason}, false)
}

// tooLarge passes over a record that does not fit the largest window.
func (r *Reader) tooLarge(inList bool) error {
	offset, line := r.win.offset(), r.line(inList)
	head := bytes.Clone(r.win.rest()[:maxBrokenRaw])
	var skip skipper
	for {
		rest := r.win.rest()
		n, done := skip.pass(rest, !inList)
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
	size := r.win.offset() - offset
	return r.broken(r.kind(), offset, line, head,
		fmt.Sprintf("the record is larger than %d MiB (%d bytes): it is passed over", maxRecord>>20, size))
}

// skipper finds the end of a value in pieces: of a line, or of an object by its
// braces and quotes.
type skipper struct {
	depth    int
	inString bool
	escaped  bool
}

func (s *skipper) pass(b []byte, line bool) (n int, done bool) {
	if line {
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return i + 1, true
		}
		return len(b), false
	}
	for i, c := range b {
		switch {
		case s.escaped:
			s.escaped = false
		case s.inString:
			s.escaped = c == '\\'
			s.inString = c != '"'
		case c == '"':
			s.inString = true
		case c == '{' || c == '[':
			s.depth++
		case c == '}' || c == ']':
			if s.depth--; s.depth <= 0 {
				return i + 1, true
			}
		}
	}
	return len(b), false
}

// skipValue passes over a value that is no record, of any size.
func (r *Reader) skipValue() error {
	c, ok, err := r.peek()
	if err != nil || !ok {
		return err
	}
	if c != '{' && c != '[' && c != '"' {
		for { // a number or a word
			for r.win.pos < r.win.end {
				if c := r.win.buf[r.win.pos]; c == ',' || c == '}' || c == ']' || isSpace(c) {
					return nil
				}
				r.win.pos++
			}
			if ok, err := r.more(); !ok || err != nil {
				return err
			}
		}
	}
	var s skipper
	if c == '"' { // as the only element of a list, so that its end is found
		s.depth = 1
		r.win.pos++
		s.inString = true
		for {
			for i, b := range r.win.rest() {
				if s.escaped {
					s.escaped = false
				} else if b == '\\' {
					s.escaped = true
				} else if b == '"' {
					r.win.pos += i + 1
					return nil
				}
			}
			r.win.pos = r.win.end
			if ok, err := r.more(); !ok || err != nil {
				return err
			}
		}
	}
	for {
		n, done := s.pass(r.win.rest(), false)
		r.win.pos += n
		if done {
			return nil
		}
		if ok, err := r.more(); !ok || err != nil {
			return err
		}
	}
}
