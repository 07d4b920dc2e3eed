package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/event"
)

// DeadLetter is what could not be read or handled.
type DeadLetter struct {
	// Seq is its number, by which it is shown and replayed.
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	// Place is the file and line, the object and offset, or the stream and sequence.
	Place string `json:"place"`
	// Kind is the kind of a record that could not be read.
	Kind string `json:"kind,omitempty"`
	// Subject is where a message that could not be handled was published.
	Subject string `json:"subject,omitempty"`
	Payload []byte `json:"payload"`
	// Truncated says that the payload is only the beginning.
	Truncated bool `json:"truncated,omitempty"`
}

// maxDeadPayload leaves room for JSON's base64 within a message.
const maxDeadPayload = 4 << 20

// DeadLetter stores a letter; Seq and Time are given to it. The same letter
// within the stream's window is stored once.
func (b *Bus) DeadLetter(ctx context.Context, d DeadLetter) error {
	if len(d.Payload) > maxDeadPayload {
		d.Payload, d.Truncated = d.Payload[:maxDeadPayload], true
	}
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write the dead letter: %w", err)
	}
	kind := d.Kind
	if d.Subject != "" {
		kind, _, _ = strings.Cut(d.Subject, ".")
	}
	msg := &nats.Msg{Subject: deadPrefix + token(kind), Header: nats.Header{}, Data: body}
	inject(ctx, msg.Header)
	id := event.Hash("dead", d.Place, d.Reason, string(d.Payload))
	return b.retrying(ctx, "dead letter", func() error {
		_, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id))
		return err
	})
}

// DeadLetters lists at most limit letters from sequence from on, oldest first.
func (b *Bus) DeadLetters(ctx context.Context, from uint64, limit int) ([]DeadLetter, error) {
	s, err := b.js.Stream(ctx, deadStream)
	if err != nil {
		return nil, fmt.Errorf("open the dead letters: %w", err)
	}
	var out []DeadLetter
	for seq := max(from, 1); len(out) < limit; {
		msg, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(deadPrefix+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("read the dead letters: %w", err)
		}
		d, err := readLetter(msg)
		if err != nil {
			return out, err
		}
		out = append(out, d)
		seq = msg.Sequence + 1
	}
	return out, nil
}

func readLetter(msg *jetstream.RawStreamMsg) (DeadLetter, error) {
	var d DeadLetter
	if err := json.Unmarshal(msg.Data, &d); err != nil {
		return d, fmt.Errorf("read dead letter %d: %w", msg.Sequence, err)
	}
	d.Seq, d.Time = msg.Sequence, msg.Time.UTC()
	return d, nil
}

// Replay gives a letter another chance: a message is published where it was, a
// record is read again as the kind it should be. Then the letter is removed. A
// record that still does not read stays, and the error says why.
func (b *Bus) Replay(ctx context.Context, seq uint64) error {
	s, err := b.js.Stream(ctx, deadStream)
	if err != nil {
		return fmt.Errorf("open the dead letters: %w", err)
	}
	msg, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("there is no dead letter %d", seq)
	}
	if err != nil {
		return fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	d, err := readLetter(msg)
	if err != nil {
		return err
	}
	if d.Truncated {
		return fmt.Errorf("dead letter %d holds only the beginning of its payload: ingest %s again instead", seq, d.Place)
	}
	if err := b.republish(ctx, d); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", seq, err)
	}
	if err := s.DeleteMsg(ctx, seq); err != nil {
		return fmt.Errorf("remove dead letter %d: %w", seq, err)
	}
	return nil
}

func (b *Bus) republish(ctx context.Context, d DeadLetter) error {
	id := fmt.Sprintf("replay-%d", d.Seq)
	switch {
	case d.Subject == "":
		kind, err := event.ParseKind(d.Kind)
		if err != nil {
			return errors.New("nobody knows what kind of record it should be")
		}
		e, err := decodeLetter(kind, d.Payload)
		if err != nil {
			return fmt.Errorf("it still does not read: %w", err)
		}
		e.Ingested = time.Now().UTC()
		e.Origin = event.Origin{Source: "replay", Object: d.Place}
		return b.PublishEvents(ctx, id, []event.Event{e})
	case strings.HasPrefix(d.Subject, findingsPrefix):
		// The finding's own subject takes only its first message.
		subject, _, _ := strings.Cut(d.Subject, ".replay.")
		d.Subject = fmt.Sprintf("%s.replay.%d", subject, d.Seq)
	}
	_, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: d.Subject, Data: d.Payload}, jetstream.WithMsgID(id))
	return err
}

func decodeLetter(kind event.Kind, raw []byte) (event.Event, error) {
	if kind == event.FlowLog {
		var e event.Event
		err := e.ScanFlow(event.DefaultFlowFormat(), raw)
		return e, err
	}
	return event.Decode(kind, raw)
}
