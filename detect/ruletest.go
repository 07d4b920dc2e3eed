package detect

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"riposte/event"
)

// TestResult is the outcome of one test of one rule.
type TestResult struct {
	Rule   string `json:"rule"`
	Test   string `json:"test"`
	Passed bool   `json:"passed"`
	// Reason says what went against the expectation, with the test's place.
	Reason string `json:"reason,omitempty"`
	// Explain is the condition over the test's last event, when the test failed.
	Explain *event.Truth `json:"explain,omitempty"`
}

// Test runs the tests inside the rules, each with empty state and its rule alone.
func (rs *RuleSet) Test() []TestResult {
	var out []TestResult
	for _, r := range rs.rules {
		for _, t := range r.Tests {
			out = append(out, r.test(t))
		}
	}
	return out
}

func (r *Rule) test(t Test) TestResult {
	result := TestResult{Rule: r.ID, Test: t.Name}
	fail := func(format string, args ...any) TestResult {
		result.Reason = fmt.Sprintf("%s:%d: ", t.place.File, t.place.Line) + fmt.Sprintf(format, args...)
		return result
	}
	alone := *r
	alone.counter = &counter{}
	engine := NewEngine(newRuleSet([]*Rule{&alone}, nil))
	var findings []event.Finding
	var last event.Event
	for i, m := range t.Events {
		e, err := r.testEvent(m)
		if err != nil {
			return fail("event %d: %v", i+1, err)
		}
		findings = engine.Eval(&e, findings)
		last = e
	}
	if n := alone.counter.errors.Load(); n > 0 {
		return fail("an evaluation ended in an error: %s", *alone.counter.lastError.Load())
	}
	if fired := len(findings) > 0; fired != t.Fires {
		in := r.when.NewInput()
		in.SetEvent(&last)
		truth := r.when.Explain(in)
		result.Explain = &truth
		if t.Fires {
			return fail("the rule should fire and does not")
		}
		return fail("the rule should not fire and does")
	}
	result.Passed = true
	return result
}

// TestEvent builds an event as tests write them: a CloudTrail record or a Config
// item as its object, a flow log record as its fields by name, with dashes or
// underscores; flow fields that are left out read "-".
func TestEvent(kind event.Kind, m map[string]any) (event.Event, error) {
	if kind == event.FlowLog {
		return flowEvent(m)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return event.Event{}, fmt.Errorf("write the event as JSON: %w", err)
	}
	return event.Decode(kind, raw)
}

func (r *Rule) testEvent(m map[string]any) (event.Event, error) {
	if r.Source != event.Log {
		return TestEvent(r.Source, m)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return event.Event{}, fmt.Errorf("write the event as JSON: %w", err)
	}
	return event.DecodeLog(r.mapping, raw)
}

func flowEvent(m map[string]any) (event.Event, error) {
	names := strings.Fields(event.DefaultFlowFormat().String())
	values := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		name := strings.ReplaceAll(key, "_", "-")
		values[name] = strings.ReplaceAll(fmt.Sprint(m[key]), " ", "")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	cells := make([]string, len(names))
	for i, n := range names {
		if cells[i] = values[n]; cells[i] == "" {
			cells[i] = "-"
		}
	}
	format, err := event.ParseFlowFormat(strings.Join(names, " "))
	if err != nil {
		return event.Event{}, err
	}
	var e event.Event
	err = e.ScanFlow(format, []byte(strings.Join(cells, " ")))
	return e, err
}
