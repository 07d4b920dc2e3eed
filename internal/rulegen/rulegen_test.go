package rulegen_test

import (
	"bytes"
	"testing"
	"time"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/rulegen"
	"riposte/internal/traffic"
)

func TestRulesAreDeterministicAndPrefixes(t *testing.T) {
	few, many := rulegen.Files(50, 7), rulegen.Files(200, 7)
	if len(few) != 50 || len(many) != 200 {
		t.Fatalf("%d and %d files", len(few), len(many))
	}
	for name, data := range few {
		if !bytes.Equal(data, many[name]) {
			t.Errorf("%s differs when more rules are made", name)
		}
	}
	same := 0
	for name, data := range rulegen.Files(50, 8) {
		if bytes.Equal(data, few[name]) {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d rules are the same under another seed", same)
	}
}

// TestRulesLoadFireAndAreRare: each rule can fire, is found by the index, and
// is quiet on ordinary traffic.
func TestRulesLoadFireAndAreRare(t *testing.T) {
	rs, err := detect.Load(rulegen.Rules(1000, 1), detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if w := rs.Warnings(); len(w) > 0 {
		t.Errorf("%d warnings, the first: %v", len(w), w[0])
	}
	for _, r := range rs.Test(nil) {
		if !r.Passed {
			t.Errorf("%s, %s: %s", r.Rule, r.Test, r.Reason)
		}
	}
	if u := rs.Unindexed(); len(u) > 0 {
		t.Errorf("%d rules are tried against every event, the first: %s", len(u), u[0].When)
	}
	shapes := map[event.Kind]int{}
	for _, r := range rs.Rules() {
		shapes[r.Source]++
	}
	for _, kind := range []event.Kind{event.CloudTrail, event.FlowLog, event.ConfigItem} {
		if shapes[kind] < 20 {
			t.Errorf("%d rules about %s", shapes[kind], kind)
		}
	}
	g, err := traffic.New(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	engine := detect.NewEngine(rs)
	before := evaluated(rs)
	var hits []event.Finding
	const events = 2000
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for range events {
		e, err := event.Decode(event.CloudTrail, g.Append(nil, at))
		if err != nil {
			t.Fatal(err)
		}
		hits = engine.Eval(&e, hits)
	}
	t.Logf("%d events: %d evaluations, %d hits", events, evaluated(rs)-before, len(hits))
	if len(hits)*20 > events {
		t.Errorf("%d findings on %d ordinary events: the rules should rarely match", len(hits), events)
	}
}

func evaluated(rs *detect.RuleSet) (n int64) {
	for _, c := range rs.Counters() {
		n += c.Evaluated
	}
	return n
}
