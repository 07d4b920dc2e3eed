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
	// Kind is the kind of a record that could not be read, Format the columns of a
	// flow log record where they are known, or the mapping of another log's.
	Kind   string `json:"kind,omitempty"`
	Format string `json:"format,omitempty"`
	// Subject is where a message that could not be handled was published.
	Subject string `json:"subject,omitempty"`
	Payload []byte `json:"payload"`
	// Truncated says that the payload is only the beginning.
	Truncated bool `json:"truncated,omitempty"`
}

// maxWords bounds the text in a letter, which may hold a stack.
const maxWords = 8 << 10

// DeadLetter stores a letter; Seq and Time are given to it. The same letter is
// there once; when it was removed or replayed and the same happens again, it is
// there again.
func (b *Bus) DeadLetter(ctx context.Context, d DeadLetter) error {
	id := event.Hash("record", d.Kind, d.Place, d.Reason, string(d.Payload))
	kind := d.Kind
	if d.Subject != "" {
		kind, _, _ = strings.Cut(d.Subject, ".")
		// The reason may hold a stack, which is never twice the same.
		id = event.Hash("message", d.Subject, d.Place, string(d.Payload))
	}
	if most := b.room(b.cfg.DeadMaxBytes); len(d.Payload) > most {
		d.Payload, d.Truncated = d.Payload[:most], true
	}
	for _, text := range []*string{&d.Reason, &d.Place, &d.Kind, &d.Format, &d.Subject} {
		*text = strings.ToValidUTF8((*text)[:min(len(*text), maxWords)], "")
	}
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write the dead letter: %w", err)
	}
	msg := &nats.Msg{Subject: deadPrefix + token(kind) + "." + id, Header: nats.Header{}, Data: body}
	inject(ctx, msg.Header)
	err = b.retrying(ctx, "dead letter", func() error {
		return b.send(ctx, msg, jetstream.WithExpectLastSequencePerSubject(0))
	})
	if exists(err) {
		return nil
	}
	return err
}

// DeadLetters lists at most limit letters from sequence from on, oldest first.
func (b *Bus) DeadLetters(ctx context.Context, from uint64, limit int) ([]DeadLetter, error) {
	s, err := b.js.Stream(ctx, DeadStream)
	if err != nil {
		return nil, fmt.Errorf("open the dead letters: %w", inOurWords(err))
	}
	var out []DeadLetter
	for seq := max(from, 1); len(out) < limit; {
		msg, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(deadPrefix+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("read the dead letters: %w", inOurWords(err))
		}
		d, err := readLetter(msg)
		if err != nil {
			// One that is not a letter must not hide those behind it.
			d = DeadLetter{Seq: msg.Sequence, Time: msg.Time.UTC(), Reason: err.Error(), Place: msg.Subject, Payload: msg.Data, Truncated: true}
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
	s, err := b.js.Stream(ctx, DeadStream)
	if err != nil {
		return fmt.Errorf("open the dead letters: %w", inOurWords(err))
	}
	msg, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("there is no dead letter %d", seq)
	}
	if err != nil {
		return fmt.Errorf("read dead letter %d: %w", seq, inOurWords(err))
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
		return fmt.Errorf("remove dead letter %d: %w", seq, inOurWords(err))
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
		e, err := decodeLetter(kind, d.Format, d.Payload)
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
	return inOurWords(b.send(ctx, &nats.Msg{Subject: d.Subject, Data: d.Payload}, jetstream.WithMsgID(id)))
}

func decodeLetter(kind event.Kind, format string, raw []byte) (e event.Event, err error) {
	var l layout
	switch {
	case kind == event.FlowLog && format == "":
		l.flow = event.DefaultFlowFormat()
	case kind == event.FlowLog || kind == event.Log:
		err = l.parse(kind, format)
	default:
		return event.Decode(kind, raw)
	}
	if err == nil {
		err = scanLayout(&e, kind, l, raw)
	}
	return e, err
}
