package detect_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"riposte/detect"
	"riposte/event"
)

// TestNoAllocationPerRule: over events that raise nothing an engine with the
// shipped rules allocates nothing, and neither does a condition over typed
// fields that is evaluated and false.
func TestNoAllocationPerRule(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	rs := shipped(t)
	engine := detect.NewEngine(rs)
	var quiet []event.Event
	for _, raw := range ordinaryRecords(t, 500) {
		e, err := event.Decode(event.CloudTrail, raw)
		if err != nil {
			t.Fatal(err)
		}
		before := evaluations(rs)
		if len(engine.Eval(&e, nil)) == 0 && evaluations(rs) == before {
			quiet = append(quiet, e)
		}
	}
	if len(quiet) < 100 {
		t.Fatalf("only %d of 500 ordinary events are dismissed by the index", len(quiet))
	}
	var out []event.Finding
	if n := testing.AllocsPerRun(20, func() {
		for i := range quiet {
			out = engine.Eval(&quiet[i], out[:0])
		}
	}); n > 0 {
		t.Errorf("%v allocations over %d events that no rule is about", n, len(quiet))
	}

	// Two hundred rules whose necessary conditions hold and whose verdict is no.
	fsys := fstest.MapFS{}
	for i := range 200 {
		fsys[fmt.Sprintf("%d.yaml", i)] = file(fmt.Sprintf(`id: r%d
title: t
severity: low
source: cloudtrail
when: |
  eventName == "StopLogging" && eventSource == "cloudtrail.amazonaws.com" && (readOnly || userIdentity.type != "" ||
  awsRegion != "" || errorCode in ["A%d", "B"] || userAgent.startsWith("x") || in_cidr(sourceIPAddress, "10.0.0.0/8") ||
  userAgent.matches("(?i)(x|y)+z") || path(requestParameters, "a.b", "") == "x" || path(requestParameters, "list", []).size() > 0)
`, i, i))
	}
	rs, err := detect.Load(fsys, detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	engine = detect.NewEngine(rs)
	e := stopLogging(t)
	if len(engine.Eval(&e, nil)) != 0 || evaluations(rs) != 200 {
		t.Fatalf("%d of 200 rules were evaluated", evaluations(rs))
	}
	if n := testing.AllocsPerRun(50, func() {
		if _, err := e.Scan(event.CloudTrail, e.Raw); err != nil {
			t.Fatal(err)
		}
		out = engine.Eval(&e, out[:0])
	}); n > 20 {
		t.Errorf("%v allocations to evaluate 200 rules: want those of the event alone", n)
	} else {
		t.Logf("%v allocations an event of 200 evaluations", n)
	}
}

func evaluations(rs *detect.RuleSet) (n int64) {
	for _, c := range rs.Counters() {
		n += c.Evaluated
	}
	return n
}
