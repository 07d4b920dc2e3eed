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

// A batch on the wire is "RB2" and an s2 block of: the number of strings and
// each with its length; the number of records; and for each its kind, when it
// was ingested and delivered (Unix nanoseconds; 0 is none), its origin and layout as string numbers, offset, line, and
// its bytes with their length. Numbers are varints. The layout is the columns of
// a flow log record, or the mapping of another log's. "RB1", which is still read,
// has no time of delivery.
const (
	batchMagic    = "RB2"
	batchMagicOld = "RB1"
)

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
	layouts []encodedLayout
}

// encodedLayout is where the text of a *event.FlowFormat or *event.Mapping is.
type encodedLayout struct {
	of any
	at uint64
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
		c.addLayout(e)
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
		b = binary.AppendVarint(b, nanos(e.Delivered))
		b = binary.AppendUvarint(b, c.add(e.Origin.Source))
		b = binary.AppendUvarint(b, c.add(e.Origin.Object))
		b = binary.AppendUvarint(b, c.addLayout(e))
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
	clear(c.layouts)
	clear(c.at)
	// No text is the first, which is also what records without a layout have.
	c.strings, c.layouts = append(c.strings[:0], ""), c.layouts[:0]
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

// addLayout returns the number of the text that says how the record is read.
func (c *encoder) addLayout(e *event.Event) uint64 {
	var of fmt.Stringer
	switch {
	case e.Format != nil:
		of = e.Format
	case e.Mapping != nil:
		of = e.Mapping
	default:
		return 0
	}
	for i := range c.layouts {
		if c.layouts[i].of == of {
			return c.layouts[i].at
		}
	}
	at := c.add(of.String())
	if len(c.layouts) < fewStrings {
		c.layouts = append(c.layouts, encodedLayout{of, at})
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
	// Format is the columns of a flow log record, or the mapping of another log's.
	Format string
	Raw    []byte
	Err    error
}

// Decoder decodes batches into buffers that it uses again.
type Decoder struct {
	plain   []byte
	strings []string
	layouts []layout // of the strings that are layouts, once they are needed
	known   map[string]layout
	events  []event.Event
	broken  []RecordError
}

// layout is what one text says: either, as the record's kind asks.
type layout struct {
	flow    *event.FlowFormat
	mapping *event.Mapping
}

var errCorrupt = errors.New("not a whole batch")

// Decode returns the events of a batch and the records that do not decode by
// themselves, both valid until the next call. An error says that the batch as a
// whole is not one.
func (d *Decoder) Decode(b []byte) ([]event.Event, []RecordError, error) {
	magic := string(b[:min(len(b), len(batchMagic))])
	if magic != batchMagic && magic != batchMagicOld {
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
	d.layouts = slices.Grow(d.layouts[:0], len(d.strings))[:len(d.strings)]
	clear(d.layouts)
	total := c.count(8, maxBatchEvents)
	d.broken = d.broken[:0]
	if cap(d.events) < total {
		d.events = make([]event.Event, total)
	}
	d.events = d.events[:total]
	at := 0
	for range total {
		r := RecordError{Kind: event.Kind(c.byte())}
		ingested, delivered := c.varint(), int64(0)
		if magic == batchMagic {
			delivered = c.varint()
		}
		r.Origin.Source, r.Origin.Object = d.string(&c), d.string(&c)
		layout := c.uvarint()
		r.Origin.Offset, r.Origin.Line = c.varint(), c.varint()
		r.Raw = c.bytes()
		if c.bad || layout >= uint64(len(d.strings)) {
			return nil, nil, errCorrupt
		}
		e := &d.events[at]
		if r.Err = d.scan(e, r.Kind, int(layout), r.Raw); r.Err != nil {
			r.Format = d.strings[layout]
			d.broken = append(d.broken, r)
			continue
		}
		e.Ingested, e.Delivered, e.Origin = fromNanos(ingested), fromNanos(delivered), r.Origin
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

func (d *Decoder) scan(e *event.Event, kind event.Kind, layout int, raw []byte) error {
	if kind == event.FlowLog || kind == event.Log {
		l, err := d.layout(kind, layout)
		if err != nil {
			return err
		}
		return scanLayout(e, kind, l, raw)
	}
	n, err := e.Scan(kind, raw)
	return nothingFollows(n, raw, err)
}

// scanLayout reads one record of a kind that has a layout.
func scanLayout(e *event.Event, kind event.Kind, l layout, raw []byte) error {
	if kind == event.FlowLog {
		return e.ScanFlow(l.flow, raw)
	}
	n, err := e.ScanLog(l.mapping, raw)
	return nothingFollows(n, raw, err)
}

func nothingFollows(n int, raw []byte, err error) error {
	if err == nil && n < len(raw) {
		err = &event.SyntaxError{Offset: n, Reason: "something follows the record"}
	}
	return err
}

// layout reads a text once a batch, and a text that comes again once.
func (d *Decoder) layout(kind event.Kind, i int) (layout, error) {
	if l := d.layouts[i]; l.of(kind) {
		return l, nil
	}
	text := d.strings[i]
	l := d.known[text]
	if !l.of(kind) {
		if err := l.parse(kind, text); err != nil {
			return l, err
		}
		if d.known == nil || len(d.known) >= 100 {
			d.known = map[string]layout{}
		}
		d.known[text] = l
	}
	d.layouts[i] = l
	return l, nil
}

// of reports whether the layout is one of records of the kind.
func (l layout) of(kind event.Kind) bool {
	return kind == event.FlowLog && l.flow != nil || kind == event.Log && l.mapping != nil
}

func (l *layout) parse(kind event.Kind, text string) (err error) {
	if kind == event.FlowLog {
		l.flow, err = event.ParseFlowFormat(text)
	} else {
		l.mapping, err = event.ParseMapping(text)
	}
	return err
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
