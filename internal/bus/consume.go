package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"riposte/event"
)

const (
	// ackWait is how long a message may be worked on in silence; slow handlers
	// are spoken for. It is also how long what a killed process had in hand waits.
	ackWait = 10 * time.Second
	// pulled is how many messages a worker takes at a time. One that waits inside
	// a worker is nobody's: when the handler before it is slow, it comes again to
	// somebody else.
	pulled = 1
	// maxUnacked is how many messages may be on their way to their next try, all
	// workers together, before the stream waits for them.
	maxUnacked = 1000
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
// done and those that run have returned. durable names the position in the
// stream: those who share it share the work. Records of a batch that do not
// decode go to the dead letters one by one. While the server is away it waits; it
// fails when the bus is closed or the server will not have the consumer.
func (b *Bus) ConsumeEvents(ctx context.Context, durable string, workers int, h func(context.Context, *Batch) error) error {
	return b.consume(ctx, eventsStream, durable, workers, func() handler {
		var d Decoder
		return func(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			events, broken, err := d.Decode(msg.Data())
			if err != nil {
				return Permanent(err)
			}
			for _, r := range broken {
				letter := DeadLetter{Reason: r.Err.Error(), Place: r.Origin.String(), Kind: r.Kind.String(), Format: r.Format, Payload: r.Raw}
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

type handler func(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) error

func (b *Bus) consume(ctx context.Context, stream, durable string, workers int, newHandler func() handler) error {
	workers = max(workers, 1)
	return b.keepAt(ctx, fmt.Sprintf("consume %s as %s", stream, durable), func(ctx context.Context) error {
		c, err := b.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
			Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: b.ackWait, MaxDeliver: -1,
			MaxAckPending: max(maxUnacked, 2*workers*pulled),
		})
		if err != nil {
			return err
		}
		g, ctx := errgroup.WithContext(ctx)
		for range workers {
			g.Go(func() error { return b.work(ctx, c, stream, newHandler()) })
		}
		return g.Wait()
	})
}

// keepAt runs f again, with back-off, until ctx is done or f fails in a way that
// running it again cannot mend.
func (b *Bus) keepAt(ctx context.Context, what string, f func(context.Context) error) error {
	wait := newBackOff()
	for {
		began := time.Now()
		err := f(ctx)
		if ctx.Err() != nil {
			return nil
		}
		api := (*jetstream.APIError)(nil)
		if b.nc.IsClosed() {
			err = ErrClosed
		}
		refused := errors.As(err, &api) && api.Code >= 400 && api.Code < 500 && !errors.Is(err, jetstream.ErrConsumerNotFound)
		if errors.Is(inOurWords(err), ErrClosed) || errors.Is(err, jetstream.ErrInvalidConsumerName) || refused {
			return fmt.Errorf("%s: %w", what, inOurWords(err))
		}
		if time.Since(began) > time.Minute {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		b.log.WarnContext(ctx, "interrupted, going on", "what", what, "err", inOurWords(err), "wait", pause.String())
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// work handles messages one after the other until ctx is done.
func (b *Bus) work(ctx context.Context, c jetstream.Consumer, stream string, h handler) error {
	it, err := c.Messages(jetstream.PullMaxMessages(pulled))
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer giveBack(context.WithoutCancel(ctx), it)
	var inHand atomic.Pointer[jetstream.Msg]
	defer b.speakFor(&inHand)()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = msg.Nak()
			}
			return nil
		case errors.Is(err, jetstream.ErrNoHeartbeat), errors.Is(err, jetstream.ErrNoMessages):
			b.log.WarnContext(ctx, "stream is silent", "stream", stream, "err", err)
			if _, err := c.Info(ctx); errors.Is(err, jetstream.ErrConsumerNotFound) {
				return fmt.Errorf("read %s: %w", stream, err)
			}
			continue
		case err != nil:
			return fmt.Errorf("read %s: %w", stream, err)
		}
		inHand.Store(&msg)
		b.handle(ctx, stream, msg, h)
		inHand.Store(nil)
	}
}

// giveBack ends an iterator; what it has taken and nobody has begun goes to
// others at once, not when the server stops waiting for us.
func giveBack(ctx context.Context, it jetstream.MessagesContext) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	it.Drain()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return
		}
		_ = msg.Nak()
	}
}

// speakFor tells the server again and again that the message in hand is being
// worked on, until it is stopped.
func (b *Bus) speakFor(inHand *atomic.Pointer[jetstream.Msg]) (stop func()) {
	done := make(chan struct{})
	var speaking sync.WaitGroup
	speaking.Go(func() {
		tick := time.NewTicker(b.ackWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if msg := inHand.Load(); msg != nil {
					_ = (*msg).InProgress() // if it is not heard, the message comes again
				}
			case <-done:
				return
			}
		}
	})
	return func() { close(done); speaking.Wait() }
}

// handle runs the handler and carries out its verdict.
func (b *Bus) handle(ctx context.Context, stream string, msg jetstream.Msg, h handler) {
	meta, err := msg.Metadata()
	if err != nil {
		b.log.ErrorContext(ctx, "message without metadata", "stream", stream, "err", err)
		return
	}
	err = guarded(extract(ctx, msg.Headers()), msg, meta, h)
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
	return min(100*time.Millisecond<<min(max(delivered, 1)-1, 10), time.Minute)
}

// setAside stores a message that no handler will take, then ends its delivery.
func (b *Bus) setAside(ctx context.Context, stream string, msg jetstream.Msg, meta *jetstream.MsgMetadata, cause error) {
	err := b.DeadLetter(ctx, DeadLetter{
		Reason: cause.Error(), Place: fmt.Sprintf("%s #%d", stream, meta.Sequence.Stream), Subject: msg.Subject(), Payload: msg.Data(),
	})
	if err != nil {
		b.log.ErrorContext(ctx, "message not set aside, it will come again", "stream", stream, "seq", meta.Sequence.Stream, "err", err)
		_ = msg.NakWithDelay(retryAfter(meta.NumDelivered))
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
