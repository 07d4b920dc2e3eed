package s3sqs

import (
	"bytes"
	"context"
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

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
	"riposte/internal/testlog"
)

const (
	account    = "111122223333"
	bucketName = "logs"
)

// rig is a source against an AWS endpoint on loopback, and what it delivered.
type rig struct {
	t    testing.TB
	fake *awsfake.Server
	src  *Source
	log  *testlog.Journal

	mu      sync.Mutex
	batches map[string][]string // event ids by batch id
	broken  []ingest.Broken
	meter   tally
	// before, when set, decides whether a batch or broken record is taken.
	before func(ctx context.Context) error
	// see, when set, is shown each event.
	see func(e *event.Event)
}

// tally is a meter.
type tally struct{ sync.Map }

func (m *tally) Count(_ context.Context, what string, n int64) {
	v, _ := m.LoadOrStore(what, new(atomic.Int64))
	v.(*atomic.Int64).Add(n)
}

func (m *tally) of(what string) int64 {
	v, ok := m.Load(what)
	if !ok {
		return 0
	}
	return v.(*atomic.Int64).Load()
}

// local are the options that reach the fake, whatever the machine's AWS configuration says.
func local(fake *awsfake.Server) []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
	}
}

// hasty makes the SDK's retries wait for next to nothing.
func hasty() func(*config.LoadOptions) error {
	return config.WithRetryer(func() aws.Retryer {
		return retry.AddWithMaxBackoffDelay(retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = awsaccess.Attempts }), time.Millisecond)
	})
}

func newRig(t testing.TB, q awsfake.Queue, change func(*Config)) *rig {
	t.Helper()
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{account: {Buckets: map[string]*awsfake.Bucket{
		bucketName: {Region: "eu-west-1", Versioned: true}, "flat": {Region: "eu-west-1"}, "far": {Region: "us-east-1"},
	}}}}, account)
	t.Cleanup(fake.Close)
	c := Config{Queue: fake.CreateQueue("q", q), Receivers: 2}
	if change != nil {
		change(&c)
	}
	r := &rig{t: t, fake: fake, log: &testlog.Journal{}, batches: map[string][]string{}}
	src, err := New(t.Context(), c, slog.New(slog.NewJSONHandler(r.log, nil)), &r.meter, append(local(fake), hasty())...)
	if err != nil {
		t.Fatal(err)
	}
	src.rest = func(int) time.Duration { return 0 }
	src.pause = func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }
	src.store.Pause = src.pause
	r.src = src
	return r
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
				if r.see != nil {
					r.see(&b.Events[i])
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if have, ok := r.batches[b.ID]; ok && !slices.Equal(have, ids) {
				r.t.Errorf("batch %s had %d events and now has %d: one hides the other", b.ID, len(have), len(ids))
			}
			r.batches[b.ID] = ids
			return nil
		},
		Broken: func(ctx context.Context, b ingest.Broken) error {
			if r.before != nil {
				if err := r.before(ctx); err != nil {
					return err
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			b.Raw = bytes.Clone(b.Raw)
			r.broken = append(r.broken, b)
			return nil
		},
	}
}

// start runs the source; stop ends it and waits.
func (r *rig) start() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.src.Run(ctx, r.sink()) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the source ended with %v", err)
		}
	})
}

// until waits for a condition on the fake or on what it heard.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute) // a test that hangs says where
	defer cancel()
	if err := r.fake.Until(ctx, holds); err != nil {
		r.t.Fatalf("%s does not come: %v\n%+v\n%.5000s", what, err, r.fake.Messages("q"), r.log)
	}
}

// drain runs the source until the queue is empty.
func (r *rig) drain() {
	r.t.Helper()
	stop := r.start()
	defer stop()
	r.empty()
}

// empty waits for an empty queue. Whoever sends more afterwards keeps the source
// running: the last poll of one that was stopped may take a message with it.
func (r *rig) empty() {
	r.t.Helper()
	r.until("an empty queue", func() bool { return len(r.fake.Messages("q")) == 0 })
}

// events are the ids that were delivered, sorted, as often as in different batches.
func (r *rig) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, ids := range r.batches {
		out = append(out, ids...)
	}
	slices.Sort(out)
	return out
}

// want fails unless exactly these events came, each in one batch.
func (r *rig) want(ids ...string) {
	r.t.Helper()
	slices.Sort(ids)
	if got := r.events(); !slices.Equal(got, ids) {
		r.t.Errorf("%d events came, want %d: %.300q, want %.300q\n%.3000s", len(got), len(ids), got, ids, r.log)
	}
}

func (r *rig) calls(operation string) (n int) {
	for _, c := range r.fake.Calls() {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

// record is a CloudTrail record with an id of its own, and padding.
func record(id, padding string) string {
	return `{"eventVersion":"1.11","eventID":"` + id + `","eventTime":"2026-01-02T03:04:05Z","eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":"us-east-1","recipientAccountId":"` + account + `","userAgent":"` + padding + `"}`
}

// file is a CloudTrail log file of records, compressed.
func file(t testing.TB, records ...string) []byte {
	return gzipped(t, `{"Records":[`+strings.Join(records, ",")+`]}`)
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// store puts a log file into the bucket and returns what a notification says of it.
func (r *rig) store(key string, body []byte) s3object.Object {
	return s3object.Object{Bucket: bucketName, Key: key, Version: r.fake.Store(bucketName, key, awsfake.Blob{Body: body})}
}

func names(prefix string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%05d", prefix, i))
	}
	return ids
}

func records(ids []string, padding func() string) (out []string) {
	for _, id := range ids {
		p := ""
		if padding != nil {
			p = padding()
		}
		out = append(out, record(id, p))
	}
	return out
}
