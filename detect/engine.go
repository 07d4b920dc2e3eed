package detect

import (
	"strings"

	"riposte/event"
	"riposte/internal/expr"
)

// Engine evaluates a rule set over events. It holds scratch and state of its
// own: one an event loop, many a rule set.
type Engine struct {
	set    *RuleSet
	state  State
	inputs map[event.Kind]*expr.Input
	memos  map[event.Kind][]*memo
	known  map[event.Kind][]*verdicts

	resources expr.Resources

	// tried marks the rules that this event was tried against, by turn.
	tried []uint64
	turn  uint64

	// What the loop works on, kept here so that its closure is made once.
	event *event.Event
	ix    *index
	input *expr.Input
	out   []event.Finding
	try   func(i int32)
	rule  *Rule
	part  *expr.Part
	judge func() expr.Verdict
}

// NewEngine returns an engine with empty state.
func NewEngine(rs *RuleSet) *Engine {
	en := &Engine{set: rs, state: Stateless{}, inputs: map[event.Kind]*expr.Input{}, memos: map[event.Kind][]*memo{}, known: map[event.Kind][]*verdicts{}}
	most := 0
	for kind, ix := range rs.indexes {
		en.memos[kind] = ix.memos()
		en.known[kind] = ix.verdicts()
		most = max(most, len(ix.rules))
	}
	en.tried = make([]uint64, most)
	en.try, en.judge = en.consider, en.verdict
	return en
}

// SetResources says what rules learn of resources from, for the events to come;
// nil, as at first, is that nothing is known.
func (en *Engine) SetResources(r expr.Resources) { en.resources = r }

// Eval appends to dst the findings that the event makes. What a finding keeps is
// copied: it outlives the event's buffer. Nothing is allocated for a rule that
// does not fire.
func (en *Engine) Eval(e *event.Event, dst []event.Finding) []event.Finding {
	ix := en.set.indexes[e.Kind]
	if ix == nil {
		return dst
	}
	en.begin(e, ix, dst)
	ix.candidates(e, en.memos[e.Kind], en.try)
	return en.end()
}

// EvalAll is Eval without the index: every rule of the event's kind is
// evaluated. Tests and doubts use it; the findings are the same.
func (en *Engine) EvalAll(e *event.Event, dst []event.Finding) []event.Finding {
	ix := en.set.indexes[e.Kind]
	if ix == nil {
		return dst
	}
	en.begin(e, ix, dst)
	for _, r := range ix.rules {
		en.evaluate(r)
	}
	return en.end()
}

func (en *Engine) begin(e *event.Event, ix *index, dst []event.Finding) {
	en.event, en.ix, en.input, en.out = e, ix, nil, dst
	en.turn++
}

func (en *Engine) end() []event.Finding {
	out := en.out
	en.event, en.out = nil, nil
	return out
}

// consider evaluates a candidate unless it was tried for this event already, or
// another of its necessary conditions does not hold.
func (en *Engine) consider(i int32) {
	if en.tried[i] == en.turn {
		return
	}
	en.tried[i] = en.turn
	if !en.ix.predicates[i].Holds(en.event) {
		return
	}
	r := en.ix.rules[i]
	if v := en.known[en.event.Kind][i]; v != nil {
		en.rule, en.part = r, v.part
		switch v.of(en.event, en.judge) {
		case expr.Never:
			return
		case expr.Always:
			en.hit(r, en.inputFor(r))
			return
		}
	}
	en.evaluate(r)
}

// verdict is what the part of the rule that may be remembered says.
func (en *Engine) verdict() expr.Verdict {
	v := en.part.Verdict(en.inputFor(en.rule))
	if v != expr.Open { // otherwise the whole condition is evaluated, and counted
		en.rule.counter.evaluated.Add(1)
	}
	return v
}

func (en *Engine) evaluate(r *Rule) {
	if !r.about(en.event) {
		return
	}
	in := en.inputFor(r)
	r.counter.evaluated.Add(1)
	hit, err := r.when.Bool(in)
	if err != nil {
		r.counter.fail(err)
		return
	}
	if hit {
		en.hit(r, in)
	}
}

func (en *Engine) hit(r *Rule, in *expr.Input) {
	r.counter.hits.Add(1)
	en.out = en.state.Observe(r, en.event, r.finding(en.event, in), en.out)
}

// about reports whether the rule is about events such as e, of which the index
// has seen only the kind.
func (r *Rule) about(e *event.Event) bool {
	return r.Log == "" || e.Mapping != nil && e.Mapping.Log() == r.Log
}

// inputFor prepares the input once an event, when its first candidate comes.
func (en *Engine) inputFor(r *Rule) *expr.Input {
	if en.input != nil {
		return en.input
	}
	in := en.inputs[r.Source]
	if in == nil {
		in = r.when.NewInput()
		en.inputs[r.Source] = in
	}
	in.SetEvent(en.event)
	in.SetResources(en.resources)
	en.input = in
	return in
}

// finding makes the claim that the rule holds for the event.
func (r *Rule) finding(e *event.Event, in *expr.Input) event.Finding {
	f := event.Finding{
		Rule: r.ID, Version: r.Version, Severity: r.Severity, Time: e.Time(), Title: r.Title,
		Account: strings.Clone(e.Account()), Region: strings.Clone(e.Region()), Actor: e.Actor(),
		Events: []string{strings.Clone(e.ID())}, Tags: r.tags, File: e.Origin.Object,
	}
	if r.summary != nil {
		title, err := r.summary.Text(in)
		if err != nil {
			r.counter.fail(err)
		}
		f.Title = title
	}
	f.Key = r.key(e, in, &f)
	f.Entities = r.touched(e, in)
	f.ID = event.FindingID(r.Version, f.Key, f.Events...)
	truth := r.when.Explain(in)
	f.Evidence = event.Evidence{Records: []event.Record{e.Record()}, Explain: &truth}
	return f
}

// key is the value of the group key: the account and the actor unless the rule
// names something else.
func (r *Rule) key(e *event.Event, in *expr.Input, f *event.Finding) string {
	if len(r.group) == 0 {
		return f.Account + "|" + f.Actor.Identity()
	}
	parts := make([]string, len(r.group))
	for i, g := range r.group {
		s, err := g.Text(in)
		if err != nil {
			r.counter.fail(err)
		}
		parts[i] = s
	}
	return strings.Join(parts, "|")
}

func (r *Rule) touched(e *event.Event, in *expr.Input) []event.Entity {
	if len(r.entities) == 0 {
		return e.Entities()
	}
	var out []event.Entity
	for _, p := range r.entities {
		id, err := p.id.Text(in)
		if err != nil {
			r.counter.fail(err)
			continue
		}
		if id != "" {
			out = append(out, event.Entity{Kind: p.kind, ID: id})
		}
	}
	return out
}
