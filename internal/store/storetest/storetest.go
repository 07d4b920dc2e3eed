// Package storetest is what every store.Table and store.Log must do.
package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"riposte/internal/store"
)

// keys are texts that a store must tell apart and give back.
var keys = []string{"a", "a.b", "arn:aws:iam::111122223333:user/x", "*", ">", " ", "é", "a/b c", "K", "k", "\x00"}

// Table tests a table; open returns an empty one.
func Table(t *testing.T, open func(t *testing.T) store.Table) {
	t.Run("compare and swap", func(t *testing.T) {
		s, ctx := open(t), t.Context()
		if _, _, err := s.Get(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("get: %v", err)
		}
		rev, err := s.Create(ctx, "k", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(ctx, "k", []byte("2")); !errors.Is(err, store.ErrConflict) {
			t.Errorf("create again: %v", err)
		}
		next, err := s.Update(ctx, "k", []byte("2"), rev)
		if err != nil || next <= rev {
			t.Fatalf("update: %d %v", next, err)
		}
		if _, err := s.Update(ctx, "k", []byte("3"), rev); !errors.Is(err, store.ErrConflict) {
			t.Errorf("stale update: %v", err)
		}
		if _, err := s.Update(ctx, "new", []byte("3"), 0); !errors.Is(err, store.ErrConflict) {
			t.Errorf("update of nothing: %v", err)
		}
		if v, r, err := s.Get(ctx, "k"); string(v) != "2" || r != next || err != nil {
			t.Errorf("get: %s %d %v", v, r, err)
		}
		if err := s.Delete(ctx, "k", rev); !errors.Is(err, store.ErrConflict) {
			t.Errorf("stale delete: %v", err)
		}
		if err := s.Delete(ctx, "k", next); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Get(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get after delete: %v", err)
		}
		if _, err := s.Create(ctx, "k", []byte("again")); err != nil {
			t.Errorf("create after delete: %v", err)
		}
	})
	t.Run("any text is a key", func(t *testing.T) {
		s, ctx := open(t), t.Context()
		for i, k := range keys {
			if _, err := s.Create(ctx, k, []byte(strconv.Itoa(i))); err != nil {
				t.Fatalf("%q: %v", k, err)
			}
		}
		for i, k := range keys {
			if v, _, err := s.Get(ctx, k); err != nil || string(v) != strconv.Itoa(i) {
				t.Errorf("%q: %s %v", k, v, err)
			}
		}
		if all, err := s.Keys(ctx); err != nil || len(all) != len(keys) {
			t.Errorf("keys: %q %v", all, err)
		}
	})
	t.Run("many writers count right", func(t *testing.T) {
		s, ctx := open(t), t.Context()
		if _, err := s.Create(ctx, "n", []byte("0")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for done := 0; done < 25; {
					v, rev, err := s.Get(ctx, "n")
					if err != nil {
						t.Error(err)
						return
					}
					n, _ := strconv.Atoi(string(v))
					switch _, err := s.Update(ctx, "n", []byte(strconv.Itoa(n+1)), rev); {
					case err == nil:
						done++
					case !errors.Is(err, store.ErrConflict):
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if v, _, _ := s.Get(ctx, "n"); string(v) != "200" {
			t.Errorf("counted %s, want 200", v)
		}
	})
}

// Log tests a log; open returns an empty one.
func Log(t *testing.T, open func(t *testing.T) store.Log) {
	l, ctx := open(t), t.Context()
	if e, last, err := l.Read(ctx, "x"); len(e) != 0 || last != 0 || err != nil {
		t.Fatalf("read of nothing: %v %d %v", e, last, err)
	}
	for _, key := range []string{"x", "arn:aws:y"} {
		last := uint64(0)
		for i := range 5 {
			seq, err := l.Append(ctx, key, last, fmt.Append(nil, i))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(ctx, key, last, []byte("stale")); !errors.Is(err, store.ErrConflict) {
				t.Errorf("stale append: %v", err)
			}
			last = seq
		}
		entries, seq, err := l.Read(ctx, key)
		if len(entries) != 5 || string(entries[4]) != "4" || seq != last || err != nil {
			t.Errorf("read: %q %d %v", entries, seq, err)
		}
	}
}
