package s3sqs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/cenkalti/backoff/v5"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
)

func TestEverySpellingIsRead(t *testing.T) {
	for name, write := range spellings() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, awsfake.Queue{}, nil)
			o := r.store(oddKey, file(t, record("one", ""), record("two", "")))
			r.fake.Send("q", write(t, o), 0)
			r.drain()
			r.want("one", "two")
			if len(r.broken) != 0 {
				t.Errorf("set aside: %+v", r.broken)
			}
		})
	}
}

// TestTwoRoadsOneObject: the batches of an object are the same by whatever road
// it was told of, whether its bucket keeps versions or not.
func TestTwoRoadsOneObject(t *testing.T) {
	for _, bucket := range []string{bucketName, "flat"} {
		var first []string
		for name, write := range spellings() {
			r := newRig(t, awsfake.Queue{}, nil)
			o := s3object.Object{Bucket: bucket, Key: "k.json.gz", Version: r.fake.Store(bucket, "k.json.gz", awsfake.Blob{Body: file(t, records(names("e", 250), nil)...)})}
			r.fake.Send("q", write(t, o), 0)
			r.drain()
			var ids []string
			for id := range r.batches {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			if first == nil {
				first = ids
			}
			if len(ids) != 3 || !slices.Equal(ids, first) {
				t.Errorf("%s by %s: batches %v, want %v", bucket, name, ids, first)
			}
		}
	}
}

// TestOverwrittenObjectIsAnother: new bytes under an old key are new batches.
func TestOverwrittenObjectIsAnother(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	stop := r.start()
	defer stop()
	for _, id := range []string{"before", "after"} {
		r.fake.Store("flat", "k", awsfake.Blob{Body: file(t, record(id, ""))})
		r.fake.Send("q", cloudTrail(t, s3object.Object{Bucket: "flat", Key: "k"}), 0)
		r.empty()
	}
	r.want("before", "after")
}

func TestWhatIsNotRead(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, func(c *Config) { c.Prefixes, c.Suffixes = []string{"org/"}, []string{".gz"} })
	r.fake.Send("q", `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"logs"}`, 0)
	var all []s3object.Object
	for _, key := range []string{"org/CloudTrail/a.json.gz", "org/CloudTrail-Digest/b.json.gz", "org/CloudTrail-Insight/c.json.gz", "other/d.json.gz", "org/e.txt"} {
		all = append(all, r.store(key, file(t, record(key, ""))))
	}
	r.fake.Send("q", s3Event(t, all...), 0)
	r.drain()
	r.want("org/CloudTrail/a.json.gz", "org/CloudTrail-Insight/c.json.gz")
	if n := r.calls("GetObject"); n != 2 || len(r.broken) != 0 {
		t.Errorf("%d objects were read, %d set aside", n, len(r.broken))
	}
}

// TestPoison: what can never be read goes to the dead letters with its place and
// reason, and the rest of the message goes on.
func TestPoison(t *testing.T) {
	good := file(t, records(names("good", 3), nil)...)
	corrupt := slices.Clone(good)
	corrupt[len(corrupt)-6] ^= 0xff // its checksum
	for name, c := range map[string]struct {
		blob   awsfake.Blob
		reason string
		head   []byte
		events bool // what came before is read
	}{
		"a wrong checksum": {awsfake.Blob{Body: corrupt}, "checksum", corrupt, true},
		"cut short":        {awsfake.Blob{Body: good[:len(good)-12]}, "cut short", good[:len(good)-12], true},
		"a bad header":     {awsfake.Blob{Body: []byte("\x1f\x8b rubbish, and more of it")}, "gzip header", []byte("\x1f\x8b rubbish, and more of it"), false},
		"no telemetry":     {awsfake.Blob{Body: []byte(`{"hello":"world"}`)}, "no telemetry", []byte(`{"hello":"world"}`), false},
		"archived":         {awsfake.Blob{Body: good, Archived: true}, "restore it", nil, false},
		"too large":        {awsfake.Blob{Body: file(t, records(names("good", 3), func() string { return strings.Repeat("x", 1<<20) })...)}, "larger than 1048576 bytes", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, awsfake.Queue{}, func(c *Config) { c.MaxObjectBytes = 1 << 20 })
			bad := s3object.Object{Bucket: bucketName, Key: "bad key", Version: r.fake.Store(bucketName, "bad key", c.blob)}
			fine := r.store("fine", file(t, record("fine", "")))
			r.fake.Send("q", s3Event(t, bad, fine), 0)
			r.drain()
			if got := r.events(); !slices.Contains(got, "fine") {
				t.Errorf("the rest of the message did not go on: %v", got)
			}
			last := r.broken[len(r.broken)-1]
			if place := last.Origin.Object; place != "s3://logs/bad key?versionId="+bad.Version || last.Origin.Source != "s3" {
				t.Errorf("its place is %+v", last.Origin)
			}
			if !strings.Contains(last.Reason, c.reason) {
				t.Errorf("its reason is %q, want %q in it", last.Reason, c.reason)
			}
			if c.head != nil && !bytes.Equal(last.Raw, c.head[:min(len(c.head), s3object.HeadSize)]) {
				t.Errorf("its head is %q", last.Raw)
			}
			if n := r.calls("GetObject"); n > 3 {
				t.Errorf("read %d times", n)
			}
		})
	}
}

func TestMissingObject(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	fine := r.store("fine", file(t, record("fine", "")))
	r.fake.Send("q", cloudTrail(t, s3object.Object{Bucket: bucketName, Key: "gone"}, fine), 0)
	r.fake.Send("q", s3Event(t, s3object.Object{Bucket: bucketName, Key: "fine", Version: "v0"}), 0)
	r.drain()
	r.want("fine")
	var got []string
	for _, b := range r.broken {
		got = append(got, b.Origin.Object+" "+b.Reason)
	}
	slices.Sort(got)
	if want := []string{"s3://logs/fine?versionId=v0 S3 has no such object (NoSuchVersion, asked 4 times)", "s3://logs/gone S3 has no such object (NoSuchKey, asked 4 times)"}; !slices.Equal(got, want) {
		t.Errorf("set aside %q, want %q", got, want)
	}
}

// TestLateObject: an object that shows a moment after its notification is read.
func TestLateObject(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	r.fake.Send("q", cloudTrail(t, s3object.Object{Bucket: bucketName, Key: "late"}), 0)
	r.src.store.Pause = func() backoff.BackOff {
		return then(func() { r.store("late", file(t, record("late", ""))) })
	}
	r.drain()
	r.want("late")
	if len(r.broken) != 0 {
		t.Errorf("set aside: %+v", r.broken)
	}
}

// then is a pause in which something happens.
type then func()

func (f then) NextBackOff() time.Duration { f(); return 0 }
func (f then) Reset()                     {}

func TestMessageNobodyUnderstands(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	id := r.fake.Send("q", `{"hello":"world"}`, 0)
	r.drain()
	if len(r.broken) != 1 || !strings.HasSuffix(r.broken[0].Origin.Object, "/q?messageId="+id) || string(r.broken[0].Raw) != `{"hello":"world"}` || !strings.Contains(r.broken[0].Reason, "neither a notification") {
		t.Errorf("set aside %+v", r.broken)
	}
}

// TestTelemetryInMessages: what EventBridge or SNS put into the queue itself is
// read, once however often it is sent, and its message goes when it is durable.
func TestTelemetryInMessages(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	call := func(id string) string {
		return `{"version":"0","id":"` + id + `","detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":` + record(id, "") + `}`
	}
	r.fake.Send("q", call("one"), 0)
	r.fake.Send("q", call("one"), 0)
	r.fake.Send("q", envelope(t, call("two")), 0)
	r.fake.Send("q", `{"Records":[`+record("three", "")+`,`+record("four", "")+`]}`, 0)
	r.drain()
	r.want("one", "two", "three", "four")
	if len(r.broken) != 0 {
		t.Errorf("set aside: %+v", r.broken)
	}
}

// TestRefusals: a missing permission is told in the words of who must give it,
// the message stays, and goes on when it is given.
func TestRefusals(t *testing.T) {
	key := "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	for action, words := range map[string]string{
		"kms:Decrypt":         "allow it on " + key,
		"s3:GetObjectVersion": "s3:GetObjectVersion is not allowed: allow it on arn:aws:s3:::logs/*",
	} {
		r := newRig(t, awsfake.Queue{}, nil)
		r.fake.Authorize(func(a, _ string) bool { return a != action })
		version := r.fake.Store(bucketName, "k", awsfake.Blob{Body: file(t, record("one", "")), KMSKey: key})
		r.fake.Send("q", s3Event(t, s3object.Object{Bucket: bucketName, Key: "k", Version: version}), 0)
		stop := r.start()
		r.until("a second receive", func() bool { return r.fake.Messages("q")[0].Receives > 1 })
		if !strings.Contains(r.log.String(), words) || !strings.Contains(r.log.String(), action) || len(r.broken) != 0 {
			t.Errorf("%s: %d set aside, the log says\n%s", action, len(r.broken), r.log)
		}
		r.fake.Authorize(nil)
		r.until("an empty queue", func() bool { return len(r.fake.Messages("q")) == 0 })
		stop()
		r.want("one")
	}
}

// TestStart: a queue that is not there, or may not be looked at, ends the source;
// one that cannot be reached yet does not.
func TestStart(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, func(c *Config) { c.Queue += "-not" })
	if err := r.src.Run(t.Context(), r.sink()); err == nil || !strings.Contains(err.Error(), "does not exist in eu-west-1") {
		t.Errorf("a queue that is not there: %v", err)
	}
	r = newRig(t, awsfake.Queue{}, nil)
	r.fake.Authorize(func(string, string) bool { return false })
	if err := r.src.Run(t.Context(), r.sink()); err == nil || !strings.Contains(err.Error(), "sqs:GetQueueAttributes is not allowed") {
		t.Errorf("a queue that may not be looked at: %v", err)
	}
	r.fake.Authorize(nil)
	r.fake.Fail(awsfake.Fault{Operation: "GetQueueAttributes", Kind: awsfake.HTML500, Times: 2 * awsaccess.Attempts})
	r.fake.Send("q", cloudTrail(t, r.store("k", file(t, record("one", "")))), 0)
	r.drain()
	r.want("one")
	if !strings.Contains(r.log.String(), "no redrive policy") {
		t.Error("a queue without redrive is not told of")
	}
}

// TestBucketElsewhere: CloudTrail's message does not say where the bucket is.
func TestBucketElsewhere(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	stop := r.start()
	defer stop()
	for _, key := range []string{"a", "b"} {
		r.fake.Store("far", key, awsfake.Blob{Body: file(t, record(key, ""))})
		r.fake.Send("q", cloudTrail(t, s3object.Object{Bucket: "far", Key: key}), 0)
		r.empty()
	}
	r.want("a", "b")
	if n := r.calls("GetObject"); n != 3 {
		t.Errorf("%d calls: the region is learnt once", n)
	}
}

// TestBackPressure: while the sink does not take, no more objects are opened than
// there are receivers, what is held stays hidden, and nothing more is received.
func TestBackPressure(t *testing.T) {
	const receivers, sent = 2, 35
	r := newRig(t, awsfake.Queue{}, func(c *Config) { c.Receivers, c.Visibility = receivers, 10*time.Minute })
	r.src.extend = time.Millisecond
	var waiting atomic.Int64
	open := make(chan struct{})
	r.before = func(ctx context.Context) error {
		waiting.Add(1)
		r.fake.Advance(0) // who waits looks again
		defer waiting.Add(-1)
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ids := names("e", sent)
	for _, id := range ids {
		r.fake.Send("q", cloudTrail(t, r.store(id, file(t, record(id, "")))), 0)
	}
	stop := r.start()
	defer stop()
	r.until("every receiver at work", func() bool { return waiting.Load() == receivers })
	for range 10 {
		r.until("an extension of all that is held", func() bool {
			now := r.fake.Now()
			return !slices.ContainsFunc(r.fake.Messages("q"), func(m awsfake.Message) bool { return m.Receives > 0 && m.Visible.Sub(now) < 9*time.Minute })
		})
		r.fake.Advance(6 * time.Minute) // an hour altogether
	}
	held := 0
	for _, m := range r.fake.Messages("q") {
		held += m.Receives
		if m.Receives > 1 {
			t.Errorf("a message that is worked on was seen again")
		}
	}
	if n := r.calls("GetObject"); n != receivers || held != 10*receivers {
		t.Errorf("%d objects are open and %d messages held, want %d and %d", n, held, receivers, 10*receivers)
	}
	close(open)
	r.until("an empty queue", func() bool { return len(r.fake.Messages("q")) == 0 })
	stop()
	r.want(ids...)
}

// TestShutdown: what was not finished is visible again at once, and nothing of it
// was deleted.
func TestShutdown(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, func(c *Config) { c.Receivers = 3 })
	var waiting atomic.Int64
	r.before = func(ctx context.Context) error {
		waiting.Add(1)
		r.fake.Advance(0) // who waits looks again
		<-ctx.Done()
		return ctx.Err()
	}
	ids := names("e", 40)
	for _, id := range ids {
		r.fake.Send("q", cloudTrail(t, r.store(id, file(t, record(id, "")))), 0)
	}
	stop := r.start()
	r.until("every receiver at work", func() bool { return waiting.Load() == 3 })
	stop()
	visible := 0
	for _, m := range r.fake.Messages("q") {
		if !m.Visible.After(r.fake.Now()) {
			visible++
		}
	}
	if visible != len(ids) {
		t.Errorf("%d of %d messages are visible after the end", visible, len(ids))
	}
	r.before = nil
	r.drain()
	r.want(ids...)
}

// TestRefusedBySink: a sink that refuses loses nothing, and a message that always
// fails goes where the queue's redrive policy says.
func TestRefusedBySink(t *testing.T) {
	r := newRig(t, awsfake.Queue{Dead: "dead", MaxReceives: 3}, nil)
	r.fake.CreateQueue("dead", awsfake.Queue{})
	r.before = func(context.Context) error { return errors.New("the stream is away") }
	for _, key := range []string{"fine", "corrupt"} {
		body := file(t, record(key, ""))
		if key == "corrupt" {
			body = []byte("\x1f\x8b rubbish")
		}
		r.fake.Send("q", cloudTrail(t, r.store(key, body)), 0)
	}
	r.drain()
	r.want()
	for _, m := range r.fake.Messages("dead") {
		if m.Receives != 3 {
			t.Errorf("dead after %d receives", m.Receives)
		}
	}
	if n := len(r.fake.Messages("dead")); n != 2 || r.calls("DeleteMessage") != 0 {
		t.Errorf("%d messages are dead, %d were deleted", n, r.calls("DeleteMessage"))
	}
}

// TestNothingIsLostOrDoubled: whatever S3, SQS and the sink do, every record
// arrives, and by the ids of batches arrives once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func chaos(t *testing.T, rnd *rand.Rand) {
	var picking sync.Mutex
	dice := func(n int) int { // the fake and the sink ask side by side
		picking.Lock()
		defer picking.Unlock()
		return rnd.IntN(n)
	}
	r := newRig(t, awsfake.Queue{Pick: dice}, func(c *Config) { c.Receivers, c.Visibility = 1+dice(4), time.Hour })
	padding := func() string { return fmt.Sprintf("%0*x", 200+dice(3000), rnd.Uint64()) }
	ids := names("e", 4000)
	roads := []spelling{}
	for _, name := range []string{"s3", "s3 through sns", "eventbridge", "eventbridge through sns", "cloudtrail", "cloudtrail through sns", "config"} {
		roads = append(roads, spellings()[name])
	}
	var bodies []string
	for i, left := 0, ids; len(left) > 0; i++ {
		n := min(len(left), 1+dice(1500))
		text := records(left[:n], padding)
		var o s3object.Object
		switch key := fmt.Sprintf("AWSLogs/%d a+b.json.gz", i); dice(3) {
		case 0:
			o = r.store(key, file(t, text...))
		case 1:
			o = r.store(key, []byte(strings.Join(text, "\n"))) // plain, a record a line
		default:
			o = s3object.Object{Bucket: "flat", Key: key}
			r.fake.Store("flat", key, awsfake.Blob{Body: gzipped(t, strings.Join(text, "\n"))})
		}
		left = left[n:]
		for range 1 + dice(3) {
			bodies = append(bodies, roads[dice(len(roads))](t, o))
		}
	}
	rnd.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	for _, b := range bodies {
		r.fake.Send("q", b, time.Duration(dice(2)*dice(7200))*time.Second)
	}
	for _, f := range []awsfake.Fault{
		{Operation: "ReceiveMessage", Kind: awsfake.Throttle, Times: 1 + dice(10)},
		{Operation: "ReceiveMessage", Kind: awsfake.Duplicate, Times: 1 + dice(4)},
		{Operation: "ReceiveMessage", Kind: awsfake.HTML500, Times: 1 + dice(4)},
		{Operation: "DeleteMessage", Kind: awsfake.LostReply, Times: 1 + dice(3)},
		{Operation: "DeleteMessage", Kind: awsfake.ExpiredHandle, Times: 1 + dice(3)},
		{Operation: "ChangeMessageVisibility", Kind: awsfake.Throttle, Times: 1 + dice(10)},
	} {
		r.fake.Fail(f)
	}
	for range 10 + dice(10) {
		kind := []string{awsfake.Truncated, awsfake.Reset, awsfake.Throttle, awsfake.HTML500, awsfake.LostReply}[dice(5)]
		r.fake.Fail(awsfake.Fault{Operation: "GetObject", Kind: kind, Times: 1, After: int64(dice(1 << 20))})
	}
	r.before = func(context.Context) error {
		if dice(40) == 0 {
			return errors.New("the stream is away")
		}
		return nil
	}
	stop := r.start()
	seen := 0
	r.until("an empty queue", func() bool {
		// Time goes on with the work, so that what is delayed or hidden shows again.
		if n := len(r.fake.Calls()); n > seen {
			seen = n
			r.fake.Advance(time.Minute)
		}
		return len(r.fake.Messages("q")) == 0
	})
	stop()
	r.want(ids...)
	if len(r.broken) != 0 {
		t.Errorf("%d set aside, such as %q: %s", len(r.broken), r.broken[0].Origin, r.broken[0].Reason)
	}
}

// TestTornRecord: what a body that broke off leaves of a record is no broken record.
func TestTornRecord(t *testing.T) {
	for _, kind := range []string{awsfake.Truncated, awsfake.Reset} {
		r := newRig(t, awsfake.Queue{}, nil)
		r.fake.Send("q", cloudTrail(t, r.store("k", []byte(record("one", "")))), 0)
		r.fake.Fail(awsfake.Fault{Operation: "GetObject", Kind: kind, Times: 2, After: 50})
		r.drain()
		r.want("one")
		if len(r.broken) != 0 || r.calls("GetObject") != 3 || r.calls("ChangeMessageVisibility") != 0 {
			t.Errorf("%s: set aside %+v after %d reads", kind, r.broken, r.calls("GetObject"))
		}
	}
}

// TestStreamsWhileItArrives: the first batch is delivered while the rest of its
// object has not left S3.
func TestStreamsWhileItArrives(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	text := strings.Join(records(names("e", 3000), func() string { return strings.Repeat("x", 1000) }), "\n")
	delivered := make(chan struct{})
	r.before = func(context.Context) error {
		select {
		case <-delivered:
		default:
			close(delivered)
		}
		return nil
	}
	first := len(text) - 1000
	version := r.fake.Store(bucketName, "k", awsfake.Blob{Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(text[:first]), gate(delivered), strings.NewReader(text[first:]))), nil
	}})
	r.fake.Send("q", s3Event(t, s3object.Object{Bucket: bucketName, Key: "k", Version: version}), 0)
	r.drain()
	r.want(names("e", 3000)...)
}

// gate is an empty reader that ends when its channel is closed.
type gate chan struct{}

func (g gate) Read([]byte) (int, error) {
	<-g
	return 0, io.EOF
}

// recorder keeps the bodies of requests to STS.
type recorder struct {
	mu     sync.Mutex
	bodies []string
}

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil && strings.Contains(req.Header.Get("Authorization"), "/sts/") {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(b))
		r.mu.Lock()
		r.bodies = append(r.bodies, string(b))
		r.mu.Unlock()
	}
	return http.DefaultClient.Do(req)
}

func TestRoleAndRetries(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	t.Setenv("AWS_CA_BUNDLE", "") // which wants a client of the SDK's own
	var rec recorder
	c := r.src.cfg
	c.Role, c.ExternalID = "arn:aws:iam::"+account+":role/riposte-ingest", "tenant-7"
	src, err := New(t.Context(), c, nil, nil, append(local(r.fake), config.WithHTTPClient(&rec))...)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := src.queue.Options().Retryer.(*retry.AdaptiveMode); !ok {
		t.Errorf("it retries by %T, want adaptively", got)
	}
	r.src = src
	r.fake.Send("q", cloudTrail(t, r.store("k", file(t, record("one", "")))), 0)
	r.drain()
	r.want("one")
	if all := strings.Join(rec.bodies, "\n"); !strings.Contains(all, "ExternalId=tenant-7") || !strings.Contains(all, "role%2Friposte-ingest") {
		t.Errorf("STS was asked %q", all)
	}
	// A role that does not trust us is named, with what to do.
	r.fake.Fail(awsfake.Fault{Service: "sts", Kind: awsfake.Deny})
	src, err = New(t.Context(), c, nil, nil, append(local(r.fake), hasty())...)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Run(t.Context(), ingest.Sink{}); err == nil || !strings.Contains(err.Error(), c.Role+" cannot be assumed: allow sts:AssumeRole") {
		t.Errorf("a role that cannot be assumed: %v", err)
	}
}

func TestRest(t *testing.T) {
	var got []time.Duration
	for _, n := range []int{0, 1, 2, 3, 7, 8, 1000} {
		got = append(got, rest(n))
	}
	if want := []time.Duration{15 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 15 * time.Minute, 15 * time.Minute, 15 * time.Minute}; !slices.Equal(got, want) {
		t.Errorf("rests %v, want %v", got, want)
	}
}

func TestConfig(t *testing.T) {
	err := Config{Queue: "arn:aws:sqs:eu-west-1:1:q", Config: awsaccess.Config{Region: "Mars", Role: "x"}, Receivers: -1, Wait: time.Hour, Visibility: time.Second, MaxObjectBytes: 1, Skip: []string{""}}.Validate()
	for _, want := range []string{"is an ARN", "s3.region", "s3.role", "s3.receivers", "s3.wait", "s3.visibility", "s3.max_object_bytes", "s3.skip[0]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
	for _, bad := range []Config{{}, {Queue: "riposte"}, {Queue: "https://sqs.eu-west-1.amazonaws.com/"}, {Queue: "https://h/1/q", Config: awsaccess.Config{ExternalID: "x"}}, {Queue: "https://h/1/q", Config: awsaccess.Config{Role: "arn:aws:iam::{account}:role/x"}}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	for url, region := range map[string]string{
		"https://sqs.eu-west-1.amazonaws.com/1/q": "eu-west-1", "https://sqs.cn-north-1.amazonaws.com.cn/1/q": "cn-north-1", "https://us-east-2.queue.amazonaws.com/1/q": "us-east-2", "http://127.0.0.1:5000/1/q": "",
	} {
		c := Config{Queue: url}
		if err := c.Validate(); err != nil || c.withDefaults().Region != region {
			t.Errorf("%s: region %q, %v", url, c.withDefaults().Region, err)
		}
	}
	if c := (Config{Skip: []string{}}).withDefaults(); !c.wants("x/CloudTrail-Digest/y") {
		t.Error("an empty skip does not read all")
	}
}

// TestConfigMessages: what Config puts on its topic is read, fetched whole where
// it was too large, and never a dead letter.
func TestConfigMessages(t *testing.T) {
	const oversized = `{"configurationItemSummary":{"changeType":"UPDATE","configurationItemCaptureTime":"2026-03-02T09:14:05.123Z","configurationStateId":"1772442845123","awsAccountId":"111122223333","configurationItemStatus":"OK","resourceType":"AWS::EC2::SecurityGroup","resourceId":"sg-1","awsRegion":"eu-west-1"},"s3DeliverySummary":{"s3BucketLocation":"flat/AWSLogs/111122223333/Config/eu-west-1/2026/3/2/OversizedChangeNotification/AWS::EC2::SecurityGroup/sg-1/x_1.json.gz","errorCode":null},"messageType":"OversizedConfigurationItemChangeNotification"}`
	const whole = `{"configurationItem":{"configurationItemCaptureTime":"2026-03-02T09:14:05.123Z","configurationStateId":"1772442845123","awsAccountId":"111122223333","resourceType":"AWS::EC2::SecurityGroup","resourceId":"sg-1","awsRegion":"eu-west-1","configuration":{"groupName":"wide"}},"messageType":"ConfigurationItemChangeNotification"}`
	words := "View the Timeline for this Resource: {x}\nNew State Record Summary:\n" + oversized
	inSNS := func(message string) string {
		b, err := json.Marshal(map[string]string{"Type": "Notification", "Message": message})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	r := newRig(t, awsfake.Queue{}, nil)
	var configured []bool
	r.see = func(e *event.Event) { configured = append(configured, e.Has(event.ConfigConfiguration)) }
	r.src.cfg.Receivers = 1
	r.fake.Store("flat", "AWSLogs/111122223333/Config/eu-west-1/2026/3/2/OversizedChangeNotification/AWS::EC2::SecurityGroup/sg-1/x_1.json.gz", awsfake.Blob{Body: []byte(whole)})
	r.fake.Store("flat", "AWSLogs/111122223333/Config/ConfigWritabilityCheckFile", awsfake.Blob{})
	for _, body := range []string{
		inSNS(oversized), inSNS(words), words, `{"source":"aws.config","detail-type":"Config Configuration Item Change","detail":` + oversized + `}`,
		inSNS(`{"messageType":"ConfigurationSnapshotDeliveryStarted","configSnapshotId":"x"}`), inSNS(`{"messageType":"ConfigRulesEvaluationStarted","configRuleNames":["r"]}`),
		`{"messageType":"ConfigRulesEvaluationStarted","configRuleNames":["r"]}`,
		inSNS(`{"messageType":"ConfigurationHistoryDeliveryCompleted","s3Bucket":"flat","s3ObjectKey":"AWSLogs/111122223333/Config/ConfigWritabilityCheckFile"}`),
	} {
		r.fake.Send("q", body, 0)
	}
	r.drain()
	if len(r.broken) > 0 {
		t.Errorf("set aside: %+v", r.broken)
	}
	if len(configured) != 4 || slices.Contains(configured, false) {
		t.Errorf("of 4 items, whole: %v\n%s", configured, r.log)
	}
	if n := r.meter.of("config-items-fetched"); n != 4 {
		t.Errorf("%d items fetched", n)
	}
}
