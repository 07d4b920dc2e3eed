package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"riposte/internal/awsfake"
)

// TestKilledS3 kills the real process with SIGKILL again and again while records
// come from S3 over SQS. Notifications are doubled, out of order and late, some
// of objects that were read long ago; S3 throttles, fails, breaks bodies off and
// resets connections; SQS sends messages twice and refuses receipt handles. In
// the end every record is in the stream exactly once, the queue is empty and
// nothing is dead. RIPOSTE_SOAK=200 kills as often, with 1,000 records a kill.
func TestKilledS3(t *testing.T) {
	kills, objects, each := 12, 10, 30
	if soak := os.Getenv("RIPOSTE_SOAK"); soak != "" {
		n, err := strconv.Atoi(soak)
		if err != nil || n < 1 {
			t.Fatalf("RIPOSTE_SOAK=%s: want a number of kills", soak)
		}
		kills, objects, each = n, 10, 100
	}
	seed := uint64(7)
	if s := os.Getenv("RIPOSTE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("RIPOSTE_SEED=%s: want a number", s)
		}
	}
	start := time.Now()
	r := newS3Crash(t, seed, each)
	for range kills {
		r.send(objects)
		r.spoil()
		r.kill()
	}
	r.send(objects)
	r.finish()
	r.judge(kills, time.Since(start))
}

// s3Crash is a daemon that is killed, and the AWS that it reads from.
type s3Crash struct {
	t      *testing.T
	fake   *awsfake.Server
	rnd    *rand.Rand
	dir    string
	config string
	each   int // records an object

	objects  []string // notifications of all objects so far
	sent     int
	received atomic.Int64
	faults   int
}

func newS3Crash(t *testing.T, seed uint64, each int) *s3Crash {
	r := &s3Crash{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), dir: t.TempDir(), each: each}
	r.fake = awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{
		"example-logs": {Region: "eu-west-1", Versioned: true}, "example-flat": {Region: "us-east-1"},
	}}}}, "111122223333")
	t.Cleanup(r.fake.Close)
	r.fake.CreateQueue("dead", awsfake.Queue{})
	order := rand.New(rand.NewPCG(seed, 4)) // asked under the fake's lock
	queue := r.fake.CreateQueue("riposte", awsfake.Queue{Dead: "dead", MaxReceives: 1000, Pick: func(n int) int {
		r.received.Add(1)
		return order.IntN(n)
	}})
	r.config = filepath.Join(r.dir, "riposte.yaml")
	write(t, r.config, "data_dir: "+filepath.Join(r.dir, "data")+"\nroles: [ingest]\ndetect: {builtin: false}\nrespond: {builtin: false}\ntelemetry: {log_format: json}\n"+
		"sources: [{s3: {queue: \""+queue+"\", receivers: 3, visibility: 10s, wait: 1s}}]\n")
	return r
}

// send stores objects and tells of them: of some twice, of some late, and again
// of some that are old.
func (r *s3Crash) send(n int) {
	for range n {
		i := len(r.objects)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		fmt.Fprint(z, `{"Records":[`)
		for k := range r.each {
			if k > 0 {
				fmt.Fprint(z, ",")
			}
			fmt.Fprintf(z, `{"eventVersion":"1.11","eventID":"%06d-%04d","eventTime":"2026-01-02T03:04:05Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-west-1","recipientAccountId":"111122223333","userAgent":"%0*x"}`,
				i, k, 200+r.rnd.IntN(800), r.rnd.Uint64())
		}
		fmt.Fprint(z, `]}`)
		if err := z.Close(); err != nil {
			r.t.Fatal(err)
		}
		bucket, key := "example-logs", fmt.Sprintf("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/02/%06d a+b.json.gz", i)
		note := ""
		if r.rnd.IntN(3) == 0 {
			bucket = "example-flat"
			r.fake.Store(bucket, key, awsfake.Blob{Body: packed.Bytes()})
			note = fmt.Sprintf(`{"s3Bucket":%q,"s3ObjectKey":[%q]}`, bucket, key)
		} else {
			version := r.fake.Store(bucket, key, awsfake.Blob{Body: packed.Bytes()})
			note = fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-west-1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":%q},"object":{"key":%q,"versionId":%q}}}]}`, bucket, url.QueryEscape(key), version)
		}
		r.objects = append(r.objects, note)
		r.tell(note)
		if r.rnd.IntN(4) == 0 {
			r.tell(note)
		}
		if r.rnd.IntN(8) == 0 {
			r.tell(r.objects[r.rnd.IntN(len(r.objects))])
		}
	}
}

func (r *s3Crash) tell(note string) {
	delay := time.Duration(0)
	if r.rnd.IntN(5) == 0 {
		delay = time.Duration(r.rnd.IntN(60)) * time.Second
	}
	r.fake.Send("riposte", note, delay)
	r.sent++
}

// spoil makes AWS behave badly for a while.
func (r *s3Crash) spoil() {
	for range 2 + r.rnd.IntN(4) {
		f := awsfake.Fault{Operation: "GetObject", Times: 1 + r.rnd.IntN(2), After: r.rnd.Int64N(20_000)}
		switch r.rnd.IntN(8) {
		case 0, 1:
			f.Kind = awsfake.Truncated
		case 2, 3:
			f.Kind = awsfake.Reset
		case 4:
			f.Kind, f.Times = awsfake.Throttle, 1
		case 5:
			f.Kind = awsfake.HTML500
		case 6:
			f.Operation, f.Kind = "ReceiveMessage", awsfake.Duplicate
		default:
			f.Operation, f.Kind = "DeleteMessage", awsfake.ExpiredHandle
		}
		r.faults += f.Times
		r.fake.Fail(f)
	}
}

// run starts the daemon; its log is for a failure.
func (r *s3Crash) run() (p *os.Process, ended <-chan error, log *bytes.Buffer) {
	cmd := realProgram(inAWS(r.t, r.fake), "run", "--config", r.config)
	log = &bytes.Buffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return cmd.Process, done, log
}

// kill starts the daemon and kills it at a moment between two calls, or while it
// does what it does between them.
func (r *s3Crash) kill() {
	before, after := len(r.fake.Calls()), 4+r.rnd.IntN(40)
	p, ended, log := r.run()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	if err := r.fake.Until(ctx, func() bool { return len(r.fake.Calls())-before >= after }); err != nil {
		r.t.Fatalf("the daemon makes no calls: %v\n%.3000s", err, log)
	}
	for range r.rnd.IntN(200_000) { // somewhere inside the work of a call
	}
	_ = p.Signal(syscall.SIGKILL)
	if err := <-ended; err == nil {
		r.t.Fatalf("the daemon ended by itself\n%.3000s", log)
	}
	r.fake.Advance(12 * time.Second) // what it held is seen again
}

// finish lets the daemon work until the queue is empty.
func (r *s3Crash) finish() {
	p, ended, log := r.run()
	for empty := false; !empty; {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		empty = r.fake.Until(ctx, func() bool { return len(r.fake.Messages("riposte")) == 0 }) == nil
		cancel()
		if r.t.Context().Err() != nil {
			r.t.Fatalf("the queue keeps %d messages\n%.3000s", len(r.fake.Messages("riposte")), log)
		}
		r.fake.Advance(15 * time.Second) // for what is late or rests
	}
	_ = p.Signal(os.Interrupt)
	if err := <-ended; err != nil {
		r.t.Errorf("the last run ended with %v\n%.3000s", err, log)
	}
}

// judge compares what is in the stream with what there is.
func (r *s3Crash) judge(kills int, took time.Duration) {
	l := audit(r.t, filepath.Join(r.dir, "data"))
	times := map[string]int{}
	for _, id := range l.events {
		times[id]++
	}
	lost, twice := 0, 0
	for i := range r.objects {
		for k := range r.each {
			switch n := times[fmt.Sprintf("%06d-%04d", i, k)]; {
			case n == 0:
				lost++
			case n > 1:
				twice++
			}
		}
	}
	gets := 0
	for _, c := range r.fake.Calls() {
		if c.Operation == "GetObject" && c.Outcome == "ok" {
			gets++
		}
	}
	records := len(r.objects) * r.each
	r.t.Logf("\n| kills | records | objects | messages sent | received | objects read again | faults | lost | twice | seconds |\n|---|---|---|---|---|---|---|---|---|---|\n| %d | %d | %d | %d | %d | %d | %d | %d | %d | %.0f |",
		kills, records, len(r.objects), r.sent, r.received.Load(), gets-len(r.objects), r.faults, lost, twice, took.Seconds())
	if lost > 0 || twice > 0 || len(l.events) != records {
		r.t.Errorf("%d records are lost and %d are there more than once; %d are in the stream, want %d", lost, twice, len(l.events), records)
	}
	if l.dead != 0 || len(r.fake.Messages("dead")) != 0 {
		r.t.Errorf("%d dead letters, %d messages in the dead-letter queue", l.dead, len(r.fake.Messages("dead")))
	}
}
