package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"riposte/event"
	"riposte/internal/bus"
)

func deadLettersAreListed(t *testing.T, be *Backend) {
	b := be.Bus
	valid := record(t, "a").Raw
	for i := range 7 {
		d := bus.DeadLetter{Reason: "no good", Place: fmt.Sprintf("f:%d", i+1), Kind: "cloudtrail", Payload: valid}
		for range 2 { // twice is once
			if err := b.DeadLetter(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
	page := func(from uint64, limit int) (seqs []uint64) {
		t.Helper()
		list, err := b.DeadLetters(t.Context(), from, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if d.Place != fmt.Sprintf("f:%d", d.Seq) || string(d.Payload) != string(valid) || d.Time.IsZero() {
				t.Errorf("letter %+v", d)
			}
			seqs = append(seqs, d.Seq)
		}
		return seqs
	}
	for _, seq := range []uint64{1, 4, 5} {
		if err := b.Replay(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		from  uint64
		limit int
		want  string
	}{{0, 100, "[2 3 6 7]"}, {0, 2, "[2 3]"}, {4, 2, "[6 7]"}, {5, 1, "[6]"}, {8, 5, "[]"}, {1, 0, "[]"}, {1, -1, "[]"}} {
		if got := fmt.Sprint(page(c.from, c.limit)); got != c.want {
			t.Errorf("from %d at most %d: %s, want %s", c.from, c.limit, got, c.want)
		}
	}
	if h, err := b.Health(t.Context()); err != nil || h.DeadLetters != 4 {
		t.Errorf("health: %d %v", h.DeadLetters, err)
	}
	// Text that no JSON and no subject has is kept out of harm's way.
	if err := b.DeadLetter(t.Context(), bus.DeadLetter{Reason: strings.Repeat("\xff>", 1<<20), Place: "\r\n", Kind: "*.>", Payload: []byte{0, 255}}); err != nil {
		t.Fatal(err)
	}
	if l := letters(t, b); len(l) != 5 || string(l[4].Payload) != "\x00\xff" || l[4].Place != "\r\n" {
		t.Errorf("%d letters", len(l))
	}
}

func deadLettersAreReplayed(t *testing.T, be *Backend) {
	b := be.Bus
	ctx := t.Context()
	put := func(d bus.DeadLetter) uint64 {
		t.Helper()
		if err := b.DeadLetter(ctx, d); err != nil {
			t.Fatal(err)
		}
		l := letters(t, b)
		return l[len(l)-1].Seq
	}
	refuse := func(seq uint64, why string) {
		t.Helper()
		before := len(letters(t, b))
		if err := b.Replay(ctx, seq); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("replay %d: %v, want %q", seq, err, why)
		}
		if after := len(letters(t, b)); after != before {
			t.Errorf("a refused replay left %d letters of %d", after, before)
		}
	}
	refuse(99, "there is no dead letter 99")
	refuse(put(bus.DeadLetter{Reason: "r", Place: "a.json:1", Kind: "cloudtrail", Payload: []byte("{"), Truncated: true}), "only the beginning")
	refuse(put(bus.DeadLetter{Reason: "r", Place: "a.json:2", Kind: "cloudtrail", Payload: []byte("{")}), "still does not read")
	refuse(put(bus.DeadLetter{Reason: "r", Place: "a.json:3", Kind: "tea", Payload: []byte("{}")}), "what kind")
	large := put(bus.DeadLetter{Reason: "r", Place: "a.json:4", Kind: "cloudtrail", Payload: make([]byte, 2<<20)})
	refuse(large, "only the beginning")

	records := []uint64{
		put(bus.DeadLetter{Reason: "r", Place: "a.json:5", Kind: "cloudtrail", Payload: record(t, "fixed").Raw}),
		put(bus.DeadLetter{Reason: "r", Place: "a.log:6", Kind: "flow", Format: "version srcaddr", Payload: []byte("5 10.1.1.1")}),
	}
	publish(t, b, "poison")
	if _, err := b.PublishFinding(ctx, finding("f")); err != nil {
		t.Fatal(err)
	}
	var better atomic.Bool
	var got, found seen
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			if !better.Load() {
				return bus.Permanent(errors.New("no"))
			}
			for i := range batch.Events {
				got.add(batch.Events[i].Kind.String() + " " + batch.Events[i].Origin.Object)
			}
			return nil
		})
	})
	running(t, func(ctx context.Context) error {
		return b.ConsumeFindings(ctx, "f", 1, func(_ context.Context, f *event.Finding) error {
			if !better.Load() {
				return bus.Permanent(errors.New("no"))
			}
			found.add(f.ID)
			return nil
		})
	})
	idle(t, b, "d", "f")
	better.Store(true)
	for _, l := range letters(t, b) {
		if l.Subject != "" {
			records = append(records, l.Seq)
		}
	}
	if len(records) != 4 {
		t.Fatalf("to replay: %d", records)
	}
	for _, seq := range records {
		if err := b.Replay(ctx, seq); err != nil {
			t.Errorf("replay %d: %v", seq, err)
		}
		refuse(seq, "there is no dead letter")
	}
	idle(t, b, "d", "f")
	once(t, "events", got.list(), []string{"cloudtrail a.json:5", "flow a.log:6", "cloudtrail o"})
	once(t, "findings", found.list(), []string{"f"})
	if l := letters(t, b); len(l) != 4 {
		t.Errorf("%d letters left, want the 4 that were refused", len(l))
	}
}

func poisonAgain(t *testing.T, be *Backend) {
	b := be.Bus
	publish(t, b, "poison")
	if _, err := b.PublishFinding(t.Context(), finding("f")); err != nil {
		t.Fatal(err)
	}
	if err := b.DeadLetter(t.Context(), bus.DeadLetter{Reason: "r", Place: "p", Kind: "cloudtrail", Payload: record(t, "r").Raw}); err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(context.Context, *bus.Batch) error { return bus.Permanent(errors.New("no")) })
	})
	running(t, func(ctx context.Context) error {
		return b.ConsumeFindings(ctx, "f", 1, func(context.Context, *event.Finding) error { return bus.Permanent(errors.New("no")) })
	})
	last := uint64(0)
	for round := range 3 {
		idle(t, b, "d", "f")
		list := letters(t, b)
		if len(list) != 3 {
			t.Fatalf("round %d: %d letters, want 3: %+v", round, len(list), list)
		}
		for _, l := range list {
			if l.Seq <= last {
				t.Errorf("round %d: letter %d is an old one", round, l.Seq)
			}
		}
		last = list[2].Seq
		for _, l := range list {
			if err := b.Replay(t.Context(), l.Seq); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
	}
	// A record that could not be read, was removed, and cannot be read again.
	d := bus.DeadLetter{Reason: "r", Place: "p", Kind: "cloudtrail", Payload: record(t, "r").Raw}
	if err := b.DeadLetter(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	idle(t, b, "d", "f")
	if l := letters(t, b); len(l) != 4 {
		t.Errorf("%d letters, want 4", len(l))
	}
}
