package respond

import (
	"maps"
	"slices"
	"strings"
	"time"

	"riposte/event"
)

// Two findings have the same cause when they share a cause key, the account with
// the actor at the root or with a target, and lie within the window of each
// other in event time. An incident is all findings that are linked so, over any
// number of links. That is a property of the set of findings: in whatever order
// they come, however often, on however many workers, the same findings end up
// together. A finding that links two incidents makes them one.

// book is the index of an account's incidents: which times under which cause
// keys belong to which. It is small, and every worker changes it by compare and swap.
type book struct {
	Incidents []chapter `json:"incidents"`
}

type chapter struct {
	ID string `json:"id"`
	// Spans are, by cause key, the stretches of event time in which each finding
	// is within the window of the next; Unix milliseconds.
	Spans map[string][]span `json:"spans"`
	// Absorbed are incidents that became part of this one.
	Absorbed []string `json:"absorbed,omitempty"`
	Latest   int64    `json:"latest"`
}

type span struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// maxChapters bounds an account's index; beyond it the incidents that have been
// quiet longest take no more findings.
const maxChapters = 2000

// place finds the incident of a finding with these causes at time t, joining or
// opening as needed, and reports whether the book changed.
func (b *book) place(causes []string, t time.Time, window time.Duration, newID string) (id string, absorbed []string, changed bool) {
	at, w := t.UnixMilli(), window.Milliseconds()
	var linked []int
	for i := range b.Incidents {
		if b.Incidents[i].linked(causes, at, w) {
			linked = append(linked, i)
		}
	}
	if len(linked) == 0 {
		b.Incidents = append(b.Incidents, chapter{ID: newID, Spans: map[string][]span{}})
		linked = []int{len(b.Incidents) - 1}
		changed = true
	}
	home := &b.Incidents[linked[0]]
	for _, i := range slices.Backward(linked[1:]) {
		home.absorb(&b.Incidents[i], w)
		b.Incidents = slices.Delete(b.Incidents, i, i+1)
		home = &b.Incidents[linked[0]]
		changed = true
	}
	for _, c := range causes {
		if merged := insert(home.Spans[c], span{at, at}, w); !slices.Equal(merged, home.Spans[c]) {
			home.Spans[c] = merged
			changed = true
		}
	}
	home.Latest = max(home.Latest, at)
	id, absorbed = home.ID, slices.Clone(home.Absorbed)
	if len(b.Incidents) > maxChapters {
		quiet := slices.MinFunc(b.Incidents, func(x, y chapter) int { return int(min(max(x.Latest-y.Latest, -1), 1)) })
		b.Incidents = slices.DeleteFunc(b.Incidents, func(c chapter) bool { return c.ID == quiet.ID })
	}
	return id, absorbed, changed
}

func (c *chapter) linked(causes []string, at, window int64) bool {
	for _, cause := range causes {
		for _, s := range c.Spans[cause] {
			if at >= s.From-window && at <= s.To+window {
				return true
			}
		}
	}
	return false
}

func (c *chapter) absorb(o *chapter, window int64) {
	for _, cause := range slices.Sorted(maps.Keys(o.Spans)) {
		for _, s := range o.Spans[cause] {
			c.Spans[cause] = insert(c.Spans[cause], s, window)
		}
	}
	c.Absorbed = append(append(c.Absorbed, o.ID), o.Absorbed...)
	c.Latest = max(c.Latest, o.Latest)
}

// insert adds a span and joins those that are within the window of each other.
func insert(spans []span, s span, window int64) []span {
	all := append(slices.Clone(spans), s)
	slices.SortFunc(all, func(a, b span) int { return int(min(max(a.From-b.From, -1), 1)) })
	out := all[:1]
	for _, n := range all[1:] {
		if last := &out[len(out)-1]; n.From <= last.To+window {
			last.To = max(last.To, n.To)
		} else {
			out = append(out, n)
		}
	}
	return out
}

// broad are the entities that too many events touch to say anything about a
// common cause.
var broad = map[string]bool{"resource": true, "address": true, "iam-policy": true, "image": true, "ssm-document": true, "vpc": true, "subnet": true}

// causes are the keys under which a finding joins others.
func causes(f *event.Finding) []string {
	who := &f.Actor
	if who.Root != nil {
		who = who.Root
	}
	var out []string
	if id := who.Identity(); id != "unknown" && who.Type != "AWSService" {
		out = append(out, "actor "+id)
	}
	for _, e := range f.Entities {
		if !broad[e.Kind] {
			out = append(out, "target "+e.ID)
		}
	}
	if len(out) == 0 {
		out = []string{"rule " + f.Rule + " " + f.Key}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// MaxFindings is how many findings an incident keeps whole; the rest are counted.
const MaxFindings = 200

// maxEvidence is how many findings of an incident keep their records and
// explanation: all findings are in the stream with theirs.
const maxEvidence = 40

// add folds a finding into the incident; false when it is there already.
func (in *Incident) add(f event.Finding) bool {
	if slices.ContainsFunc(in.Findings, func(g event.Finding) bool { return g.ID == f.ID }) {
		return false
	}
	if len(in.Findings) >= maxEvidence {
		f.Evidence = event.Evidence{}
	}
	if in.Opened.IsZero() || f.Time.Before(in.Opened) {
		in.Opened = f.Time
	}
	if f.Time.After(in.Updated) {
		in.Updated = f.Time
	}
	if len(in.Findings) < MaxFindings {
		in.Findings = append(in.Findings, f)
		slices.SortStableFunc(in.Findings, func(a, b event.Finding) int {
			if c := a.Time.Compare(b.Time); c != 0 {
				return c
			}
			return strings.Compare(a.ID, b.ID)
		})
	} else {
		in.More++
	}
	for _, e := range f.Entities {
		if !slices.Contains(in.Entities, e) && len(in.Entities) < 200 {
			in.Entities = append(in.Entities, e)
		}
	}
	if !slices.Contains(in.Rules, f.Rule) {
		in.Rules = append(in.Rules, f.Rule)
		slices.Sort(in.Rules)
	}
	for _, c := range causes(&f) {
		if !slices.Contains(in.Causes, c) && len(in.Causes) < 500 {
			in.Causes = append(in.Causes, c)
		}
	}
	slices.Sort(in.Causes)
	in.headline()
	return true
}

// headline takes title, actor and place from the worst finding, the earliest of
// the worst.
func (in *Incident) headline() {
	worst := &in.Findings[0]
	for i := range in.Findings {
		if in.Findings[i].Severity > worst.Severity {
			worst = &in.Findings[i]
		}
	}
	in.Severity, in.Title, in.Account, in.Region, in.Actor = worst.Severity, worst.Title, worst.Account, worst.Region, worst.Actor
}

// absorb folds another incident's findings and runs into this one.
func (in *Incident) absorb(o *Incident) {
	for _, f := range o.Findings {
		in.add(f)
	}
	in.More += o.More
	for _, r := range o.Runs {
		if !slices.Contains(in.Runs, r) {
			in.Runs = append(in.Runs, r)
		}
	}
}
