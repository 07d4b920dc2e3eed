package archive

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
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
)

const account = "111122223333"

// rig is a bucket on loopback and what was delivered of it.
type rig struct {
	t    testing.TB
	fake *awsfake.Server
	log  bytes.Buffer
	logs sync.Mutex

	cursors memory
	mu      sync.Mutex
	batches map[string][]string // event ids by batch id
	twice   int                 // batches that came again
	broken  []ingest.Broken
	before  func(ctx context.Context) error
}

func newRig(t testing.TB) *rig {
	t.Helper()
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{account: {Buckets: map[string]*awsfake.Bucket{
		"logs": {Region: "eu-west-1", Versioned: true}, "flat": {Region: "us-east-1"},
	}}}}, account)
	t.Cleanup(fake.Close)
	return &rig{t: t, fake: fake, batches: map[string][]string{}}
}

// memory are cursors.
type memory struct {
	mu    sync.Mutex
	kept  map[string][]byte
	saves int
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[key], nil
}

func (m *memory) Save(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = map[string][]byte{}
	}
	m.kept[key] = value
	m.saves++
	return nil
}

// Write is the log's.
func (r *rig) Write(p []byte) (int, error) {
	r.logs.Lock()
	defer r.logs.Unlock()
	return r.log.Write(p)
}

func (r *rig) logged() string {
	r.logs.Lock()
	defer r.logs.Unlock()
	return r.log.String()
}

// local reaches the fake, whatever the machine's AWS configuration says, and
// retries after next to nothing.
func (r *rig) local() []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(r.fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
		config.WithRetryer(func() aws.Retryer {
			return retry.AddWithMaxBackoffDelay(retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 6 }), time.Millisecond)
		}),
	}
}

func (r *rig) source(c Config, progress func(Progress)) *Source {
	r.t.Helper()
	s, err := New(r.t.Context(), c, Options{Log: slog.New(slog.NewJSONHandler(r, nil)), Cursors: &r.cursors, Progress: progress, Load: r.local()})
	if err != nil {
		r.t.Fatal(err)
	}
	s.listing.Store.Pause = func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }
	return s
}

func (r *rig) listing(from string, q Query) *Listing {
	r.t.Helper()
	l := r.source(Config{From: from}, nil).listing
	l.Query = q
	return &l
}

func (r *rig) sink() ingest.Sink {
	return ingest.Sink{
		Emit: func(ctx context.Context, b ingest.Batch) error {
			if r.before != nil {
				if err := r.before(ctx); err != nil {
					return err
				}
			}
			var ids []string
			for i := range b.Events {
				ids = append(ids, strings.Clone(b.Events[i].ID()))
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if have, ok := r.batches[b.ID]; ok {
				if r.twice++; !slices.Equal(have, ids) {
					r.t.Errorf("batch %s had %v and now has %v", b.ID, have, ids)
				}
			}
			r.batches[b.ID] = ids
			return nil
		},
		Broken: func(_ context.Context, b ingest.Broken) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.broken = append(r.broken, b)
			return nil
		},
	}
}

// events are the ids that came, sorted, as often as in different batches.
func (r *rig) events() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ids := range r.batches {
		out = append(out, ids...)
	}
	slices.Sort(out)
	return out
}

func (r *rig) calls(operation string) (n int) {
	for _, c := range r.fake.Calls() {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

// put stores a log file whose one record has the key for its id.
func (r *rig) put(bucket string, keys ...string) {
	for _, k := range keys {
		r.fake.Store(bucket, k, awsfake.Blob{Body: file(r.t, record(k)), Modified: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)})
	}
}

func record(id string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventID":%q,"eventTime":"2026-01-02T03:04:05Z","eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":"us-east-1","recipientAccountId":"%s"}`, id, account)
}

func file(t testing.TB, records ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write([]byte(`{"Records":[` + strings.Join(records, ",") + `]}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func day(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err) // a constant of a test
	}
	return t
}
