package event

import (
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON parses one JSON value, all of raw but white space around it:
// objects are map[string]any, arrays []any, numbers json.Number. It is as strict
// as Event.Scan, and refuses a key given twice in any object. Errors are
// *SyntaxError, or io.ErrUnexpectedEOF when raw ends inside the value.
func ParseJSON(raw []byte) (any, error) {
	if !utf8.Valid(raw) {
		return nil, &SyntaxError{Reason: "not valid UTF-8"}
	}
	p := parser{scanner: scanner{buf: raw}}
	v, err := p.parse(1)
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(raw) {
		return nil, p.fail("something follows the value: %q", raw[p.pos])
	}
	return v, nil
}

// parser builds values with the scanner's own reading of strings, numbers and
// literals, so that both accept the same bytes.
type parser struct {
	scanner
	// lastWins takes the last of a key given twice, as encoding/json does and
	// so whoever else reads the record, instead of refusing it.
	lastWins bool
}

// parseLoosely parses what Scan has accepted: only a key given twice deep inside
// can be wrong with it. Refusing that now would make a field that is there look
// absent, and a rule silently wrong. nil is returned for what is not JSON.
func parseLoosely(raw []byte) any {
	p := parser{scanner: scanner{buf: raw}, lastWins: true}
	v, err := p.parse(1)
	if err != nil {
		return nil
	}
	if p.space(); p.pos < len(raw) {
		return nil
	}
	return v
}

func (p *parser) parse(depth int) (any, error) {
	c, err := p.next()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth && (c == '{' || c == '[') {
		return nil, p.fail("nested deeper than %d levels", maxDepth)
	}
	switch {
	case c == '"':
		return p.text()
	case c == '{':
		return p.parseObject(depth)
	case c == '[':
		return p.parseArray(depth)
	case c == 't':
		return true, p.literal("true")
	case c == 'f':
		return false, p.literal("false")
	case c == 'n':
		return nil, p.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		start := p.pos
		if err := p.number(); err != nil {
			return nil, err
		}
		return json.Number(p.buf[start:p.pos]), nil
	}
	return nil, p.fail("a value should stand here, not %q", c)
}

func (p *parser) text() (string, error) {
	start := p.pos + 1
	if err := p.str(); err != nil {
		return "", err
	}
	raw := p.buf[start : p.pos-1]
	if p.escaped {
		return unescape(raw), nil
	}
	return string(raw), nil
}

func (p *parser) parseObject(depth int) (any, error) {
	out := map[string]any{}
	p.pos++
	c, err := p.next()
	if err != nil {
		return nil, err
	}
	if c == '}' {
		p.pos++
		return out, nil
	}
	for {
		if c, err = p.next(); err != nil {
			return nil, err
		}
		if c != '"' {
			return nil, p.fail("a key in quotes should stand here, not %q", c)
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, twice := out[key]; twice && !p.lastWins {
			return nil, p.fail("duplicate key %q", key)
		}
		if c, err = p.next(); err != nil {
			return nil, err
		}
		if c != ':' {
			return nil, p.fail("a colon should stand after a key, not %q", c)
		}
		p.pos++
		if out[key], err = p.parse(depth + 1); err != nil {
			return nil, err
		}
		if c, err = p.next(); err != nil {
			return nil, err
		}
		p.pos++
		switch c {
		case ',':
		case '}':
			return out, nil
		default:
			p.pos--
			return nil, p.fail("a comma or a closing brace should stand after a value, not %q", c)
		}
	}
}

func (p *parser) parseArray(depth int) (any, error) {
	out := []any{}
	p.pos++
	c, err := p.next()
	if err != nil {
		return nil, err
	}
	if c == ']' {
		p.pos++
		return out, nil
	}
	for {
		v, err := p.parse(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if c, err = p.next(); err != nil {
			return nil, err
		}
		p.pos++
		switch c {
		case ',':
		case ']':
			return out, nil
		default:
			p.pos--
			return nil, p.fail("a comma or a closing bracket should stand after a value, not %q", c)
		}
	}
}

// unescape turns the inside of a JSON string, already checked, into its text.
// A lone surrogate becomes U+FFFD, as in encoding/json.
func unescape(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			r := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+6 < len(raw)+0 && raw[i+1] == '\\' && raw[i+2] == 'u' {
					pair = utf16.DecodeRune(r, hex4(raw[i+3:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			b.WriteRune(r)
		default:
			b.WriteByte(raw[i])
		}
	}
	return b.String()
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c | 0x20 - 'a' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}

// Decode reads exactly one record. For FlowLog use ScanFlow, for Log DecodeLog.
func Decode(kind Kind, raw []byte) (Event, error) {
	var e Event
	n, err := e.Scan(kind, raw)
	if err = whole(n, raw, err); err != nil {
		return Event{}, err
	}
	return e, nil
}

// whole says that a record of n bytes is not all of raw but white space.
func whole(n int, raw []byte, err error) error {
	if err != nil {
		return err
	}
	for i, c := range raw[n:] {
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return &SyntaxError{Offset: n + i, Reason: "something follows the record"}
		}
	}
	return nil
}

// Member returns the value of a top-level member of a JSON object, as written,
// or nil when there is none or raw is not an object. It checks no more of raw
// than it passes.
func Member(raw []byte, name string) []byte {
	s := scanner{buf: raw, ix: &index{}}
	if c, err := s.next(); err != nil || c != '{' {
		return nil
	}
	s.pos++
	for {
		if c, err := s.next(); err != nil || c != '"' {
			return nil
		}
		start := s.pos + 1
		if s.str() != nil {
			return nil
		}
		key := raw[start : s.pos-1]
		if s.escaped {
			key = []byte(unescape(key))
		}
		found := string(key) == name
		if c, err := s.next(); err != nil || c != ':' {
			return nil
		}
		s.pos++
		if _, err := s.next(); err != nil {
			return nil
		}
		start = s.pos
		if s.value(nil, 1) != nil {
			return nil
		}
		if found {
			return raw[start:s.pos]
		}
		if c, err := s.next(); err != nil || c != ',' {
			return nil
		}
		s.pos++
	}
}
