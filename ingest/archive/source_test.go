package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/ingest/s3sqs"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
)

func keys(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("AWSLogs/%s/CloudTrail/us-east-1/2026/11/%02d/%05d.json.gz", account, 1+i%20, i))
	}
	slices.Sort(out)
	return out
}

func TestBackfill(t *testing.T) {
	r := newRig(t)
	all := keys(300)
	r.put("logs", all...)
	r.fake.Store("logs", "AWSLogs/readme.txt", awsfake.Blob{Body: []byte("nothing of ours\n")})
	r.fake.Store("logs", "AWSLogs/torn.json.gz", awsfake.Blob{Body: file(t, record("torn"))[:20]})
	r.fake.Store("logs", "AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/11/01/d.json.gz", awsfake.Blob{Body: []byte("{}")})
	var last Progress
	s := r.source(Config{From: "s3://logs/AWSLogs/", Workers: 3}, func(p Progress) { last = p })
	if err := s.Run(t.Context(), r.sink()); err != nil {
		t.Fatal(err)
	}
	if got := r.events(); !slices.Equal(got, all) {
		t.Errorf("%d events, want %d", len(got), len(all))
	}
	if len(r.broken) != 1 || r.broken[0].Origin.Object != "s3://logs/AWSLogs/torn.json.gz" || r.broken[0].Origin.Source != "backfill" {
		t.Errorf("set aside %+v", r.broken)
	}
	if last.Listing || last.Done != 302 || last.Listed != 302 || last.DoneBytes != last.ListedBytes || last.Foreign != 1 {
		t.Errorf("progress %+v", last)
	}
	if left, ok := last.Left(); !ok || left != 0 {
		t.Errorf("%s are left at the end", left)
	}
	// It is done for good, and what asks for other things is another backfill.
	before := r.calls("ListObjectsV2")
	if err := r.source(Config{From: "s3://logs/AWSLogs/"}, nil).Run(t.Context(), r.sink()); err != nil || r.calls("ListObjectsV2") != before {
		t.Errorf("it was listed again, %v", err)
	}
	if err := r.source(Config{From: "s3://logs/AWSLogs/", Regions: []string{"us-east-1"}}, nil).Run(t.Context(), r.sink()); err != nil || r.calls("ListObjectsV2") == before {
		t.Errorf("another backfill was not listed, %v", err)
	}
}

// TestBackfillResumes: ended at any moment and started again, with faults of all
// kinds, it delivers each record, and no more than the tail again.
func TestBackfillResumes(t *testing.T) {
	const objects = 3000
	r := newRig(t)
	all := keys(objects)
	r.put("logs", all...)
	rnd := rand.New(rand.NewPCG(9, 9))
	for range 40 {
		r.fake.Fail(awsfake.Fault{Operation: "GetObject", Kind: []string{awsfake.Truncated, awsfake.Reset, awsfake.Throttle, awsfake.HTML500}[rnd.IntN(4)], Times: 1 + rnd.IntN(8), After: rnd.Int64N(200)})
	}
	r.fake.Fail(awsfake.Fault{Operation: "ListObjectsV2", Kind: awsfake.HTML500, Times: 20})
	runs := 0
	for ; ; runs++ {
		ctx, cancel := context.WithCancel(t.Context())
		var left atomic.Int64
		left.Store(rnd.Int64N(900))
		r.before = func(context.Context) error {
			if left.Add(-1) < 0 {
				cancel() // and what was taken is not to be known of
			}
			return ctx.Err()
		}
		lost := memory{kept: map[string][]byte{}}
		r.cursors.mu.Lock()
		for k, v := range r.cursors.kept {
			lost.kept[k] = v
		}
		r.cursors.mu.Unlock()
		err := r.source(Config{From: "s3://logs/", Workers: 4}, nil).Run(ctx, r.sink())
		ended := ctx.Err() == nil
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if ended {
			break
		}
		if rnd.IntN(2) == 0 { // it was killed: the last save did not happen
			r.cursors.kept = lost.kept
		}
		if runs > 200 {
			t.Fatal("it does not come to its end")
		}
	}
	if got := r.events(); !slices.Equal(got, all) {
		t.Errorf("%d events, want %d", len(got), len(all))
	}
	if r.twice > runs*(tail+saveObjects) || runs < 3 {
		t.Errorf("%d batches came again in %d runs", r.twice, runs)
	}
	if len(r.broken) > 0 {
		t.Errorf("set aside: %+v", r.broken)
	}
}

// TestLargeListingResumes: a restart in a listing of 100,000 objects asks for
// what is left of it, and not for what is done.
func TestLargeListingResumes(t *testing.T) {
	if testing.Short() {
		t.Skip("it lists 100,000 objects")
	}
	r := newRig(t)
	for i := range 100_000 {
		at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 800 * time.Millisecond)
		r.fake.Store("logs", fmt.Sprintf("AWSLogs/%s/CloudTrail/eu-west-1/2026/11/20/%s_CloudTrail_eu-west-1_%s_%06d.json.gz", account, account, at.Format("20060102T1504Z"), i), awsfake.Blob{Size: 1, Body: []byte("x")})
	}
	c := Config{From: "s3://logs/AWSLogs/", Since: Time{day("2026-11-20T00:00:00Z")}, Until: Time{day("2026-11-21T00:00:00Z")}}
	s := r.source(c, nil)
	at := cursor{After: fmt.Sprintf("AWSLogs/%s/CloudTrail/eu-west-1/2026/11/20/%s_CloudTrail_eu-west-1_20261120T2213Z_099990.json.gz", account, account), Objects: 99_991}
	if err := s.save(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.Run(t.Context(), r.sink()); err != nil {
		t.Fatal(err)
	}
	t.Logf("resumed and ended in %s", time.Since(start))
	if lists, gets := r.calls("ListObjectsV2"), r.calls("GetObject"); lists > 8 || gets != 9 {
		t.Errorf("%d listings and %d objects were asked for", lists, gets)
	}
}

// TestBackfillAndQueue: the two roads make the same batches of the same objects.
func TestBackfillAndQueue(t *testing.T) {
	r := newRig(t)
	for _, bucket := range []string{"logs", "flat"} {
		all := keys(20)
		r.put(bucket, all...)
		queue := r.fake.CreateQueue("q-"+bucket, awsfake.Queue{})
		for _, k := range all {
			r.fake.Send("q-"+bucket, fmt.Sprintf(`{"s3Bucket":%q,"s3ObjectKey":[%q]}`, bucket, k), 0)
		}
		live, err := s3sqs.New(t.Context(), s3sqs.Config{Queue: queue}, nil, nil, r.local()...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := live.Run(ctx, r.sink()); err != nil {
				t.Error(err)
			}
		})
		if err := r.fake.Until(ctx, func() bool { return len(r.fake.Messages("q-"+bucket)) == 0 }); err != nil {
			t.Fatal(err)
		}
		cancel()
		wg.Wait()
		r.mu.Lock()
		batches := len(r.batches)
		r.mu.Unlock()
		if err := r.source(Config{From: "s3://" + bucket}, nil).Run(t.Context(), r.sink()); err != nil {
			t.Fatal(err)
		}
		if len(r.batches) != batches || batches == 0 {
			t.Errorf("%s: %d batches and then %d", bucket, batches, len(r.batches))
		}
	}
}

// TestDeniedObject: one that nobody permits does not hold up the others.
func TestDeniedObject(t *testing.T) {
	r := newRig(t)
	r.put("logs", "a", "secret", "z")
	r.fake.Authorize(func(action, resource string) bool {
		return action != "s3:GetObject" || !strings.HasSuffix(resource, "secret")
	})
	if err := r.source(Config{From: "s3://logs", Workers: 1}, nil).Run(t.Context(), r.sink()); err != nil {
		t.Fatal(err)
	}
	if got := r.events(); !slices.Equal(got, []string{"a", "z"}) || len(r.broken) != 1 || !strings.Contains(r.broken[0].Reason, "s3:GetObject is not allowed") {
		t.Errorf("%v, set aside %+v", got, r.broken)
	}
	if !strings.Contains(r.logged(), "again after a rest") {
		t.Error("the log does not say that it was refused")
	}
}

// TestBackfillRefused: a sink that does not take ends it, its cursor before what
// was not taken; so does a bucket that is not there.
func TestBackfillRefused(t *testing.T) {
	r := newRig(t)
	all := keys(50)
	r.put("logs", all...)
	gone := errors.New("the bus is closed")
	var n atomic.Int64
	r.before = func(context.Context) error {
		if n.Add(1) > 20 {
			return gone
		}
		return nil
	}
	if err := r.source(Config{From: "s3://logs"}, nil).Run(t.Context(), r.sink()); !errors.Is(err, gone) {
		t.Errorf("it ended with %v", err)
	}
	r.before = nil
	if err := r.source(Config{From: "s3://logs"}, nil).Run(t.Context(), r.sink()); err != nil || !slices.Equal(r.events(), all) {
		t.Errorf("%d events, %v", len(r.events()), err)
	}
	if err := r.source(Config{From: "s3://nowhere"}, nil).Run(t.Context(), ingest.Sink{}); err == nil || !strings.Contains(err.Error(), "no bucket nowhere") {
		t.Errorf("%v", err)
	}
}

// TestTries: what was delivered before a body broke off is not delivered again.
func TestTries(t *testing.T) {
	r := newRig(t)
	var records []string
	for i := range 2000 {
		records = append(records, strings.Replace(record(fmt.Sprintf("e-%04d", i)), `"eventVersion"`, fmt.Sprintf(`"userAgent":"%0800d","eventVersion"`, i*i*7919), 1))
	}
	records[1] = "{broken"
	body := file(t, records...)
	r.fake.Store("logs", "k", awsfake.Blob{Body: body})
	for _, part := range []int64{90, 60, 95} {
		r.fake.Fail(awsfake.Fault{Operation: "GetObject", Kind: awsfake.Truncated, Times: 1, After: int64(len(body)) * part / 100})
	}
	stats, err := r.listing("s3://logs", Query{}).Store.NewReader().Read(t.Context(), s3object.Object{Bucket: "logs", Key: "k"}, r.sink())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.events()); n != 1999 || r.twice != 0 || len(r.broken) != 1 || stats.Events != 1999 || r.calls("GetObject") != 4 {
		t.Errorf("%d events, %d batches twice, %d broken, %+v, %d calls", n, r.twice, len(r.broken), stats, r.calls("GetObject"))
	}
}

func TestConfig(t *testing.T) {
	err := Config{
		From: "logs", Config: awsaccess.Config{Role: "arn:aws:iam::{account}:role/x", Region: "Mars"}, Accounts: []string{"1"}, Regions: []string{"x"}, Workers: 1000, MaxObjectBytes: 1, Skip: []string{""},
		Since: Time{day("2026-01-02T00:00:00Z")}, Until: Time{day("2026-01-01T00:00:00Z")}, FlowFormat: "v99",
	}.Validate()
	for _, want := range []string{"backfill.from", "backfill.role", "backfill.region", "backfill.accounts[0]", "backfill.regions[0]", "backfill.workers", "backfill.max_object_bytes", "backfill.skip[0]", "backfill.since", "backfill.flow_format"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "backfill.from is empty") {
		t.Errorf("%v", err)
	}
	if err := (Config{From: "s3://example-logs/AWSLogs/", Kinds: []event.Kind{event.FlowLog}}).Validate(); err != nil {
		t.Error(err)
	}
	var at Time
	if err := at.UnmarshalText([]byte("2026-11-01")); err != nil || at.Format(time.RFC3339) != "2026-11-01T00:00:00Z" {
		t.Errorf("%s, %v", at, err)
	}
	if at.UnmarshalText([]byte("24h")) == nil {
		t.Error("an age is taken, and means another time after each restart")
	}
}
