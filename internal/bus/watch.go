package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// WatchIncidents calls h with the changes that are announced from now on, in
// order, until ctx is done. It is a doorbell: of several changes of one incident
// the earlier may be left out. When the connection was lost, it goes on after the
// last change that h saw.
func (b *Bus) WatchIncidents(ctx context.Context, h func(id string, body []byte)) error {
	next := uint64(0)
	return b.keepAt(ctx, "watch the incidents", func(ctx context.Context) error {
		if next == 0 {
			s, err := b.js.Stream(ctx, incidentsStream)
			if err != nil {
				return err
			}
			next = s.CachedInfo().State.LastSeq + 1
		}
		return b.watch(ctx, &next, h)
	})
}

var errDisconnected = errors.New("disconnected")

// watch calls h from *next on until ctx is done or the connection is lost: what
// was on its way then is lost with it, and must be asked for again.
func (b *Bus) watch(ctx context.Context, next *uint64, h func(id string, body []byte)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := b.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer b.nc.RemoveStatusListener(lost)
	go func() { // ends with ctx
		select {
		case <-lost:
			cancel(errDisconnected)
		case <-ctx.Done():
		}
	}()
	c, err := b.js.CreateConsumer(ctx, incidentsStream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return err
	}
	defer it.Stop()
	for seen := uint64(1); ; seen++ {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != seen {
			return fmt.Errorf("change %d came in the place of %d", meta.Sequence.Consumer, seen)
		}
		id := msg.Subject()[len(incidentsPrefix):]
		if q := msg.Headers().Get(idHeader); q != "" {
			if whole, err := strconv.Unquote(q); err == nil {
				id = whole
			}
		}
		h(id, msg.Data())
		*next = meta.Sequence.Stream + 1
	}
}
