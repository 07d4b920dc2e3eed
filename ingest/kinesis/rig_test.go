package kinesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/cenkalti/backoff/v5"
	"github.com/klauspost/compress/gzip"

	"riposte/ingest"
	"riposte/internal/awsfake"
	"riposte/internal/testlog"
)

const account = "111122223333"

var errAway = errors.New("the stream is away")

// rig is a data stream on loopback, a store, and what was delivered.
type rig struct {
	t       testing.TB
	fake    *awsfake.Server
	log     *testlog.Journal
	cursors *store
	cfg     Config
	running atomic.Bool
	last    *Source

	mu      sync.Mutex
	batches map[string][]string
	order   []string
	emits   int
	broken  []ingest.Broken
	refuse  func(n int) error
}

type store struct {
	mu    sync.Mutex
	kept  map[string][]byte
	saves int
	fail  func(n int) error
}

func (s *store) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[key], nil
}

func (s *store) Save(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.fail != nil {
		if err := s.fail(s.saves); err != nil {
			return err
		}
	}
	s.kept[key] = bytes.Clone(value)
	return nil
}

func newRig(t testing.TB, shards int, change func(*Config)) *rig {
	t.Helper()
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{account: {}}}, account)
	t.Cleanup(fake.Close)
	r := &rig{t: t, fake: fake, log: &testlog.Journal{}, cursors: &store{kept: map[string][]byte{}}, batches: map[string][]string{}}
	r.cfg = Config{Stream: fake.CreateStream("s", shards), Shards: 3}
	if change != nil {
		change(&r.cfg)
	}
	return r
}

func (r *rig) source() *Source {
	r.t.Helper()
	hasty := config.WithRetryer(func() aws.Retryer {
		return retry.AddWithMaxBackoffDelay(retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 3 }), time.Millisecond)
	})
	src, err := New(r.t.Context(), r.cfg, r.cursors, slog.New(slog.NewJSONHandler(r.log, nil)),
		config.WithBaseEndpoint(r.fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}), hasty)
	if err != nil {
		r.t.Fatal(err)
	}
	src.cfg.Poll, src.fastest, src.relist = time.Millisecond, time.Millisecond, 5*time.Millisecond
	src.now = r.fake.Now
	src.pause = func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }
	return src
}

func (r *rig) sink() ingest.Sink {
	return ingest.Sink{
		Emit: func(_ context.Context, b ingest.Batch) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.emits++
			if r.refuse != nil {
				if err := r.refuse(r.emits); err != nil {
					return err
				}
			}
			var ids []string
			for i := range b.Events {
				e := &b.Events[i]
				if e.Origin.Source != "kinesis" || !strings.Contains(e.Origin.Object, "/shardId-") {
					r.t.Errorf("the origin is %+v", e.Origin)
				}
				ids = append(ids, strings.Clone(e.ID()))
			}
			if have, ok := r.batches[b.ID]; ok && !slices.Equal(have, ids) {
				r.t.Errorf("batch %s was %q and is %q", b.ID, have, ids)
			} else if !ok {
				r.order = append(r.order, ids...)
			}
			r.batches[b.ID] = ids
			return nil
		},
		Broken: func(_ context.Context, b ingest.Broken) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			b.Raw = bytes.Clone(b.Raw)
			r.broken = append(r.broken, b)
			return nil
		},
	}
}

func (r *rig) start() (stop func() error) { return r.startSource(r.source()) }

func (r *rig) startSource(src *Source) (stop func() error) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	r.last = src
	r.running.Store(true)
	go func() {
		ended <- src.Run(ctx, r.sink())
		r.running.Store(false)
		r.fake.Advance(0) // wakes those who wait for what will not come any more
	}()
	return sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// drain runs a source until so many events are there and every position is kept.
func (r *rig) drain(n int) {
	r.t.Helper()
	stop := r.start()
	has := r.has(n)
	r.until(fmt.Sprintf("%d events", n), has)
	reads := r.reads()
	r.until("another read of each shard", func() bool { return r.reads() >= reads+20 || !r.running.Load() })
	if err := stop(); err != nil {
		r.t.Errorf("the source ended with %v", err)
	}
}

func (r *rig) reads() (n int) {
	for _, c := range r.fake.Calls() {
		if c.Operation == "GetRecords" || c.Operation == "ListShards" {
			n++
		}
	}
	return n
}

func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute) // a test that hangs says where
	defer cancel()
	if err := r.fake.Until(ctx, holds); err != nil {
		r.t.Fatalf("%s does not come: %v\n%.3000s", what, err, r.log)
	}
}

func (r *rig) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, ids := range r.batches {
		out = append(out, ids...)
	}
	slices.Sort(out)
	return out
}

func (r *rig) has(n int) func() bool { return func() bool { return len(r.got()) >= n } }

// want fails unless exactly these came, and were offered at most extra times more.
func (r *rig) want(extra int, ids ...string) {
	r.t.Helper()
	ids = slices.Sorted(slices.Values(ids))
	if got := r.got(); !slices.Equal(got, ids) {
		r.t.Errorf("%d events came, want %d: %.400q, want %.400q\n%.3000s", len(got), len(ids), got, ids, r.log)
	}
	if again := r.emits - len(r.batches); again > extra {
		r.t.Errorf("%d batches were offered again, want %d at most", again, extra)
	}
}

func record(id string) []byte {
	return []byte(`{"eventVersion":"1.11","eventID":"` + id + `","eventTime":"2026-01-02T03:04:05Z","eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":"us-east-1"}`)
}

// fill puts n records into a shard and returns their ids.
func (r *rig) fill(shard int, prefix string, n int) (ids []string) {
	var all [][]byte
	for i := range n {
		id := fmt.Sprintf("%s-%04d", prefix, i)
		ids = append(ids, id)
		all = append(all, record(id))
	}
	r.fake.Put("s", shard, all...)
	return ids
}

func packed(t testing.TB, text []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
