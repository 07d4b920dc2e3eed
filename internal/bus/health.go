package bus

import (
	"context"
	"fmt"
	"time"
)

// StreamHealth is one stream and its consumers.
type StreamHealth struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	MaxBytes int64  `json:"maxBytes"`
	FirstSeq uint64 `json:"firstSeq"`
	LastSeq  uint64 `json:"lastSeq"`
	// Last is when the newest message was stored.
	Last      time.Time        `json:"last,omitzero"`
	Consumers []ConsumerHealth `json:"consumers,omitempty"`
}

// ConsumerHealth is how far behind a consumer is.
type ConsumerHealth struct {
	Name string `json:"name"`
	// Delivered is the sequence of the message delivered last. Pending is not yet
	// delivered, Unacked delivered and not yet acknowledged.
	Delivered   uint64 `json:"delivered"`
	Pending     uint64 `json:"pending"`
	Unacked     int    `json:"unacked"`
	Redelivered int    `json:"redelivered"`
}

// Health is the state of the streams.
type Health struct {
	Streams     []StreamHealth `json:"streams"`
	DeadLetters uint64         `json:"deadLetters"`
}

// Health asks the server about every stream and consumer.
func (b *Bus) Health(ctx context.Context) (Health, error) {
	var h Health
	for _, name := range []string{eventsStream, findingsStream, incidentsStream, DeadStream} {
		s, err := b.js.Stream(ctx, name)
		if err != nil {
			return h, fmt.Errorf("ask about %s: %w", name, inOurWords(err))
		}
		info := s.CachedInfo()
		sh := StreamHealth{
			Name: name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes,
			FirstSeq: info.State.FirstSeq, LastSeq: info.State.LastSeq, Last: info.State.LastTime.UTC(),
		}
		list := s.ListConsumers(ctx)
		for c := range list.Info() {
			if c.Config.Durable != "" {
				sh.Consumers = append(sh.Consumers, ConsumerHealth{
					Name: c.Name, Delivered: c.Delivered.Stream, Pending: c.NumPending, Unacked: c.NumAckPending, Redelivered: c.NumRedelivered,
				})
			}
		}
		if err := list.Err(); err != nil {
			return h, fmt.Errorf("ask about the consumers of %s: %w", name, inOurWords(err))
		}
		if name == DeadStream {
			h.DeadLetters = info.State.Msgs
		}
		h.Streams = append(h.Streams, sh)
	}
	return h, nil
}

// Idle reports whether the named consumers have handled all there is. One that
// does not exist yet has not.
func (b *Bus) Idle(ctx context.Context, durables ...string) (bool, error) {
	h, err := b.Health(ctx)
	if err != nil {
		return false, err
	}
	done := map[string]bool{}
	for _, s := range h.Streams {
		for _, c := range s.Consumers {
			// A consumer that was made just now has nothing pending until the server
			// has counted.
			done[c.Name] = c.Pending == 0 && c.Unacked == 0 && c.Delivered >= s.LastSeq
		}
	}
	for _, d := range durables {
		if !done[d] {
			return false, nil
		}
	}
	return true, nil
}
