// Package rules_test judges the rules that ship: that they load and pass their
// own tests, find what they must in real attack logs, keep quiet on near misses
// and ordinary traffic, and cannot be made to fail by what a record holds.
package rules_test

import (
	"encoding/json"
	"fmt"

	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/expr"
	"riposte/inventory"
	"riposte/rules"
	"riposte/samples"
)

const cloudTrail = event.CloudTrail

// shipped loads the rules once; their counters are shared by the tests.
var shipped = sync.OnceValues(func() (*detect.RuleSet, error) { return detect.Load(rules.FS, detect.Options{}) })

func load(t *testing.T) *detect.RuleSet {
	t.Helper()
	rs, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// hits evaluates every rule over single records, without the index.
type hits struct {
	t      *testing.T
	rules  *detect.RuleSet
	engine *detect.Engine
	raised []event.Finding
}

func newHits(t *testing.T) *hits {
	rs := load(t)
	return &hits{t: t, rules: rs, engine: detect.NewEngine(rs)}
}

func (h *hits) findings(r record) []event.Finding {
	h.raised = h.engine.EvalAll(r.event(h.t), h.raised[:0])
	return h.raised
}

func (h *hits) of(r record) []string {
	var out []string
	for _, f := range h.findings(r) {
		out = append(out, f.Rule)
	}
	return out
}

func TestRulesAreComplete(t *testing.T) {
	rs := load(t)
	for _, w := range rs.Lint() {
		t.Error(w)
	}
	perCategory := map[string]int{}
	for _, r := range rs.Rules() {
		category, name, _ := strings.Cut(r.ID, ".")
		perCategory[category]++
		if want := category + "/" + name + ".yaml"; r.File != want {
			t.Errorf("rule %s is in %s, want %s", r.ID, r.File, want)
		}
		// The caller chooses the user agent: a rule may find by it, not excuse by it.
		if strings.Contains(r.When, "userAgent") && r.ID != "identity.attack-tool" {
			t.Errorf("%s reads the user agent", r.ID)
		}
		if len(r.Tags) == 0 {
			t.Errorf("%s has no tags", r.ID)
		}
		if h := strings.TrimRight(r.Title, "."); h != r.Title {
			t.Errorf("%s: a title is not a sentence: %q", r.ID, r.Title)
		}
	}
	for _, category := range []string{"identity", "evasion", "exfiltration", "network", "compute", "secrets", "persistence", "impact", "posture", "flow", "detectors", "logs"} {
		t.Logf("%-13s %3d rules", category, perCategory[category])
		if perCategory[category] == 0 {
			t.Errorf("no rule in category %s", category)
		}
	}
	if n := len(rs.Rules()); n < 45 {
		t.Errorf("%d rules, want at least 45", n)
	}
	for _, r := range rs.Unindexed() {
		t.Errorf("%s is tried against every event: give it a condition on a typed field", r.ID)
	}
}

func TestRulesPassTheirTests(t *testing.T) {
	for _, r := range load(t).Test(func(items []event.Event) (expr.Resources, error) {
		return inventory.Of(t.Context(), inventory.DefaultConfig(), items)
	}) {
		if !r.Passed {
			explain, _ := json.Marshal(r.Explain)
			t.Errorf("%s, %q: %s\n%s", r.Rule, r.Test, r.Reason, explain)
		}
	}
}

// technique is one entry of truth.json.
type technique struct {
	Kind string   `json:"kind"`
	Log  string   `json:"log"`
	Must []string `json:"must_flag_event_ids"`
}

// TestTruth plays each recorded attack whose technique one event tells, and
// wants exactly the events named to raise a finding of medium severity or more.
// Techniques that need context are wanted too where a rule claims to tell them
// from one event.
func TestTruth(t *testing.T) {
	byContext := []string{"aws.execution.sagemaker-update-lifecycle-config", "aws.execution.ssm-send-command", "aws.persistence.lambda-overwrite-code"}
	h := newHits(t)
	truth := unmarshal[map[string]technique](t, readSample(t, "cloudtrail/truth.json"))
	for _, name := range slices.Sorted(maps.Keys(truth)) {
		wanted := truth[name]
		if wanted.Log == "no sample" || wanted.Kind != "single" && !slices.Contains(byContext, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			found := map[string][]string{}
			for _, l := range lines(readSample(t, "cloudtrail/stratus/"+name+".ndjson")) {
				r := record{name: name, kind: cloudTrail, raw: l}
				e := r.event(t)
				for _, f := range h.findings(r) {
					if f.Severity >= event.Medium {
						found[e.ID()] = append(found[e.ID()], f.Rule)
					}
				}
			}
			for _, id := range wanted.Must {
				if len(found[id]) == 0 {
					t.Errorf("%s should raise a finding and does not", id)
				}
				t.Logf("%s: %s", id, strings.Join(found[id], ", "))
				delete(found, id)
			}
			for id, who := range found {
				t.Errorf("%s should be quiet, and raises %v", id, who)
			}
		})
	}
}

// TestTwinsAreQuiet wants no finding, of any severity and from any rule, on the
// near misses of the recorded attacks.
func TestTwinsAreQuiet(t *testing.T) {
	h := newHits(t)
	for _, c := range twins(t) {
		for _, raw := range c.Events {
			for _, f := range h.findings(record{name: c.ID, kind: cloudTrail, raw: raw}) {
				t.Errorf("%s (%s) raises %s: %s", c.ID, c.Why, f.Rule, f.Title)
			}
		}
	}
}

// TestOrdinaryTrafficIsQuiet plays what infrastructure code, services, programs
// and people do all day. Nothing in it may raise more than low severity, and
// little that.
func TestOrdinaryTrafficIsQuiet(t *testing.T) {
	h := newHits(t)
	data, err := samples.FS.ReadFile("cloudtrail/ordinary.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	records, count := 0, map[event.Severity]int{}
	for i, l := range lines(data) {
		records++
		for _, f := range h.findings(record{name: fmt.Sprintf("ordinary.ndjson:%d", i+1), kind: cloudTrail, raw: l}) {
			count[f.Severity]++
			t.Logf("line %d raises %s (%s): %s", i+1, f.Rule, f.Severity, f.Title)
			if f.Severity >= event.Medium {
				t.Errorf("line %d raises %s (%s): %s", i+1, f.Rule, f.Severity, f.Title)
			}
		}
	}
	t.Logf("%d records: %d low, %d info", records, count[event.Low], count[event.Info])
	if n := count[event.Low] + count[event.Info]; n*10 > records {
		t.Errorf("%d findings on %d ordinary records: want at most a tenth", n, records)
	}
}
