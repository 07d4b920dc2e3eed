package s3sqs

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// worker is one receiver, with its buffers.
type worker struct {
	*Source
	reader *s3object.Reader
	bodies *ingest.Reader // of messages that are telemetry themselves
	sink   ingest.Sink
}

// messages works on what one call received, in order, and leaves each message
// deleted or visible again.
func (w *worker) messages(ctx context.Context, all []sqstypes.Message) {
	h := &held{s: w.Source, handles: map[string]string{}}
	for _, m := range all {
		h.handles[aws.ToString(m.MessageId)] = aws.ToString(m.ReceiptHandle)
	}
	stop := h.keep(ctx)
	for _, m := range all {
		if ctx.Err() != nil {
			break
		}
		err := w.message(ctx, m)
		switch {
		case ctx.Err() != nil && err != nil:
		case err == nil:
			h.drop(m)
			w.delete(ctx, m)
		default:
			n := receives(m)
			again := w.rest(n)
			w.log.ErrorContext(ctx, "message not handled, it becomes visible again", "message", aws.ToString(m.MessageId), "receives", n, "after", again, "err", err)
			h.drop(m)
			w.hide(ctx, m, again)
		}
	}
	stop()
	for _, m := range all { // what the end of ctx has left
		if h.drop(m) {
			w.hide(ctx, m, 0)
		}
	}
}

// message delivers the objects of one message. nil says that each is durable or
// set aside; else the message is to come again.
func (w *worker) message(ctx context.Context, m sqstypes.Message) error {
	if receives(m) > 1 {
		w.count(ctx, Again, 1)
	}
	body := []byte(aws.ToString(m.Body))
	all, err := objects(body)
	if err != nil {
		return w.telemetry(ctx, m, body, err)
	}
	var failed []error
	for _, o := range all {
		if !w.cfg.wants(o.Key) {
			if w.Skipped != nil {
				w.Skipped(o.Bucket, o.Key)
			}
			continue
		}
		err := w.reader.Deliver(ctx, o, w.sink)
		var refused *ingest.DeliveryError
		if errors.As(err, &refused) || ctx.Err() != nil && err != nil {
			return err // the others would fare no better
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// telemetry delivers what a message itself holds: events that EventBridge or SNS
// put into the queue. none says why the message names no object.
func (w *worker) telemetry(ctx context.Context, m sqstypes.Message, body []byte, none error) error {
	place := w.cfg.Queue + "?messageId=" + aws.ToString(m.MessageId)
	if !errors.Is(none, errNoNotification) {
		return w.setAside(ctx, place, none.Error(), body)
	}
	// A message that is sent again by EventBridge or SNS has the same body: the
	// batch is named after it.
	stats, err := w.bodies.Read(ctx, ingest.Object{
		Source: "sqs", Name: place, Identity: event.Hash("message", string(body)), Delivered: sent(m), Log: w.cfg.Mapping,
	}, bytes.NewReader(ingest.AfterWords(body)), w.sink)
	var refused *ingest.DeliveryError
	switch {
	case errors.As(err, &refused) || ctx.Err() != nil && err != nil:
		return err
	case err != nil:
		return w.setAside(ctx, place, err.Error(), body)
	case stats.Foreign:
		return w.setAside(ctx, place, none.Error(), body)
	}
	return nil
}

// sent is when a message was put into the queue.
func sent(m sqstypes.Message) time.Time {
	ms, err := strconv.ParseInt(m.Attributes[string(sqstypes.MessageSystemAttributeNameSentTimestamp)], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// setAside gives what can never be read to the dead letters.
func (w *worker) setAside(ctx context.Context, place, reason string, raw []byte) error {
	if w.sink.Broken == nil {
		w.log.ErrorContext(ctx, "set aside", "object", place, "err", reason)
		return nil
	}
	b := ingest.Broken{Origin: event.Origin{Source: sourceName, Object: place}, Reason: reason, Raw: raw[:min(len(raw), s3object.HeadSize)]}
	if err := w.sink.Broken(ctx, b); err != nil {
		return &ingest.DeliveryError{Object: place, Err: err}
	}
	return nil
}

func receives(m sqstypes.Message) int {
	n, err := strconv.Atoi(m.Attributes[string(sqstypes.MessageSystemAttributeNameApproximateReceiveCount)])
	if err != nil {
		return 1
	}
	return n
}

// delete removes a message whose work is done, even when ctx has ended since.
func (s *Source) delete(ctx context.Context, m sqstypes.Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if _, err := s.queue.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &s.cfg.Queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
		s.log.ErrorContext(ctx, "message not deleted, it comes again and adds nothing", "message", aws.ToString(m.MessageId), "err", s.explain(err, "sqs:DeleteMessage", s.cfg.Queue))
		return
	}
	s.count(ctx, Deletes, 1)
}

// hide gives a message back to the queue, to be seen again later.
func (s *Source) hide(ctx context.Context, m sqstypes.Message, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	s.count(ctx, Returns, 1)
	_, err := s.queue.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &s.cfg.Queue, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: int32(d / time.Second)})
	if err != nil && !lost(awsaccess.Code(err)) {
		s.log.WarnContext(ctx, "message not given back, it comes again when its visibility ends", "message", aws.ToString(m.MessageId), "err", s.explain(err, "sqs:ChangeMessageVisibility", s.cfg.Queue))
	}
}

// held are the messages that a worker has not finished.
type held struct {
	s *Source

	mu      sync.Mutex        // held during an extension, so that none comes after the end of its message
	handles map[string]string // by message id
}

// drop takes a message out; false when it was no longer held.
func (h *held) drop(m sqstypes.Message) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.handles[aws.ToString(m.MessageId)]
	delete(h.handles, aws.ToString(m.MessageId))
	return ok
}

// keep extends the visibility of what is held until stop, which waits for it.
func (h *held) keep(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(h.s.extend)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.extend(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// extend says of every message that is held that it is worked on.
func (h *held) extend(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &h.s.cfg.Queue}
	for id, handle := range h.handles {
		in.Entries = append(in.Entries, sqstypes.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(id), ReceiptHandle: aws.String(handle), VisibilityTimeout: int32(h.s.cfg.Visibility / time.Second),
		})
	}
	if len(in.Entries) == 0 {
		return
	}
	out, err := h.s.queue.ChangeMessageVisibilityBatch(ctx, in)
	if err != nil {
		if ctx.Err() == nil {
			h.s.log.WarnContext(ctx, "visibility not extended: the messages may be delivered twice", "err", h.s.explain(err, "sqs:ChangeMessageVisibility", h.s.cfg.Queue))
		}
		return
	}
	for _, f := range out.Failed {
		if !lost(aws.ToString(f.Code)) {
			h.s.log.WarnContext(ctx, "visibility not extended: the message may be delivered twice", "message", aws.ToString(f.Id), "err", aws.ToString(f.Code)+": "+aws.ToString(f.Message))
		}
	}
}
