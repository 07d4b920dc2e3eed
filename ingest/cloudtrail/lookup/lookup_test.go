package lookup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"golang.org/x/time/rate"

	"riposte/ingest/accounts"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
)

// TestEveryPlace: every event of every account and region comes once, of however
// many pages, and what comes later comes too.
func TestEveryPlace(t *testing.T) {
	r := newRig(t, func(c *Config) { twoAccounts(c); c.Regions = []string{"us-east-1", "eu-west-1"} })
	var want []string
	for _, a := range r.cfg.Accounts {
		for _, region := range r.cfg.Regions {
			want = append(want, r.fill(a, region, a[:2]+region, 130, time.Minute, 10*time.Second)...)
		}
	}
	stop := r.start()
	r.until("everything", r.has(len(want)))
	late := recorded(account, "us-east-1", "late", r.past(5*time.Minute))
	late.Visible = r.fake.Now().Add(8 * time.Minute)
	r.fake.Record(account, "us-east-1", late, recorded(account, "us-east-1", "new", r.past(0)))
	r.until("what is new", r.has(len(want)+1))
	r.fake.Advance(9 * time.Minute)
	r.until("what is late", r.has(len(want)+2))
	r.settle(len(want) + 2)
	if err := stop(); err != nil {
		t.Error(err)
	}
	r.want(0, append(want, "late", "new")...)
	if len(r.broken) > 0 {
		t.Errorf("set aside: %+v", r.broken)
	}
}

// TestAnyInterruption stops the source after every possible number of events,
// and of writes to the store, and starts it again: every event comes, and only
// those of one page are offered again, under the same ids.
func TestAnyInterruption(t *testing.T) {
	for _, what := range []string{"emits", "saves"} {
		for n := 1; ; n++ {
			r := newRig(t, func(c *Config) { c.Since = 30 * 24 * time.Hour })
			want := r.fill(account, "us-east-1", "new", 70, time.Minute, 10*time.Second)
			want = append(want, r.fill(account, "us-east-1", "old", 70, 2*time.Hour, 8*time.Hour)...)
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
			r.until("the interruption", func() bool { return stopped.Load() || r.has(len(want))() && !r.backlog() })
			err := stop()
			if !stopped.Load() {
				r.want(0, want...)
				if n < 20 {
					t.Errorf("only %d %s", n, what)
				}
				break
			} else if err != nil && !strings.Contains(err.Error(), "away") { // nil when it was stopped first
				t.Fatalf("%s %d: %v", what, n, err)
			}
			// A late event shifts the pages before it goes on.
			r.fake.Record(account, "us-east-1", recorded(account, "us-east-1", "late", r.past(30*time.Second)))
			r.cursors.fail, r.refuse = nil, nil
			r.whole(len(want) + 1)
			r.want(51, append(want, "late")...)
			if t.Failed() {
				t.Fatalf("after %s %d", what, n)
			}
			if what == "emits" {
				n += 6
			}
		}
	}
}

// TestShiftingPages: events that become visible while pages are read shift them,
// and tokens expire: nothing is lost, and nothing comes twice.
func TestShiftingPages(t *testing.T) {
	r := newRig(t, nil)
	want := r.fill(account, "us-east-1", "e", 300, time.Minute, 3*time.Second)
	n := 0
	r.refuse = func(emits int) error { // called between pages
		if emits%60 == 0 && n < 3 {
			n++
			r.fake.ExpireTokens()
			r.fake.Record(account, "us-east-1", recorded(account, "us-east-1", fmt.Sprintf("between-%d", n), r.past(10*time.Second)))
		}
		return nil
	}
	r.whole(len(want) + 3)
	r.want(0, append(want, "between-1", "between-2", "between-3")...)
	if strings.Contains(r.log.String(), "cannot be looked up") {
		t.Errorf("tokens that expire are a failure:\n%s", r.log)
	}
}

// TestAwayForLong: what happened while riposte was away for longer than is read
// again each time is caught up with, after what is new, and nothing comes twice.
func TestAwayForLong(t *testing.T) {
	r := newRig(t, nil)
	want := r.fill(account, "us-east-1", "first", 80, time.Minute, 20*time.Second)
	r.whole(len(want))
	r.want(0, want...)
	r.fake.Advance(48 * time.Hour)
	meanwhile := r.fill(account, "us-east-1", "meanwhile", 200, 40*time.Minute, 14*time.Minute)
	late := r.fill(account, "us-east-1", "late", 3, 48*time.Hour+10*time.Minute, time.Second)
	fresh := r.fill(account, "us-east-1", "fresh", 10, time.Minute, time.Second)
	r.order = nil
	all := slices.Concat(want, meanwhile, late, fresh)
	r.whole(len(all))
	r.want(0, all...)
	if got := slices.Sorted(slices.Values(r.order[:10])); !slices.Equal(got, fresh) {
		t.Errorf("the first that came are %q, want what is new", got)
	}
}

// TestNinetyDays are caught up with in slices, which grow where there is little
// and shrink where there is much.
func TestNinetyDays(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Since = kept })
	want := r.fill(account, "us-east-1", "sparse", 80, 2*time.Hour, 26*time.Hour)
	want = append(want, r.fill(account, "us-east-1", "dense", 3000, 30*24*time.Hour, time.Second)...)
	r.whole(len(want))
	r.want(0, want...)
	if n := r.pages(); n > 600 {
		t.Errorf("%d requests", n)
	}
	for key, v := range r.cursors.kept {
		if len(v) > 1<<10 {
			t.Errorf("the cursor %s has %d bytes when all is read", key, len(v))
		}
	}
}

// TestOneOfTwoRefused: an account that cannot be read is named with what is
// wrong, and the other one is read.
func TestOneOfTwoRefused(t *testing.T) {
	for name, c := range map[string]struct {
		break_ func(r *rig)
		want   []string
	}{
		"permission": {func(r *rig) {
			r.fake.Authorize(func(action, _ string) bool { return action != "cloudtrail:LookupEvents" })
		}, []string{"cloudtrail:LookupEvents is not allowed", "deploy/iam/lookup.json", "account 111122223333 in us-east-1"}},
		"throttled": {func(r *rig) {
			r.fake.Fail(awsfake.Fault{Service: "cloudtrail", Operation: "LookupEvents", Times: 9, Kind: awsfake.Throttle})
		}, []string{"throttled again and again", "2 requests a second"}},
		"rubbish": {func(r *rig) {
			r.fake.Fail(awsfake.Fault{Service: "cloudtrail", Operation: "LookupEvents", Times: 9, Kind: awsfake.HTML500})
		}, []string{"events cannot be looked up"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			want := r.fill(account, "us-east-1", "e", 10, time.Minute, time.Second)
			c.break_(r)
			stop := r.start()
			r.until("the complaint", func() bool {
				return !slices.ContainsFunc(c.want, func(w string) bool { return !strings.Contains(r.log.String(), w) })
			})
			r.until("the trouble", func() bool { _, err := r.src.Trouble(); return err != nil || r.has(len(want))() })
			r.fake.Authorize(nil)
			r.until("everything", r.has(len(want)))
			r.until("the end of the trouble", func() bool { _, err := r.src.Trouble(); return err == nil })
			if err := stop(); err != nil {
				t.Error(err)
			}
			r.want(0, want...)
		})
	}
	r := newRig(t, twoAccounts)
	want := r.fill(second, "us-east-1", "e", 10, time.Minute, time.Second)
	r.fake.Fail(awsfake.Fault{Service: "sts", Operation: "AssumeRole", Times: 1, Kind: awsfake.Deny})
	r.cfg.ExternalIDs = map[string]string{account: "of-its-own"}
	stop := r.start()
	r.until("the other account", r.has(len(want)))
	if err := stop(); err != nil {
		t.Error(err)
	}
	r.want(0, want...)
}

// TestAnotherAccount: credentials of another account are found out before its
// events are taken for this one's.
func TestAnotherAccount(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Accounts = []string{second} })
	r.fill(account, "us-east-1", "e", 3, time.Minute, time.Second)
	stop := r.start()
	r.until("the complaint", func() bool { return strings.Contains(r.log.String(), "the credentials are of account 111122223333") })
	if err := stop(); err != nil {
		t.Error(err)
	}
	r.want(0)
}

// TestLimit: with AWS's own limit nothing is ever throttled, although two sources
// and the SDK's retries share it.
func TestLimit(t *testing.T) {
	r := newRig(t, nil)
	r.limits = NewLimits()
	r.fake.LimitLookups(perSecond)
	r.fake.Fail(awsfake.Fault{Service: "cloudtrail", Operation: "LookupEvents", Times: 1, Kind: awsfake.HTML500})
	want := r.fill(account, "us-east-1", "e", 120, time.Minute, time.Second)
	one, two := r.start(), r.start()
	r.until("everything", func() bool { return r.pages() >= 6 })
	for _, stop := range []func() error{one, two} {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	r.want(len(want), want...) // both deliver, under the same ids
	for _, c := range r.fake.Calls() {
		if c.Operation == "LookupEvents" && c.Outcome == "ThrottlingException" {
			t.Error("a request was throttled")
		}
	}
	if NewLimits().of(accounts.Place{}).Limit() != rate.Limit(2) {
		t.Error("the limit is not AWS's")
	}
}

// TestRetriesWait: the SDK's own retries wait for a turn of their own.
func TestRetriesWait(t *testing.T) {
	r := newRig(t, nil)
	r.limits.each = rate.Every(time.Hour)
	src := r.source()
	place := accounts.Place{Account: accounts.Account{ID: account}, Region: "us-east-1"}
	cfg, err := src.directory.For(account, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	client := cloudtrail.NewFromConfig(cfg, r.limits.Apply(place))
	r.fake.Fail(awsfake.Fault{Service: "cloudtrail", Operation: "LookupEvents", Times: 1, Kind: awsfake.HTML500})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // within which there is no second turn
	defer cancel()
	if ctx, err = r.limits.Await(ctx, place); err != nil {
		t.Fatal(err)
	}
	if _, err := client.LookupEvents(ctx, &cloudtrail.LookupEventsInput{}); err == nil || !strings.Contains(err.Error(), "would exceed context deadline") {
		t.Errorf("the retry did not wait: %v", err)
	}
	if n := len(r.fake.Calls()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestUntil: a source with an end ends, when nothing late can come any more.
func TestUntil(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Since = 24 * time.Hour })
	want := r.fill(account, "us-east-1", "in", 60, 3*time.Hour, time.Minute)
	r.fill(account, "us-east-1", "after", 60, time.Minute, time.Second)
	r.cfg.Until = r.past(2 * time.Hour).Format(time.RFC3339)
	src := r.source()
	if err := src.Run(t.Context(), r.sink()); err != nil {
		t.Fatal(err)
	}
	r.want(0, want...)

	r = newRig(t, nil)
	want = r.fill(account, "us-east-1", "in", 60, time.Minute, time.Second)
	r.cfg.Until = r.past(0).Format(time.RFC3339)
	stop := r.start()
	r.until("what is there", r.has(len(want)))
	r.fake.Record(account, "us-east-1", recorded(account, "us-east-1", "late", r.past(2*time.Minute)))
	r.until("what is late", r.has(len(want)+1))
	r.fake.Advance(31 * time.Minute)
	r.until("the end", func() bool { return !r.running.Load() })
	if err := stop(); err != nil {
		t.Error(err)
	}
	r.want(0, append(want, "late")...)
}

// TestInsights are found beside the management events, by positions of their own.
func TestInsights(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Insights = true })
	e := recorded(account, "us-east-1", "i", r.past(time.Minute))
	e.Insight = true
	e.Raw = strings.Replace(e.Raw, `"eventSource"`, `"eventType":"AwsCloudTrailInsight","eventCategory":"Insight","insightDetails":{"state":"Start"},"eventSource"`, 1)
	r.fake.Record(account, "us-east-1", e, recorded(account, "us-east-1", "m", r.past(time.Minute)))
	stop := r.start()
	r.until("both", r.has(2))
	if err := stop(); err != nil {
		t.Error(err)
	}
	r.want(0, "i", "m")
}

// TestNoRecord: what AWS gives instead of a record is set aside once, and the
// others come.
func TestNoRecord(t *testing.T) {
	r := newRig(t, nil)
	for id, raw := range map[string]string{"empty": "", "words": "words", "half": `{"eventVersion":"1.08","eventName":"Ha`, "list": "[]", "gzip": "\x1f\x8bxxxxxxxxxxxx", "bom": "\ufeff"} {
		e := recorded(account, "us-east-1", id, r.past(time.Minute))
		e.Raw = raw
		r.fake.Record(account, "us-east-1", e)
	}
	want := r.fill(account, "us-east-1", "e", 5, time.Minute, time.Second)
	r.whole(len(want))
	r.want(0, want...)
	if len(r.broken) != 6 {
		t.Errorf("%d were set aside: %+v", len(r.broken), r.broken)
	}
}

// TestOrganization: accounts that join are taken in, those that are suspended are
// left, without a restart.
func TestOrganization(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Role, c.Accounts, c.Organization, c.Regions = "arn:aws:iam::{account}:role/riposte", nil, true, nil
	})
	r.fake.SetOrganization(awsfake.Organization{Management: account, Page: 1, Members: []awsfake.Member{{ID: account}, {ID: second, State: "SUSPENDED"}}})
	want := r.fill(account, "eu-west-1", "one", 3, time.Minute, time.Second)
	want2 := r.fill(second, "us-east-1", "two", 3, time.Minute, time.Second)
	src := r.source()
	src.again = time.Millisecond
	ended := make(chan error, 1)
	go func() { ended <- src.Run(t.Context(), r.sink()) }()
	r.until("the first account", r.has(len(want)))
	r.want(0, want...)
	r.fake.SetOrganization(awsfake.Organization{Management: account, Page: 1, Members: []awsfake.Member{{ID: account}, {ID: second}}})
	r.fake.Advance(2 * time.Hour) // what was found is no longer fresh; the events are caught up with
	r.until("the second account's regions", func() bool {
		return slices.ContainsFunc(r.fake.Calls(), func(c awsfake.Call) bool { return c.Operation == "LookupEvents" && c.Account == second })
	})
	r.fake.Record(second, "us-east-1", recorded(second, "us-east-1", "later", r.past(time.Minute)))
	r.until("the second account", func() bool { return slices.Contains(r.got(), "later") })
	_ = want2
	r.fake.SetOrganization(awsfake.Organization{Management: account, Page: 1, Members: []awsfake.Member{{ID: account}}})
	r.fake.Advance(2 * time.Hour)
	r.until("that it is left", func() bool { return strings.Contains(r.log.String(), "no longer looked up") })
}

func TestValidate(t *testing.T) {
	list := accounts.Config{Accounts: []string{account}}
	for name, c := range map[string]struct {
		c    Config
		want string
	}{
		"good":      {Config{Config: list}, ""},
		"nobody":    {Config{}, "lookup.accounts is empty"},
		"both":      {Config{Config: accounts.Config{Accounts: []string{account}, Organization: true, Config: role("arn:aws:iam::{account}:role/x")}}, "want one of them"},
		"one role":  {Config{Config: accounts.Config{Accounts: []string{account, second}, Config: role("arn:aws:iam::111122223333:role/x")}}, "{account}"},
		"no id":     {Config{Config: accounts.Config{Accounts: []string{"12"}}}, "no account id"},
		"no region": {Config{Config: accounts.Config{Accounts: []string{account}, Regions: []string{"here"}}}, "want a region"},
		"every":     {Config{Config: list, Every: time.Millisecond}, "lookup.every"},
		"overlap":   {Config{Config: list, Overlap: 24 * time.Hour}, "lookup.overlap"},
		"since":     {Config{Config: list, Since: 91 * 24 * time.Hour}, "lookup.since"},
		"until":     {Config{Config: list, Until: "tomorrow"}, "lookup.until"},
		"workers":   {Config{Config: list, Workers: 1000}, "lookup.workers"},
	} {
		err := c.c.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestMemory: more than the bound is forgotten, the oldest first.
func TestMemory(t *testing.T) {
	m, now := memory{}, time.Unix(1_700_000_000, 0).UTC()
	for i := range 100 {
		m[mark(fmt.Sprint(i))] = now.Add(time.Duration(i) * time.Second)
	}
	p := &position{Settled: now.Add(50 * time.Second), Backlog: []span{{now.Add(10 * time.Second), now.Add(20 * time.Second)}}}
	if n := m.prune(p, 1000); n != 0 || len(m) != 60 {
		t.Errorf("%d forgotten, %d left, want 50 recent and 10 of the backlog", n, len(m))
	}
	if n := m.prune(p, 30); n != 30 || len(m) != 30 {
		t.Errorf("%d forgotten, %d left", n, len(m))
	}
	again := memory{}
	if err := again.add(m.bytes()); err != nil || len(again) != len(m) {
		t.Errorf("%v: %d of %d", err, len(again), len(m))
	}
	for k, at := range m {
		if !again[k].Equal(at) {
			t.Fatalf("%x was %s and is %s", k, at, again[k])
		}
	}
	if again.add([]byte("short")) == nil {
		t.Error("a torn memory is read")
	}
}

func role(arn string) awsaccess.Config { return awsaccess.Config{Role: arn} }
