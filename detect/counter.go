package detect

import "sync/atomic"

// counter counts what one rule did, across all engines.
type counter struct {
	evaluated, hits, errors atomic.Int64
	lastError               atomic.Pointer[string]
}

func (c *counter) fail(err error) {
	c.errors.Add(1)
	s := err.Error()
	c.lastError.Store(&s)
}

// RuleCount is what one rule did so far.
type RuleCount struct {
	Rule string `json:"rule"`
	// Evaluated is how often the condition ran: the index leaves most events out.
	Evaluated int64 `json:"evaluated"`
	Hits      int64 `json:"hits"`
	// Errors counts evaluations without a verdict.
	Errors    int64  `json:"errors"`
	LastError string `json:"lastError,omitempty"`
}

// Counters returns the counts of every rule, by id.
func (rs *RuleSet) Counters() []RuleCount {
	out := make([]RuleCount, len(rs.rules))
	for i, r := range rs.rules {
		out[i] = RuleCount{Rule: r.ID, Evaluated: r.counter.evaluated.Load(), Hits: r.counter.hits.Load(), Errors: r.counter.errors.Load()}
		if s := r.counter.lastError.Load(); s != nil {
			out[i].LastError = *s
		}
	}
	return out
}

// inherit goes on counting where prev is, for the rules that did not change.
func (rs *RuleSet) inherit(prev *RuleSet) {
	for _, r := range rs.rules {
		if old := prev.byID[r.ID]; old != nil && old.Version == r.Version {
			r.counter = old.counter
		}
	}
}
