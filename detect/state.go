package detect

import "riposte/event"

// State decides what a hit becomes. It is the seam for rules that look at more
// than one event: a windowed rule's state keeps the hit under the finding's Key
// and event time, and lets a finding out when it is complete. An engine calls it
// from one goroutine, in the order of its events, for every hit.
type State interface {
	// Observe takes the hit that rule r made on e, as the finding it would be by
	// itself, and appends to out the findings that are complete with it. e is
	// valid only during the call.
	Observe(r *Rule, e *event.Event, hit event.Finding, out []event.Finding) []event.Finding
}

// Stateless is the State of rules about single events: every hit is a finding.
type Stateless struct{}

// Observe appends the hit.
func (Stateless) Observe(_ *Rule, _ *event.Event, hit event.Finding, out []event.Finding) []event.Finding {
	return append(out, hit)
}
