package s3sqs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/awsaccess"
)

const (
	// sourceName is what events and metrics call this source.
	sourceName = "s3"
	// headSize is how much of an object that cannot be read goes to the dead letters.
	headSize = 4 << 10
)

// poison is why an object can never be read. Its text is the same each time, so
// that the dead letter is there once.
type poison struct{ reason string }

func (p *poison) Error() string { return p.reason }

// errTorn is given to the reader for what it makes of a body that broke off.
var errTorn = errors.New("the object's body broke off")

// object delivers one object. nil says that it is durable or set aside.
func (w *worker) object(ctx context.Context, o Object) error {
	pause := w.pause()
	for try := 1; ; try++ {
		head, err := w.read(ctx, o)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var bad *poison
		var refused *ingest.DeliveryError
		switch {
		case errors.As(err, &bad):
			return w.setAside(ctx, o.String(), bad.reason, head)
		case errors.As(err, &refused):
			return err
		case awsaccess.Denied(err):
			return w.explainObject(err, o)
		case try == tries && missing(err):
			return w.setAside(ctx, o.String(), fmt.Sprintf("S3 has no such object (%s, asked %d times)", awsaccess.Code(err), tries), nil)
		case try == tries:
			return fmt.Errorf("read %s, %d times: %w", o, tries, err)
		}
		w.log.WarnContext(ctx, "object not read, once more from its start", "object", o.String(), "try", try, "err", err)
		if err := awsaccess.Sleep(ctx, pause.NextBackOff()); err != nil {
			return err
		}
	}
}

// read delivers one object, once from its start. Its head is returned for the
// dead letters.
func (w *worker) read(ctx context.Context, o Object) (head []byte, err error) {
	// S3's side of the work ends when it sends nothing; the sink may take its time.
	pulling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, err := w.get(pulling, o)
	if awsaccess.Code(err) == "InvalidObjectState" {
		return nil, &poison{"the object is archived: restore it, and have its notification sent again"}
	}
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	b := &body{r: out.Body, want: -1, watch: time.AfterFunc(stall, func() { cancel(fmt.Errorf("S3 sent nothing for %s", stall)) }), why: func() error { return context.Cause(pulling) }}
	defer b.watch.Stop()
	b.watch.Stop() // runs only while S3 is waited for
	if out.ContentLength != nil {
		b.want = *out.ContentLength
	}
	sink := w.sink
	sink.Emit = func(ctx context.Context, batch ingest.Batch) error {
		if b.err != nil {
			// What was read last may be less than there is, and a batch of the same
			// id with less in it would hide the whole one.
			return errTorn
		}
		return w.sink.Emit(ctx, batch)
	}
	if w.sink.Broken != nil {
		sink.Broken = func(ctx context.Context, broken ingest.Broken) error {
			if b.err != nil {
				return errTorn
			}
			return w.sink.Broken(ctx, broken)
		}
	}
	stats, err := w.reader.Read(ctx, ingest.Object{
		Source: sourceName, Name: o.String(), Identity: identity(o, out), Limit: w.cfg.MaxObjectBytes,
	}, b, sink)
	var refused *ingest.DeliveryError
	switch {
	case b.err != nil:
		return nil, fmt.Errorf("after %d bytes of %d: %w", b.n, b.want, b.err)
	case errors.As(err, &refused):
		return nil, err
	case errors.Is(err, ingest.ErrTooLarge):
		return b.head, &poison{fmt.Sprintf("the object is larger than %d bytes uncompressed: what came before was read; raise s3.max_object_bytes to read all of such objects", w.cfg.MaxObjectBytes)}
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return b.head, &poison{err.Error()}
	case stats.Foreign:
		return b.head, &poison{"the object holds no telemetry that is known: leave such keys out with s3.prefixes, s3.suffixes or s3.skip"}
	}
	return nil, nil
}

// identity names the object's content, by what S3 says of it: a notification may
// not know the version.
func identity(o Object, out *s3.GetObjectOutput) string {
	if v := aws.ToString(out.VersionId); v != "" && v != "null" {
		return event.Hash("s3", o.Bucket, o.Key, "version", v)
	}
	return event.Hash("s3", o.Bucket, o.Key, "etag", aws.ToString(out.ETag))
}

// get asks for an object in its bucket's region, which S3 tells where it is wrong.
func (s *Source) get(ctx context.Context, o Object) (*s3.GetObjectOutput, error) {
	in := &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key}
	if o.Version != "" {
		in.VersionId = &o.Version
	}
	region := o.Region
	if known, ok := s.regions.Load(o.Bucket); ok {
		region = known.(string)
	}
	within := func(opt *s3.Options) {
		if region != "" {
			opt.Region = region
		}
	}
	out, err := s.s3.GetObject(ctx, in, within)
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		is := answer.Response.Header.Get("X-Amz-Bucket-Region")
		if c := awsaccess.Code(err); is != "" && is != region && awsaccess.IsRegion(is) && (c == "PermanentRedirect" || c == "AuthorizationHeaderMalformed" || answer.HTTPStatusCode() == 301) {
			s.regions.Store(o.Bucket, is)
			region = is
			return s.s3.GetObject(ctx, in, within)
		}
	}
	return out, err
}

// body is an object's bytes as S3 sends them. It remembers how they begin, and
// whether they broke off.
type body struct {
	r     io.Reader
	n     int64
	want  int64 // -1 when S3 did not say
	head  []byte
	err   error // why it broke off
	watch *time.Timer
	why   func() error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.watch.Reset(stall)
	n, err := b.r.Read(p)
	b.watch.Stop()
	b.n += int64(n)
	if room := headSize - len(b.head); room > 0 {
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
