package detect

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
	"riposte/internal/expr"
)

// TestVerdictsHideNothing: over generated rules and records that repeat themselves, an
// engine that remembers makes the findings of evaluating every rule over every record,
// with the same hits and errors, whatever it was asked before.
func TestVerdictsHideNothing(t *testing.T) {
	d := dialects[slices.IndexFunc(dialects, func(d dialect) bool { return d.kind == event.FlowLog })]
	var held int
	var seen [3]int
	for seed := range seeds(t, 3) {
		g := newGenerator(t, seed)
		rs, err := Load(g.rules(&d, 200), Options{Lists: testLists(t)})
		if err != nil {
			t.Fatal(err)
		}
		pool := make([]event.Event, 60)
		for i := range pool {
			pool[i] = d.event(g)
		}
		engine := NewEngine(rs)
		for i := range 400 {
			e := pool[g.IntN(len(pool))].Clone()
			before := rs.Counters()
			got := engine.Eval(&e, nil)
			between := rs.Counters()
			want := engine.EvalAll(&e, nil)
			after := rs.Counters()
			if diff := cmp.Diff(idsByRule(want), idsByRule(got)); diff != "" {
				t.Fatalf("event %d, %s\n%s", i, e.Raw, diff)
			}
			for k := range before {
				if hits, errs := between[k].Hits-before[k].Hits, between[k].Errors-before[k].Errors; hits != after[k].Hits-between[k].Hits || errs != after[k].Errors-between[k].Errors {
					t.Fatalf("event %d, %s: rule %s counts %d hits and %d errors, evaluating all %d and %d", i, e.Raw, before[k].Rule, hits, errs, after[k].Hits-between[k].Hits, after[k].Errors-between[k].Errors)
				}
			}
		}
		for _, v := range engine.known[event.FlowLog] {
			if v == nil {
				continue
			}
			held += v.held
			for _, verdict := range v.known {
				seen[verdict]++
			}
		}
	}
	if held < 1000 || slices.Contains(seen[:], 0) {
		t.Errorf("%d verdicts were remembered, %v of them open, never and always: too few to prove anything", held, seen)
	}
}

func idsByRule(findings []event.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Rule+" "+f.ID)
	}
	slices.Sort(out)
	return out
}

// TestVerdictsAreGivenUp: where no record is like another, an engine stops remembering,
// and what it remembers is bounded.
func TestVerdictsAreGivenUp(t *testing.T) {
	v := &verdicts{known: map[string]expr.Verdict{}, most: 100}
	rs, err := Load(fstest.MapFS{"a.yaml": {Data: []byte("id: a\ntitle: t\nseverity: low\nsource: flow\nwhen: flow.dstaddr == \"10.0.0.1\" && flow.packets > 3\n")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	v.part = rs.indexes[event.FlowLog].parts[0]
	f := event.DefaultFlowFormat()
	var e event.Event
	for i := range 2 * verdictTrial {
		line := fmt.Sprintf("2 1 eni-1 10.0.0.1 10.0.%d.%d 1 2 6 1 1 1 2 ACCEPT OK", i/256, i%256)
		if err := e.ScanFlow(f, []byte(line)); err != nil {
			t.Fatal(err)
		}
		v.of(&e, func() expr.Verdict { return expr.Never })
		if len(v.known) > v.most {
			t.Fatalf("%d are remembered", len(v.known))
		}
	}
	if !v.off || v.of(&e, func() expr.Verdict { t.Error("it is asked"); return expr.Never }) != expr.Open {
		t.Error("it goes on")
	}
}
