package coverage

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"riposte/event"
)

// begin is a Monday.
var begin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

const (
	acme = "111122223333"
	shop = "444455556666"
)

// trail is a CloudTrail record that came some time after it happened.
func trail(t testing.TB, account, region string, at time.Time, after time.Duration, source string) event.Event {
	t.Helper()
	raw := fmt.Sprintf(`{"eventVersion":"1.08","eventTime":%q,"eventName":"ListUsers","eventSource":"iam.amazonaws.com","awsRegion":%q,"recipientAccountId":%q,"eventID":"e"}`,
		at.UTC().Format(time.RFC3339), region, account)
	e, err := event.Decode(event.CloudTrail, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	e.Ingested, e.Delivered, e.Origin.Source = at.Add(after), at.Add(after/2), source
	return e
}

func flow(t testing.TB, format *event.FlowFormat, line, object string, at time.Time) event.Event {
	t.Helper()
	var e event.Event
	if err := e.ScanFlow(format, []byte(line)); err != nil {
		t.Fatal(err)
	}
	e.Ingested, e.Origin = at, event.Origin{Source: "s3", Object: object}
	return e
}

// memory is the store's values, as processes keep them.
type memory map[string][]byte

func (m memory) save(t testing.TB, news []*Stream) {
	t.Helper()
	by := map[string][]*Stream{}
	for _, s := range news {
		by[ShardOf(s.Key)] = append(by[ShardOf(s.Key)], s)
	}
	for key, part := range by {
		b, err := MergeShard(m[key], part)
		if err != nil {
			t.Fatal(err)
		}
		m[key] = b
	}
}

func (m memory) streams(t testing.TB) []*Stream {
	t.Helper()
	var out []*Stream
	for _, b := range m {
		s, _, err := ReadShard(b)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s...)
	}
	return out
}

func wanted(accounts ...string) Expected {
	return Expected{Config: DefaultConfig(), Accounts: accounts}
}

// TestAnySplitIsTheSame: events in any order, split into batches in any way and
// over any number of processes that save and restart at any time, come to the
// same report; repeated, all but the counts is the same.
func TestAnySplitIsTheSame(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		var all []event.Event
		for range 300 {
			at := begin.Add(time.Duration(r.IntN(12*24*3600)) * time.Second)
			all = append(all, trail(t, []string{acme, shop}[r.IntN(2)], []string{"eu-west-1", "us-east-1"}[r.IntN(2)], at, time.Duration(r.IntN(3600)-600)*time.Second, []string{"s3", "receiver"}[r.IntN(2)]))
		}
		now := begin.Add(12 * 24 * time.Hour)
		once := memory{}
		tr := NewTracker()
		tr.Observe(all)
		once.save(t, tr.Take(0).Streams)
		want := Judge(once.streams(t), wanted(acme), nil, now)

		report := func(events []event.Event) []Part {
			kept, trackers := memory{}, []*Tracker{NewTracker(), NewTracker(), NewTracker()}
			for len(events) > 0 {
				n := min(1+r.IntN(20), len(events))
				i := r.IntN(len(trackers))
				trackers[i].Observe(events[:n])
				events = events[n:]
				if r.IntN(3) == 0 {
					news := trackers[i].Take(0).Streams
					if r.IntN(2) == 0 { // the store did not answer
						trackers[i].Return(news)
						news = trackers[i].Take(0).Streams
					}
					kept.save(t, news)
					if r.IntN(2) == 0 {
						trackers[i] = NewTracker() // a restart
					}
				}
			}
			for _, tr := range trackers {
				kept.save(t, tr.Take(0).Streams)
			}
			return Judge(kept.streams(t), wanted(acme), nil, now)
		}
		shuffled := append([]event.Event(nil), all...)
		r.Shuffle(len(shuffled), func(i, k int) { shuffled[i], shuffled[k] = shuffled[k], shuffled[i] })
		if diff := cmp.Diff(want, report(shuffled)); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		repeated := append(shuffled, all[:r.IntN(len(all))]...)
		if diff := cmp.Diff(want, report(repeated), cmpopts.IgnoreFields(Part{}, "Events", "Future")); diff != "" {
			t.Fatalf("seed %d, repeated: %s", seed, diff)
		}
	}
}

// TestCrashAtEverySave: a process is killed before or after each save, and what its
// sources had not acknowledged comes again: the report is the same.
func TestCrashAtEverySave(t *testing.T) {
	const batches, saves = 40, 8
	var all [][]event.Event
	r := rand.New(rand.NewPCG(1, 1))
	for range batches {
		var b []event.Event
		for range 5 {
			b = append(b, trail(t, acme, []string{"eu-west-1", "us-east-1"}[r.IntN(2)], begin.Add(time.Duration(r.IntN(9*24*3600))*time.Second), time.Minute, "s3"))
		}
		all = append(all, b)
	}
	run := func(crash int, after bool) []Part {
		kept, tr, since := memory{}, NewTracker(), 0
		for i := 0; i < batches; i++ {
			tr.Observe(all[i])
			if (i+1)%(batches/saves) != 0 {
				continue
			}
			if save := i / (batches / saves); save == crash {
				if crash = -1; after {
					kept.save(t, tr.Take(0).Streams)
				}
				tr, i = NewTracker(), since-1 // read again since the save before
				continue
			}
			kept.save(t, tr.Take(0).Streams)
			since = i + 1
		}
		return Judge(kept.streams(t), wanted(acme), nil, begin.Add(9*24*time.Hour))
	}
	want := run(-1, false)
	for crash := range saves {
		for _, after := range []bool{false, true} {
			if diff := cmp.Diff(want, run(crash, after), cmpopts.IgnoreFields(Part{}, "Events")); diff != "" {
				t.Errorf("killed at save %d, after it %v: %s", crash, after, diff)
			}
		}
	}
}

// FuzzReadShard: whatever the store holds is read or refused, and what was read
// is written and read the same.
func FuzzReadShard(f *testing.F) {
	tr := NewTracker()
	tr.Observe(benchBatch(f))
	b, err := MergeShard(nil, tr.Take(0).Streams)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"streams":[{"log":"flow","week":{"last":9223372036854775807,"active":"","events":"AA=="}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		streams, _, err := ReadShard(b)
		if err != nil {
			return
		}
		again, err := MergeShard(nil, streams)
		if err != nil {
			t.Fatal(err)
		}
		twice, _, err := ReadShard(again)
		if err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		once, err := MergeShard(nil, twice)
		if err != nil || string(once) != string(again) {
			t.Fatalf("%v\n%s\n%s", err, again, once)
		}
		Judge(streams, wanted(acme), nil, begin)
	})
}

// world sends telemetry through a tracker, saves and judges as the daemon does.
type world struct {
	t        *testing.T
	tracker  *Tracker
	kept     memory
	book     Book
	want     Expected
	findings map[string]event.Finding
	when     map[string]time.Time
	over     []Trouble
	hold     bool
}

func newWorld(t *testing.T, accounts ...string) *world {
	return &world{t: t, tracker: NewTracker(), kept: memory{}, want: wanted(accounts...), findings: map[string]event.Finding{}, when: map[string]time.Time{}}
}

func (w *world) turn(now time.Time) []Part {
	w.kept.save(w.t, w.tracker.Take(now.Unix()).Streams)
	parts := Judge(w.kept.streams(w.t), w.want, w.book.Silences(), now)
	// Killed before the book is kept, another turn makes the same findings.
	_, lost, _ := w.book.Turn(parts, w.want.Config, now, w.hold)
	next, findings, over := w.book.Turn(parts, w.want.Config, now, w.hold)
	if diff := cmp.Diff(lost, findings); diff != "" {
		w.t.Errorf("%s: not the same twice: %s", now, diff)
	}
	for _, f := range findings {
		if _, twice := w.findings[f.ID]; twice {
			w.t.Errorf("%s: told twice: %s", now, f.Title)
		}
		w.findings[f.ID], w.when[f.ID] = f, now
	}
	w.book, w.over = next, append(w.over, over...)
	return parts
}

// titles are of all findings that were made.
func (w *world) titles() string {
	var out []string
	for _, f := range w.findings {
		out = append(out, f.Rule+" "+f.Severity.String()+" "+f.Title)
	}
	return strings.Join(out, "\n")
}

func office(at time.Time) bool {
	d := at.Weekday()
	return d != time.Saturday && d != time.Sunday && at.Hour() >= 8 && at.Hour() < 18
}

// TestWeeks: over four weeks an account that stops is found once, half an hour
// after its last event; nights, weekends and what is rare are not.
func TestWeeks(t *testing.T) {
	w := newWorld(t)
	stop, again := begin.Add(16*24*time.Hour+3*time.Hour), begin.Add(18*24*time.Hour)
	for at := begin; at.Before(begin.Add(28 * 24 * time.Hour)); at = at.Add(5 * time.Minute) {
		var batch []event.Event
		say := func(account, region string) {
			batch = append(batch, trail(t, account, region, at, 4*time.Minute, "s3"))
		}
		say(acme, "us-east-1")
		say(acme, "eu-west-1")
		if at.Before(stop) || !at.Before(again) {
			say(shop, "us-east-1")
			say(shop, "eu-central-1")
		}
		if office(at) {
			say("777788889999", "eu-west-1")
			say(acme, "ap-south-1")
		}
		if at.Minute() == 0 && at.Hour() == 5 && at.Weekday() == time.Tuesday {
			say(acme, "sa-east-1")
		}
		w.tracker.Observe(batch)
		parts := w.turn(at.Add(4 * time.Minute))
		if !at.Equal(again.Add(36 * time.Hour)) {
			continue
		}
		// The silence that was told of has taught nothing: the next is found as fast.
		for _, p := range parts {
			if p.Level == OfAccount && p.Account == shop && p.Patience != 30*time.Minute {
				t.Errorf("the patience is %s: it learned from a silence that was told of", p.Patience)
			}
		}
	}
	if len(w.findings) != 1 {
		t.Fatalf("%d findings, want one:\n%s", len(w.findings), w.titles())
	}
	last := stop.Add(-5 * time.Minute)
	for id, f := range w.findings {
		if f.Rule != RuleSilent || f.Severity != event.High || f.Account != shop || f.Region != "" || !strings.Contains(f.Title, last.Format("2006-01-02 15:04")) {
			t.Errorf("%s %s: %s", f.Rule, f.Severity, f.Title)
		}
		if took := w.when[id].Sub(last); took < 30*time.Minute || took > 45*time.Minute {
			t.Errorf("found %s after the last event", took)
		}
		if !f.Time.Equal(last.Add(30 * time.Minute)) {
			t.Errorf("of %s", f.Time)
		}
	}
	if len(w.over) != 1 || w.over[0].Part.Account != shop {
		t.Errorf("over: %+v", w.over)
	}
}

// speak sends steady telemetry from begin for a time.
func (w *world) speak(account, region, source string, from, to time.Time, after time.Duration) {
	var batch []event.Event
	for at := from; at.Before(to); at = at.Add(10 * time.Minute) {
		batch = append(batch, trail(w.t, account, region, at, after, source))
	}
	w.tracker.Observe(batch)
}

func TestRegionFallsSilent(t *testing.T) {
	w := newWorld(t)
	day := begin.Add(48 * time.Hour)
	w.speak(acme, "us-east-1", "s3", begin, day, time.Minute)
	w.speak(acme, "eu-west-1", "s3", begin, day.Add(-2*time.Hour), time.Minute)
	w.speak(shop, "us-east-1", "s3", begin, day, time.Minute)
	w.turn(day)
	if got := w.titles(); got != "telemetry.silent medium No cloudtrail of account 111122223333 in eu-west-1 since 2026-03-03 21:50 UTC" {
		t.Errorf("found: %s", got)
	}
	for _, f := range w.findings {
		text, _ := json.Marshal(f.Evidence.Explain)
		for _, want := range []string{`"still speaking","value":"us-east-1"`, "PutEventSelectors", "2026-03-03T21:50:00Z"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("nothing of %s in %s", want, text)
			}
		}
		if f.Tags[0] != blinding {
			t.Errorf("tags %v", f.Tags)
		}
	}
}

// TestNothingComesAtAll: when nothing comes at all, it is the log that is silent,
// and no account; and nothing is found while it may be our own fault.
func TestNothingComesAtAll(t *testing.T) {
	w := newWorld(t)
	day := begin.Add(48 * time.Hour)
	w.speak(acme, "us-east-1", "s3", begin, day, time.Minute)
	w.speak(shop, "us-east-1", "s3", begin, day, time.Minute)
	w.hold = true
	w.turn(day.Add(3 * time.Hour))
	if len(w.findings) != 0 {
		t.Fatalf("found while it is held: %s", w.titles())
	}
	w.hold = false
	parts := w.turn(day.Add(3 * time.Hour))
	if got := w.titles(); got != "telemetry.silent high No cloudtrail of all accounts since 2026-03-03 23:50 UTC" {
		t.Errorf("found: %s", got)
	}
	for _, p := range parts {
		if p.State != Silent || p.Within != (p.Level != OfLog) {
			t.Errorf("%s is %s, within %v", p.Where(), p.State, p.Within)
		}
	}
}

// TestBacklog: a queue that is worked off after a stop of ours is late, not silent.
func TestBacklog(t *testing.T) {
	w := newWorld(t)
	day := begin.Add(48 * time.Hour)
	for _, a := range []string{acme, shop} {
		w.speak(a, "us-east-1", "s3", begin, day, time.Minute)
		w.speak(a, "us-east-1", "s3", day, day.Add(10*time.Minute), 5*time.Hour)
	}
	for _, p := range w.turn(day.Add(5*time.Hour + time.Minute)) {
		if p.State != Late {
			t.Errorf("%s is %s", p.Where(), p.State)
		}
	}
	if len(w.findings) != 0 {
		t.Errorf("found at once: %s", w.titles())
	}
	// It goes on being late: that is told of.
	for _, a := range []string{acme, shop} {
		w.speak(a, "us-east-1", "s3", day.Add(10*time.Minute), day.Add(40*time.Minute), 5*time.Hour)
	}
	w.turn(day.Add(5*time.Hour + 30*time.Minute))
	if got := w.titles(); got != "telemetry.late medium Cloudtrail of all accounts comes 5 h after it happened" {
		t.Errorf("found: %s", got)
	}
}

// states are those of the parts, by what they are of.
func states(parts []Part) map[string]State {
	out := map[string]State{}
	for _, p := range parts {
		out[p.Where()] = p.State
	}
	return out
}

// TestWhatIsNotSilent: what always comes late, what is read late for the first
// time, what speaks rarely and what is an archive is not silent.
func TestWhatIsNotSilent(t *testing.T) {
	day := begin.Add(48 * time.Hour)
	w := newWorld(t)
	w.speak(acme, "us-east-1", "s3", begin, day, time.Minute)
	w.speak(shop, "us-east-1", "s3", begin, day.Add(-2*time.Hour), 2*time.Hour)
	if got := states(w.turn(day)); got["cloudtrail of account "+shop] != Late {
		t.Errorf("what always comes two hours late: %v", got)
	}

	w = newWorld(t)
	var old []event.Event
	for at := begin; at.Before(day); at = at.Add(10 * time.Minute) {
		e := trail(t, acme, "us-east-1", at, 0, "s3")
		e.Ingested = day.Add(5 * time.Hour)
		old = append(old, e)
	}
	w.tracker.Observe(old)
	if got := states(w.turn(day.Add(5*time.Hour + time.Minute))); got["cloudtrail of account "+acme] != Late {
		t.Errorf("what is read late for the first time: %v", got)
	}

	w = newWorld(t)
	w.speak(acme, "us-east-1", "s3", begin, begin.Add(6*24*time.Hour), time.Minute)
	for _, h := range []time.Duration{0, 10, 20, 30} {
		w.tracker.Observe([]event.Event{trail(t, acme, "sa-east-1", begin.Add(h*time.Hour), time.Minute, "s3")})
	}
	w.tracker.Observe([]event.Event{trail(t, shop, "us-east-1", begin.Add(-400*24*time.Hour), 400*24*time.Hour, "s3")})
	got := states(w.turn(begin.Add(6 * 24 * time.Hour)))
	if got["cloudtrail of account "+acme+" in sa-east-1"] != New || got["cloudtrail of account "+shop] != Archived {
		t.Errorf("what is rare or old: %v", got)
	}
	if len(w.findings) != 0 {
		t.Errorf("found %s", w.titles())
	}
}

// TestReadAgain: an event that is read again later is as late as it was first.
func TestReadAgain(t *testing.T) {
	w := newWorld(t)
	for _, after := range []time.Duration{2 * time.Hour, time.Minute, time.Hour} {
		w.tracker.Observe([]event.Event{trail(t, acme, "us-east-1", begin, after, "s3")})
		w.kept.save(t, w.tracker.Take(0).Streams)
	}
	if p := w.turn(begin.Add(3 * time.Hour))[0]; p.Lag != time.Minute || p.DeliveryLag != 30*time.Second {
		t.Errorf("lag %s, delivery %s", p.Lag, p.DeliveryLag)
	}
}

// TestTimesAreTheEvents: the fast road to an event's time comes to the same.
func TestTimesAreTheEvents(t *testing.T) {
	tr, r := NewTracker(), rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		e := trail(t, acme, "us-east-1", begin.Add(time.Duration(r.IntN(600))*time.Second), 0, "s3")
		if got := tr.time(&e); got != e.Time().Unix() {
			t.Fatalf("%s is read as %s", e.Time(), clock(got))
		}
	}
	for _, text := range []string{"2026-03-02T00:00:61Z", "2026-13-02T00:00:01Z", "2026-03-02T00:00:0aZ", "2026-03-02T00:00:01.5Z", "2026-03-02T01:00:00+01:00", "", "yesterday"} {
		e, err := event.Decode(event.CloudTrail, []byte(fmt.Sprintf(`{"eventVersion":"1.08","eventTime":%q,"eventID":"e"}`, text)))
		if err != nil {
			t.Fatal(err)
		}
		want := int64(0)
		if at := e.Time(); !at.IsZero() {
			want = at.Unix()
		}
		if got := tr.time(&e); got != want {
			t.Errorf("%q is read as %d, want %d", text, got, want)
		}
	}
}

func TestMissing(t *testing.T) {
	w := newWorld(t, acme, shop)
	w.want.Regions = []string{"us-east-1", "eu-west-1"}
	w.want.Telemetry = []string{"cloudtrail", "config"}
	w.want.Ignore = []Place{{Telemetry: "config", Account: acme}}
	w.speak(acme, "us-east-1", "s3", begin, begin.Add(time.Hour), time.Minute)
	w.turn(begin.Add(time.Hour))
	if len(w.findings) != 0 {
		t.Fatalf("found at once: %s", w.titles())
	}
	w.turn(begin.Add(2 * time.Hour))
	got := w.titles()
	for _, want := range []string{"medium There has never been cloudtrail of account 444455556666", "medium There has never been cloudtrail of account 111122223333 in eu-west-1"} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing of %q in %s", want, got)
		}
	}
	if len(w.findings) != 2 {
		t.Errorf("found %s", got)
	}
	w.speak(shop, "us-east-1", "s3", begin.Add(2*time.Hour), begin.Add(3*time.Hour), time.Minute)
	w.speak(shop, "eu-west-1", "s3", begin.Add(2*time.Hour), begin.Add(3*time.Hour), time.Minute)
	w.turn(begin.Add(3 * time.Hour))
	if len(w.over) != 1 || w.over[0].Tell() != "cloudtrail of account 444455556666 was missing and is no more" {
		t.Errorf("over: %+v", w.over)
	}
}

func TestDigestsProveThatThereWasNothing(t *testing.T) {
	for alive, want := range map[time.Duration]State{-40 * time.Minute: OK, -5 * time.Hour: Silent} {
		w := newWorld(t)
		end := begin.Add(15 * 24 * time.Hour)
		w.speak(acme, "us-east-1", "s3", begin, end, time.Minute)
		for at := begin; at.Before(end.Add(-40 * time.Hour)); at = at.Add(6 * time.Hour) {
			w.tracker.Observe([]event.Event{trail(t, acme, "eu-west-1", at, time.Minute, "s3")})
		}
		w.tracker.Alive(acme, "eu-west-1", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main", end.Add(alive).Unix())
		w.tracker.Alive(shop, "eu-west-1", "arn:aws:cloudtrail:eu-west-1:444455556666:trail/main", end.Unix()) // has never said anything
		for _, p := range w.turn(end) {
			if p.Level == OfRegion && p.Region == "eu-west-1" && p.State != want {
				t.Errorf("alive %s ago: %s, patience %s", -alive, p.State, p.Patience)
			}
			if p.Account == shop || p.Source == digests {
				t.Errorf("there is %s", p.Where())
			}
		}
		for _, f := range w.findings {
			if len(f.Entities) != 2 || f.Entities[1].ID != "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main" {
				t.Errorf("about %v", f.Entities)
			}
		}
		if n := map[State]int{OK: 0, Silent: 1}[want]; len(w.findings) != n {
			t.Errorf("alive %s ago: found %s", -alive, w.titles())
		}
	}
}

func TestEventsFromTheFuture(t *testing.T) {
	w := newWorld(t)
	at := begin.Add(time.Hour)
	w.tracker.Observe([]event.Event{trail(t, acme, "us-east-1", at, -4*time.Minute, "s3")})
	w.turn(at)
	if len(w.findings) != 0 {
		t.Errorf("four minutes ahead: %s", w.titles())
	}
	for i := range 3 {
		w.tracker.Observe([]event.Event{trail(t, acme, "us-east-1", at.Add(time.Duration(i)*time.Hour), -time.Hour, "s3")})
		for _, p := range w.turn(at) {
			if i > 0 && p.Last.After(at.Add(time.Duration(i-1)*time.Hour)) {
				t.Errorf("the latest event is of %s", p.Last)
			}
		}
	}
	if got := w.titles(); got != "telemetry.clock-skew medium Cloudtrail of account 111122223333 has events from the future" {
		t.Errorf("found: %s", got)
	}
	w.tracker.Observe([]event.Event{trail(t, acme, "us-east-1", at.Add(25*time.Hour), -time.Hour, "s3")})
	w.turn(at.Add(24 * time.Hour))
	if len(w.findings) != 2 {
		t.Errorf("the next day: %s", w.titles())
	}
}

func TestFlowLogs(t *testing.T) {
	v3, err := event.ParseFlowFormat("version vpc-id account-id region end log-status")
	if err != nil {
		t.Fatal(err)
	}
	v2, err := event.ParseFlowFormat("version account-id interface-id end log-status")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	now := begin.Add(30 * time.Hour)
	for at := begin; at.Before(now); at = at.Add(time.Minute) {
		lines := []string{fmt.Sprintf("3 vpc-0aaaaaaaa %s eu-west-1 %d OK", acme, at.Unix())}
		if at.Before(now.Add(-2 * time.Hour)) {
			lines = append(lines, fmt.Sprintf("3 vpc-0bbbbbbbb %s eu-west-1 %d SKIPDATA", acme, at.Unix()))
		}
		for _, l := range lines {
			w.tracker.Observe([]event.Event{flow(t, v3, l, "x", at)})
		}
		w.tracker.Observe([]event.Event{flow(t, v2, fmt.Sprintf("2 unknown eni-1 %d NODATA", at.Unix()), "AWSLogs/"+shop+"/vpcflowlogs/us-east-1/2026/03/02/f.log.gz", at)})
	}
	parts := w.turn(now)
	got := map[string]State{}
	for _, p := range parts {
		got[p.Where()] = p.State
		if p.Account == shop && (p.Level != OfAccount || p.NoData != 1440 || p.Events != 1440) {
			t.Errorf("of the default format: %+v", p)
		}
	}
	want := map[string]State{
		"flow of all accounts": OK, "flow of account 111122223333": Losing, "flow of account 444455556666": OK,
		"flow of vpc-0aaaaaaaa of account 111122223333 in eu-west-1": OK, "flow of vpc-0bbbbbbbb of account 111122223333 in eu-west-1": Silent,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := w.titles(); !strings.Contains(got, "telemetry.silent medium No flow of vpc-0bbbbbbbb") || !strings.Contains(got, "telemetry.skipdata") {
		t.Errorf("found: %s", got)
	}
}

// TestKnownVPCs: a VPC that AWS Config tells of and no flow log names is missing,
// until it is deleted.
func TestKnownVPCs(t *testing.T) {
	format, err := event.ParseFlowFormat("version vpc-id account-id region end log-status")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.want.KnownVPCs = true
	item := func(status string, at time.Time) event.Event {
		e, err := event.Decode(event.ConfigItem, []byte(fmt.Sprintf(`{"configurationItemVersion":"1.3","configurationItemCaptureTime":%q,"configurationItemStatus":%q,"awsAccountId":%q,"resourceType":"AWS::EC2::VPC","resourceId":"vpc-0cccccccc","awsRegion":"eu-west-1"}`,
			at.Format(time.RFC3339), status, acme)))
		if err != nil {
			t.Fatal(err)
		}
		e.Ingested, e.Origin.Source = at, "s3"
		return e
	}
	now := begin.Add(30 * time.Hour)
	w.tracker.Observe([]event.Event{item("ResourceDiscovered", begin), flow(t, format, fmt.Sprintf("3 vpc-0aaaaaaaa %s eu-west-1 %d OK", acme, now.Unix()), "x", now)})
	missing := func() (n int) {
		for _, p := range w.turn(now) {
			if p.State == Missing && p.VPC == "vpc-0cccccccc" {
				n++
			}
		}
		return n
	}
	if missing() != 1 {
		t.Error("a VPC without flow logs is not missed")
	}
	w.tracker.Observe([]event.Event{item("ResourceDeleted", now)})
	if missing() != 0 {
		t.Error("a VPC that is gone is missed")
	}
}

// TestBounds: what is too much is left out and counted, and keeps nothing out
// that AWS says.
func TestBounds(t *testing.T) {
	m, err := event.NewMapping(event.MappingSpec{Log: "test.log", Time: "t", Account: "a"})
	if err != nil {
		t.Fatal(err)
	}
	tr := NewTracker()
	for i := range maxLogs + 50 {
		e, err := event.DecodeLog(m, []byte(fmt.Sprintf(`{"t":"2026-03-02T00:00:00Z","a":"%d%s"}`, i, strings.Repeat("x", 2*(i%60)))))
		if err != nil {
			t.Fatal(err)
		}
		e.Ingested = begin
		tr.Observe([]event.Event{e})
	}
	tr.Observe([]event.Event{trail(t, acme, "us-east-1", begin, 0, "s3")})
	news := tr.Take(begin.Unix())
	if len(news.Streams) != maxLogs+1 || news.LeftOut != 50 {
		t.Errorf("%d streams, %d left out", len(news.Streams), news.LeftOut)
	}
	for _, s := range news.Streams {
		if len(s.Account) > 64 {
			t.Errorf("an account of %d bytes", len(s.Account))
		}
	}
	// The store's value stays small enough for a message.
	var many []*Stream
	for i := range maxShard + 10 {
		s := &Stream{Key: Key{Log: "flow", Account: acme, VPC: fmt.Sprintf("vpc-%017x", i)}}
		for h := range 24 * 8 {
			at := begin.Add(time.Duration(h) * time.Hour).Unix()
			s.Week.mark(at)
			s.Week.count(at, 1<<31, 1<<31, 1<<31)
		}
		many = append(many, s)
	}
	b, err := MergeShard(nil, many)
	if err != nil || len(b) > 240<<10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if kept, left, err := ReadShard(b); err != nil || len(kept) != maxShard || left != 10 {
		t.Errorf("%d kept, %d left out, %v", len(kept), left, err)
	}
	// What nobody has spoken of for a day needs no memory.
	if tr.Take(begin.Unix() + 2*forgotten); len(tr.streams) != 0 {
		t.Errorf("%d streams are remembered", len(tr.streams))
	}
}

func TestValidate(t *testing.T) {
	c := Config{Regions: []string{"here"}, Telemetry: []string{"syslog"}, VPCs: []string{"x"}, Silence: map[string]time.Duration{"flow": time.Second}, Late: map[string]time.Duration{"flow": 0},
		Factor: 0.5, Grace: -1, Every: time.Millisecond, Ignore: []Place{{}, {Account: "1"}, {Region: "eu-*"}}}
	err := c.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 10 {
		t.Errorf("want eleven problems: %v", err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// TestNoAllocations: streams that are known cost no memory.
func TestNoAllocations(t *testing.T) {
	tr, batch := NewTracker(), benchBatch(t)
	tr.Observe(batch)
	if n := testing.AllocsPerRun(100, func() { tr.Observe(batch) }); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func benchBatch(t testing.TB) []event.Event {
	var batch []event.Event
	for i := range 100 {
		batch = append(batch, trail(t, acme, []string{"us-east-1", "eu-west-1"}[i/50], begin.Add(time.Duration(i)*3*time.Second), 5*time.Minute, "s3"))
	}
	return batch
}

func BenchmarkObserveCloudTrail(b *testing.B) {
	tr, batch := NewTracker(), benchBatch(b)
	b.ReportAllocs()
	for b.Loop() {
		tr.Observe(batch)
	}
	b.ReportMetric(float64(b.N)*float64(len(batch))/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkObserveFlow(b *testing.B) {
	format, err := event.ParseFlowFormat("version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status")
	if err != nil {
		b.Fatal(err)
	}
	var batch []event.Event
	for i := range 100 {
		batch = append(batch, flow(b, format, fmt.Sprintf("2 %s eni-0a1b2c3d4e5f60718 10.0.0.1 10.0.0.2 1234 443 6 10 840 %d %d ACCEPT OK", acme, begin.Unix()+int64(i), begin.Unix()+int64(i)+60),
			"AWSLogs/"+acme+"/vpcflowlogs/us-east-1/2026/03/02/f.log.gz", begin.Add(5*time.Minute)))
	}
	tr := NewTracker()
	b.ReportAllocs()
	for b.Loop() {
		tr.Observe(batch)
	}
	b.ReportMetric(float64(b.N)*float64(len(batch))/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkJudge judges ten thousand streams of a thousand accounts.
func BenchmarkJudge(b *testing.B) {
	tr := NewTracker()
	for a := range 1000 {
		for r := range 10 {
			for h := range 24 {
				tr.Observe([]event.Event{trail(b, fmt.Sprintf("%012d", a), fmt.Sprintf("eu-west-%d", r), begin.Add(time.Duration(h*a%168)*time.Hour), time.Minute, "s3")})
			}
		}
	}
	streams := tr.Take(0).Streams
	b.ResetTimer()
	for b.Loop() {
		Judge(streams, wanted(acme), nil, begin.Add(7*24*time.Hour))
	}
}
