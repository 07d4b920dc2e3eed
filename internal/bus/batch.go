package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
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

// maxBatchBytes bounds what a batch may decompress to.
const maxBatchBytes = 256 << 20

var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 256<<10); return &b }}

// EncodeBatch appends a batch of events to dst.
func EncodeBatch(dst []byte, events []event.Event) []byte {
	buf := scratch.Get().(*[]byte)
	defer func() { scratch.Put(buf) }()
	table := stringTable{at: map[string]uint64{}}
	for i := range events {
		table.add(events[i].Origin.Source)
		table.add(events[i].Origin.Object)
		if f := events[i].Format; f != nil {
			table.add(f.String())
		}
	}
	b := binary.AppendUvarint((*buf)[:0], uint64(len(table.list)))
	for _, s := range table.list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(events)))
	for i := range events {
		e := &events[i]
		b = append(b, byte(e.Kind))
		b = binary.AppendVarint(b, e.Ingested.UnixNano())
		b = binary.AppendUvarint(b, table.at[e.Origin.Source])
		b = binary.AppendUvarint(b, table.at[e.Origin.Object])
		format := ""
		if e.Format != nil {
			format = e.Format.String()
		}
		b = binary.AppendUvarint(b, table.at[format])
		b = binary.AppendVarint(b, e.Origin.Offset)
		b = binary.AppendVarint(b, e.Origin.Line)
		b = binary.AppendUvarint(b, uint64(len(e.Raw)))
		b = append(b, e.Raw...)
	}
	*buf = b
	dst = append(dst, batchMagic...)
	n := len(dst)
	dst = append(dst, make([]byte, s2.MaxEncodedLen(len(b)))...)
	return dst[:n+len(s2.Encode(dst[n:], b))]
}

type stringTable struct {
	at   map[string]uint64
	list []string
}

func (t *stringTable) add(s string) {
	if _, ok := t.at[s]; !ok {
		t.at[s] = uint64(len(t.list))
		t.list = append(t.list, s)
	}
}

// RecordError is a record inside a batch that does not decode.
type RecordError struct {
	Kind   event.Kind
	Origin event.Origin
	Raw    []byte
	Err    error
}

// Decoder decodes batches into buffers that it uses again.
type Decoder struct {
	plain   []byte
	strings []string
	formats map[string]*event.FlowFormat
	events  []event.Event
	broken  []RecordError
}

var errCorrupt = errors.New("not a whole batch")

// Decode returns the events of a batch, which are valid until the next call, and
// the records that do not decode by themselves. An error says that the batch as
// a whole is not one.
func (d *Decoder) Decode(b []byte) ([]event.Event, []RecordError, error) {
	if len(b) < len(batchMagic) || string(b[:len(batchMagic)]) != batchMagic {
		return nil, nil, fmt.Errorf("%w: it does not begin with %q", errCorrupt, batchMagic)
	}
	b = b[len(batchMagic):]
	n, err := s2.DecodedLen(b)
	if err != nil || n > maxBatchBytes {
		return nil, nil, fmt.Errorf("%w: decompresses to %d bytes, at most %d are read (%v)", errCorrupt, n, maxBatchBytes, err)
	}
	if cap(d.plain) < n {
		d.plain = make([]byte, n)
	}
	if d.plain, err = s2.Decode(d.plain[:cap(d.plain)], b); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	c := cursor{b: d.plain}
	d.strings = d.strings[:0]
	for range c.count(1) {
		d.strings = append(d.strings, string(c.bytes()))
	}
	total := c.count(8)
	d.broken = d.broken[:0]
	if cap(d.events) < total {
		d.events = make([]event.Event, total)
	}
	d.events = d.events[:total]
	at := 0
	for range total {
		r := RecordError{Kind: event.Kind(c.byte())}
		ingested := c.varint()
		r.Origin.Source, r.Origin.Object = c.string(d.strings), c.string(d.strings)
		format := c.string(d.strings)
		r.Origin.Offset, r.Origin.Line = c.varint(), c.varint()
		r.Raw = c.bytes()
		if c.bad {
			return nil, nil, errCorrupt
		}
		e := &d.events[at]
		if r.Err = d.scan(e, r.Kind, format, r.Raw); r.Err != nil {
			d.broken = append(d.broken, r)
			continue
		}
		e.Ingested, e.Origin = time.Unix(0, ingested).UTC(), r.Origin
		at++
	}
	if c.bad || len(c.b) > 0 {
		return nil, nil, errCorrupt
	}
	return d.events[:at], d.broken, nil
}

func (d *Decoder) scan(e *event.Event, kind event.Kind, format string, raw []byte) error {
	if kind != event.FlowLog {
		_, err := e.Scan(kind, raw)
		return err
	}
	f := d.formats[format]
	if f == nil {
		var err error
		if f, err = event.ParseFlowFormat(format); err != nil {
			return err
		}
		if d.formats == nil || len(d.formats) > 100 {
			d.formats = map[string]*event.FlowFormat{}
		}
		d.formats[format] = f
	}
	return e.ScanFlow(f, raw)
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
// room for is a mistake, not an allocation.
func (c *cursor) count(size int) int {
	n := c.uvarint()
	if n > uint64(len(c.b)/size) {
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

func (c *cursor) string(table []string) string {
	i := c.uvarint()
	if i >= uint64(len(table)) {
		if i > 0 || c.bad {
			c.fail()
		}
		return ""
	}
	return table[i]
}
