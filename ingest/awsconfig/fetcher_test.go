package awsconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
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

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
)

const (
	account = "111122223333"
	key     = "audit/AWSLogs/111122223333/Config/eu-west-1/2026/3/2/OversizedChangeNotification/AWS::EC2::SecurityGroup/sg-1/a_b/111122223333_Config_eu-west-1_ChangeNotification_AWS::EC2::SecurityGroup_sg-1_20260302T091405Z_1.json.gz"
)

var captured = time.Date(2026, 3, 2, 9, 14, 5, 123e6, time.UTC)

// change is what the tests ask for.
func change() ingest.Oversized {
	return ingest.Oversized{Account: account, Region: "eu-west-1", Type: "AWS::EC2::SecurityGroup", ID: "sg-1", StateID: "1772442845123", Captured: captured, Location: "logs/" + key}
}

type tally struct {
	mu sync.Mutex
	n  map[string]int64
}

func (m *tally) Count(_ context.Context, what string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n == nil {
		m.n = map[string]int64{}
	}
	m.n[what] += n
}

// rig is a fetcher against an AWS endpoint on loopback.
type rig struct {
	*Fetcher
	fake *awsfake.Server
	log  *bytes.Buffer
	tally
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{log: &bytes.Buffer{}}
	r.fake = awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{account: {Buckets: map[string]*awsfake.Bucket{"logs": {Region: "eu-west-1"}}}}}, account)
	t.Cleanup(r.fake.Close)
	access, err := awsaccess.New(t.Context(), awsaccess.Config{Region: "eu-west-1"}, awsaccess.Options{Load: []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(r.fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
		config.WithRetryer(func() aws.Retryer { return retry.AddWithMaxBackoffDelay(retry.NewStandard(), time.Millisecond) }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := access.For("", "")
	if err != nil {
		t.Fatal(err)
	}
	store := s3object.New(access, cfg, s3object.Options{Source: "s3", Limit: 64 << 20, Policy: PolicyFile, Pause: func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }})
	r.Fetcher = New(access, store, Options{Log: slog.New(slog.NewTextHandler(r.log, nil)), Meter: &r.tally})
	return r
}

// put stores what Config would: a notification with the whole item, gzipped.
func (r *rig) put(t *testing.T, text string) {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r.fake.Store("logs", key, awsfake.Blob{Body: b.Bytes()})
}

func whole(id, state string) string {
	return fmt.Sprintf(`{"configurationItemDiff":{"changeType":"UPDATE"},"configurationItem":{"configurationItemCaptureTime":"2026-03-02T09:14:05.123Z","configurationItemStatus":"OK","configurationStateId":%q,"awsAccountId":"111122223333","resourceType":"AWS::EC2::SecurityGroup","resourceId":%q,"awsRegion":"eu-west-1","configuration":{"from":"S3"}},"messageType":"ConfigurationItemChangeNotification"}`, state, id)
}

func history(at time.Time) awsfake.Item {
	return awsfake.Item{Account: account, Region: "eu-west-1", Type: "AWS::EC2::SecurityGroup", ID: "sg-1", State: fmt.Sprint(at.UnixMilli()), Status: "OK", Captured: at,
		Configuration: `{"from":"history"}`, Tags: map[string]string{"env": "prod"}}
}

// from says where an item is from, "" for none.
func from(t *testing.T, raw []byte) string {
	t.Helper()
	if raw == nil {
		return ""
	}
	e, err := event.Decode(event.ConfigItem, raw)
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if e.Text(event.ConfigResourceID) != "sg-1" || !e.Time().Equal(captured) || e.Incomplete() {
		t.Errorf("another item: %s", raw)
	}
	m, _ := e.Value(event.ConfigConfiguration).(map[string]any)
	return fmt.Sprint(m["from"])
}

func TestExpand(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(r *rig, o *ingest.Oversized)
		want    string
	}{
		"in S3": {func(r *rig, _ *ingest.Oversized) {
			r.put(t, whole("sg-1", "1772442845123"))
			r.fake.Remember(history(captured))
		}, "S3"},
		"after a throttle": {func(r *rig, _ *ingest.Oversized) {
			r.put(t, whole("sg-1", "1772442845123"))
			r.fake.Fail(awsfake.Fault{Service: "s3", Kind: awsfake.Throttle, Times: 2})
		}, "S3"},
		"not in S3": {func(r *rig, _ *ingest.Oversized) {
			r.fake.Remember(history(captured.Add(-time.Hour)), history(captured), history(captured.Add(time.Hour)))
		}, "history"},
		"nowhere":         {func(*rig, *ingest.Oversized) {}, ""},
		"another version": {func(r *rig, _ *ingest.Oversized) { r.fake.Remember(history(captured.Add(-time.Hour))) }, ""},
		"not delivered": {func(r *rig, o *ingest.Oversized) {
			o.Location, o.Error = "", "NoSuchBucket"
			r.fake.Remember(history(captured))
		}, "history"},
		"delivery failed": {func(r *rig, o *ingest.Oversized) { r.put(t, whole("sg-1", "1772442845123")); o.Error = "AccessDenied" }, ""},
		"another resource": {func(r *rig, _ *ingest.Oversized) {
			r.put(t, whole("sg-2", "1772442845123"))
			r.fake.Remember(history(captured))
		}, "history"},
		"an older state": {func(r *rig, _ *ingest.Oversized) { r.put(t, whole("sg-1", "1")) }, ""},
		"a corrupt object": {func(r *rig, _ *ingest.Oversized) {
			r.fake.Store("logs", key, awsfake.Blob{Body: []byte("\x1f\x8bnot gzip")})
			r.fake.Remember(history(captured))
		}, "history"},
		"no bucket's name":   {func(_ *rig, o *ingest.Oversized) { o.Location = "../etc/passwd" }, ""},
		"not Config's place": {func(r *rig, o *ingest.Oversized) { o.Location = "logs/secret.json" }, ""},
		"no account's id": {func(r *rig, o *ingest.Oversized) {
			o.Account, o.Location = "x/../y", ""
			r.fake.Remember(history(captured))
		}, ""},
		"no region": {func(r *rig, o *ingest.Oversized) {
			o.Region, o.Location = "evil.example", ""
			r.fake.Remember(history(captured))
		}, ""},
		"S3 is denied": {func(r *rig, _ *ingest.Oversized) {
			r.fake.Fail(awsfake.Fault{Service: "s3", Kind: awsfake.Deny})
			r.fake.Remember(history(captured))
		}, "history"},
	} {
		r, o := newRig(t), change()
		c.prepare(r, &o)
		raw, err := r.Expand(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := from(t, raw); got != c.want {
			t.Errorf("%s: from %q, want %q\n%s", name, got, c.want, r.log)
		}
		if lost := r.n[Lost] == 1; lost != (c.want == "") || r.n[Fetched]+r.n[Lost] != 1 {
			t.Errorf("%s: counted %v", name, r.n)
		}
		for _, call := range r.fake.Calls() {
			if strings.Contains(name, "not Config's place") && call.Service == "s3" {
				t.Errorf("%s: S3 is asked", name)
			}
		}
	}
}

// TestExpandLater: what may be read another time is an error, and nothing is lost.
func TestExpandLater(t *testing.T) {
	for name, c := range map[string]struct {
		fault awsfake.Fault
		want  string
	}{
		"S3 throttles":     {awsfake.Fault{Service: "s3", Kind: awsfake.Throttle}, "SlowDown"},
		"Config throttles": {awsfake.Fault{Service: "config", Kind: awsfake.Throttle}, "Throttling"},
		"S3 is denied":     {awsfake.Fault{Service: "s3", Kind: awsfake.Deny}, "s3:GetObject is not allowed"},
	} {
		r := newRig(t)
		r.fake.Fail(c.fault)
		raw, err := r.Expand(t.Context(), change())
		if raw != nil || err == nil || !strings.Contains(err.Error(), c.want) || r.n[Lost] != 0 {
			t.Errorf("%s: %s, %v, counted %v", name, raw, err, r.n)
		}
	}
	// History is a fallback: that nobody allowed it is said, and is no reason to wait.
	r := newRig(t)
	r.fake.Fail(awsfake.Fault{Service: "config", Kind: awsfake.Deny})
	if raw, err := r.Expand(t.Context(), change()); raw != nil || err != nil || !strings.Contains(r.log.String(), "config:GetResourceConfigHistory is not allowed") {
		t.Errorf("%s, %v\n%s", raw, err, r.log)
	}
}

// TestPolicy: the shipped policy is what fetching calls, and no more.
func TestPolicy(t *testing.T) {
	data, err := os.ReadFile("../../" + PolicyFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Statement []struct{ Action string } }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range doc.Statement {
		all = append(all, s.Action)
	}
	run := func(without string) string {
		r := newRig(t)
		r.fake.Authorize(func(action, _ string) bool { return slices.Contains(all, action) && action != without })
		r.put(t, whole("sg-1", "1772442845123"))
		_, err1 := r.Expand(t.Context(), change())
		elsewhere := change()
		elsewhere.Location = ""
		_, err2 := r.Expand(t.Context(), elsewhere)
		return fmt.Sprint(err1, err2, r.log)
	}
	if told := run(""); strings.Contains(told, "is not allowed") {
		t.Errorf("with the shipped policy: %s", told)
	}
	for _, a := range all {
		if told := run(a); !strings.Contains(told, a+" is not allowed") {
			t.Errorf("without %s: %s", a, told)
		}
	}
}
