package lookup

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
	"golang.org/x/time/rate"

	"riposte/ingest"
	"riposte/ingest/accounts"
	"riposte/internal/awsfake"
	"riposte/internal/testlog"
)

const (
	account = "111122223333"
	second  = "444455556666"
)

// rig is a CloudTrail on loopback, a store, and what was delivered.
type rig struct {
	src     *Source // the one that was started last
	t       testing.TB
	fake    *awsfake.Server
	log     *testlog.Journal
	cursors *store
	cfg     Config
	limits  *Limits

	// running is whether the source that was started last runs.
	running atomic.Bool

	mu      sync.Mutex
	batches map[string][]string // event ids by batch
	order   []string            // ids as they came first
	emits   int
	broken  []ingest.Broken
	// refuse, when set, decides whether the batch is taken.
	refuse func(n int) error
}

// store keeps cursors, until it fails.
type store struct {
	mu    sync.Mutex
	kept  map[string][]byte
	saves int
	// rounds are how often each position was stored without what is fresh.
	rounds map[string]int
	fail   func(n int) error
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
	if !strings.HasSuffix(key, "/seen") && !bytes.Contains(value, []byte(`"fresh"`)) {
		s.rounds[key]++
	}
	return nil
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{account: {}, second: {}}}, account)
	t.Cleanup(fake.Close)
	c := Config{Config: accounts.Config{Accounts: []string{account}, Regions: []string{"us-east-1"}}}
	if change != nil {
		change(&c)
	}
	return &rig{t: t, fake: fake, log: &testlog.Journal{}, cursors: &store{kept: map[string][]byte{}, rounds: map[string]int{}}, cfg: c, batches: map[string][]string{}, limits: &Limits{each: rate.Inf, made: map[string]*rate.Limiter{}}}
}

// twoAccounts are reached by a role in each.
func twoAccounts(c *Config) {
	c.Role, c.Accounts = "arn:aws:iam::{account}:role/riposte", []string{account, second}
}

// source makes one that is in a hurry.
func (r *rig) source() *Source {
	r.t.Helper()
	hasty := config.WithRetryer(func() aws.Retryer {
		return retry.AddWithMaxBackoffDelay(retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 3 }), time.Millisecond)
	})
	src, err := New(r.t.Context(), r.cfg, r.limits, r.cursors, slog.New(slog.NewJSONHandler(r.log, nil)),
		config.WithBaseEndpoint(r.fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}), hasty)
	if err != nil {
		r.t.Fatal(err)
	}
	src.cfg.Every = time.Millisecond
	src.now, src.directory.Now = r.fake.Now, r.fake.Now
	src.pause = func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }
	src.again = time.Hour
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
				if e.Origin.Source != "lookup" || !strings.HasPrefix(e.Origin.Object, e.Account()+"/"+e.Region()+"/") {
					r.t.Errorf("the origin of %s is %+v", e.ID(), e.Origin)
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

// start runs a source; stop ends it and returns how it ended.
func (r *rig) start() (stop func() error) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	src := r.source()
	r.src = src
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

// whole runs a source until so many events are there, no backlog is left, and all
// was read again.
func (r *rig) whole(n int) {
	r.t.Helper()
	stop := r.start()
	r.settle(n)
	if err := stop(); err != nil {
		r.t.Errorf("the source ended with %v", err)
	}
}

func (r *rig) settle(n int) {
	r.t.Helper()
	has := r.has(n)
	r.until(fmt.Sprintf("everything (%d events)", n), func() bool { return has() && !r.backlog() })
	rounds := r.rounds()
	r.until("another round", func() bool { return r.rounds() >= rounds+2 })
}

// rounds is how often the place that was read the least was read to its end: its
// position moves on then, and carries no more what came meanwhile.
func (r *rig) rounds() int {
	r.cursors.mu.Lock()
	defer r.cursors.mu.Unlock()
	least := -1
	for _, n := range r.cursors.rounds {
		if least < 0 || n < least {
			least = n
		}
	}
	return max(least, 0)
}

func (r *rig) pages() (n int) {
	for _, c := range r.fake.Calls() {
		if c.Operation == "LookupEvents" && c.Outcome == "ok" {
			n++
		}
	}
	return n
}

// backlog reports whether some position has one.
func (r *rig) backlog() bool {
	r.cursors.mu.Lock()
	defer r.cursors.mu.Unlock()
	for key, v := range r.cursors.kept {
		if !strings.HasSuffix(key, "/seen") && bytes.Contains(v, []byte(`"backlog"`)) {
			return true
		}
	}
	return false
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

// has holds when so many different batches came.
func (r *rig) has(n int) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.batches) >= n
	}
}

// want fails unless exactly these came, in batches of their own, and were
// offered no more than extra times again.
func (r *rig) want(extra int, ids ...string) {
	r.t.Helper()
	slices.Sort(ids)
	if got := r.got(); !slices.Equal(got, ids) {
		r.t.Errorf("%d events came, want %d: %.400q, want %.400q\n%.3000s", len(got), len(ids), got, ids, r.log)
	}
	if again := r.emits - len(ids); again > extra {
		r.t.Errorf("%d events were offered again, want %d at most", again, extra)
	}
}

// past is a time before now, whole seconds.
func (r *rig) past(d time.Duration) time.Time { return r.fake.Now().Add(-d).Truncate(time.Second) }

func recorded(in, region, id string, at time.Time) awsfake.Recorded {
	return awsfake.Recorded{ID: id, Name: "GetUser", Source: "iam.amazonaws.com", Time: at,
		Raw: fmt.Sprintf(`{"eventVersion":"1.11","eventID":%q,"eventTime":%q,"eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":%q,"recipientAccountId":%q}`, id, at.UTC().Format(time.RFC3339), region, in)}
}

// fill records n events, a step apart, the newest ago before now.
func (r *rig) fill(in, region, prefix string, n int, newest, step time.Duration) (ids []string) {
	var all []awsfake.Recorded
	for i := range n {
		id := fmt.Sprintf("%s-%05d", prefix, i)
		ids = append(ids, id)
		all = append(all, recorded(in, region, id, r.past(newest+time.Duration(i)*step)))
	}
	r.fake.Record(in, region, all...)
	return ids
}

var errAway = errors.New("the stream is away")
