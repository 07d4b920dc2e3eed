package respond_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
	"riposte/internal/store"
	"riposte/respond"
)

// randomFindings share a few actors, targets and two days.
func randomFindings(rnd *rand.Rand, n int) []event.Finding {
	out := make([]event.Finding, n)
	for i := range out {
		actor := ""
		if rnd.IntN(4) > 0 {
			actor = fmt.Sprintf("user%d", rnd.IntN(6))
		}
		var targets []string
		for range rnd.IntN(3) {
			targets = append(targets, fmt.Sprintf("bucket%d", rnd.IntN(8)))
		}
		out[i] = at(fmt.Sprint(i), event.Severity(1+rnd.IntN(5)), actor, rnd.IntN(48*60), targets...)
		if rnd.IntN(5) == 0 {
			out[i].Account = "444455556666"
		}
		out[i].Key = fmt.Sprint("key", i)
	}
	return out
}

// groups is the definition, by brute force: two findings are together when a
// chain of findings leads from one to the other, each sharing with the next the
// account and a cause within the window.
func groups(findings []event.Finding) [][]string {
	parent := make([]int, len(findings))
	for i := range parent {
		parent[i] = i
	}
	var root func(int) int
	root = func(i int) int {
		if parent[i] == i {
			return i
		}
		return root(parent[i])
	}
	for i := range findings {
		for j := range i {
			a, b := &findings[i], &findings[j]
			shared := a.Account == b.Account && a.Time.Sub(b.Time).Abs() <= window &&
				(a.Actor.ARN != "" && a.Actor.ARN == b.Actor.ARN || slices.ContainsFunc(a.Entities, func(e event.Entity) bool { return slices.Contains(b.Entities, e) }))
			if shared {
				parent[root(i)] = root(j)
			}
		}
	}
	sets := map[int][]string{}
	for i := range findings {
		sets[root(i)] = append(sets[root(i)], findings[i].ID)
	}
	return canonical(slices.Collect(maps.Values(sets)))
}

func canonical(sets [][]string) [][]string {
	for _, s := range sets {
		slices.Sort(s)
	}
	slices.SortFunc(sets, slices.Compare)
	return sets
}

func partition(incidents map[string]respond.Incident) [][]string {
	var sets [][]string
	for _, in := range incidents {
		var ids []string
		for _, f := range in.Findings {
			ids = append(ids, f.ID)
		}
		sets = append(sets, ids)
	}
	return canonical(sets)
}

// contents are the incidents without what depends on the order of arrival: the
// id, and with it what it absorbed and the order of its runs.
func contents(incidents map[string]respond.Incident) []respond.Incident {
	out := slices.Collect(maps.Values(incidents))
	for i := range out {
		out[i].ID, out[i].Absorbed = "", nil
		slices.Sort(out[i].Runs)
	}
	slices.SortFunc(out, func(a, b respond.Incident) int { return strings.Compare(a.Findings[0].ID, b.Findings[0].ID) })
	return out
}

func TestFindingsWithOneCauseMeet(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			findings := randomFindings(rnd, 40)
			want := groups(findings)
			var first []respond.Incident
			for workers := range 3 {
				// Every finding comes once to three times, in any order, to any worker.
				var deliveries []event.Finding
				for _, f := range findings {
					deliveries = append(deliveries, slices.Repeat([]event.Finding{f}, 1+rnd.IntN(3))...)
				}
				rnd.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
				w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": &act{}})
				var wg sync.WaitGroup
				for worker := range workers + 1 {
					r := w.responder(t)
					wg.Go(func() {
						for i := worker; i < len(deliveries); i += workers + 1 {
							w.handle(t, r, &deliveries[i])
						}
					})
				}
				wg.Wait()
				incidents := w.stored(t, false)
				if d := cmp.Diff(want, partition(incidents)); d != "" {
					t.Fatalf("%d workers (-definition +incidents):\n%s", workers+1, d)
				}
				if first == nil {
					first = contents(incidents)
				} else if d := cmp.Diff(first, contents(incidents)); d != "" {
					t.Fatalf("%d workers make other incidents (-one worker +these):\n%s", workers+1, d)
				}
				checkRuns(t, w, findings)
			}
		})
	}
}

// checkRuns: each finding that matches has one run, journaled once and named in
// the incident that holds the finding, and in no other.
func checkRuns(t *testing.T, w *world, findings []event.Finding) {
	t.Helper()
	named := map[string]string{}
	incidents := w.stored(t, false)
	for id, in := range incidents {
		for _, run := range in.Runs {
			if named[run] != "" {
				t.Errorf("run %s is named twice", run)
			}
			named[run] = id
		}
	}
	pb := w.playbooks.List()[0]
	for i := range findings {
		id := respond.RunID(pb, &findings[i])
		entries, _, err := w.journal.Read(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if findings[i].Severity < event.High {
			if len(entries) > 0 || named[id] != "" {
				t.Errorf("finding %d does not match and has a run", i)
			}
			continue
		}
		var kinds []string
		for _, e := range entries {
			kind, _, _ := strings.Cut(string(e), `","time"`)
			kinds = append(kinds, strings.TrimPrefix(kind, `{"kind":"`))
		}
		if want := []string{"started", "intent", "planned", "intent", "planned", "ended"}; !slices.Equal(kinds, want) {
			t.Errorf("the journal of finding %d says %v", i, kinds)
		}
		if run := w.run(t, id); run.Status != "planned" || len(run.Steps) != 2 || run.Ended.IsZero() {
			t.Errorf("the run of finding %d is %+v", i, run)
		}
		in := incidents[named[id]]
		if !slices.ContainsFunc(in.Findings, func(f event.Finding) bool { return f.ID == findings[i].ID }) {
			t.Errorf("the run of finding %d is named in incident %q, which does not hold the finding", i, named[id])
		}
	}
}

func TestTwiceIsOnce(t *testing.T) {
	a := &act{}
	w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": a})
	r := w.responder(t)
	findings := randomFindings(rand.New(rand.NewPCG(7, 7)), 40)
	for i := range findings {
		w.handle(t, r, &findings[i])
	}
	before, plans := w.dump(t), a.n.Load()
	clear(w.announced)
	for i := range findings {
		w.handle(t, w.responder(t), &findings[i])
	}
	if d := cmp.Diff(before, w.dump(t)); d != "" {
		t.Errorf("handling everything again changed (-once +twice):\n%s", d)
	}
	if a.n.Load() != plans {
		t.Errorf("%d plans were made again", a.n.Load()-plans)
	}
	for id, in := range w.stored(t, false) {
		if d := cmp.Diff(in, w.announced[id]); d != "" {
			t.Errorf("incident %s was not announced again as it is:\n%s", id, d)
		}
	}
}

// story is a few findings that open incidents, join and merge them, and run playbooks.
func story() []event.Finding {
	return []event.Finding{
		at("a", event.High, "mallory", 0, "one"),
		at("b", event.Medium, "trudy", 5, "two"),
		at("c", event.Critical, "mallory", 20, "three"),
		at("d", event.High, "", 30, "one", "two"), // a and b have one cause after all
		at("e", event.High, "trudy", 40, "four"),
		at("f", event.Low, "", 600, "one"), // another day
	}
}

// TestCutAnywhere: a process that ends at any write, before or after it was
// done, or while announcing, leaves what the next delivery finishes.
func TestCutAnywhere(t *testing.T) {
	play := func(t *testing.T, at int64, after bool, failAt int) *world {
		w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": &act{}})
		w.k.at, w.k.after, w.failAt = at, after, failAt
		for _, f := range story() {
			for w.handle(t, w.responder(t), &f) > 1 {
			}
		}
		return w
	}
	whole := play(t, 0, false, 0)
	want, writes, announcements := whole.dump(t), whole.k.n.Load(), whole.count
	if len(whole.stored(t, false)) != 2 || len(whole.stored(t, true)) != 3 {
		t.Fatalf("the story is meant to merge two incidents and leave two:\n%s", want)
	}
	check := func(name string, w *world) {
		if d := cmp.Diff(want, w.dump(t)); d != "" {
			t.Errorf("%s (-whole +cut):\n%s", name, d)
		}
		for id, in := range w.stored(t, true) {
			if d := cmp.Diff(in, w.announced[id]); d != "" {
				t.Errorf("%s: incident %s was last announced otherwise than it is stored:\n%s", name, id, d)
			}
		}
	}
	check("uncut", whole)
	for n := int64(1); n <= writes; n++ {
		check(fmt.Sprintf("cut before write %d", n), play(t, n, false, 0))
		check(fmt.Sprintf("cut after write %d", n), play(t, n, true, 0))
	}
	for n := 1; n <= announcements; n++ {
		check(fmt.Sprintf("cut at announcement %d", n), play(t, 0, false, n))
	}
	if writes < 30 || announcements < 8 {
		t.Errorf("only %d writes and %d announcements were tried", writes, announcements)
	}
}

// TestLateForItsOwnIncident: a worker has found the place of a finding and
// stops; meanwhile that place becomes part of another incident.
func TestLateForItsOwnIncident(t *testing.T) {
	w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": &act{}})
	r := w.responder(t)
	a, b, c := at("a", event.High, "mallory", 0, "one"), at("b", event.High, "trudy", 5, "two"), at("c", event.High, "", 30, "one", "two")
	w.handle(t, r, &a)
	w.k.at = w.k.n.Load() + 2 // b's place is taken, its incident not written
	if err := r.HandleFinding(t.Context(), &b); !errors.Is(err, errCut) {
		t.Fatalf("handled with %v, want a cut", err)
	}
	w.handle(t, r, &c)
	w.handle(t, r, &b)
	want := [][]string{{a.ID, b.ID, c.ID}}
	if d := cmp.Diff(canonical(want), partition(w.stored(t, false))); d != "" {
		t.Error(d)
	}
	checkRuns(t, w, []event.Finding{a, b, c})
	if late := w.stored(t, true)[event.Hash("incident", b.Account, b.ID)]; late.Merged == "" || len(late.Findings) > 0 {
		t.Errorf("the incident that was late is %+v", late)
	}
}

func TestStepsThatBreakDoNotBlock(t *testing.T) {
	plan := func(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
		switch r.Text("who") {
		case "panics":
			panic("index out of range")
		case "errs":
			return nil, errors.New("ThrottlingException: Rate exceeded")
		case "is nil":
			return nil, nil
		case "is endless":
			<-ctx.Done()
			return nil, ctx.Err()
		case "is huge":
			return &respond.Plan{Decision: respond.Contain, Reason: strings.Repeat("x", 600<<10)}, nil
		case "talks":
			return nil, errors.New(strings.Repeat("x", 1<<20))
		}
		return &respond.Plan{Decision: respond.Contain}, nil
	}
	const playbook = `
id: contain
title: Contain
match: "true"
steps:
  - {id: panics, action: fake.act, with: {who: '"panics"'}}
  - {id: errs, action: fake.act, with: {who: '"errs"'}}
  - {id: nil, action: fake.act, with: {who: '"is nil"'}}
  - {id: endless, action: fake.act, with: {who: '"is endless"'}}
  - {id: huge, action: fake.act, with: {who: '"is huge"'}}
  - {id: talks, action: fake.act, with: {who: '"talks"'}}
  - {id: no-condition, action: fake.act, when: 'finding.entities[7].id == "x"', with: {who: '"fine"'}}
  - {id: no-value, action: fake.act, with: {who: 'finding.entities[7].id'}}
  - {id: fine, action: fake.act, with: {who: '"fine"'}}
`
	synctest.Test(t, func(t *testing.T) {
		a := &act{plan: plan}
		w := newWorld(t, playbook, map[string]respond.Action{"fake.act": a})
		f := at("a", event.High, "mallory", 0)
		w.handle(t, w.responder(t), &f)
		run := w.run(t, respond.RunID(w.playbooks.List()[0], &f))
		if run.Status != "failed" {
			t.Errorf("the run is %s, want failed", run.Status)
		}
		for i, want := range []string{
			"planning broke off: index out of range", "ThrottlingException: Rate exceeded", "the action made no plan", "no plan within 1m0s",
			"the plan comes to 614", "xxx", "when: ", "with who: ", "",
		} {
			s := run.Steps[i]
			if want == "" {
				continue
			}
			if s.Decision() != "error" || !strings.Contains(s.Error, want) || len(s.Error) > 2000 || s.Plan != nil {
				t.Errorf("step %s: %s %.100q, want an error with %q", s.ID, s.Decision(), s.Error, want)
			}
		}
		if s := run.Steps[8]; s.Decision() != respond.Contain {
			t.Errorf("the last step comes to %s", s.Decision())
		}
		plans := a.n.Load()
		w.handle(t, w.responder(t), &f)
		if a.n.Load() != plans {
			t.Error("what was recorded is planned again")
		}
	})
}

// TestCancelledIsNotRecorded: a process that is told to stop has learned nothing about the target.
func TestCancelledIsNotRecorded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stop := true
	a := &act{plan: func(ctx context.Context, _ *respond.Request) (*respond.Plan, error) {
		if stop {
			cancel()
			return nil, ctx.Err()
		}
		return &respond.Plan{Decision: respond.Contain}, nil
	}}
	w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": a})
	f := at("a", event.High, "mallory", 0)
	if err := w.responder(t).HandleFinding(ctx, &f); !errors.Is(err, context.Canceled) {
		t.Fatalf("handled with %v, want context.Canceled", err)
	}
	stop = false
	w.handle(t, w.responder(t), &f)
	if run := w.run(t, respond.RunID(w.playbooks.List()[0], &f)); run.Status != "planned" || run.Steps[0].Decision() != respond.Contain {
		t.Errorf("the next delivery makes %+v", run)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	_, err := respond.New(respond.Config{Mode: respond.DryRun})
	for _, want := range []string{"Playbooks", "Incidents", "Books", "Runs", "Journal", "NotFound", "Conflict", "Window"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	for _, mode := range []string{"", "act", "approve"} {
		if _, err := respond.New(respond.Config{Mode: mode}); err == nil || !strings.Contains(err.Error(), "want dry-run") {
			t.Errorf("mode %q: %v", mode, err)
		}
	}
}

func TestTablesErrorsAreReturned(t *testing.T) {
	w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": &act{}})
	f := at("a", event.High, "mallory", 0)
	if _, err := w.books.Create(t.Context(), "account "+f.Account, []byte("not JSON")); err != nil {
		t.Fatal(err)
	}
	if err := w.responder(t).HandleFinding(t.Context(), &f); err == nil || !strings.Contains(err.Error(), "find the incident of "+f.ID) {
		t.Errorf("a book that cannot be read: %v", err)
	}
}

func TestCircleOfIncidents(t *testing.T) {
	w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": &act{}})
	f := at("a", event.High, "mallory", 0)
	id := event.Hash("incident", f.Account, f.ID)
	for key, merged := range map[string]string{id: "other", "other": id} {
		if _, err := w.incidents.Create(t.Context(), key, mustJSON(respond.Incident{ID: key, Merged: merged, Severity: event.Info})); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.responder(t).HandleFinding(t.Context(), &f); err == nil || !strings.Contains(err.Error(), "is part of itself") {
		t.Errorf("incidents that are part of each other: %v", err)
	}
}

func BenchmarkHandleFinding(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("incidents=%d", size), func(b *testing.B) {
			w := newWorld(b, twoSteps, map[string]respond.Action{"fake.act": &act{}})
			r, err := respond.New(respond.Config{
				Mode: respond.DryRun, Window: window, Playbooks: w.playbooks, Actions: w.actions,
				Incidents: w.incidents, Books: w.books, Runs: w.runs, Journal: w.journal, NotFound: store.ErrNotFound, Conflict: store.ErrConflict,
			})
			if err != nil {
				b.Fatal(err)
			}
			i := 0
			next := func() {
				f := at(fmt.Sprint(i), event.High, fmt.Sprintf("user%d", i%size), i/size)
				f.Evidence.Records = []event.Record{{ID: f.ID, Kind: event.CloudTrail, Time: f.Time, Raw: []byte(`{"eventName":"` + strings.Repeat("x", 2000) + `"}`)}}
				i++
				if err := r.HandleFinding(b.Context(), &f); err != nil {
					b.Fatal(err)
				}
			}
			for range size {
				next()
			}
			start := time.Now()
			for b.Loop() {
				next()
			}
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "findings/s")
		})
	}
}
