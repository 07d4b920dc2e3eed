package detect

import (
	"maps"
	"slices"

	"riposte/event"
	"riposte/internal/expr"
)

// index finds the few rules that an event may match. Each rule is filed under
// one clause of its predicate, the most telling one: the values of an equality
// in a hash table of their field, other literals in one automaton a field. Rules
// without a predicate are tried against every event. Finding is by necessary
// conditions only, so an index never hides a rule that would fire or fail.
type index struct {
	rules []*Rule

	fields []equalities
	texts  []fieldLiterals
	always []int32
}

// equalities are the rules filed under the values of one field.
type equalities struct {
	field  event.Field
	values map[string][]int32
}

// fieldLiterals are the rules filed under literals that occur in one field.
type fieldLiterals struct {
	field    event.Field
	literals *literals
	// folded are the rules whose clause folds case: a text with bytes beyond
	// ASCII may match them in ways the automaton does not see.
	folded []int32
}

func newIndex(rules []*Rule) *index {
	ix := &index{rules: rules}
	eq := map[event.Field]map[string][]int32{}
	words, owners := map[event.Field][]string{}, map[event.Field][]int32{}
	folded := map[event.Field][]int32{}
	for i, r := range rules {
		c := telling(r.when.Predicate())
		if c == nil {
			ix.always = append(ix.always, int32(i))
			continue
		}
		for _, a := range c {
			if a.Op == expr.Equals && !a.Fold {
				if eq[a.Field] == nil {
					eq[a.Field] = map[string][]int32{}
				}
				if list := eq[a.Field][a.Value]; !slices.Contains(list, int32(i)) {
					eq[a.Field][a.Value] = append(list, int32(i))
				}
				continue
			}
			words[a.Field] = append(words[a.Field], a.Value)
			owners[a.Field] = append(owners[a.Field], int32(i))
			if a.Fold && !slices.Contains(folded[a.Field], int32(i)) {
				folded[a.Field] = append(folded[a.Field], int32(i))
			}
		}
	}
	for _, f := range slices.Sorted(maps.Keys(eq)) {
		ix.fields = append(ix.fields, equalities{field: f, values: eq[f]})
	}
	for _, f := range slices.Sorted(maps.Keys(words)) {
		ix.texts = append(ix.texts, fieldLiterals{field: f, literals: newLiterals(words[f], owners[f]), folded: folded[f]})
	}
	return ix
}

// telling chooses the clause that leaves the fewest events: an equality before
// literals, the event's name before other fields, long literals before short.
func telling(p expr.Predicate) expr.Clause {
	var best expr.Clause
	bestScore := 0
	for _, c := range p {
		score := 1 << 20
		for _, a := range c {
			s := min(len(a.Value), 100)
			if a.Op == expr.Equals && !a.Fold {
				s = 1000 + 10*int(unlikely[a.Field])
			}
			score = min(score, s)
		}
		score -= min(len(c), 50) / 5
		// A literal of one or two bytes occurs in nearly every text.
		if score > 2 && score > bestScore {
			best, bestScore = c, score
		}
	}
	return best
}

// unlikely ranks equalities: how unlikely two events are to share the field's
// value. Booleans and the account share theirs with half of everything.
var unlikely = map[event.Field]uint8{
	event.EventName: 100, event.ErrorCode: 90, event.UserARN: 90, event.SourceIPAddress: 90, event.UserName: 90,
	event.UserAccessKeyID: 90, event.EventSource: 60, event.UserInvokedBy: 60, event.EventType: 30, event.UserType: 20,
	event.AWSRegion: 20, event.EventCategory: 10,
}

// candidates calls try with every rule that the event may match, each at least
// once and few twice. It allocates nothing.
func (ix *index) candidates(e *event.Event, try func(i int32)) {
	for k := range ix.fields {
		f := &ix.fields[k]
		var rules []int32
		if b, ok := e.Plain(f.field); ok {
			rules = f.values[string(b)]
		} else if e.Has(f.field) {
			rules = f.values[e.Text(f.field)]
		}
		for _, i := range rules {
			try(i)
		}
	}
	for k := range ix.texts {
		f := &ix.texts[k]
		if !e.Has(f.field) {
			continue
		}
		text := e.Text(f.field)
		f.literals.find(text, try)
		if len(f.folded) > 0 && !ascii(text) {
			for _, i := range f.folded {
				try(i)
			}
		}
	}
	for _, i := range ix.always {
		try(i)
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
