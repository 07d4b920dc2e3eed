// Package ingest turns what AWS delivers into batches of events: it recognises
// compression and kind by content, finds the records and hands them on.
//
// A record that cannot be read costs that record: it goes to the sink's Broken
// with its place, and reading goes on behind it. Memory is bounded whatever the
// input: by the window that a record must fit in. A source is acknowledged, and
// its cursor moved, only when Emit has returned nil, which says that the batch
// is durable.
package ingest

import (
	"context"

	"riposte/event"
)

// Batch is a run of events from one object, in order.
type Batch struct {
	// ID is derived from the object's identity and the batch's ordinal in it:
	// reading the object again makes the same batches with the same ids.
	ID string
	// Events alias the reader's buffers and are valid only during the call.
	Events []event.Event
}

// Emit takes a batch. nil says that it is durable.
type Emit func(ctx context.Context, b Batch) error

// Broken is a record that could not be read.
type Broken struct {
	Origin event.Origin
	Kind   event.Kind // 0 when it is not known
	// Format is that of the flow log lines around it.
	Format *event.FlowFormat
	// Mapping is that of the log that it is of.
	Mapping *event.Mapping
	Reason  string
	// Raw are its bytes, at most 64 KiB of them.
	Raw []byte
}

// Sink is where a source delivers. Emit is needed; the others may be nil.
type Sink struct {
	Emit   Emit
	Broken func(ctx context.Context, b Broken) error
	// Findings takes what a source itself found: a log file that was altered, an
	// account that fell silent. nil says that they are durable; the same finding
	// given twice is there once.
	Findings func(ctx context.Context, findings []event.Finding) error
	// Expand fetches the Config items that were too large for their notification;
	// without it their summaries are delivered.
	Expand Expand
	// Notice hears what people should know of an object that was read all the same:
	// that the format of its records was guessed.
	Notice func(o event.Origin, text string)
	// Progress hears of bytes read from the object as stored.
	Progress func(n int64)
}

// Source delivers until it is exhausted or ctx is done.
type Source interface {
	Run(ctx context.Context, sink Sink) error
}

// Stats is what reading one object came to.
type Stats struct {
	Events  int64
	Batches int64
	Broken  int64
	// Bytes are of the object uncompressed.
	Bytes int64
	// Foreign is set when the object holds no telemetry that is known.
	Foreign bool
}

// batchSize is how many records travel together: enough to spread the cost of a
// message, few enough to be evaluated in a millisecond.
const batchSize = 100

// maxBrokenRaw bounds what is kept of a broken record.
const maxBrokenRaw = 64 << 10
