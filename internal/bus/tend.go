package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	tendEvery = 5 * time.Second
	// crowd is how many batches the events may hold before what was handled goes,
	// however small they are: the server has each one's subject in memory, some 230
	// bytes of it.
	crowd = 250_000
)

// tend removes what every consumer has acknowledged from streams that are more
// than half full, so that publishers do not wait for history, or of very many
// batches; at once when one was refused.
func (b *Bus) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		refused := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.full:
			refused = true
		}
		for _, name := range []string{eventsStream, findingsStream} {
			if err := b.trim(ctx, name, refused); err != nil && ctx.Err() == nil {
				b.log.WarnContext(ctx, "stream not trimmed", "stream", name, "err", err)
			}
		}
	}
}

// trim removes the older half of what may go. A large message is refused by a
// stream that is hardly half full; then refused lets it trim any that has less
// room left than the largest message.
func (b *Bus) trim(ctx context.Context, name string, refused bool) error {
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	used, limit := int64(info.State.Bytes), info.Config.MaxBytes
	if used < limit/2 && !(name == eventsStream && info.State.Msgs >= b.crowd) && !(refused && limit-used < int64(b.room(limit))+slack) {
		return nil
	}
	handled, consumers := uint64(0), 0
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.Durable == "" {
			continue
		}
		if consumers++; consumers == 1 || c.AckFloor.Stream < handled {
			handled = c.AckFloor.Stream
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	if consumers == 0 || handled < info.State.FirstSeq {
		return nil
	}
	return s.Purge(ctx, jetstream.WithPurgeSequence(info.State.FirstSeq+(handled-info.State.FirstSeq)/2+1))
}
