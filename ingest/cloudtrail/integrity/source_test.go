package integrity

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
	"riposte/internal/awsfake"
	"riposte/internal/awsfake/policytest"
)

// TestAsTheyArrive: two accounts, one of an organization, are found, and what is
// wrong with their files is found as they come, as riposte trail verify finds it.
func TestAsTheyArrive(t *testing.T) {
	r := newRig(t, nil)
	good := r.deliver("AWSLogs/", "111122223333", "us-east-1", start, 10)
	var mu sync.Mutex
	proven := map[string]time.Time{}
	r.src.Proven = func(account, region, trail string, until time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if trail != "" && until.After(proven[account+"/"+region]) {
			proven[account+"/"+region] = until
		}
	}
	bad := r.deliver("AWSLogs/o-abc123/", "444455556666", "eu-west-1", start, 10)
	want := r.harm(bad)
	for m := 0; m < 14*60; m += 5 {
		if _, err := r.round(start.Add(time.Duration(m) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	want = append(want, "integrity.digest-overdue "+good.digests[9], "integrity.digest-overdue "+bad.digests[9])
	slices.Sort(want)
	if diff := cmp.Diff(want, r.said()); diff != "" {
		t.Fatalf("(-want +got)\n%s\n%s", diff, &r.log)
	}
	mu.Lock()
	if got := proven["111122223333/us-east-1"]; !got.Equal(start.Add(10 * time.Hour)) {
		t.Errorf("logging is proven until %s, want %s", got, start.Add(10*time.Hour))
	}
	mu.Unlock()
	verified := r.verified()
	for id, f := range r.findings {
		if _, ok := verified[id]; !ok && f.Rule != "integrity.digest-overdue" {
			t.Errorf("trail verify has no finding like %s of %s", f.Rule, f.Key)
		}
		delete(verified, id)
		if r.times[id] != 1 {
			t.Errorf("%s of %s was given %d times", f.Rule, f.Key, r.times[id])
		}
		entities := map[string]string{}
		for _, e := range f.Entities {
			entities[e.Kind] = e.ID
		}
		if entities["s3-bucket"] != "arn:aws:s3:::"+bucketName || entities["trail"] == "" || entities["s3-object"] != f.Key {
			t.Errorf("%s is about %v", f.Rule, f.Entities)
		}
		if critical := f.Rule != "integrity.digest-overdue" && f.Rule != "integrity.log-file-uncovered"; critical != (f.Severity == event.Critical) {
			t.Errorf("%s is %s", f.Rule, f.Severity)
		}
	}
	if len(verified) > 0 {
		t.Errorf("not found: %v", verified)
	}
	if n := len(r.fake.Calls()); n > 1500 {
		t.Errorf("%d calls for 20 digests and 40 log files in 14 hours", n)
	}
}

// TestCrashes: wherever it is interrupted, by a sink or a store that fails or by a
// crash, the same is found, and again only where the cursor was not saved.
func TestCrashes(t *testing.T) {
	for every := 1; every <= 7; every++ {
		r := newRig(t, nil)
		c := r.deliver("AWSLogs/", "111122223333", "us-east-1", start, 10)
		want := append(r.harm(c), "integrity.digest-overdue "+c.digests[9])
		slices.Sort(want)
		sinks, saves := 0, 0
		r.refuse = func() error {
			if sinks++; sinks%every == 0 && every > 1 {
				return errAway
			}
			return nil
		}
		r.cursors.refuse = func() error {
			if saves++; saves%(every+1) == 0 {
				return errAway
			}
			return nil
		}
		for m, n := 0, 0; m < 20*60; m, n = m+10, n+1 {
			if n%every == 0 {
				r.restart(nil)
			}
			_, _ = r.round(start.Add(time.Duration(m) * time.Minute))
		}
		if diff := cmp.Diff(want, r.said()); diff != "" {
			t.Fatalf("every %d: (-want +got)\n%s", every, diff)
		}
	}
}

// TestPassingErrors: what S3 and CloudTrail refuse for a while is no finding.
func TestPassingErrors(t *testing.T) {
	r := newRig(t, nil)
	c := r.deliver("AWSLogs/", "111122223333", "us-east-1", start, 8)
	delete(r.files, c.logs[3])
	faults := []awsfake.Fault{
		{Service: "s3", Operation: "GetObject", Kind: awsfake.Truncated, After: 20, Times: 3},
		{Service: "s3", Operation: "GetObject", Kind: awsfake.Reset, After: 5, Times: 2},
		{Service: "s3", Operation: "HeadObject", Kind: awsfake.Deny, Times: 2},
		{Service: "s3", Operation: "ListObjectsV2", Kind: awsfake.Deny, Times: 1},
		{Service: "cloudtrail", Operation: "ListPublicKeys", Kind: awsfake.Deny, Times: 1},
		{Service: "s3", Operation: "GetObject", Kind: awsfake.LostReply, Times: 2},
		{Service: "s3", Operation: "GetObject", Kind: awsfake.Deny, Times: 4},
	}
	for m := 0; m < 10*60; m += 5 {
		if m%70 == 65 && len(faults) > 0 {
			r.fake.Fail(faults[0])
			faults = faults[1:]
		}
		_, _ = r.round(start.Add(time.Duration(m) * time.Minute))
	}
	if len(faults) > 0 {
		t.Fatalf("%d faults were not tried", len(faults))
	}
	if diff := cmp.Diff([]string{"integrity.log-missing " + c.logs[3]}, r.said()); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, &r.log)
	}
}

// TestFolderDeleted: an account whose files are all deleted, digests with logs, is
// missed, also by a source that was started after that.
func TestFolderDeleted(t *testing.T) {
	r := newRig(t, nil)
	c := r.deliver("AWSLogs/", "111122223333", "us-east-1", start, 4)
	for h := 0.0; h < 4.5; h += 0.25 {
		if _, err := r.round(at(h)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range slices.Concat(c.digests, c.logs) {
		r.fake.Remove(bucketName, key)
	}
	r.restart(nil)
	for h := 4.5; h < 8; h += 0.25 {
		if _, err := r.round(at(h)); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.said(); len(got) != 1 || got[0] != "integrity.digest-overdue "+c.digests[3] {
		t.Errorf("%v", got)
	}
}

// TestRun: the source itself finds what is there, and is told of what comes.
func TestRun(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Every, c.Since = time.Hour, 8*time.Hour })
	now := time.Now().UTC().Truncate(time.Second)
	c := r.deliver("AWSLogs/", "111122223333", "us-east-1", now.Add(-4*time.Hour), 4)
	r.alter(c.logs[1])
	last := c.digests[3]
	r.alter(last)
	for key, b := range r.files {
		if key != last {
			b.Modified = min2(b.Modified, now)
			r.fake.Store(bucketName, key, b)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	heard := make(chan struct{}, 100)
	sink := r.sink()
	take := sink.Findings
	sink.Findings = func(ctx context.Context, fs []event.Finding) error {
		defer func() { heard <- struct{}{} }()
		return take(ctx, fs)
	}
	go func() { ended <- r.src.Run(ctx, sink) }()
	<-heard
	if got := r.said(); len(got) != 1 || got[0] != "integrity.log-altered "+c.logs[1] {
		t.Errorf("%v", got)
	}
	b := r.files[last]
	b.Modified = now
	r.fake.Store(bucketName, last, b)
	r.src.Arrived("another", last)
	r.src.Arrived(bucketName, c.logs[0])
	r.src.Arrived(bucketName, last) // an hour before the next poll
	<-heard
	if got := r.said(); len(got) != 2 || !slices.Contains(got, "integrity.digest-altered "+last) {
		t.Errorf("%v", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func min2(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// TestPolicy: the shipped policy allows all that the source calls on these
// resources, and without any of its actions the log names what is missing.
func TestPolicy(t *testing.T) {
	all := policytest.Load(t, "../../../deploy/iam/trail.json", "cloudtrail:ListPublicKeys")
	try := func(p policytest.Policy) (*rig, string) {
		r := newRig(t, nil)
		r.deliver("AWSLogs/", "111122223333", "us-east-1", start, 3)
		r.fake.Authorize(p.Allows)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		told := ""
		if err := r.src.look(ctx); err != nil {
			r.src.cfg.Every = time.Hour
			told = r.src.Run(ctx, r.sink()).Error()
			return r, told
		}
		if _, err := r.round(at(3.5)); err != nil {
			told = err.Error()
		}
		if len(r.findings) > 0 {
			t.Errorf("found %v", r.said())
		}
		return r, told + r.log.String()
	}
	r, told := try(all)
	if strings.Contains(told, "not allowed") || strings.Contains(told, "cannot be read") {
		t.Fatal(told)
	}
	all.Covers(t, r.fake.Calls(), map[string][]string{"s3:ListObjectsV2": {"s3:ListBucket"}, "s3:HeadObject": {"s3:GetObject"}})
	for _, a := range all.Actions() {
		if _, told := try(all.Without(a)); !strings.Contains(told, a+" is not allowed") {
			t.Errorf("without %s nothing says that it is missing:\n%s", a, told)
		}
	}
}

// TestConfig: all that is wrong is said at once.
func TestConfig(t *testing.T) {
	c := Config{Address: "s3://b/AWSLogs/1/CloudTrail-Digest/", Every: time.Second, Since: 1, Grace: 1, Silence: time.Hour, Workers: -1}
	c.Role, c.Region = "riposte", "nowhere"
	told := c.Validate().Error()
	for _, want := range []string{"trail.address", "trail.role", "trail.region", "trail.every", "trail.since", "trail.grace", "trail.silence", "trail.workers"} {
		if !strings.Contains(told, want) {
			t.Errorf("nothing is said of %s: %s", want, told)
		}
	}
	for _, good := range []string{"s3://example-logs", "s3://example-logs/AWSLogs/o-abc/"} {
		if err := (&Config{Address: good}).Validate(); err != nil {
			t.Error(err)
		}
	}
	if (&Config{}).Validate() == nil {
		t.Error("a source without an address is taken")
	}
}
