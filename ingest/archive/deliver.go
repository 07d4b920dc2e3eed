package archive

import (
	"context"
	"errors"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// work delivers objects until there are no more.
func (s *Source) work(ctx context.Context, m *marks, jobs <-chan job, sink ingest.Sink) error {
	reader := s.listing.Store.NewReader()
	for j := range jobs {
		foreign, err := s.deliver(ctx, reader, j.Key, sink)
		if err != nil {
			return err
		}
		m.end(j.n, foreign)
	}
	return ctx.Err()
}

// deliver makes one object durable or sets it aside. What fails for a passing
// reason is tried until it does not; what nobody permits is set aside after a while.
func (s *Source) deliver(ctx context.Context, reader *s3object.Reader, key string, sink ingest.Sink) (foreign bool, err error) {
	o := s3object.Object{Bucket: s.listing.Bucket, Key: key}
	pause := s.listing.Store.Pause()
	for try := 1; ; try++ {
		_, err := reader.Read(ctx, o, sink)
		var bad *s3object.Poison
		var refused *ingest.DeliveryError
		switch {
		case err == nil:
			return false, nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case errors.As(err, &refused):
			return false, err
		case errors.As(err, &bad) && bad.Foreign:
			return true, nil // a bucket holds other things too
		case errors.As(err, &bad):
			return false, s.setAside(ctx, o, bad.Reason, bad.Head, sink)
		case awsaccess.Denied(err) && try == refusals:
			return false, s.setAside(ctx, o, err.Error(), nil, sink)
		}
		s.opt.Log.WarnContext(ctx, "object not read, again after a rest", "object", o.String(), "try", try, "err", err)
		if err := awsaccess.Sleep(ctx, pause.NextBackOff()); err != nil {
			return false, err
		}
	}
}

func (s *Source) setAside(ctx context.Context, o s3object.Object, reason string, head []byte, sink ingest.Sink) error {
	if sink.Broken == nil {
		s.opt.Log.ErrorContext(ctx, "set aside", "object", o.String(), "err", reason)
		return nil
	}
	b := ingest.Broken{Origin: event.Origin{Source: sourceName, Object: o.String()}, Reason: reason, Raw: head}
	if err := sink.Broken(ctx, b); err != nil {
		return &ingest.DeliveryError{Object: o.String(), Err: err}
	}
	return nil
}
