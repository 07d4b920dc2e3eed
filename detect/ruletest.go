package detect

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"riposte/event"
	"riposte/internal/expr"
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

// Inventory makes what is known of resources from Config items, for a test.
type Inventory func(items []event.Event) (expr.Resources, error)

// Test runs the tests inside the rules, each with empty state and its rule alone.
// What they say of resources is put into an inventory of its own; nil knows
// nothing, and a test that needs one fails.
func (rs *RuleSet) Test(inventory Inventory) []TestResult {
	var out []TestResult
	for _, r := range rs.rules {
		for _, t := range r.Tests {
			out = append(out, r.test(t, inventory))
		}
	}
	return out
}

func (r *Rule) test(t Test, inventory Inventory) TestResult {
	result := TestResult{Rule: r.ID, Test: t.Name}
	fail := func(format string, args ...any) TestResult {
		result.Reason = fmt.Sprintf("%s:%d: ", t.place.File, t.place.Line) + fmt.Sprintf(format, args...)
		return result
	}
	alone := *r
	alone.counter = &counter{}
	engine := NewEngine(newRuleSet([]*Rule{&alone}, nil))
	resources, err := t.resources(inventory)
	if err != nil {
		return fail("inventory: %v", err)
	}
	engine.SetResources(resources)
	var findings []event.Finding
	var last event.Event
	for i, m := range t.Events {
		e, err := r.TestEvent(m)
		if err != nil {
			return fail("event %d: %v", i+1, err)
		}
		if resources != nil && e.Time().IsZero() {
			return fail("event %d has no time: an inventory is asked as of the event's", i+1)
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
		in.SetResources(resources)
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

// resources puts what the test says of them into an inventory. An item needs no
// more than type and id: it is then of the first event's account and region, and
// was recorded long before.
func (t *Test) resources(inventory Inventory) (expr.Resources, error) {
	if len(t.Inventory) == 0 {
		return nil, nil
	}
	if inventory == nil {
		return nil, errors.New("the test lists resources and nobody keeps them here")
	}
	var items []event.Event
	for i, m := range t.Inventory {
		full := maps.Clone(defaultItem)
		first := func(keys ...string) any {
			for _, k := range keys {
				if v, ok := t.Events[0][k]; ok {
					return v
				}
			}
			return nil
		}
		if v := first("recipientAccountId", "awsAccountId", "accountId", "account_id", "account-id"); v != nil {
			full["awsAccountId"] = v
		}
		if v := first("awsRegion", "region"); v != nil {
			full["awsRegion"] = v
		}
		for k, v := range m {
			switch k {
			case "accountId":
				delete(full, "awsAccountId")
			case "version":
				delete(full, "configurationItemVersion")
			}
			full[k] = v
		}
		e, err := TestEvent(event.ConfigItem, full)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		if e.Text(event.ConfigResourceType) == "" || e.Text(event.ConfigResourceID) == "" || e.Time().IsZero() {
			return nil, fmt.Errorf("item %d: want resourceType, resourceId and, when it is given, a good configurationItemCaptureTime", i+1)
		}
		items = append(items, e)
	}
	return inventory(items)
}

// defaultItem is what an item of a test's inventory need not say.
var defaultItem = map[string]any{
	"configurationItemVersion": "1.3", "configurationItemStatus": "OK", "configurationItemCaptureTime": "2000-01-01T00:00:00Z",
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

// TestEvent builds an event for the rule, of its log where it is about one.
func (r *Rule) TestEvent(m map[string]any) (event.Event, error) {
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
