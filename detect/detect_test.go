package detect_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/expr"
	"riposte/inventory"
	"riposte/rules"
)

func lists(t testing.TB) expr.Lists {
	t.Helper()
	l, err := expr.NewLists(map[string][]string{
		"own_accounts": nil, "trusted_accounts": nil, "trusted_networks": nil, "approved_regions": nil,
		"ci_identities": nil, "break_glass": nil, "log_buckets": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func shipped(t testing.TB) *detect.RuleSet {
	t.Helper()
	rs, err := detect.Load(rules.FS, detect.Options{Lists: lists(t)})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestErrorsAreCounted(t *testing.T) {
	rs, err := detect.Load(fstest.MapFS{"a.yaml": {Data: []byte("id: a\ntitle: t\nseverity: low\nsource: cloudtrail\nwhen: eventName == \"X\" && requestParameters.missing == 1\n")}}, detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := event.Decode(event.CloudTrail, []byte(`{"eventName":"X"}`))
	if f := detect.NewEngine(rs).Eval(&e, nil); len(f) != 0 {
		t.Errorf("findings: %v", f)
	}
	c := rs.Counters()[0]
	if c.Errors != 1 || c.Hits != 0 || !strings.Contains(c.LastError, "no such key: missing") {
		t.Errorf("%+v", c)
	}
}

func TestShippedRulesPassTheirTests(t *testing.T) {
	for _, r := range shipped(t).Test(func(items []event.Event) (expr.Resources, error) {
		return inventory.Of(t.Context(), inventory.DefaultConfig(), items)
	}) {
		if !r.Passed {
			truth, _ := json.MarshalIndent(r.Explain, "", "  ")
			t.Errorf("%s: %s: %s\n%s", r.Rule, r.Test, r.Reason, truth)
		}
	}
}
