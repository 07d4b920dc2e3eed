package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/event"
)

const (
	// idHeader has the id of an incident whose subject is only its hash.
	idHeader = "Riposte-Id"
	// slack is what a message needs beside its payload: headers, and the names in
	// the letter should it ever become a dead one.
	slack = 64 << 10
)

var messages = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// PublishEvents stores a batch under its id, once for as long as the stream keeps
// it, and for ten minutes at least: a source may read an object again after
// hours, as a queue has it. It returns when the batch is durable, waits
// while the stream is full or away, and fails only when ctx ends or the bus is
// closed. A batch too large for one message is split, its parts' ids derived; a
// record too large for one goes to the dead letters.
func (b *Bus) PublishEvents(ctx context.Context, id string, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	buf := messages.Get().(*[]byte)
	defer messages.Put(buf)
	size := 0
	for i := range events {
		size += len(events[i].Raw)
	}
	*buf = (*buf)[:0]
	fits := size <= maxBatchBytes/2 && len(events) <= maxBatchEvents
	if fits {
		*buf = EncodeBatch(*buf, events)
		fits = len(*buf) <= b.room(b.cfg.EventsMaxBytes)
	}
	switch {
	case !fits && len(events) > 1:
		half := len(events) / 2
		if err := b.PublishEvents(ctx, event.Hash(id, "0"), events[:half]); err != nil {
			return err
		}
		return b.PublishEvents(ctx, event.Hash(id, "1"), events[half:])
	case !fits:
		e := &events[0]
		return b.DeadLetter(ctx, DeadLetter{
			Reason: fmt.Sprintf("a record of %d bytes does not fit a message: raise the server's max_payload or bus.events_max_bytes", len(e.Raw)),
			Place:  e.Origin.String(), Kind: e.Kind.String(), Payload: e.Raw,
		})
	}
	msg := &nats.Msg{Subject: eventsPrefix + token(id), Header: nats.Header{}, Data: *buf}
	inject(ctx, msg.Header)
	return b.retrying(ctx, "events", func() error {
		err := b.send(ctx, msg, jetstream.WithMsgID(headerID(id)), jetstream.WithExpectLastSequencePerSubject(0))
		if exists(err) {
			return nil // it is there, from whoever put it there
		}
		return err
	})
}

// room is how large the payload of a message may be, so that it fits the server,
// several fit the stream, and it fits a dead letter whole.
func (b *Bus) room(streamMax int64) int {
	return int((min(b.nc.MaxPayload(), max(streamMax/4, minPayload)) - slack) * 3 / 4)
}

// PublishIncident announces an incident's change to those who watch.
func (b *Bus) PublishIncident(ctx context.Context, id string, body []byte) error {
	msg := &nats.Msg{Subject: incidentsPrefix + token(id), Header: nats.Header{}, Data: body}
	if token(id) != id {
		msg.Header.Set(idHeader, strconv.QuoteToASCII(id[:min(len(id), 1024)]))
	}
	inject(ctx, msg.Header)
	return b.retrying(ctx, "incident", func() error {
		return b.send(ctx, msg)
	})
}

// token makes an id fit a subject. Ours are hexadecimal; anything else is hashed,
// and begins with a letter that no other has.
func token(id string) string {
	plain := id != "" && len(id) <= 64
	for i := 0; plain && i < len(id); i++ {
		c := id[i]
		plain = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-'
	}
	if !plain {
		return "H" + event.Hash(id)
	}
	return id
}

// headerID makes an id fit a header, in which line ends and spaces are lost.
func headerID(id string) string {
	plain := id != "" && len(id) <= 256
	for i := 0; plain && i < len(id); i++ {
		plain = id[i] > ' ' && id[i] < 0x7f
	}
	if !plain {
		return "H " + event.Hash(id)
	}
	return id
}

// send publishes once and waits for the stream's word, which the client gives up
// as soon as the connection is lost.
func (b *Bus) send(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) error {
	ack, err := b.start(msg, opts...)
	if err != nil {
		return err
	}
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-b.closed:
		return ErrClosed
	}
}

// start publishes once and does not wait. The client must not try again by
// itself: the payload is another's when we have returned.
func (b *Bus) start(msg *nats.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	if b.nc.IsClosed() {
		return nil, ErrClosed // which the client does not say in every case
	}
	return b.js.PublishMsgAsync(msg, append(opts, jetstream.WithRetryAttempts(0))...)
}

func newBackOff() *backoff.ExponentialBackOff {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, 5*time.Second
	return wait
}

// retrying runs a publish until it succeeds, until ctx ends, or until it fails
// in a way that trying again cannot mend.
func (b *Bus) retrying(ctx context.Context, what string, publish func() error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := publish()
		if err != nil && lasting(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(newBackOff()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, d time.Duration) {
		b.refused(ctx, what, err, d)
	}))
	if err != nil {
		return fmt.Errorf("publish %s: %w", what, inOurWords(err))
	}
	return nil
}

// ErrClosed says that the bus is closed.
var ErrClosed = errors.New("the bus is closed")

var errAway = errors.New("the NATS server is away")

// inOurWords gives what the client says in several ways one name: that the bus is
// closed, and that there is no connection now.
func inOurWords(err error) error {
	switch {
	case errors.Is(err, ErrClosed), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed):
		return ErrClosed
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return errAway
	}
	return err
}

// refused notes a publish that will be tried again; if the stream is full, the
// tender looks at once whether something may go.
func (b *Bus) refused(ctx context.Context, what string, err error, wait time.Duration) {
	b.log.WarnContext(ctx, "publish refused, trying again", "what", what, "err", inOurWords(err), "wait", wait.String())
	if code(err) == storeFailed {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
}

// lasting reports errors that will be the same next time.
func lasting(err error) bool {
	return errors.Is(inOurWords(err), ErrClosed) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || exists(err)
}

// exists reports that a subject that must be new has a message. A cluster's
// 10164, that somebody else's is on its way there, is not yet that.
func exists(err error) bool { return code(err) == jetstream.JSErrCodeStreamWrongLastSequence }

// storeFailed is the server's number for a stream that is full.
const storeFailed jetstream.ErrorCode = 10077

// code is the server's own number for an error, 0 when the error is not its.
func code(err error) jetstream.ErrorCode {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) {
		return api.ErrorCode
	}
	return 0
}

// PublishFinding stores one finding, as PublishFindings does.
func (b *Bus) PublishFinding(ctx context.Context, f *event.Finding) (isNew bool, err error) {
	one, err := b.PublishFindings(ctx, []*event.Finding{f})
	return one[0], err
}

// PublishFindings stores each finding under its id, once for as long as the
// stream keeps it: isNew is false for those that are there already. They are
// stored in order, without a round trip each. It returns when all are durable,
// waits while the stream is full or away, and fails only when ctx ends or the
// bus is closed, or, permanently, for a finding that does not fit a message; the
// others are stored then.
func (b *Bus) PublishFindings(ctx context.Context, findings []*event.Finding) (isNew []bool, err error) {
	isNew = make([]bool, len(findings))
	var errs []error
	open := make([]*delivery, 0, len(findings))
	for i, f := range findings {
		body, err := json.Marshal(f)
		if err == nil && len(body) > b.room(b.cfg.FindingsMaxBytes) {
			err = fmt.Errorf("%d bytes do not fit a message: raise the server's max_payload or bus.findings_max_bytes, or have the rule keep less evidence", len(body))
		}
		if err != nil {
			errs = append(errs, Permanent(fmt.Errorf("publish finding %s: %w", f.ID, err)))
			continue
		}
		msg := &nats.Msg{Subject: findingsPrefix + token(f.ID), Header: nats.Header{}, Data: body}
		inject(ctx, msg.Header)
		msg.Header.Set(attemptHeader, b.attempts.next())
		open = append(open, &delivery{msg: msg, isNew: &isNew[i]})
	}
	wait := newBackOff()
	for {
		var cause error
		if open, cause = b.deliver(ctx, open); len(open) == 0 {
			return isNew, errors.Join(errs...)
		}
		pause := wait.NextBackOff()
		if ctx.Err() == nil && !lasting(cause) {
			b.refused(ctx, "findings", cause, pause)
			if sleep(ctx, pause) {
				continue
			}
		}
		if ctx.Err() != nil {
			cause = context.Cause(ctx)
		}
		return isNew, errors.Join(append(errs, fmt.Errorf("publish findings: %w", inOurWords(cause)))...)
	}
}

// attemptHeader tells who stored a finding when the acknowledgement was lost.
const attemptHeader = "Riposte-Attempt"

// inFlight is how many findings are sent before the first is waited for.
const inFlight = 256

// delivery is a finding on its way to the stream.
type delivery struct {
	msg   *nats.Msg
	isNew *bool
	// doubt says that an earlier try may have been stored.
	doubt bool
	ack   jetstream.PubAckFuture
}

// deliver sends all, then waits for each; it returns those that must be tried
// again, in order, and why.
func (b *Bus) deliver(ctx context.Context, all []*delivery) (open []*delivery, cause error) {
	for from := 0; from < len(all); from += inFlight {
		window := all[from:min(from+inFlight, len(all))]
		for _, d := range window {
			var err error
			if d.ack, err = b.start(d.msg, jetstream.WithExpectLastSequencePerSubject(0)); err != nil {
				d.ack, cause = nil, err
			}
		}
		for _, d := range window {
			if d.ack == nil {
				open = append(open, d)
			} else if err := b.settle(ctx, d); err != nil {
				open, cause = append(open, d), err
			}
		}
	}
	return open, cause
}

// settle waits until the stream has said what became of a delivery.
func (b *Bus) settle(ctx context.Context, d *delivery) error {
	select {
	case <-d.ack.Ok():
		*d.isNew = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.closed:
		return ErrClosed
	case err := <-d.ack.Err():
		if !exists(err) {
			d.doubt = d.doubt || code(err) == 0
			return err
		}
	}
	if !d.doubt {
		return nil
	}
	// It is there; whether it was we who put it there, the message knows.
	s, err := b.js.Stream(ctx, findingsStream)
	if err != nil {
		return err
	}
	stored, err := s.GetLastMsgForSubject(ctx, d.msg.Subject)
	if err != nil {
		return err
	}
	*d.isNew = stored.Header.Get(attemptHeader) == d.msg.Header.Get(attemptHeader)
	return nil
}

// sleep waits, and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Finding returns a finding that the stream still holds; false when it does not.
func (b *Bus) Finding(ctx context.Context, id string) (f event.Finding, found bool, err error) {
	s, err := b.js.Stream(ctx, findingsStream)
	if err != nil {
		return f, false, fmt.Errorf("open the findings: %w", inOurWords(err))
	}
	msg, err := s.GetLastMsgForSubject(ctx, findingsPrefix+token(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return f, false, nil
	}
	if err != nil {
		return f, false, fmt.Errorf("read finding %s: %w", id, inOurWords(err))
	}
	if err := json.Unmarshal(msg.Data, &f); err != nil {
		return f, false, fmt.Errorf("read finding %s: %w", id, err)
	}
	return f, true, nil
}
