// Package storetest is what every store.Table and store.Log must do.
package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	t.Run("keys are those that have a value", func(t *testing.T) {
		s, ctx := open(t), t.Context()
		var want []string
		for i := range 300 {
			k := fmt.Sprintf("k%03d", i)
			rev, err := s.Create(ctx, k, []byte{0, 255, byte(i)})
			if err != nil {
				t.Fatal(err)
			}
			switch i % 3 {
			case 0:
				if err := s.Delete(ctx, k, rev); err != nil {
					t.Fatal(err)
				}
				continue
			case 1:
				if _, err := s.Update(ctx, k, nil, rev); err != nil {
					t.Fatal(err)
				}
			}
			want = append(want, k)
		}
		if got, err := s.Keys(ctx); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d keys, want %d, sorted: %v", len(got), len(want), err)
		}
		if v, _, err := s.Get(ctx, "k001"); err != nil || len(v) != 0 {
			t.Errorf("an empty value: %q %v", v, err)
		}
		if v, _, err := s.Get(ctx, "k002"); err != nil || string(v) != "\x00\xff\x02" {
			t.Errorf("a value of any bytes: %q %v", v, err)
		}
		if err := s.Delete(ctx, "k000", 1); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("delete again: %v", err)
		}
		if _, err := s.Update(ctx, "k000", nil, 1); !errors.Is(err, store.ErrConflict) {
			t.Errorf("update of what was deleted: %v", err)
		}
	})
	t.Run("too long a key is refused", func(t *testing.T) {
		s, ctx := open(t), t.Context()
		longest := strings.Repeat("é", store.MaxKey/2)
		if _, err := s.Create(ctx, longest, []byte("v")); err != nil {
			t.Errorf("the longest key: %v", err)
		}
		for _, n := range []int{store.MaxKey + 1, 10_000} {
			if _, err := s.Create(ctx, strings.Repeat("x", n), nil); err == nil || !strings.Contains(err.Error(), strconv.Itoa(n)) {
				t.Errorf("create: %v", err)
			}
			if _, err := s.Update(ctx, strings.Repeat("x", n), nil, 1); err == nil || errors.Is(err, store.ErrConflict) {
				t.Errorf("update: %v", err)
			}
			if _, _, err := s.Get(ctx, strings.Repeat("x", n)); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("get: %v", err)
			}
		}
		if keys, err := s.Keys(ctx); err != nil || len(keys) != 1 || keys[0] != longest {
			t.Errorf("%d keys: %v", len(keys), err)
		}
	})
	t.Run("many delete, one succeeds", func(t *testing.T) {
		s, ctx := open(t), t.Context()
		rev, err := s.Create(ctx, "k", nil)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var deleted atomic.Int64
		for range 8 {
			wg.Go(func() {
				switch err := s.Delete(ctx, "k", rev); {
				case err == nil:
					deleted.Add(1)
				case !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := deleted.Load(); n != 1 {
			t.Errorf("%d deleted it", n)
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
	t.Run("append and read", func(t *testing.T) {
		l, ctx := open(t), t.Context()
		if e, last, err := l.Read(ctx, "x"); len(e) != 0 || last != 0 || err != nil {
			t.Fatalf("read of nothing: %v %d %v", e, last, err)
		}
		for _, key := range keys {
			last := uint64(0)
			for i := range 5 {
				seq, err := l.Append(ctx, key, last, fmt.Append(nil, key, i))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := l.Append(ctx, key, last, []byte("stale")); !errors.Is(err, store.ErrConflict) {
					t.Errorf("stale append: %v", err)
				}
				if _, err := l.Append(ctx, key, seq+1000, []byte("early")); !errors.Is(err, store.ErrConflict) {
					t.Errorf("append after what is not there: %v", err)
				}
				last = seq
			}
		}
		for _, key := range keys {
			entries, last, err := l.Read(ctx, key)
			if len(entries) != 5 || last == 0 || err != nil {
				t.Fatalf("%q: %q %d %v", key, entries, last, err)
			}
			for i, e := range entries {
				if string(e) != fmt.Sprint(key, i) {
					t.Errorf("%q: entry %d is %q", key, i, e)
				}
			}
		}
		if _, err := l.Append(ctx, strings.Repeat("x", 10_000), 0, nil); err == nil || errors.Is(err, store.ErrConflict) {
			t.Errorf("too long a key: %v", err)
		}
		if _, _, err := l.Read(ctx, strings.Repeat("x", 10_000)); err == nil {
			t.Error("too long a key was read")
		}
	})
	t.Run("many append in one order", func(t *testing.T) {
		l, ctx := open(t), t.Context()
		var wg sync.WaitGroup
		for who := range 6 {
			wg.Go(func() {
				for n := 0; n < 10; {
					entries, last, err := l.Read(ctx, "k")
					if err != nil {
						t.Error(err)
						return
					}
					// Each entry says how many its writer saw.
					switch _, err := l.Append(ctx, "k", last, fmt.Appendf(nil, "%d %d", len(entries), who)); {
					case err == nil:
						n++
					case !errors.Is(err, store.ErrConflict):
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		entries, _, err := l.Read(ctx, "k")
		if err != nil || len(entries) != 60 {
			t.Fatalf("%d entries: %v", len(entries), err)
		}
		for i, e := range entries {
			if saw, _, _ := strings.Cut(string(e), " "); saw != strconv.Itoa(i) {
				t.Errorf("entry %d is by one who saw %s", i, saw)
			}
		}
	})
}
