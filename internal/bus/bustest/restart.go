package bustest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"riposte/event"
	"riposte/internal/bus"
)

func restartGoesOn(t *testing.T, be *Backend) {
	b := be.Bus
	var got seen
	for round := range 3 {
		publish(t, b, ids(fmt.Sprintf("r%d-", round), 10)...)
		stop := running(t, func(ctx context.Context) error {
			return b.ConsumeEvents(ctx, "d", 2, func(_ context.Context, batch *bus.Batch) error {
				got.add(batch.Events[0].ID())
				return nil
			})
		})
		idle(t, b, "d")
		stop()
		b = be.Restart(t)
	}
	once(t, "events", got.list(), append(append(ids("r0-", 10), ids("r1-", 10)...), ids("r2-", 10)...))
}

// randomFailures publishes batches while handlers fail in every way and the bus
// is restarted. Every event must be handled or set aside, every finding stored
// once and new at most once.
func randomFailures(t *testing.T, be *Backend, seed uint64, batches, restarts int) {
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 7))
	var mu sync.Mutex
	now, gone := be.Bus, make(chan struct{}) // gone is closed when now is no more
	current := func() (Bus, chan struct{}) {
		mu.Lock()
		defer mu.Unlock()
		return now, gone
	}
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	want := ids("e", batches*5)
	publishing := running(t, func(ctx context.Context) error {
		for i := range batches {
			var batch []event.Event
			for _, id := range want[i*5 : i*5+5] {
				batch = append(batch, record(t, id))
			}
			for {
				b, gone := current()
				err := b.PublishEvents(ctx, fmt.Sprint("b", i), batch)
				if err == nil {
					break
				}
				select {
				case <-gone:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	var handled, fresh seen
	handle := func(b Bus) func(context.Context, *bus.Batch) error {
		return func(ctx context.Context, batch *bus.Batch) error {
			var findings []*event.Finding
			for i := range batch.Events {
				findings = append(findings, finding("f-"+batch.Events[i].ID()))
			}
			dice := roll(10)
			if dice == 0 {
				return bus.Permanent(errors.New("random refusal"))
			}
			if dice == 1 {
				panic("random panic")
			}
			isNew, err := b.PublishFindings(ctx, findings)
			for i, is := range isNew {
				if is {
					fresh.add(findings[i].ID)
				}
			}
			if err != nil {
				return err
			}
			if dice < 4 {
				return errors.New("random error")
			}
			for i := range batch.Events {
				handled.add(batch.Events[i].ID())
			}
			return nil
		}
	}
	for round := range restarts + 1 {
		b, _ := current()
		before := len(handled.list())
		stop := running(t, func(ctx context.Context) error { return b.ConsumeEvents(ctx, "d", 3, handle(b)) })
		if round == restarts {
			break
		}
		// At an unforeseen moment, with handlers at work or just stopped.
		enough := before + roll(len(want)/(restarts+1))
		eventually(t, "some are handled", func() bool { return len(handled.list()) >= min(enough, len(want)/2) })
		if roll(2) == 0 {
			stop()
		}
		next := be.Restart(t)
		mu.Lock()
		if next != now {
			close(gone)
			now, gone = next, make(chan struct{})
		}
		mu.Unlock()
		if next == b {
			stop()
		}
	}
	b, _ := current()
	done := map[string]bool{}
	eventually(t, "every event handled or set aside", func() bool {
		for _, id := range handled.list() {
			done[id] = true
		}
		for _, l := range letters(t, b) {
			var d bus.Decoder
			events, broken, err := d.Decode(l.Payload)
			if err != nil || len(broken) > 0 {
				t.Fatalf("letter %d: %v", l.Seq, err)
			}
			for i := range events {
				done[string(append([]byte(nil), events[i].ID()...))] = true
			}
		}
		return len(done) == len(want)
	})
	publishing()
	idle(t, b, "d")
	var stored seen
	running(t, func(ctx context.Context) error {
		return b.ConsumeFindings(ctx, "count", 1, func(_ context.Context, f *event.Finding) error {
			stored.add(f.ID)
			return nil
		})
	})
	idle(t, b, "count")
	times := map[string]int{}
	for _, id := range stored.list() {
		if times[id]++; times[id] > 1 {
			t.Errorf("finding %s is stored twice", id)
		}
	}
	for _, id := range handled.list() {
		if times["f-"+id] != 1 {
			t.Errorf("event %s is handled, and its finding stored %d times", id, times["f-"+id])
		}
	}
	clear(times)
	for _, id := range fresh.list() {
		if times[id]++; times[id] > 1 {
			t.Errorf("finding %s was new twice", id)
		}
	}
}
