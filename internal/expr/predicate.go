package expr

import (
	"regexp/syntax"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"riposte/event"
)

// Op is how an Atom compares a field's text with its value.
type Op uint8

// The operations of an Atom.
const (
	Equals Op = iota + 1
	Prefix
	Suffix
	Contains
	// Mentions is about a free-form field: its bytes hold the value, or an escape
	// behind which it may stand. It cannot be filed, only checked.
	Mentions
	// AtLeast is about a field of a whole number: it is the value or more. It cannot
	// be filed either.
	AtLeast
)

// Atom is one test of a hot field's text; an absent field is "".
type Atom struct {
	Field event.Field
	Op    Op
	Value string // lower case when Fold
	// Fold compares without regard to ASCII case. A field with bytes beyond
	// ASCII must count as matching: Unicode folds K (U+212A) to k and ſ (U+017F) to s.
	Fold bool
}

// Clause holds when any of its atoms does.
type Clause []Atom

// Predicate holds when every clause does. It is necessary: where it does not
// hold the expression is false, and not an error, because its clauses come from
// operands of && and || that read typed fields, or free-form ones by path, which cannot fail, and a
// false operand decides && whatever the others are. An empty predicate always holds.
type Predicate []Clause

// Match evaluates the predicate; text returns a field's text.
func (p Predicate) Match(text func(event.Field) string) bool {
	for _, c := range p {
		if !c.Match(text) {
			return false
		}
	}
	return true
}

// Match reports whether any atom holds.
func (c Clause) Match(text func(event.Field) string) bool {
	for i := range c {
		if c[i].Match(text(c[i].Field)) {
			return true
		}
	}
	return false
}

// Match tests a field's text.
func (a *Atom) Match(s string) bool {
	if a.Fold {
		for i := range len(s) {
			if s[i] >= 0x80 {
				return true
			}
		}
		s = strings.ToLower(s)
	}
	switch a.Op {
	case Equals:
		return s == a.Value
	case Prefix:
		return strings.HasPrefix(s, a.Value)
	case Suffix:
		return strings.HasSuffix(s, a.Value)
	case Mentions:
		return mentions([]byte(s), a.Value)
	case AtLeast:
		return len(s) >= len(a.Value) && canonicalInt(s) && (len(s) > len(a.Value) || s >= a.Value)
	}
	return strings.Contains(s, a.Value)
}

// maxAtoms bounds a clause: a list of thousands is better left to the program.
const maxAtoms = 512

// predicate derives the clauses of an expression.
func (env *Env) predicate(e ast.Expr) Predicate {
	if e.Kind() == ast.CallKind {
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.LogicalAnd:
			return append(env.predicate(call.Args()[0]), env.predicate(call.Args()[1])...)
		case operators.LogicalOr:
			return either(env.predicate(call.Args()[0]), env.predicate(call.Args()[1]))
		}
	}
	return env.operand(e)
}

// either is the disjunction of two predicates: every pair of clauses joined.
// Beyond a few pairs it keeps, for each clause of a, the smallest partner in b:
// fewer clauses are a weaker condition and still necessary.
func either(a, b Predicate) Predicate {
	var out Predicate
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	if len(a)*len(b) > 16 {
		b = Predicate{smallest(b)}
	}
	for _, x := range a {
		for _, y := range b {
			if joined := append(append(Clause(nil), x...), y...); len(joined) <= maxAtoms {
				out = append(out, joined)
			}
		}
	}
	return out
}

func smallest(p Predicate) Clause {
	best := p[0]
	for _, c := range p[1:] {
		if len(c) < len(best) {
			best = c
		}
	}
	return best
}

// operand derives the clauses of an operand that is no connective, nil when
// nothing is known.
func (env *Env) operand(e ast.Expr) Predicate {
	if m, ok := env.hotMember(e); ok && m.flag {
		return is(m.field)
	}
	if p := env.derived(e); p != nil {
		return p
	}
	left, right, name, ok := binary(e)
	if !ok {
		return nil
	}
	m, ok := env.hotMember(left)
	if !ok {
		return nil
	}
	if m.flag {
		if name == operators.Equals && right.Kind() == ast.LiteralKind && right.AsLiteral() == types.True {
			return is(m.field)
		}
		return nil
	}
	if !m.text {
		return nil
	}
	if name == operators.In {
		return inClause(m.field, right)
	}
	value, ok := scalar(right)
	if !ok {
		return nil
	}
	if name == operators.GreaterEquals || name == operators.Greater {
		return atLeast(m, name, right.AsLiteral())
	}
	return compared(m.field, name, value)
}

// atLeast derives the clause of a comparison of a number with a constant above 0,
// which a field that is absent or no number, that is, 0, does not pass.
func atLeast(m member, function string, literal any) Predicate {
	n, ok := literal.(types.Int)
	if !ok || m.typ != cel.IntType || n <= 0 || n > 1e17 {
		return nil
	}
	if function == operators.Greater {
		n++
	}
	return Predicate{{{Field: m.field, Op: AtLeast, Value: strconv.FormatInt(int64(n), 10)}}}
}

// is is the predicate of a flag.
func is(f event.Field) Predicate { return Predicate{{{Field: f, Op: Equals, Value: "true"}}} }

// compared derives the clauses of a comparison of a field with a constant.
func compared(f event.Field, function, value string) Predicate {
	atom := func(op Op, fold bool) Predicate {
		if fold && !ascii(value) || value == "" && (fold || op != Equals) {
			return nil // every text begins and ends with "" and holds it
		}
		if fold {
			value = strings.ToLower(value)
		}
		return Predicate{{{Field: f, Op: op, Value: value, Fold: fold}}}
	}
	switch function {
	case operators.Equals:
		return atom(Equals, false)
	case "startsWith":
		return atom(Prefix, false)
	case "endsWith":
		return atom(Suffix, false)
	case "contains":
		return atom(Contains, false)
	case "ieq":
		return atom(Equals, true)
	case "istarts":
		return atom(Prefix, true)
	case "iends":
		return atom(Suffix, true)
	case "icontains":
		return atom(Contains, true)
	case "glob", "iglob":
		return globClauses(f, value, function == "iglob")
	case "matches":
		return regexClause(f, value)
	}
	return nil
}

// hotMember finds the member that an identifier or a chain of selections reads.
func (env *Env) hotMember(e ast.Expr) (member, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		m, ok := env.schema.variables[e.AsIdent()]
		return m, ok && m.field != none
	case ast.SelectKind:
		sel := e.AsSelect()
		if sel.IsTestOnly() {
			return member{}, false
		}
		o, ok := env.objectOf(sel.Operand())
		if !ok {
			return member{}, false
		}
		m, ok := o.members[sel.FieldName()]
		return m, ok && m.field != none
	}
	return member{}, false
}

func (env *Env) objectOf(e ast.Expr) (*objectType, bool) {
	var m member
	var ok bool
	switch e.Kind() {
	case ast.IdentKind:
		m, ok = env.schema.variables[e.AsIdent()]
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			return nil, false
		}
		var outer *objectType
		if outer, ok = env.objectOf(e.AsSelect().Operand()); ok {
			m, ok = outer.members[e.AsSelect().FieldName()]
		}
	}
	if !ok || m.typ == nil {
		return nil, false
	}
	o, ok := env.schema.objects[m.typ.TypeName()]
	return o, ok
}

// scalar returns a text or whole-number literal as the text that a field has.
func scalar(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	switch v := e.AsLiteral().(type) {
	case types.String:
		return string(v), true
	case types.Int:
		if v > 0 { // 0 also holds where the field is absent
			return string(v.ConvertToType(types.StringType).(types.String)), true
		}
	}
	return "", false
}

func inClause(f event.Field, e ast.Expr) Predicate {
	if e.Kind() != ast.ListKind || e.AsList().Size() == 0 || e.AsList().Size() > maxAtoms {
		return nil
	}
	var c Clause
	for _, el := range e.AsList().Elements() {
		v, ok := scalar(el)
		if !ok {
			return nil
		}
		c = append(c, Atom{Field: f, Op: Equals, Value: v})
	}
	return Predicate{c}
}

// globClauses are a pattern's literal runs: the first is a prefix, the last a
// suffix, those between occur.
func globClauses(f event.Field, pattern string, fold bool) Predicate {
	if fold {
		if !ascii(pattern) {
			return nil
		}
		pattern = strings.ToLower(pattern)
	}
	if !strings.ContainsAny(pattern, "*?") {
		if pattern == "" {
			return nil
		}
		return Predicate{{{Field: f, Op: Equals, Value: pattern, Fold: fold}}}
	}
	var out Predicate
	for rest := pattern; rest != ""; {
		n := strings.IndexAny(rest, "*?")
		if n == 0 {
			rest = rest[1:]
			continue
		}
		op := Contains
		switch {
		case n < 0:
			n, op = len(rest), Suffix
		case len(rest) == len(pattern):
			op = Prefix
		}
		out = append(out, Clause{{Field: f, Op: op, Value: rest[:n], Fold: fold}})
		rest = rest[n:]
	}
	return out
}

// regexClause derives literals that every match must hold.
func regexClause(f event.Field, pattern string) Predicate {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	lits, ok := required(re.Simplify())
	if !ok {
		return nil
	}
	var c Clause
	for _, l := range lits {
		if l.text == "" || l.fold && !ascii(l.text) {
			return nil
		}
		if l.fold {
			l.text = strings.ToLower(l.text)
		}
		c = append(c, Atom{Field: f, Op: Contains, Value: l.text, Fold: l.fold})
	}
	if len(c) == 0 || len(c) > maxAtoms {
		return nil
	}
	return Predicate{c}
}

type requiredLiteral struct {
	text string
	fold bool
}

// required returns literals one of which is inside every match.
func required(re *syntax.Regexp) ([]requiredLiteral, bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return []requiredLiteral{{string(re.Rune), re.Flags&syntax.FoldCase != 0}}, true
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		// Any part's literals will do: take those whose shortest is longest.
		var best []requiredLiteral
		for _, sub := range re.Sub {
			if lits, ok := required(sub); ok && shortest(lits) > shortest(best) {
				best = lits
			}
		}
		return best, best != nil
	case syntax.OpAlternate:
		var all []requiredLiteral
		for _, sub := range re.Sub {
			lits, ok := required(sub)
			if !ok {
				return nil, false
			}
			all = append(all, lits...)
		}
		return all, len(all) <= maxAtoms
	}
	return nil, false
}

func shortest(lits []requiredLiteral) int {
	if len(lits) == 0 {
		return 0
	}
	n := len(lits[0].text)
	for _, l := range lits[1:] {
		n = min(n, len(l.text))
	}
	return n
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Holds evaluates the predicate over an event, without allocating.
func (p Predicate) Holds(e *event.Event) bool {
	for _, c := range p {
		if !c.Holds(e) {
			return false
		}
	}
	return true
}

// Holds evaluates one clause over an event.
func (c Clause) Holds(e *event.Event) bool {
	for i := range c {
		if c[i].Op == Mentions {
			if mentions(e.Bytes(c[i].Field), c[i].Value) {
				return true
			}
		} else if c[i].Match(e.Text(c[i].Field)) {
			return true
		}
	}
	return false
}
