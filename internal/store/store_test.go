package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"riposte/internal/bus"
	"riposte/internal/store"
	"riposte/internal/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Table(t, func(*testing.T) store.Table { return store.NewMemory() })
	storetest.Log(t, func(*testing.T) store.Log { return store.NewMemory() })
}

func TestJetStream(t *testing.T) {
	b, err := bus.Open(t.Context(), t.TempDir(), bus.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	var n atomic.Int64
	storetest.Table(t, func(t *testing.T) store.Table {
		s, err := store.NewTable(t.Context(), b.JetStream(), fmt.Sprintf("t%d", n.Add(1)), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
	storetest.Log(t, func(t *testing.T) store.Log {
		s, err := store.NewLog(t.Context(), b.JetStream(), fmt.Sprintf("l%d", n.Add(1)), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		b, err := bus.Open(t.Context(), dir, bus.DefaultConfig(), nil)
		if err != nil {
			t.Fatal(err)
		}
		table, err := store.NewTable(t.Context(), b.JetStream(), "t", store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if _, err := table.Create(t.Context(), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		if v, _, err := table.Get(t.Context(), "k"); string(v) != "v" || err != nil {
			t.Errorf("round %d: %s %v", round, v, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInterrupted has no answer that is half of one.
func TestInterrupted(t *testing.T) {
	b, err := bus.Open(t.Context(), t.TempDir(), bus.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	table, err := store.NewTable(t.Context(), b.JetStream(), "t", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := store.NewLog(t.Context(), b.JetStream(), "l", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for i := range 100 {
		if _, err := table.Create(t.Context(), fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
		if last, err = log.Append(t.Context(), "k", last, nil); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for range n {
				runtime.Gosched()
			}
			cancel()
		}()
		if keys, err := table.Keys(ctx); err == nil && len(keys) != 100 || err != nil && keys != nil {
			t.Errorf("%d keys: %v", len(keys), err)
		}
		if entries, _, err := log.Read(ctx, "k"); err == nil && len(entries) != 100 || err != nil && entries != nil {
			t.Errorf("%d entries: %v", len(entries), err)
		}
		cancel()
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Keys(t.Context()); err == nil {
		t.Error("keys of a store that is closed")
	}
	if _, _, err := table.Get(t.Context(), "1"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("get of a store that is closed: %v", err)
	}
	if _, _, err := log.Read(t.Context(), "k"); err == nil {
		t.Error("log of a store that is closed")
	}
}

func BenchmarkUpdate(b *testing.B) {
	bs, err := bus.Open(b.Context(), b.TempDir(), bus.DefaultConfig(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer bs.Close()
	table, err := store.NewTable(b.Context(), bs.JetStream(), "t", store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	rev, _ := table.Create(b.Context(), "k", []byte("v"))
	for b.Loop() {
		if rev, err = table.Update(b.Context(), "k", []byte("v"), rev); err != nil {
			b.Fatal(err)
		}
	}
}
