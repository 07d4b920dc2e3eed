package s3object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/awsaccess"
)

const (
	// tries of one object before it is left to whoever told of it.
	tries = 4
	// HeadSize is how much of an object that cannot be read goes to the dead letters.
	HeadSize = 4 << 10
)

// Poison is why an object can never be read. Its reason is the same each time, so
// that the dead letter is there once.
type Poison struct {
	Object Object
	Reason string
	// Head is how its bytes begin.
	Head []byte
	// Foreign is whether it is sound and holds no telemetry that is known.
	Foreign bool
}

// Error names the object and the reason.
func (p *Poison) Error() string { return p.Object.String() + ": " + p.Reason }

// errTorn is given to the reader for what it makes of a body that broke off.
var errTorn = errors.New("the object's body broke off")

// Reader reads objects one after the other with the same buffers.
type Reader struct {
	*Store
	reader *ingest.Reader
}

// Deliver reads one object, and gives what can never be read to the sink's
// Broken. nil says that all of it is durable or set aside.
func (r *Reader) Deliver(ctx context.Context, o Object, sink ingest.Sink) error {
	_, err := r.Read(ctx, o, sink)
	var bad *Poison
	if !errors.As(err, &bad) {
		return err
	}
	if sink.Broken == nil {
		r.Log.ErrorContext(ctx, "set aside", "object", o.String(), "err", bad.Reason)
		return nil
	}
	b := ingest.Broken{Origin: event.Origin{Source: r.Source, Object: o.String()}, Reason: bad.Reason, Raw: bad.Head}
	if err := sink.Broken(ctx, b); err != nil {
		return &ingest.DeliveryError{Object: o.String(), Err: err}
	}
	return nil
}

// Read delivers the records of one object, in several tries if need be; the sink
// gets each batch once. The error is a *Poison when it can never be read, a
// *ingest.DeliveryError when the sink refused, and anything else when it may be
// read later; what is not permitted says which permission is wanted.
func (r *Reader) Read(ctx context.Context, o Object, sink ingest.Sink) (ingest.Stats, error) {
	pause := r.Pause()
	var past progress
	for try := 1; ; try++ {
		stats, err := r.once(ctx, o, sink, &past)
		if err == nil {
			r.count(ctx, Objects, 1)
			return stats, nil
		}
		if ctx.Err() != nil {
			return stats, ctx.Err()
		}
		var bad *Poison
		var refused *ingest.DeliveryError
		switch {
		case errors.As(err, &bad):
			r.count(ctx, Poisons, 1)
			return stats, err
		case errors.As(err, &refused):
			return stats, err
		case awsaccess.Denied(err):
			return stats, r.explain(err, o)
		case try == tries && missing(err):
			r.count(ctx, Poisons, 1)
			return stats, &Poison{Object: o, Reason: fmt.Sprintf("S3 has no such object (%s, asked %d times)", awsaccess.Code(err), tries)}
		case try == tries:
			return stats, fmt.Errorf("read %s, %d times: %w", o, tries, err)
		}
		r.count(ctx, Retries, 1)
		r.Log.WarnContext(ctx, "object not read, once more from its start", "object", o.String(), "try", try, "err", err)
		if err := awsaccess.Sleep(ctx, pause.NextBackOff()); err != nil {
			return stats, err
		}
	}
}

// progress is what the tries before have delivered of an object.
type progress struct {
	identity        string
	batches, broken int64
}

// once delivers one object, once from its start, and leaves out what was
// delivered before.
func (r *Reader) once(ctx context.Context, o Object, sink ingest.Sink, past *progress) (ingest.Stats, error) {
	// S3's side of the work ends when it sends nothing; the sink may take its time.
	pulling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, err := r.get(pulling, o)
	if awsaccess.Code(err) == "InvalidObjectState" {
		return ingest.Stats{}, &Poison{Object: o, Reason: "the object is archived: restore it, and have it read again"}
	}
	if err != nil {
		return ingest.Stats{}, err
	}
	defer out.Body.Close()
	b := newBody(out, func() { cancel(fmt.Errorf("S3 sent nothing for %s", Stall)) }, func() error { return context.Cause(pulling) })
	defer b.watch.Stop()
	if id := identity(o, out); id != past.identity {
		*past = progress{identity: id}
	}
	stats, err := r.reader.Read(ctx, ingest.Object{
		Source: r.Source, Name: o.String(), Identity: past.identity, Skip: past.batches, Limit: r.Limit,
		FlowFormat: r.FlowFormat, Log: r.Mapping, Delivered: aws.ToTime(out.LastModified),
	}, b, guarded(sink, b, past))
	r.count(ctx, Bytes, b.n)
	return stats, r.judge(ctx, o, b, stats, err)
}

// guarded is the sink without what a body that broke off would give it, and
// without what it got before.
func guarded(sink ingest.Sink, b *body, past *progress) ingest.Sink {
	out := sink
	out.Emit = func(ctx context.Context, batch ingest.Batch) error {
		if b.err != nil {
			// What was read last may be less than there is, and a batch of the same
			// id with less in it would hide the whole one.
			return errTorn
		}
		if err := sink.Emit(ctx, batch); err != nil {
			return err
		}
		past.batches++
		return nil
	}
	if sink.Broken == nil {
		return out
	}
	met := int64(0)
	out.Broken = func(ctx context.Context, broken ingest.Broken) error {
		if b.err != nil {
			return errTorn
		}
		if met++; met <= past.broken {
			return nil
		}
		if err := sink.Broken(ctx, broken); err != nil {
			return err
		}
		past.broken++
		return nil
	}
	return out
}

// judge says what reading came to.
func (r *Reader) judge(ctx context.Context, o Object, b *body, stats ingest.Stats, err error) error {
	poison := func(format string, args ...any) error {
		return &Poison{Object: o, Reason: fmt.Sprintf(format, args...), Head: b.head}
	}
	var refused *ingest.DeliveryError
	switch {
	case b.err != nil:
		return fmt.Errorf("after %d bytes of %d: %w", b.n, b.want, b.err)
	case errors.As(err, &refused):
		return err
	case errors.Is(err, ingest.ErrTooLarge):
		return poison("the object is larger than %d bytes uncompressed: what came before was read; raise %s to read all of such objects", r.Limit, r.LimitKey)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return poison("%s", err)
	case stats.Foreign:
		p := &Poison{Object: o, Reason: "the object holds no telemetry that is known", Head: b.head, Foreign: true}
		if r.SkipHint != "" {
			p.Reason += ": " + r.SkipHint
		}
		return p
	}
	return nil
}

// identity names the object's content, by what S3 says of it: a notification may
// not know the version, and a listing does not.
func identity(o Object, out *s3.GetObjectOutput) string {
	if v := aws.ToString(out.VersionId); v != "" && v != "null" {
		return event.Hash("s3", o.Bucket, o.Key, "version", v)
	}
	return event.Hash("s3", o.Bucket, o.Key, "etag", aws.ToString(out.ETag))
}

// body is an object's bytes as S3 sends them. It remembers how they begin, and
// whether they broke off.
type body struct {
	r     io.Reader
	n     int64
	want  int64 // -1 when S3 did not say
	head  []byte
	err   error       // why it broke off
	watch *time.Timer // runs only while S3 is waited for
	why   func() error
}

func newBody(out *s3.GetObjectOutput, stalled func(), why func() error) *body {
	b := &body{r: out.Body, want: -1, watch: time.AfterFunc(Stall, stalled), why: why}
	b.watch.Stop()
	if out.ContentLength != nil {
		b.want = *out.ContentLength
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.watch.Reset(Stall)
	n, err := b.r.Read(p)
	b.watch.Stop()
	b.n += int64(n)
	if room := HeadSize - len(b.head); room > 0 {
		b.head = append(b.head, p[:min(n, room)]...)
	}
	if err == nil || err == io.EOF { // short of its length, a body ends with io.ErrUnexpectedEOF
		return n, err
	}
	b.err = err
	if cause := b.why(); cause != nil {
		b.err = cause
	}
	return n, b.err
}
