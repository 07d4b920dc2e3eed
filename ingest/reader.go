package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"riposte/event"
)

// Reader reads objects one after the other with the same buffers: a worker owns one.
type Reader struct {
	open   decompressor
	win    window
	events []event.Event

	// Of the object being read:
	ctx       context.Context
	sink      Sink
	origin    event.Origin
	identity  string
	ingested  time.Time
	clock     bool // ingested is when the window was filled
	delivered time.Time
	log       *event.Mapping
	pending   int
	skip      int64 // batches that are durable already
	stats     Stats
	format    *event.FlowFormat
	given     *event.FlowFormat // the format that the object was said to have
	told      string            // the last notice
	lines     []byte            // of a Parquet file, those that are pending
	started   bool              // a record was recognised
	aside     int64             // where the last broken record ended
	lead      []byte            // how the last record of a list begins: its brace and first key
}

// NewReader returns a reader.
func NewReader() *Reader {
	return &Reader{events: make([]event.Event, batchSize)}
}

// Object is what Read reads.
type Object struct {
	Source string // "files", "stdin"
	Name   string // for people: the path or key
	// Identity makes batch ids; the same bytes read again must have the same.
	Identity string
	// Live delivers what each read brings, instead of whole batches.
	Live bool
	// Skip is how many batches of the object are durable already.
	Skip int64
	// Limit bounds the object's bytes uncompressed; 0 is no bound. Read ends there
	// with ErrTooLarge.
	Limit int64
	// Ingested is when the records were received; the zero time is when their
	// bytes were read.
	Ingested time.Time
	// FlowFormat names the columns of flow log records that come without a header;
	// nil has them guessed, which Sink.Notice hears of. A header goes before it.
	FlowFormat *event.FlowFormat
	// Delivered is when AWS handed the object over; the zero time is not known.
	Delivered time.Time
	// Log is the mapping of a log that is not AWS's: each JSON object is a record
	// of it. nil recognises records by what they hold.
	Log *event.Mapping
}

// errForeign says that an object holds no telemetry.
var errForeign = errors.New("holds no telemetry that is known")

// Read delivers the records of one object. What came before an error was
// delivered; the error says where the object could not be read on.
func (r *Reader) Read(ctx context.Context, o Object, in io.Reader, sink Sink) (Stats, error) {
	r.ctx, r.sink, r.identity, r.skip, r.ingested = ctx, sink, o.Identity, o.Skip, o.Ingested
	r.origin = event.Origin{Source: o.Source, Object: o.Name}
	r.stats, r.pending, r.started, r.lead, r.aside = Stats{}, 0, false, r.lead[:0], -1
	r.format, r.given, r.told = o.FlowFormat, o.FlowFormat, ""
	r.clock = r.ingested.IsZero()
	r.delivered, r.log = o.Delivered, o.Log
	stream, magic, err := r.open.open(&counting{r: in, progress: sink.Progress}, o.Limit)
	if err != nil {
		return r.stats, fmt.Errorf("%s: %w", o.Name, err)
	}
	if bytes.Equal(magic, parquetMagic) {
		err = r.parquet(stream, o.Limit)
	} else {
		err = r.stream(stream, o)
	}
	var refused *DeliveryError
	switch {
	case errors.Is(err, errForeign):
		r.stats.Foreign = true
		return r.stats, nil
	case errors.As(err, &refused), ctx.Err() != nil:
		return r.stats, err
	}
	if err := r.flush(); err != nil {
		return r.stats, err
	}
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the compressed data is cut short")
		}
		return r.stats, fmt.Errorf("%s: after %d bytes uncompressed and %d events: %w; what came before was read", o.Name, r.stats.Bytes, r.stats.Events, err)
	}
	return r.stats, nil
}

// stream reads what is text or JSON. Its error is of the data, or of the sink.
func (r *Reader) stream(in io.Reader, o Object) error {
	if o.Limit > 0 {
		in = &limited{r: in, left: o.Limit}
	}
	r.win.reset(in, o.Live)
	err := r.read()
	r.stats.Bytes = r.win.base + int64(r.win.end)
	if err != nil {
		return err
	}
	return r.win.failure()
}

// ErrTooLarge says that an object has more bytes than its Limit.
var ErrTooLarge = errors.New("larger than its limit")

// limited fails with ErrTooLarge where io.LimitReader would end.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if int64(n) > l.left {
		n, err = int(l.left), ErrTooLarge
	}
	l.left -= int64(n)
	return n, err
}

// counting tells progress what was read of the object as stored.
type counting struct {
	r        io.Reader
	progress func(int64)
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.progress != nil && n > 0 {
		c.progress(int64(n))
	}
	return n, err
}

// Head reads how an object begins into p, uncompressed, and returns how much there
// was: to see what an object is about before it is read.
func (r *Reader) Head(in io.Reader, p []byte) (int, error) {
	stream, _, err := r.open.open(in, 0)
	if err != nil {
		return 0, err
	}
	return io.ReadFull(stream, p)
}

// read recognises text or JSON by the first byte that says something.
func (r *Reader) read() error {
	for {
		c, ok, err := r.peek()
		if err != nil || !ok {
			return err
		}
		switch {
		case c == 0xef && bytes.HasPrefix(r.win.rest(), []byte("\xef\xbb\xbf")):
			r.win.pos += 3 // a byte order mark
		case c == '{' || c == '[' || r.log != nil:
			return r.json()
		default:
			return r.flow()
		}
	}
}

// more reads on. Events alias the window, so what is pending goes out first.
func (r *Reader) more() (bool, error) {
	if err := r.ctx.Err(); err != nil {
		return false, err
	}
	if err := r.flush(); err != nil {
		return false, err
	}
	ok := r.win.fill()
	if r.clock {
		r.ingested = time.Now().UTC()
	}
	return ok, nil
}

// peek skips white space and returns the next byte; false at the end.
func (r *Reader) peek() (byte, bool, error) {
	for {
		for r.win.pos < r.win.end {
			switch c := r.win.buf[r.win.pos]; c {
			case ' ', '\t', '\n', '\r':
				r.win.pos++
			default:
				return c, true, nil
			}
		}
		if ok, err := r.more(); !ok || err != nil {
			return 0, false, err
		}
	}
}

// slot is where the next event goes.
func (r *Reader) slot() *event.Event { return &r.events[r.pending] }

// keep takes the event in the slot.
func (r *Reader) keep(offset, line int64) error {
	e := &r.events[r.pending]
	e.Ingested, e.Delivered = r.ingested, r.delivered
	e.Origin = r.origin
	e.Origin.Offset, e.Origin.Line = offset, line
	r.started = true
	r.stats.Events++
	if r.pending++; r.pending == batchSize {
		return r.flush()
	}
	return nil
}

// flush delivers what is pending.
func (r *Reader) flush() error {
	if r.pending == 0 {
		return nil
	}
	n := r.stats.Batches
	r.stats.Batches++
	events := r.events[:r.pending]
	r.pending = 0
	if n < r.skip {
		return nil
	}
	err := r.sink.Emit(r.ctx, Batch{ID: event.Hash("batch", r.identity, fmt.Sprint(n)), Events: events})
	if err != nil {
		return &DeliveryError{Object: r.origin.Object, Err: err}
	}
	return nil
}

func (r *Reader) broken(kind event.Kind, offset, line int64, raw []byte, reason string) error {
	r.stats.Broken++
	if r.sink.Broken == nil {
		return nil
	}
	o := r.origin
	o.Offset, o.Line = offset, line
	if len(raw) > maxBrokenRaw {
		raw = raw[:maxBrokenRaw]
	}
	b := Broken{Origin: o, Kind: kind, Reason: reason, Raw: raw}
	switch kind {
	case event.FlowLog:
		b.Format = r.format
	case event.Log:
		b.Mapping = r.log
	}
	if err := r.sink.Broken(r.ctx, b); err != nil {
		return &DeliveryError{Object: o.Object, Err: err}
	}
	return nil
}

// notice tells the sink what people should know of the object, once in a row.
func (r *Reader) notice(text string) {
	if text != r.told && r.sink.Notice != nil {
		r.sink.Notice(r.origin, text)
	}
	r.told = text
}

// DeliveryError says that the sink refused: the object is not at fault, and is
// to be read again from its cursor.
type DeliveryError struct {
	Object string
	Err    error
}

// Error names the object that was being read.
func (e *DeliveryError) Error() string { return fmt.Sprintf("%s: deliver: %v", e.Object, e.Err) }

// Unwrap returns the sink's error.
func (e *DeliveryError) Unwrap() error { return e.Err }
