package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"riposte/event"
)

// A batch on the wire is "RB1" and an s2 block of: the number of strings and
// each with its length; the number of records; and for each its kind, when it
// was ingested (Unix nanoseconds), its origin and format as string numbers,
// offset, line, and its bytes with their length. Numbers are varints.
const batchMagic = "RB1"

// What a batch may decompress to, and how many records it may have: a damaged or
// hostile message must not cost more memory than a good one. Publishers split
// batches beyond half of it.
const (
	maxBatchBytes  = 64 << 20
	maxBatchEvents = 16 << 10
	maxStrings     = 3 * maxBatchEvents
)

// encoder is what EncodeBatch needs besides its result.
type encoder struct {
	buf     []byte
	strings []string
	at      map[string]int // where the strings are, once they are many
	formats []encodedFormat
}

type encodedFormat struct {
	format *event.FlowFormat
	at     uint64
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// EncodeBatch appends a batch of events to dst.
func EncodeBatch(dst []byte, events []event.Event) []byte {
	c := encoders.Get().(*encoder)
	defer encoders.Put(c)
	c.reset()
	for i := range events {
		e := &events[i]
		c.add(e.Origin.Source)
		c.add(e.Origin.Object)
		c.addFormat(e.Format)
	}
	b := binary.AppendUvarint(c.buf[:0], uint64(len(c.strings)))
	for _, s := range c.strings {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(events)))
	for i := range events {
		e := &events[i]
		b = append(b, byte(e.Kind))
		b = binary.AppendVarint(b, nanos(e.Ingested))
		b = binary.AppendUvarint(b, c.add(e.Origin.Source))
		b = binary.AppendUvarint(b, c.add(e.Origin.Object))
		b = binary.AppendUvarint(b, c.addFormat(e.Format))
		b = binary.AppendVarint(b, e.Origin.Offset)
		b = binary.AppendVarint(b, e.Origin.Line)
		b = binary.AppendUvarint(b, uint64(len(e.Raw)))
		b = append(b, e.Raw...)
	}
	if c.buf = b; cap(b) > keepBytes {
		c.buf = nil
	}
	dst = append(dst, batchMagic...)
	n := len(dst)
	dst = slices.Grow(dst, s2.MaxEncodedLen(len(b)))
	return dst[:n+len(s2.Encode(dst[n:cap(dst)], b))]
}

// keepBytes is how large a buffer is kept for the next batch.
const keepBytes = 8 << 20

// fewStrings is how many are found faster by looking at each.
const fewStrings = 16

func (c *encoder) reset() {
	clear(c.strings)
	clear(c.formats)
	clear(c.at)
	// No text is the first, which is also what records without a format have.
	c.strings, c.formats = append(c.strings[:0], ""), append(c.formats[:0], encodedFormat{})
}

// add returns a string's number.
func (c *encoder) add(s string) uint64 {
	if len(c.strings) <= fewStrings {
		if i := slices.Index(c.strings, s); i >= 0 {
			return uint64(i)
		}
	} else if i, ok := c.at[s]; ok {
		return uint64(i)
	}
	c.strings = append(c.strings, s)
	switch n := len(c.strings); {
	case n == fewStrings+1:
		if c.at == nil {
			c.at = map[string]int{}
		}
		for i, s := range c.strings {
			c.at[s] = i
		}
	case n > fewStrings:
		c.at[s] = n - 1
	}
	return uint64(len(c.strings) - 1)
}

func (c *encoder) addFormat(f *event.FlowFormat) uint64 {
	for i := range c.formats {
		if c.formats[i].format == f {
			return c.formats[i].at
		}
	}
	at := c.add(f.String())
	if len(c.formats) < fewStrings {
		c.formats = append(c.formats, encodedFormat{f, at})
	}
	return at
}

// nanos and fromNanos carry a time; 0 is none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// RecordError is a record inside a batch that does not decode.
type RecordError struct {
	Kind   event.Kind
	Origin event.Origin
	// Format is the columns of a flow log record.
	Format string
	Raw    []byte
	Err    error
}

// Decoder decodes batches into buffers that it uses again.
type Decoder struct {
	plain   []byte
	strings []string
	formats []*event.FlowFormat // of the strings that are formats, once they are needed
	known   map[string]*event.FlowFormat
	events  []event.Event
	broken  []RecordError
}

var errCorrupt = errors.New("not a whole batch")

// Decode returns the events of a batch and the records that do not decode by
// themselves, both valid until the next call. An error says that the batch as a
// whole is not one.
func (d *Decoder) Decode(b []byte) ([]event.Event, []RecordError, error) {
	if len(b) < len(batchMagic) || string(b[:len(batchMagic)]) != batchMagic {
		return nil, nil, fmt.Errorf("%w: it does not begin with %q", errCorrupt, batchMagic)
	}
	b = b[len(batchMagic):]
	n, err := s2.DecodedLen(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if n > maxBatchBytes {
		return nil, nil, fmt.Errorf("%w: it decompresses to %d bytes, at most %d are read", errCorrupt, n, maxBatchBytes)
	}
	if cap(d.plain) < n || cap(d.plain) > keepBytes {
		d.plain = make([]byte, n)
	}
	if d.plain, err = s2.Decode(d.plain[:cap(d.plain)], b); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	c := cursor{b: d.plain}
	d.strings = d.strings[:0]
	for range c.count(1, maxStrings) {
		d.strings = append(d.strings, string(c.bytes()))
	}
	clear(d.formats)
	d.formats = slices.Grow(d.formats[:0], len(d.strings))[:len(d.strings)]
	total := c.count(8, maxBatchEvents)
	d.broken = d.broken[:0]
	if cap(d.events) < total {
		d.events = make([]event.Event, total)
	}
	d.events = d.events[:total]
	at := 0
	for range total {
		r := RecordError{Kind: event.Kind(c.byte())}
		ingested := c.varint()
		r.Origin.Source, r.Origin.Object = d.string(&c), d.string(&c)
		format := c.uvarint()
		r.Origin.Offset, r.Origin.Line = c.varint(), c.varint()
		r.Raw = c.bytes()
		if c.bad || format >= uint64(len(d.strings)) {
			return nil, nil, errCorrupt
		}
		e := &d.events[at]
		if r.Err = d.scan(e, r.Kind, int(format), r.Raw); r.Err != nil {
			r.Format = d.strings[format]
			d.broken = append(d.broken, r)
			continue
		}
		e.Ingested, e.Origin = fromNanos(ingested), r.Origin
		at++
	}
	if c.bad || len(c.b) > 0 {
		return nil, nil, errCorrupt
	}
	return d.events[:at], d.broken, nil
}

// string reads a string's number.
func (d *Decoder) string(c *cursor) string {
	i := c.uvarint()
	if i >= uint64(len(d.strings)) {
		c.fail()
		return ""
	}
	return d.strings[i]
}

func (d *Decoder) scan(e *event.Event, kind event.Kind, format int, raw []byte) error {
	if kind == event.FlowLog {
		f, err := d.format(format)
		if err != nil {
			return err
		}
		return e.ScanFlow(f, raw)
	}
	n, err := e.Scan(kind, raw)
	if err == nil && n < len(raw) {
		err = &event.SyntaxError{Offset: n, Reason: "something follows the record"}
	}
	return err
}

func (d *Decoder) format(i int) (*event.FlowFormat, error) {
	if f := d.formats[i]; f != nil {
		return f, nil
	}
	text := d.strings[i]
	f := d.known[text]
	if f == nil {
		var err error
		if f, err = event.ParseFlowFormat(text); err != nil {
			return nil, err
		}
		if d.known == nil || len(d.known) >= 100 {
			d.known = map[string]*event.FlowFormat{}
		}
		d.known[text] = f
	}
	d.formats[i] = f
	return f, nil
}

// cursor reads what EncodeBatch wrote; after a mistake it is bad and reads zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() { c.bad, c.b = true, nil }

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.fail()
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count reads a number of things of at least size bytes each: more than there is
// room for, or than there may be, is a mistake, not an allocation.
func (c *cursor) count(size, most int) int {
	n := c.uvarint()
	if n > uint64(min(len(c.b)/size, most)) {
		c.fail()
		return 0
	}
	return int(n)
}

func (c *cursor) bytes() []byte {
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}
