package event

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"unicode/utf8"
)

// SyntaxError says why bytes are not a record, and where.
type SyntaxError struct {
	// Offset is the byte in the buffer that was being read.
	Offset int
	Reason string
}

// Error renders "byte N: reason".
func (e *SyntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.Reason) }

// maxDepth is how deep a record may nest. CloudTrail nests under ten levels;
// more is an attempt to exhaust a parser's stack.
const maxDepth = 200

// span is where a hot field's value lies in Raw: JSON as written, quotes
// included; end 0 is absent. Strings that hold a backslash are marked escaped.
type span struct {
	start, end uint32
}

const (
	flagEscaped = 1 << iota
	flagString
	flagNull
)

// index is where each hot field lies in Raw.
type index struct {
	spans [maxFields]span
	flags [maxFields]uint8
}

// scanner reads JSON in one pass: it checks the grammar of RFC 8259, finds the
// end of the value and notes the hot fields on the way.
type scanner struct {
	buf      []byte
	pos      int
	ix       *index
	nonASCII byte                    // the bits of all string bytes, ORed
	escaped  bool                    // the last string had a backslash
	filled   [numEntryFields]*member // what filled each field that has alternatives
}

func (s *scanner) fail(format string, args ...any) error {
	return &SyntaxError{Offset: s.pos, Reason: fmt.Sprintf(format, args...)}
}

// Scan reads one JSON record of the kind at the start of buf, past leading white
// space, and returns how many bytes it took. The event aliases buf. It returns
// io.ErrUnexpectedEOF when buf ends inside the record and a *SyntaxError when
// the bytes are not one: the strictness is RFC 8259's, and beyond it a hot
// field given twice, bytes that are not UTF-8 and nesting beyond 200 levels are
// refused. Scan allocates nothing and may be called again on the same event.
func (e *Event) Scan(kind Kind, buf []byte) (n int, err error) {
	return e.scan(kind, levelOf(kind), buf)
}

func (e *Event) scan(kind Kind, level *level, buf []byte) (n int, err error) {
	e.reset()
	e.Kind = kind
	s := scanner{buf: buf, ix: &e.index}
	s.space()
	start := s.pos
	if s.pos >= len(buf) {
		return s.pos, io.ErrUnexpectedEOF
	}
	if buf[s.pos] != '{' {
		return s.pos, s.fail("a record is a JSON object, this begins with %q", buf[s.pos])
	}
	if level == nil {
		if kind == Log {
			return s.pos, s.fail("records of a log want its mapping")
		}
		return s.pos, s.fail("%s records are not JSON", kind)
	}
	if err := s.object(level, 1); err != nil {
		return s.pos, err
	}
	if s.nonASCII >= utf8.RuneSelf && !utf8.Valid(buf[start:s.pos]) {
		return s.pos, s.fail("not valid UTF-8")
	}
	e.Raw = buf[start:s.pos:s.pos]
	// The spans were noted relative to buf.
	if start > 0 {
		for f := range e.index.spans {
			if sp := &e.index.spans[f]; sp.end > 0 {
				sp.start -= uint32(start)
				sp.end -= uint32(start)
			}
		}
	}
	if kind.mapped() {
		e.index.spans[EntryRecord] = span{0, uint32(len(e.Raw))}
		e.firstElements()
	}
	return s.pos, nil
}

func (s *scanner) space() {
	for s.pos < len(s.buf) {
		switch s.buf[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// next returns the next byte that is not white space, without taking it.
func (s *scanner) next() (byte, error) {
	if s.pos < len(s.buf) && s.buf[s.pos] > ' ' {
		return s.buf[s.pos], nil
	}
	s.space()
	if s.pos >= len(s.buf) {
		return 0, io.ErrUnexpectedEOF
	}
	return s.buf[s.pos], nil
}

// object reads an object whose opening brace is at pos. lv says which of its
// members are hot; nil is none.
func (s *scanner) object(lv *level, depth int) error {
	if depth > maxDepth {
		return s.fail("nested deeper than %d levels", maxDepth)
	}
	s.pos++
	c, err := s.next()
	if err != nil {
		return err
	}
	if c == '}' {
		s.pos++
		return nil
	}
	for {
		if c != '"' {
			return s.fail("a key in quotes should stand here, not %q", c)
		}
		keyStart := s.pos + 1
		if err := s.str(); err != nil {
			return err
		}
		var m *member
		if lv != nil {
			m = lv.find(s.buf[keyStart:s.pos-1], s.escaped)
		}
		if c, err = s.next(); err != nil {
			return err
		}
		if c != ':' {
			return s.fail("a colon should stand after a key, not %q", c)
		}
		s.pos++
		if m == nil {
			err = s.value(nil, depth+1)
		} else {
			err = s.member(m, depth+1)
		}
		if err != nil {
			return err
		}
		if c, err = s.next(); err != nil {
			return err
		}
		switch c {
		case ',':
			s.pos++
			if c, err = s.next(); err != nil {
				return err
			}
		case '}':
			s.pos++
			return nil
		default:
			return s.fail("a comma or a closing brace should stand after a value, not %q", c)
		}
	}
}

// member reads the value of a hot field and notes where it lies.
func (s *scanner) member(m *member, depth int) error {
	c, err := s.next()
	if err != nil {
		return err
	}
	start := s.pos
	if m.field != noField && s.ix.spans[m.field].end != 0 {
		if m.rank == 0 || s.filled[m.field] == m {
			return s.fail("duplicate key %q", m.name)
		}
	}
	var flags uint8
	if c == '"' {
		if err := s.str(); err != nil {
			return err
		}
		flags = flagString
		if s.escaped {
			flags |= flagEscaped
		}
	} else {
		read := s.value
		if c == '[' && m.field == noField {
			read = s.elements
		}
		if err := read(m.level, depth); err != nil {
			return err
		}
		if c == 'n' {
			flags = flagNull
		}
	}
	if m.rank > 0 {
		// Of alternatives the first in the mapping counts, wherever it stands in the
		// record, and none that is null.
		before := s.filled[m.field]
		if before != nil && s.ix.flags[m.field]&flagNull == 0 && (flags&flagNull != 0 || before.rank < m.rank) {
			return nil
		}
		s.filled[m.field] = m
	}
	if m.field != noField {
		s.ix.spans[m.field] = span{uint32(start), uint32(s.pos)}
		s.ix.flags[m.field] = flags
	}
	return nil
}

func (s *scanner) value(lv *level, depth int) error {
	c, err := s.next()
	if err != nil {
		return err
	}
	switch {
	case c == '"':
		return s.str()
	case c == '{':
		return s.object(lv, depth)
	case c == '[':
		return s.array(depth)
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	return s.fail("a value should stand here, not %q", c)
}

func (s *scanner) array(depth int) error { return s.elements(nil, depth) }

// elements reads a list. lv says which members of its objects are hot, where they
// stand for one object: Config's oldest notifications have their item in a list
// of one. A second would repeat the hot fields of the first, and is refused for it.
func (s *scanner) elements(lv *level, depth int) error {
	if depth > maxDepth {
		return s.fail("nested deeper than %d levels", maxDepth)
	}
	s.pos++
	c, err := s.next()
	if err != nil {
		return err
	}
	if c == ']' {
		s.pos++
		return nil
	}
	for {
		if err := s.value(lv, depth+1); err != nil {
			return err
		}
		if c, err = s.next(); err != nil {
			return err
		}
		s.pos++
		switch c {
		case ',':
		case ']':
			return nil
		default:
			s.pos--
			return s.fail("a comma or a closing bracket should stand after a value, not %q", c)
		}
	}
}

func (s *scanner) literal(word string) error {
	for i := 1; i < len(word); i++ {
		if s.pos+i >= len(s.buf) {
			return io.ErrUnexpectedEOF
		}
		if s.buf[s.pos+i] != word[i] {
			return s.fail("%q should stand here", word)
		}
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) digits() error {
	start := s.pos
	for s.pos < len(s.buf) && s.buf[s.pos]-'0' <= 9 {
		s.pos++
	}
	if s.pos == start {
		if s.pos >= len(s.buf) {
			return io.ErrUnexpectedEOF
		}
		return s.fail("a digit should stand here, not %q", s.buf[s.pos])
	}
	return nil
}

func (s *scanner) number() error {
	if s.buf[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.buf) && s.buf[s.pos] == '0' {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.pos < len(s.buf) && s.buf[s.pos] == '.' {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.pos < len(s.buf) && s.buf[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.buf) && (s.buf[s.pos] == '+' || s.buf[s.pos] == '-') {
			s.pos++
		}
		return s.digits()
	}
	return nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str reads a string whose opening quote is at pos, eight bytes at a time.
func (s *scanner) str() error {
	s.escaped = false
	s.pos++
	buf, i := s.buf, s.pos
	var seen uint64
	for {
		for i+8 <= len(buf) {
			w := binary.LittleEndian.Uint64(buf[i:])
			q := w ^ (ones * '"')
			b := w ^ (ones * '\\')
			// A byte below 0x20, a quote or a backslash; bytes of 0x80 and
			// above are masked out, they end nothing.
			hit := ((q - ones) &^ q) | ((b - ones) &^ b) | ((w - ones*0x20) &^ w)
			hit &= highs
			if hit == 0 {
				seen |= w
				i += 8
				continue
			}
			n := bits.TrailingZeros64(hit) >> 3
			seen |= w & (1<<(8*uint(n)) - 1)
			i += n
			goto special
		}
		for i < len(buf) && buf[i] != '"' && buf[i] != '\\' && buf[i] >= 0x20 {
			seen |= uint64(buf[i])
			i++
		}
		if i >= len(buf) {
			s.pos = i
			return io.ErrUnexpectedEOF
		}
	special:
		switch c := buf[i]; {
		case c == '"':
			if seen&highs != 0 {
				s.nonASCII = utf8.RuneSelf
			}
			s.pos = i + 1
			return nil
		case c == '\\':
			s.escaped = true
			n, err := s.escape(i)
			if err != nil {
				return err
			}
			i += n
		case c < 0x20:
			s.pos = i
			return s.fail("control character %#02x inside a string", c)
		default:
			// The borrow of a lower hit can flag a byte that is none.
			seen |= uint64(c)
			i++
		}
	}
}

// escape checks the escape at i and returns its length.
func (s *scanner) escape(i int) (int, error) {
	s.pos = i
	if i+1 >= len(s.buf) {
		return 0, io.ErrUnexpectedEOF
	}
	switch s.buf[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(s.buf) {
				return 0, io.ErrUnexpectedEOF
			}
			if c := s.buf[j]; !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
				return 0, s.fail("\\u wants four hexadecimal digits")
			}
		}
		return 6, nil
	}
	return 0, s.fail("unknown escape \\%c", s.buf[i+1])
}

// SkipValue finds the end of one JSON value at the start of buf by its braces
// and quotes alone, so that reading can go on after a record that is not well
// formed inside. It returns io.ErrUnexpectedEOF when buf ends first.
func SkipValue(buf []byte) (int, error) {
	depth, inString := 0, false
	for i := 0; i < len(buf); i++ {
		c := buf[i]
		switch {
		case inString:
			if c == '\\' {
				i++
			} else if c == '"' {
				inString = false
				if depth == 0 {
					return i + 1, nil
				}
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth <= 0 {
				return i + 1, nil
			}
		case depth == 0 && (c == ',' || c == '\n') && i > 0:
			return i, nil
		}
	}
	return len(buf), io.ErrUnexpectedEOF
}
