package respond

import (
	"cmp"
	"maps"
	"slices"
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
	// Spans are, by the hash of a cause key, the stretches of event time in which
	// each finding is within the window of the next; Unix milliseconds.
	Spans map[string][]span `json:"spans"`
	// Absorbed are incidents that became part of this one.
	Absorbed []string `json:"absorbed,omitempty"`
	Latest   int64    `json:"latest"`
}

type span struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// An account's index is bounded. Beyond maxChapters or maxBook the incidents that
// have been quiet longest take no more findings; beyond maxSpans an incident
// forgets the causes that it has not heard of for longest.
const (
	maxCauses   = 32 // of one finding
	maxChapters = 2000
	maxSpans    = 500
	maxBook     = 20_000
)

// place finds the incident of a finding with these causes at time t, joining or
// opening as needed, and reports whether the book changed.
func (b *book) place(causes []string, t time.Time, window time.Duration, newID string) (id string, absorbed []string, changed bool) {
	at, w := t.UnixMilli(), window.Milliseconds()
	keys := make([]string, len(causes))
	for i, c := range causes {
		keys[i] = event.Hash("cause", c)
	}
	var linked []int
	for i := range b.Incidents {
		if b.Incidents[i].linked(keys, at, w) {
			linked = append(linked, i)
		}
	}
	if len(linked) == 0 {
		b.Incidents = append(b.Incidents, chapter{ID: newID, Spans: map[string][]span{}, Latest: at})
		linked = []int{len(b.Incidents) - 1}
		changed = true
	}
	home := &b.Incidents[linked[0]]
	for _, i := range slices.Backward(linked[1:]) {
		home.absorb(&b.Incidents[i], w)
		b.Incidents = slices.Delete(b.Incidents, i, i+1)
		changed = true
	}
	for _, key := range keys {
		if merged := insert(home.Spans[key], span{at, at}, w); !slices.Equal(merged, home.Spans[key]) {
			home.Spans[key] = merged
			changed = true
		}
	}
	home.Latest = max(home.Latest, at)
	home.forget()
	id, absorbed = home.ID, slices.Clone(home.Absorbed)
	b.forget()
	return id, absorbed, changed
}

func (c *chapter) linked(keys []string, at, window int64) bool {
	for _, key := range keys {
		for _, s := range c.Spans[key] {
			if at >= s.From-window && at <= s.To+window {
				return true
			}
		}
	}
	return false
}

func (c *chapter) absorb(o *chapter, window int64) {
	for _, key := range slices.Sorted(maps.Keys(o.Spans)) {
		for _, s := range o.Spans[key] {
			c.Spans[key] = insert(c.Spans[key], s, window)
		}
	}
	c.Absorbed = append(append(c.Absorbed, o.ID), o.Absorbed...)
	c.Latest = max(c.Latest, o.Latest)
}

// insert adds a span and joins those that are within the window of each other.
func insert(spans []span, s span, window int64) []span {
	all := append(slices.Clone(spans), s)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.From, b.From) })
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

func (c *chapter) size() int {
	n := 0
	for _, spans := range c.Spans {
		n += len(spans)
	}
	return n
}

// forget drops the spans that ended first, and what was absorbed first.
func (c *chapter) forget() {
	if drop := len(c.Absorbed) - 1000; drop > 0 {
		c.Absorbed = slices.Delete(c.Absorbed, 0, drop)
	}
	for over := c.size() - maxSpans; over > 0; over-- {
		var key string
		for k, spans := range c.Spans {
			if first := c.Spans[key]; first == nil || cmp.Or(cmp.Compare(spans[0].To, first[0].To), cmp.Compare(k, key)) < 0 {
				key = k
			}
		}
		if c.Spans[key] = c.Spans[key][1:]; len(c.Spans[key]) == 0 {
			delete(c.Spans, key)
		}
	}
}

// forget drops the incidents that have been quiet longest.
func (b *book) forget() {
	total := 0
	for i := range b.Incidents {
		total += b.Incidents[i].size()
	}
	for len(b.Incidents) > maxChapters || total > maxBook {
		quiet := 0
		for i := range b.Incidents {
			if b.Incidents[i].Latest < b.Incidents[quiet].Latest {
				quiet = i
			}
		}
		total -= b.Incidents[quiet].size()
		b.Incidents = slices.Delete(b.Incidents, quiet, quiet+1)
	}
}

// broad are the entities that too many events touch to say anything about a
// common cause.
var broad = map[string]bool{"resource": true, "address": true, "iam-policy": true, "image": true, "ssm-document": true, "vpc": true, "subnet": true}

// causes are the keys under which a finding joins others: the actor, and the
// targets that the event names first.
func causes(f *event.Finding) []string {
	who := &f.Actor
	if who.Root != nil {
		who = who.Root
	}
	var out []string
	add := func(cause string) {
		if len(out) < maxCauses && !slices.Contains(out, cause) {
			out = append(out, cause)
		}
	}
	if id := who.Identity(); id != "unknown" && who.Type != "AWSService" {
		add("actor " + id)
	}
	for _, e := range f.Entities {
		if !broad[e.Kind] {
			add("target " + e.ID)
		}
	}
	if len(out) == 0 {
		add("rule " + f.Rule + " " + f.Key)
	}
	slices.Sort(out)
	return out
}

// copy returns an incident that later changes of this one leave as it is.
func (in *Incident) copy() Incident {
	out := *in
	out.Findings, out.Entities, out.Rules = slices.Clone(in.Findings), slices.Clone(in.Entities), slices.Clone(in.Rules)
	out.Runs, out.Causes, out.Absorbed = slices.Clone(in.Runs), slices.Clone(in.Causes), slices.Clone(in.Absorbed)
	out.Others, out.EvidenceLeftOut = slices.Clone(in.Others), slices.Clone(in.EvidenceLeftOut)
	return out
}

// add folds a finding into the incident; false when it is there already.
func (in *Incident) add(f *event.Finding) bool {
	if in.has(f.ID) {
		return false
	}
	kept, less := shrink(f)
	in.Findings = append(in.Findings, kept)
	if less {
		in.without(f.ID)
	}
	if in.Opened.IsZero() || f.Time.Before(in.Opened) {
		in.Opened = f.Time
	}
	if f.Time.After(in.Updated) {
		in.Updated = f.Time
	}
	in.note(kept.Rule)
	in.settle()
	return true
}

// absorb folds another incident's findings and runs into this one.
func (in *Incident) absorb(o *Incident) {
	for _, id := range append([]string{o.ID}, o.Absorbed...) {
		if !slices.Contains(in.Absorbed, id) {
			in.Absorbed = append(in.Absorbed, id)
		}
	}
	in.Absorbed = in.Absorbed[max(0, len(in.Absorbed)-maxAbsorbed):]
	for _, id := range o.EvidenceLeftOut {
		in.without(id)
	}
	for i := range o.Findings {
		in.add(&o.Findings[i])
	}
	in.More += o.More - len(o.Others)
	for _, short := range o.Others {
		if i, found := slices.BinarySearch(in.Others, short); !found {
			in.More++
			if len(in.Others) < maxOthers {
				in.Others = slices.Insert(in.Others, i, short)
			}
		}
	}
	for _, rule := range o.Rules {
		in.note(rule)
	}
	for _, run := range o.Runs {
		in.name(run)
	}
	in.RunsLeftOut = in.RunsLeftOut || o.RunsLeftOut
	if !o.Opened.IsZero() && o.Opened.Before(in.Opened) {
		in.Opened = o.Opened
	}
	if o.Updated.After(in.Updated) {
		in.Updated = o.Updated
	}
}

// note adds a rule.
func (in *Incident) note(rule string) {
	if i, found := slices.BinarySearch(in.Rules, rule); !found && len(in.Rules) < maxRules {
		in.Rules = slices.Insert(in.Rules, i, rule)
	}
}

// name adds a run; false when it is there already, or there is no room to tell.
func (in *Incident) name(run string) bool {
	if slices.Contains(in.Runs, run) || in.RunsLeftOut && len(in.Runs) >= MaxRuns {
		return false
	}
	if len(in.Runs) >= MaxRuns {
		in.RunsLeftOut = true
		return true
	}
	in.Runs = append(in.Runs, run)
	return true
}

// settle bounds the incident and derives from its findings what it says of them.
func (in *Incident) settle() {
	in.bound()
	worst := &in.Findings[0]
	in.Severity, in.Title, in.Account, in.Region, in.Actor = worst.Severity, worst.Title, worst.Account, worst.Region, worst.Actor
	in.Entities, in.Causes = nil, nil
	entities, keys := map[event.Entity]bool{}, map[string]bool{}
	for i := range in.Findings {
		for _, e := range in.Findings[i].Entities {
			if !entities[e] && len(entities) < maxEntities {
				entities[e] = true
				in.Entities = append(in.Entities, e)
			}
		}
		for _, c := range causes(&in.Findings[i]) {
			if !keys[c] && len(keys) < maxEntities {
				keys[c] = true
				in.Causes = append(in.Causes, c)
			}
		}
	}
	slices.Sort(in.Causes)
	slices.SortFunc(in.Findings, func(a, b event.Finding) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
}
