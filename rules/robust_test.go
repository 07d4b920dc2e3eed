package rules_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"riposte/detect"
	"riposte/event"
)

// oddities stand where a record is expected to hold something else: what AWS
// leaves out, renames or changes the type of, and what a caller can send.
var oddities = []any{
	nil, "*", json.Number("1.5"), true, []any{},
	[]any{nil, "x", json.Number("7"), []any{}, map[string]any{}}, map[string]any{}, map[string]any{"items": []any{nil, "x"}},
}

// freeForm are the members of a record whose shape the caller or the service
// decides; identity are those that every record has alike.
var (
	freeForm = []string{"requestParameters", "responseElements", "additionalEventData", "configuration", "supplementaryConfiguration"}
	identity = []string{"userIdentity", "resources", "tags"}
)

// TestRecordsCannotBreakRules puts every oddity at every place of the free-form
// parts of every sample and of every record in the rules' own tests, which pass
// the first conditions, and wants no evaluation to end in an error but one: what
// stands where a policy document should and is none has no answer, and says so.
func TestRecordsCannotBreakRules(t *testing.T) {
	rs := load(t)
	engine := detect.NewEngine(rs)
	var raised []event.Finding
	tried, unanswered := 0, 0
	errors := map[string]int64{}
	check := func(e *event.Event) {
		for _, c := range rs.Counters() {
			if c.Errors == errors[c.Rule] {
				continue
			}
			errors[c.Rule] = c.Errors
			unanswered++
			if !strings.HasPrefix(c.LastError, "policy: it ") && !strings.HasPrefix(c.LastError, "policy: statement ") {
				t.Errorf("%s: an evaluation ended in an error: %s\n%s", c.Rule, c.LastError, e.Raw)
			}
		}
	}
	for _, c := range rs.Counters() { // other tests count too
		errors[c.Rule] = c.Errors
	}
	eval := func(e *event.Event) {
		raised = engine.Eval(e, raised[:0])
		tried++
		check(e)
	}
	seen := map[string]bool{}
	for _, r := range everySample(t) {
		e := r.event(t)
		raised = engine.EvalAll(e, raised[:0])
		// One of each name in a file is enough to mutate.
		if like := r.name + e.Name(); r.kind != event.FlowLog && !seen[like] {
			seen[like] = true
			decode := func(raw []byte) (event.Event, error) { return event.Decode(r.kind, raw) }
			mutate(t, decode, r.raw, append(identity, freeForm...), eval)
		}
	}
	for _, test := range ruleTests(t) {
		e, err := test.event()
		if err != nil {
			t.Fatal(err)
		}
		raised = engine.EvalAll(&e, raised[:0])
		if test.Kind != event.FlowLog {
			raw, err := json.Marshal(test.Event)
			if err != nil {
				t.Fatal(err)
			}
			members := freeForm
			if test.Kind >= event.Insight { // all of such a record is free
				members = slices.Sorted(maps.Keys(test.Event))
			}
			mutate(t, test.decode, raw, members, eval)
		}
	}
	t.Logf("%d mutated records, %d of them with what is no policy", tried, unanswered)
	if unanswered*100 > tried {
		t.Error("more than one in a hundred has no answer")
	}
}

// mutate calls try with copies of a record, each with one oddity in one place
// inside the named members. Copies that the decoder refuses are not events.
func mutate(t *testing.T, decode func([]byte) (event.Event, error), raw []byte, members []string, try func(*event.Event)) {
	t.Helper()
	parsed, err := event.ParseJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	whole := parsed.(map[string]any)
	emit := func() {
		changed, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := decode(changed); err == nil {
			try(&e)
		}
	}
	var visit func(v any)
	swap := func(set func(any), old any) {
		for _, odd := range oddities {
			set(odd)
			emit()
		}
		set(old)
		visit(old)
	}
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, old := range v {
				swap(func(x any) { v[k] = x }, old)
				delete(v, k)
				emit()
				v[k] = old
			}
		case []any:
			for i, old := range v {
				if i < 3 {
					swap(func(x any) { v[i] = x }, old)
				}
			}
		}
	}
	for _, name := range members {
		if old, ok := whole[name]; ok {
			swap(func(x any) { whole[name] = x }, old)
		}
	}
}
