package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"riposte/event"
)

const (
	// ackWait is how long a message may be worked on in silence; slow handlers
	// are spoken for.
	ackWait = 30 * time.Second
	// pulled is how many messages wait inside a worker.
	pulled = 16
	// maxPanics is how often a message may make a handler panic before it is set aside.
	maxPanics = 3
)

// Permanent marks an error that delivering again cannot mend: the message goes
// to the dead letters.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Batch is a delivery of events, valid during the handler's call.
type Batch struct {
	Events []event.Event
	// Seq is the batch's place in the stream.
	Seq uint64
	// Delivered is how often it was delivered, this time included.
	Delivered uint64
	// Published is when the stream stored it.
	Published time.Time
}

// ConsumeEvents calls h with every batch, from workers goroutines, until ctx is
// done. durable names the position in the stream: those who share it share the
// work. Records of a batch that do not decode go to the dead letters one by one.
func (b *Bus) ConsumeEvents(ctx context.Context, durable string, workers int, h func(context.Context, *Batch) error) error {
	return b.consume(ctx, eventsStream, durable, workers, func() handler {
		var d Decoder
		return func(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			events, broken, err := d.Decode(msg.Data())
			if err != nil {
				return Permanent(err)
			}
			for _, r := range broken {
				letter := DeadLetter{Reason: r.Err.Error(), Place: r.Origin.String(), Kind: r.Kind.String(), Payload: r.Raw}
				if err := b.DeadLetter(ctx, letter); err != nil {
					return err
				}
			}
			return h(ctx, &Batch{Events: events, Seq: meta.Sequence.Stream, Delivered: meta.NumDelivered, Published: meta.Timestamp})
		}
	})
}

// ConsumeFindings calls h with every finding, as ConsumeEvents does with batches.
func (b *Bus) ConsumeFindings(ctx context.Context, durable string, workers int, h func(context.Context, *event.Finding) error) error {
	return b.consume(ctx, findingsStream, durable, workers, func() handler {
		return func(ctx context.Context, msg jetstream.Msg, _ *jetstream.MsgMetadata) error {
			var f event.Finding
			if err := json.Unmarshal(msg.Data(), &f); err != nil {
				return Permanent(fmt.Errorf("read the finding: %w", err))
			}
			return h(ctx, &f)
		}
	})
}

// WatchIncidents calls h with the changes that are announced from now on, in
// order, until ctx is done.
func (b *Bus) WatchIncidents(ctx context.Context, h func(id string, body []byte)) error {
	c, err := b.js.OrderedConsumer(ctx, incidentsStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return fmt.Errorf("watch the incidents: %w", err)
	}
	it, err := c.Messages()
	if err != nil {
		return fmt.Errorf("watch the incidents: %w", err)
	}
	defer context.AfterFunc(ctx, it.Stop)()
	for {
		msg, err := it.Next()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return nil
			}
			return fmt.Errorf("watch the incidents: %w", err)
		}
		h(msg.Subject()[len(incidentsPrefix):], msg.Data())
	}
}

type handler func(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) error

func (b *Bus) consume(ctx context.Context, stream, durable string, workers int, newHandler func() handler) error {
	c, err := b.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1,
		MaxAckPending: max(1000, 2*workers*pulled),
	})
	if err != nil {
		return fmt.Errorf("make the consumer %s of %s: %w", durable, stream, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return b.work(ctx, c, stream, newHandler()) })
	}
	return g.Wait()
}

// work handles messages one after the other until ctx is done.
func (b *Bus) work(ctx context.Context, c jetstream.Consumer, stream string, h handler) error {
	it, err := c.Messages(jetstream.PullMaxMessages(pulled))
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer context.AfterFunc(ctx, it.Stop)()
	for {
		msg, err := it.Next()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, jetstream.ErrNoHeartbeat), errors.Is(err, jetstream.ErrNoMessages):
			b.log.WarnContext(ctx, "stream is silent", "stream", stream, "err", err)
			continue
		case err != nil:
			return fmt.Errorf("read %s: %w", stream, err)
		}
		b.handle(ctx, stream, msg, h)
	}
}

// handle runs the handler and carries out its verdict.
func (b *Bus) handle(ctx context.Context, stream string, msg jetstream.Msg, h handler) {
	meta, err := msg.Metadata()
	if err != nil {
		b.log.ErrorContext(ctx, "message without metadata", "stream", stream, "err", err)
		return
	}
	var beat *time.Timer
	beat = time.AfterFunc(ackWait/3, func() {
		if msg.InProgress() == nil {
			beat.Reset(ackWait / 3)
		}
	})
	err = guarded(extract(ctx, msg.Headers()), msg, meta, h)
	beat.Stop()
	if err == nil {
		if err := msg.Ack(); err != nil {
			b.log.WarnContext(ctx, "not acknowledged, it will come again", "stream", stream, "err", err)
		}
		return
	}
	if ctx.Err() != nil {
		_ = msg.Nak() // shutting down: somebody else, or we after a restart
		return
	}
	var permanent *permanentError
	var panicked *panicError
	if errors.As(err, &permanent) || errors.As(err, &panicked) && meta.NumDelivered >= maxPanics {
		b.setAside(ctx, stream, msg, meta, err)
		return
	}
	wait := retryAfter(meta.NumDelivered)
	b.log.WarnContext(ctx, "handler failed, it will come again", "stream", stream, "seq", meta.Sequence.Stream, "err", err, "wait", wait.String())
	_ = msg.NakWithDelay(wait)
}

// retryAfter doubles from 100 ms to a minute.
func retryAfter(delivered uint64) time.Duration {
	return min(100*time.Millisecond<<min(delivered-1, 10), time.Minute)
}

// setAside stores a message that no handler will take, then ends its delivery.
func (b *Bus) setAside(ctx context.Context, stream string, msg jetstream.Msg, meta *jetstream.MsgMetadata, cause error) {
	err := b.DeadLetter(ctx, DeadLetter{
		Reason: cause.Error(), Place: fmt.Sprintf("%s #%d", stream, meta.Sequence.Stream), Subject: msg.Subject(), Payload: msg.Data(),
	})
	if err != nil {
		_ = msg.NakWithDelay(time.Minute)
		return
	}
	b.log.ErrorContext(ctx, "message set aside", "stream", stream, "seq", meta.Sequence.Stream, "err", cause)
	_ = msg.TermWithReason("dead letter")
}

// panicError is a handler's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func guarded(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, h handler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return h(ctx, msg, meta)
}
