package lookup

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"riposte/ingest"
	"riposte/ingest/accounts"
)

// FuzzDeliver: whatever AWS gives as a record, it is delivered or set aside, once,
// and never ends the source.
func FuzzDeliver(f *testing.F) {
	f.Add("id", string(recorded(account, "us-east-1", "id", time.Unix(1_767_322_000, 0)).Raw))
	f.Add("", "")
	f.Add("x", "\x1f\x8b")
	f.Add("x", "(\xb5/\xfd\x00\x00\x00")
	f.Add("x", "PAR1xxxxPAR1")
	f.Add("x", `{"Records":[{"eventVersion":"1`)
	f.Add("x", `{"messageType":"DATA_MESSAGE","logEvents":[{"message":"x"}]}`)
	reader := ingest.NewReader()
	f.Fuzz(func(t *testing.T, id, raw string) {
		came := 0
		sink := ingest.Sink{
			Emit:   func(_ context.Context, b ingest.Batch) error { came += len(b.Events); return nil },
			Broken: func(context.Context, ingest.Broken) error { came++; return nil },
		}
		l := &poller{
			Source: &Source{now: time.Now}, place: accounts.Place{Account: accounts.Account{ID: account}, Region: "us-east-1"},
			category: management, log: slog.New(slog.NewTextHandler(io.Discard, nil)), sink: sink, book: &book{seen: memory{}},
		}
		for range 2 {
			if err := l.deliver(t.Context(), reader, &types.Event{EventId: aws.String(id), CloudTrailEvent: aws.String(raw)}, time.Unix(0, 0)); err != nil {
				t.Fatalf("%v ends the source", err)
			}
		}
		first := came
		if first == 0 {
			t.Errorf("%q is lost", raw)
		}
		if err := l.deliver(t.Context(), reader, &types.Event{EventId: aws.String(id), CloudTrailEvent: aws.String(raw)}, time.Unix(0, 0)); err != nil || came != first {
			t.Errorf("delivered again: %v", err)
		}
	})
}

// FuzzMemory: what was stored is read as it was, and anything else is refused or
// read as something that can be stored.
func FuzzMemory(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendEntry(nil, 1, time.Unix(1_767_322_000, 0)))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := memory{}
		if err := m.add(b); err != nil {
			return
		}
		again := memory{}
		if err := again.add(m.bytes()); err != nil || len(again) != len(m) {
			t.Fatalf("%v: %d entries of %d", err, len(again), len(m))
		}
		for k, at := range m {
			if !again[k].Equal(at) {
				t.Errorf("%x: %s, want %s", k, again[k], at)
			}
		}
	})
}
