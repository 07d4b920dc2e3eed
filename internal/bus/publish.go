package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/event"
)

var messages = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// PublishEvents stores a batch under its id: the same id again within the
// stream's window is the same batch. It returns when the batch is durable, waits
// while the stream is full or away, and fails only when ctx ends. A batch too
// large for one message is split, its parts' ids derived.
func (b *Bus) PublishEvents(ctx context.Context, id string, events []event.Event) error {
	buf := messages.Get().(*[]byte)
	defer messages.Put(buf)
	*buf = EncodeBatch((*buf)[:0], events)
	if len(*buf) > maxPayload-4096 && len(events) > 1 {
		half := len(events) / 2
		if err := b.PublishEvents(ctx, event.Hash(id, "0"), events[:half]); err != nil {
			return err
		}
		return b.PublishEvents(ctx, event.Hash(id, "1"), events[half:])
	}
	msg := &nats.Msg{Subject: eventsSubject, Header: nats.Header{}, Data: *buf}
	inject(ctx, msg.Header)
	return b.retrying(ctx, "events", func() error {
		_, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id))
		return err
	})
}

// PublishFinding stores a finding under its id, once for ever: isNew is false
// when it is there already.
func (b *Bus) PublishFinding(ctx context.Context, f *event.Finding) (isNew bool, err error) {
	body, err := json.Marshal(f)
	if err != nil {
		return false, fmt.Errorf("write finding %s: %w", f.ID, err)
	}
	msg := &nats.Msg{Subject: findingsPrefix + token(f.ID), Header: nats.Header{}, Data: body}
	inject(ctx, msg.Header)
	err = b.retrying(ctx, "finding", func() error {
		_, err := b.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(0))
		return err
	})
	if exists(err) {
		return false, nil
	}
	return err == nil, err
}

// PublishIncident announces an incident's change to those who watch.
func (b *Bus) PublishIncident(ctx context.Context, id string, body []byte) error {
	msg := &nats.Msg{Subject: incidentsPrefix + token(id), Header: nats.Header{}, Data: body}
	inject(ctx, msg.Header)
	return b.retrying(ctx, "incident", func() error {
		_, err := b.js.PublishMsg(ctx, msg)
		return err
	})
}

// token makes an id fit a subject. Ours are hexadecimal; anything else is hashed.
func token(id string) string {
	for i := range len(id) {
		if c := id[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-') {
			return event.Hash(id)
		}
	}
	if id == "" {
		return event.Hash(id)
	}
	return id
}
