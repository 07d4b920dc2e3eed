package expr

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"riposte/event"
)

// Part is what a condition says of some hot fields alone: those operands of its
// outermost && that read no others, nor the inventory. Expressions are pure, so that
// events with the same text in these fields have the same verdict.
type Part struct {
	operands []cel.Program
	reads    []event.Field
	whole    bool
}

// Verdict is what a Part says of the condition.
type Verdict uint8

// The verdicts.
const (
	// Open: the rest of the condition decides, or there was an error.
	Open Verdict = iota
	// Never: the condition is false, and not an error, whatever the rest is.
	Never
	// Always: the condition is true.
	Always
)

// Part returns the part of a condition that reads only fields of which keep says
// true, nil when there is none.
func (p *Program) Part(keep func(event.Field) bool) (*Part, error) {
	var out Part
	operands := conjuncts(p.ast.NativeRep().Expr(), nil)
	seen := map[event.Field]bool{}
	out.whole = true
	for _, e := range operands {
		reads, ok := p.env.reads(e, nil)
		for _, f := range reads {
			ok = ok && keep(f)
		}
		if !ok || len(reads) == 0 {
			out.whole = false
			continue
		}
		a := p.ast.NativeRep()
		operand := ast.NewCheckedAST(ast.NewAST(e, a.SourceInfo()), a.TypeMap(), a.ReferenceMap())
		program, err := p.env.env.PlanProgram(operand, cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(lean),
			cel.OptimizeRegex(leanRegex(overloads.Matches), leanRegex(overloads.MatchesString)))
		if err != nil {
			return nil, err
		}
		out.operands = append(out.operands, program)
		for _, f := range reads {
			if !seen[f] {
				seen[f] = true
				out.reads = append(out.reads, f)
			}
		}
	}
	if len(out.operands) == 0 {
		return nil, nil
	}
	return &out, nil
}

// Reads are the fields that decide.
func (p *Part) Reads() []event.Field { return p.reads }

// Verdict evaluates the part.
func (p *Part) Verdict(in *Input) Verdict {
	v := Always
	if !p.whole {
		v = Open
	}
	for _, operand := range p.operands {
		switch out, _, err := operand.Eval(in); {
		case err == nil && out == types.False:
			return Never
		case err != nil || out != types.True:
			v = Open
		}
	}
	return v
}

// conjuncts are the operands of the outermost &&.
func conjuncts(e ast.Expr, out []ast.Expr) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		for _, arg := range e.AsCall().Args() {
			out = conjuncts(arg, out)
		}
		return out
	}
	return append(out, e)
}

// reads are the hot fields that an expression reads; false when it reads anything
// else of the event.
func (env *Env) reads(e ast.Expr, out []event.Field) ([]event.Field, bool) {
	if m, ok := env.hotMember(e); ok {
		return append(out, m.field), true
	}
	ok := true
	all := func(list ...ast.Expr) {
		for _, x := range list {
			var fine bool
			out, fine = env.reads(x, out)
			ok = ok && fine
		}
	}
	switch e.Kind() {
	case ast.LiteralKind:
	case ast.IdentKind:
		// A variable of the event that is no hot field; those of a loop are none of the schema's.
		_, ofEvent := env.schema.variables[e.AsIdent()]
		return out, !ofEvent
	case ast.SelectKind:
		sel := e.AsSelect()
		if o, known := env.objectOf(sel.Operand()); known {
			m, there := o.members[sel.FieldName()] // has(flow.x)
			return append(out, m.field), there && m.field != none
		}
		all(sel.Operand())
	case ast.CallKind:
		if e.AsCall().FunctionName() == resourceFunction {
			return out, false // what is known of a resource changes
		}
		if e.AsCall().IsMemberFunction() {
			all(e.AsCall().Target())
		}
		all(e.AsCall().Args()...)
	case ast.ListKind:
		all(e.AsList().Elements()...)
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			all(entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		all(c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result())
	default:
		return out, false
	}
	return out, ok
}
