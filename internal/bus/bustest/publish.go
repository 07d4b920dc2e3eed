package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"riposte/event"
	"riposte/internal/bus"
)

func sameBatch(t *testing.T, be *Backend) {
	b := be.Bus
	for range 3 {
		publish(t, b, "a", "b")
		b = be.Restart(t)
	}
	var got seen
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			got.add(batch.Events[0].ID())
			return nil
		})
	})
	idle(t, b, "d")
	once(t, "batches", got.list(), []string{"a", "b"})
}

func sameFinding(t *testing.T, be *Backend) {
	b, ctx := be.Bus, t.Context()
	isNew := func(want string, ids ...string) {
		t.Helper()
		var list []*event.Finding
		for _, id := range ids {
			list = append(list, finding(id))
		}
		got, err := b.PublishFindings(ctx, list)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: new %v (%v), want %s", ids, got, err, want)
		}
	}
	isNew("[]")
	isNew("[true true false true]", "a", "b", "a", "c")
	isNew("[false true false]", "a", "d", "c")
	for range 2 { // what the server remembers for a while only does not decide
		b = be.Restart(t)
		isNew("[false true]", "a", fmt.Sprint("after", b))
	}
	if fresh, err := b.PublishFinding(ctx, finding("d")); fresh || err != nil {
		t.Errorf("one alone: %v %v", fresh, err)
	}
	// Many at once, by several, each new once.
	var wg sync.WaitGroup
	var fresh atomic.Int64
	for range 4 {
		wg.Go(func() {
			var list []*event.Finding
			for _, id := range ids("m", 600) {
				list = append(list, finding(id))
			}
			got, err := b.PublishFindings(ctx, list)
			if err != nil {
				t.Error(err)
			}
			for _, is := range got {
				if is {
					fresh.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if fresh.Load() != 600 {
		t.Errorf("%d were new, want 600", fresh.Load())
	}
	// One that fits nowhere fails for ever, the others are stored.
	huge := finding("huge")
	huge.Title = strings.Repeat("x", 9<<20)
	got, err := b.PublishFindings(ctx, []*event.Finding{finding("x"), huge, finding("y")})
	if fmt.Sprint(got) != "[true false true]" || err == nil || !strings.Contains(err.Error(), "huge") {
		t.Errorf("a huge finding: %v %v", got, err)
	}
	publish(t, b, "e")
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(ctx context.Context, _ *bus.Batch) error {
			_, err := b.PublishFinding(ctx, huge)
			return err
		})
	})
	idle(t, b, "d")
	if l := letters(t, b); len(l) != 1 {
		t.Errorf("a batch whose finding fits nowhere is set aside; there are %d letters", len(l))
	}
}

func fullStreams(t *testing.T, be *Backend) {
	b := be.Bus
	const batches = 60
	want := ids("e", batches)
	events := make([]event.Event, batches)
	for i, id := range want {
		events[i] = bulky(t, id, 48<<10)
	}
	var published atomic.Int64
	running(t, func(ctx context.Context) error {
		for i, id := range want {
			if err := b.PublishEvents(ctx, id, events[i:i+1]); err != nil {
				return err
			}
			published.Add(1)
		}
		return nil
	})
	full := func(stream int, size int64) func() bool {
		return func() bool {
			h, err := b.Health(t.Context())
			return err == nil && int64(h.Streams[stream].Bytes)+size > h.Streams[stream].MaxBytes
		}
	}
	eventually(t, "a full stream of events", full(0, 48<<10))
	if n := published.Load(); n >= batches {
		t.Fatalf("all %d batches fit, nothing had to wait", n)
	}
	var got, found seen
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 2, func(ctx context.Context, batch *bus.Batch) error {
			id := batch.Events[0].ID()
			f := finding("f-" + id)
			f.Title = string(batch.Events[0].Raw)
			if _, err := b.PublishFinding(ctx, f); err != nil {
				return err
			}
			got.add(id)
			return nil
		})
	})
	eventually(t, "a full stream of findings", full(1, 60<<10))
	running(t, func(ctx context.Context) error {
		return b.ConsumeFindings(ctx, "f", 2, func(_ context.Context, f *event.Finding) error {
			found.add(strings.TrimPrefix(f.ID, "f-"))
			return nil
		})
	})
	eventually(t, "the rest is published", func() bool { return published.Load() == batches })
	idle(t, b, "d")
	idle(t, b, "d", "f")
	once(t, "events", got.list(), want)
	once(t, "findings", found.list(), want)
}

func ctxEnds(t *testing.T, be *Backend) {
	b := be.Bus
	big := []event.Event{bulky(t, "big", 100<<10)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() {
		for i := 0; ; i++ {
			if err := b.PublishEvents(ctx, fmt.Sprint(i), big); err != nil {
				ended <- err
				return
			}
		}
	}()
	go func() {
		f := finding("")
		f.Title = strings.Repeat("x", 100<<10)
		for i := 0; ; i++ {
			f.ID = fmt.Sprint(i)
			if _, err := b.PublishFindings(ctx, []*event.Finding{f}); err != nil {
				ended <- err
				return
			}
		}
	}()
	go func() {
		for i := 0; ; i++ {
			d := bus.DeadLetter{Reason: "r", Place: fmt.Sprint(i), Payload: big[0].Raw}
			if err := b.DeadLetter(ctx, d); err != nil {
				ended <- err
				return
			}
		}
	}()
	stopWatch := running(t, func(ctx context.Context) error { return b.WatchIncidents(ctx, func(string, []byte) {}) })
	stopEvents := running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 3, func(ctx context.Context, _ *bus.Batch) error { <-ctx.Done(); return ctx.Err() })
	})
	stopFindings := running(t, func(ctx context.Context) error {
		return b.ConsumeFindings(ctx, "f", 3, func(ctx context.Context, _ *event.Finding) error { <-ctx.Done(); return ctx.Err() })
	})
	eventually(t, "full streams", func() bool {
		h, err := b.Health(t.Context())
		if err != nil {
			return false
		}
		for _, i := range []int{0, 1, 3} {
			if s := h.Streams[i]; int64(s.Bytes)+140<<10 < s.MaxBytes {
				return false
			}
		}
		return true
	})
	cancel()
	for range 3 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("publish ended with %v", err)
		}
	}
	stopWatch()
	stopEvents()
	stopFindings()
	if err := b.PublishEvents(ctx, "x", big); !errors.Is(err, context.Canceled) {
		t.Errorf("publish after the end: %v", err)
	}
	if err := b.ConsumeEvents(ctx, "d", 1, nil); err != nil {
		t.Errorf("consume after the end: %v", err)
	}
}

func largeBatches(t *testing.T, be *Backend) {
	b := be.Bus
	want := ids("e", 500)
	var batch []event.Event
	for _, id := range want {
		batch = append(batch, bulky(t, id, 2<<10))
	}
	batch = append(batch, bulky(t, "too large", 9<<20))
	var got seen
	parts := 0
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			parts++
			for i := range batch.Events {
				got.add(batch.Events[i].ID())
			}
			return nil
		})
	})
	for range 2 { // its parts have the same ids the second time
		if err := b.PublishEvents(t.Context(), "large", batch); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all of it", func() bool { return len(got.list()) >= len(want) })
	idle(t, b, "d")
	if list := got.list(); strings.Join(list, " ") != strings.Join(want, " ") {
		t.Errorf("%d events, want %d in order", len(list), len(want))
	}
	if l := letters(t, b); len(l) != 1 || !l[0].Truncated || !strings.Contains(l[0].Reason, "does not fit") {
		t.Errorf("a record larger than a message: %d letters", len(l))
	}
}

func anyTextIsAnID(t *testing.T, be *Backend) {
	b := be.Bus
	hostile := []string{
		"", " ", "a", "A", "a.b", "*", ">", "a b", "a  b", "\r\n", "\r\nNats-Msg-Id: a", "a\x00", "é", "e\u0301", "\xff",
		event.Hash("a"), "H" + event.Hash("A"), "H " + event.Hash(" "), strings.Repeat("a", 65), strings.Repeat("x", 100_000), "a\t", "a ", " a",
	}
	for round := range 2 {
		for _, id := range hostile {
			if err := b.PublishEvents(t.Context(), id, []event.Event{record(t, event.Hash(id))}); err != nil {
				t.Errorf("batch %.20q: %v", id, err)
			}
			isNew, err := b.PublishFinding(t.Context(), finding(id))
			if err != nil || isNew != (round == 0) {
				t.Errorf("finding %.20q, round %d: new %v %v", id, round, isNew, err)
			}
		}
	}
	var got, found, rung seen
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			got.add(batch.Events[0].ID())
			return nil
		})
	})
	running(t, func(ctx context.Context) error {
		return b.ConsumeFindings(ctx, "f", 1, func(_ context.Context, f *event.Finding) error {
			found.add(f.ID)
			return nil
		})
	})
	running(t, func(ctx context.Context) error {
		return b.WatchIncidents(ctx, func(id string, _ []byte) { rung.add(id) })
	})
	idle(t, b, "d", "f")
	var want, valid []string
	for _, id := range hostile {
		want = append(want, event.Hash(id))
		valid = append(valid, strings.ToValidUTF8(id, "\ufffd"))
	}
	once(t, "batches", got.list(), want)
	once(t, "findings", found.list(), valid)
	for _, id := range hostile {
		eventually(t, fmt.Sprintf("the bell of %.20q", id), func() bool {
			if err := b.PublishIncident(t.Context(), id, []byte("x")); err != nil {
				t.Fatal(err)
			}
			return rung.count(id[:min(len(id), 1024)]) > 0
		})
	}
}

func incidentsAreAnnounced(t *testing.T, be *Backend) {
	b := be.Bus
	if err := b.PublishIncident(t.Context(), "before", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var rung []string
	watch := func() (stop func()) {
		return running(t, func(ctx context.Context) error {
			return b.WatchIncidents(ctx, func(id string, body []byte) {
				mu.Lock()
				defer mu.Unlock()
				rung = append(rung, id+"="+string(body))
			})
		})
	}
	heard := func(s string) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range rung {
			if r == s {
				return true
			}
		}
		return false
	}
	// until rings until it is heard: the watch begins when it begins.
	until := func(name string) {
		t.Helper()
		n := 0
		eventually(t, "a bell", func() bool {
			n++
			if err := b.PublishIncident(t.Context(), name, []byte("now")); err != nil {
				t.Fatal(err)
			}
			return heard(name + "=now")
		})
	}
	stop := watch()
	until("i1")
	for i := range 20 {
		if err := b.PublishIncident(t.Context(), fmt.Sprintf("n%02d", i), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the twentieth", func() bool { return heard("n19=19") })
	mu.Lock()
	last := -1
	for _, r := range rung {
		var i int
		if n, _ := fmt.Sscanf(r, "n%02d=", &i); n == 1 {
			if i != last+1 {
				t.Errorf("out of order: %q", rung)
			}
			last = i
		}
	}
	mu.Unlock()
	if heard("before=x") {
		t.Error("heard what was announced before")
	}
	again := be.Restart(t)
	if again != b {
		b = again
		stop = watch()
	}
	until("i2")
	stop()
}

func closedSaysSo(t *testing.T, be *Backend) {
	b, ctx := be.Bus, t.Context()
	// Some wait for room, some for work.
	big := []event.Event{bulky(t, "big", 100<<10)}
	ended := make(chan error, 4)
	go func() {
		for i := 0; ; i++ {
			if err := b.PublishEvents(ctx, fmt.Sprint(i), big); err != nil {
				ended <- err
				return
			}
		}
	}()
	began := make(chan struct{}, 1)
	go func() {
		ended <- b.ConsumeEvents(ctx, "d", 1, func(ctx context.Context, _ *bus.Batch) error {
			select {
			case began <- struct{}{}:
			default:
			}
			return errors.New("again")
		})
	}()
	go func() {
		ended <- b.ConsumeFindings(ctx, "f", 1, func(ctx context.Context, _ *event.Finding) error { return nil })
	}()
	go func() { ended <- b.WatchIncidents(ctx, func(string, []byte) {}) }()
	<-began
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := <-ended; !errors.Is(err, bus.ErrClosed) {
			t.Errorf("what was under way ended with %v", err)
		}
	}
	_, finding := b.PublishFinding(ctx, finding("f"))
	_, list := b.DeadLetters(ctx, 0, 1)
	_, health := b.Health(ctx)
	for what, err := range map[string]error{
		"events": b.PublishEvents(ctx, "x", big), "finding": finding, "incident": b.PublishIncident(ctx, "i", nil),
		"letter": b.DeadLetter(ctx, bus.DeadLetter{}), "list": list, "replay": b.Replay(ctx, 1), "health": health,
		"consume": b.ConsumeEvents(ctx, "d", 1, nil), "watch": b.WatchIncidents(ctx, nil),
	} {
		if !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
