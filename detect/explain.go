package detect

import (
	"fmt"

	"riposte/event"
	"riposte/internal/expr"
)

// Explanation says why a rule fires on an event or does not.
type Explanation struct {
	Rule  string `json:"rule"`
	Event string `json:"event"`
	Fires bool   `json:"fires"`
	// Indexed is whether the index offers the rule for this event: when it does
	// not, a necessary condition does not hold and the condition is not run.
	Indexed bool `json:"indexed"`
	// Error is why there is no verdict.
	Error string      `json:"error,omitempty"`
	Truth event.Truth `json:"truth"`
}

// Explain evaluates one rule over one event and tells every step. resources, when
// given, are what the rule may ask.
func (rs *RuleSet) Explain(id string, e *event.Event, resources expr.Resources) (Explanation, error) {
	r := rs.byID[id]
	if r == nil {
		return Explanation{}, fmt.Errorf("no rule %q", id)
	}
	if r.Source != e.Kind {
		return Explanation{
			Rule: id, Event: e.ID(),
			Error: fmt.Sprintf("the rule is about %s events, this is a %s event", r.Source, e.Kind),
		}, nil
	}
	if !r.about(e) {
		return Explanation{Rule: id, Event: e.ID(), Error: fmt.Sprintf("the rule is about the log %s, this event is of another", r.Log)}, nil
	}
	in := r.when.NewInput()
	in.SetEvent(e)
	in.SetResources(resources)
	x := Explanation{Rule: id, Event: e.ID(), Truth: r.when.Explain(in), Indexed: r.when.Predicate().Holds(e)}
	fires, err := r.when.Bool(in)
	x.Fires = fires
	if err != nil {
		x.Error = err.Error()
	}
	return x, nil
}
