package kinesis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"riposte/internal/awsfake"
)

// TestEveryShard: what is there comes, what is added comes, and a restart goes
// on where the positions stand.
func TestEveryShard(t *testing.T) {
	r := newRig(t, 5, nil) // more than are read at a time
	var want []string
	for i := range 5 {
		want = append(want, r.fill(i, fmt.Sprintf("s%d", i), 40)...)
	}
	r.fake.LimitReads(0, 7)
	r.drain(len(want))
	r.want(0, want...)
	want = append(want, r.fill(2, "more", 10)...)
	r.drain(len(want))
	r.want(0, want...)
	if b := r.last.Behind(); len(b) != 0 {
		t.Errorf("shards that are not read are behind: %v", b)
	}
}

// TestCloudWatchLogs: the records of a subscription are unpacked, flow logs by
// the format that was given.
func TestCloudWatchLogs(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.FlowFormat = "version srcaddr dstaddr action log-status" })
	messages := []map[string]any{}
	for i := range 250 {
		messages = append(messages, map[string]any{"id": fmt.Sprint(i), "timestamp": 1767322000000, "message": fmt.Sprintf("5 10.0.%d.%d 10.9.9.9 ACCEPT OK", i/250, i)})
	}
	body, err := json.Marshal(map[string]any{"messageType": "DATA_MESSAGE", "owner": account, "logGroup": "flow", "logStream": "eni-1", "subscriptionFilters": []string{"f"}, "logEvents": messages})
	if err != nil {
		t.Fatal(err)
	}
	r.fake.Put("s", 0, packed(t, []byte(`{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}`)), packed(t, body))
	r.drain(250)
	if n := len(r.got()); n != 250 || len(r.broken) != 0 {
		t.Errorf("%d records, set aside %+v", n, r.broken)
	}
}

// TestResharding: shards that are split and merged are read to their end before
// those that follow them begin.
func TestResharding(t *testing.T) {
	r := newRig(t, 1, nil)
	r.fake.LimitReads(0, 3)
	first := r.fill(0, "a", 20)
	one, two := r.fake.Split("s", 0)
	middle := append(r.fill(one, "b", 20), r.fill(two, "c", 20)...)
	stop := r.start()
	r.until("the first two", r.has(len(first)+len(middle)))
	merged := r.fake.Merge("s", one, two)
	last := r.fill(merged, "d", 20)
	r.until("the merged one", r.has(80))
	if err := stop(); err != nil {
		t.Error(err)
	}
	r.drain(80)
	r.want(0, slices.Concat(first, middle, last)...)
	at := func(id string) int { return slices.Index(r.order, id) }
	for _, later := range middle {
		if at(later) < at(first[19]) || at(later) > at(last[0]) {
			t.Errorf("%s came out of turn", later)
		}
	}
	if !slices.IsSorted(r.order[:20]) {
		t.Errorf("a shard's records came as %q", r.order[:20])
	}
}

// TestAnyInterruption stops the source after every possible number of batches and
// of writes to the store, and starts it again.
func TestAnyInterruption(t *testing.T) {
	for _, what := range []string{"emits", "saves"} {
		for n := 1; ; n++ {
			r := newRig(t, 1, nil)
			r.fake.LimitReads(0, 4)
			want := r.fill(0, "a", 14)
			one, two := r.fake.Split("s", 0)
			want = append(want, append(r.fill(one, "b", 9), r.fill(two, "c", 9)...)...)
			var stopped atomic.Bool
			fail := func(i int) error {
				if i == n {
					stopped.Store(true)
					return errAway
				}
				return nil
			}
			if what == "emits" {
				r.refuse = fail
			} else {
				r.cursors.fail = fail
			}
			stop := r.start()
			r.until("the interruption", func() bool { return stopped.Load() || r.has(len(want))() })
			if !stopped.Load() {
				if err := stop(); err != nil {
					t.Error(err)
				}
				if n < 8 {
					t.Errorf("only %d %s", n, what)
				}
				break
			}
			if err := stop(); err != nil && !strings.Contains(err.Error(), "away") {
				t.Fatalf("%s %d: ended with %v", what, n, err)
			}
			r.refuse, r.cursors.fail = nil, nil
			r.drain(len(want))
			r.want(9, want...)
			if t.Failed() {
				t.Fatalf("after %s %d", what, n)
			}
		}
	}
}

// TestAwkwardStream: iterators that expire, throttles, lost answers and HTML cost
// nothing, and tokens of a listing neither.
func TestAwkwardStream(t *testing.T) {
	r := newRig(t, 2, nil)
	r.fake.LimitReads(0, 2)
	want := append(r.fill(0, "a", 60), r.fill(1, "b", 60)...)
	r.refuse = func(emits int) error {
		if emits%10 == 0 {
			r.fake.ExpireIterators()
			for _, kind := range []string{awsfake.Throttle, awsfake.LostReply, awsfake.HTML500, awsfake.Throttle, awsfake.Throttle, awsfake.Throttle} {
				r.fake.Fail(awsfake.Fault{Service: "kinesis", Times: 1, Kind: kind})
			}
		}
		return nil
	}
	r.drain(len(want))
	r.want(0, want...)
}

// TestLimit: with AWS's own limit nothing is throttled.
func TestLimit(t *testing.T) {
	r := newRig(t, 1, nil)
	r.fake.LimitReads(5, 1)
	want := r.fill(0, "a", 8)
	src := r.source()
	src.fastest = fastest
	stop := r.startSource(src)
	r.until("everything", r.has(len(want)))
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, c := range r.fake.Calls() {
		if strings.HasPrefix(c.Outcome, "Provisioned") {
			t.Error("a read was throttled")
		}
	}
}

// TestStart: from now on is from the first start, whenever a record comes, and
// however often riposte is started before that.
func TestStart(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.Start = "latest" })
	r.fill(0, "before", 5)
	r.fake.Advance(time.Minute)
	stop := r.start()
	r.until("a read", func() bool { return r.reads() > 2 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	r.fake.Advance(time.Minute)
	want := r.fill(0, "while away", 5)
	one, _ := r.fake.Split("s", 0)
	want = append(want, r.fill(one, "child", 5)...)
	r.drain(len(want))
	r.want(0, want...)

	r = newRig(t, 1, nil)
	r.fill(0, "before", 5)
	r.fake.Advance(time.Hour)
	r.cfg.Start = r.fake.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	want = r.fill(0, "after", 5)
	r.drain(len(want))
	r.want(0, want...)
}

// TestTrimmed: a position that the stream no longer has is said, and what is
// there is read.
func TestTrimmed(t *testing.T) {
	r := newRig(t, 1, nil)
	first := r.fill(0, "a", 5)
	r.drain(len(first))
	r.fill(0, "lost", 20)
	want := append(first, r.fill(0, "kept", 5)...)
	r.fake.Trim("s", 0, 25)
	r.drain(len(want))
	r.want(0, want...)
	if !strings.Contains(r.log.String(), "longer than the stream keeps records") {
		t.Errorf("nothing is said of the loss:\n%s", r.log)
	}
}

// TestStrangeRecords are set aside with a reason, and the others come.
func TestStrangeRecords(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.MaxRecordBytes = 1 << 20 })
	good := packed(t, record("good"))
	bomb := packed(t, slices.Concat([]byte(`{"eventVersion":"1","x":"`), bytes.Repeat([]byte("x"), 4<<20), []byte(`"}`)))
	r.fake.Put("s", 0, []byte("words"), good[:len(good)/2], append([]byte{0xf3, 0x89, 0x9a, 0xc2}, "several"...), bomb, []byte(`{"hello":"world"}`), nil, record("last"))
	r.drain(1)
	r.want(0, "last")
	reasons := ""
	for _, b := range r.broken {
		reasons += b.Reason + "\n"
	}
	for _, want := range []string{"no telemetry", "cut short", "AggregationEnabled", "larger than"} {
		if !strings.Contains(reasons, want) {
			t.Errorf("nothing is said of %q:\n%s", want, reasons)
		}
	}
	if n := strings.Count(reasons, "no telemetry"); n != 2 {
		t.Errorf("%d records without telemetry, want 2:\n%s", n, reasons)
	}
}

// TestBehind: a shard that is not read to its tip says how far it is behind.
func TestBehind(t *testing.T) {
	r := newRig(t, 1, nil)
	r.fill(0, "a", 5)
	r.fake.Advance(time.Hour)
	r.fake.LimitReads(0, 1)
	var most time.Duration
	r.refuse = func(int) error {
		for _, d := range r.last.Behind() {
			most = max(most, d)
		}
		return nil
	}
	r.drain(5)
	if most < time.Hour {
		t.Errorf("%s behind at the most, want an hour", most)
	}
}

// TestRefused: what AWS refuses for good ends the source at its start, with what
// to do.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *rig)
		want   string
	}{
		"no stream":     {func(r *rig) { r.cfg.Stream += "x" }, "does not exist in eu-west-1"},
		"no permission": {func(r *rig) { r.fake.Authorize(func(string, string) bool { return false }) }, "kinesis:ListShards is not allowed"},
	} {
		r := newRig(t, 1, nil)
		c.change(r)
		if err := r.source().Run(t.Context(), r.sink()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	arn := "arn:aws:kinesis:eu-west-1:111122223333:stream/s"
	for name, c := range map[string]struct {
		c    Config
		want string
	}{
		"good":    {Config{Stream: arn}, ""},
		"nothing": {Config{}, "kinesis.stream"},
		"a name":  {Config{Stream: "s"}, "region is empty"},
		"start":   {Config{Stream: arn, Start: "soon"}, "kinesis.start"},
		"poll":    {Config{Stream: arn, Poll: time.Millisecond}, "kinesis.poll"},
		"shards":  {Config{Stream: arn, Shards: -1}, "kinesis.shards"},
		"bytes":   {Config{Stream: arn, MaxRecordBytes: 1}, "kinesis.max_record_bytes"},
		"format":  {Config{Stream: arn, FlowFormat: "nothing known"}, "kinesis.flow_format"},
	} {
		err := c.c.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
