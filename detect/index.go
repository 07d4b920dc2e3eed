package detect

import (
	"maps"
	"slices"

	"riposte/event"
	"riposte/internal/expr"
)

// index finds the few rules that an event may match. Each rule is filed under
// one clause of its predicate, the one that the fewest events pass: the values of
// an equality in a hash table of their field, other literals in one automaton a
// field. Rules without a predicate are tried against every event.
//
// Predicates are necessary conditions for anything but false: a rule that the
// index leaves out would have been evaluated to false, neither to true nor to an
// error, so that hits and errors are those of evaluating every rule.
type index struct {
	rules []*Rule
	// predicates are the rules', side by side: most candidates end here.
	predicates []expr.Predicate
	// parts are what engines remember verdicts of.
	parts []*expr.Part

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

func newIndex(kind event.Kind, rules []*Rule) *index {
	ix := &index{rules: rules, predicates: make([]expr.Predicate, len(rules)), parts: parts(kind, rules)}
	eq := map[event.Field]map[string][]int32{}
	words, owners := map[event.Field][]string{}, map[event.Field][]int32{}
	folded := map[event.Field][]int32{}
	for i, r := range rules {
		ix.predicates[i] = r.when.Predicate()
		c := telling(kind, r.when.Predicate())
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

// memos are one for each of the index's texts, for the engine that wants them.
func (ix *index) memos() []*memo {
	out := make([]*memo, len(ix.texts))
	for k := range out {
		out[k] = newMemo()
	}
	return out
}

// candidates calls try with every rule that the event may match, each at least
// once and few twice. memos are the engine's, or nil. It allocates only for what
// they remember.
func (ix *index) candidates(e *event.Event, memos []*memo, try func(i int32)) {
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
		if memos != nil {
			memos[k].find(f.literals, text, try)
		} else {
			f.literals.find(text, try)
		}
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
