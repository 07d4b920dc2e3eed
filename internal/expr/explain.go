package expr

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"riposte/event"
)

// maxShown bounds a value inside an explanation, in bytes.
const maxShown = 256

// Explain evaluates once more and tells what each sub-expression was. A part
// that a short circuit left out has no value. It costs about ten times Bool and
// is meant for hits and for questions.
func (p *Program) Explain(in *Input) event.Truth {
	p.explainOnce.Do(func() {
		p.explain, p.explainErr = p.env.env.Program(p.ast, cel.EvalOptions(cel.OptTrackState))
		x := &explainer{info: p.ast.NativeRep().SourceInfo()}
		p.outline = x.outline(p.ast.NativeRep().Expr())
	})
	if p.explainErr != nil {
		return event.Truth{Expr: p.text, Error: p.explainErr.Error()}
	}
	_, details, err := p.explain.Eval(in)
	var state interpreter.EvalState
	if details != nil {
		state = details.State()
	}
	t := p.outline.truth(state)
	if err != nil && t.Error == "" {
		t.Error = err.Error()
	}
	return t
}

// told is what an explanation says of one sub-expression, whatever its value:
// its text, whether it reads a secret, the parts below it.
type told struct {
	id     int64
	text   string
	secret bool
	steps  []told
}

type explainer struct{ info *ast.SourceInfo }

// outline prepares the explanation of one sub-expression: a connective by its
// operands, a comparison or a call by what goes into it.
func (x *explainer) outline(e ast.Expr) told {
	o := told{id: e.ID(), text: x.text(e), secret: secret(e)}
	if e.Kind() == ast.SelectKind && asks(e.AsSelect().Operand()) { // which resource, and as of when
		o.steps = append(o.steps, x.outline(e.AsSelect().Operand()))
	}
	if e.Kind() != ast.CallKind {
		return o
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		for _, operand := range x.operands(e, call.FunctionName()) {
			o.steps = append(o.steps, x.outline(operand))
		}
	case operators.LogicalNot, operators.Conditional:
		for _, a := range call.Args() {
			o.steps = append(o.steps, x.outline(a))
		}
	default:
		args := call.Args()
		if call.IsMemberFunction() {
			args = append([]ast.Expr{call.Target()}, args...)
		}
		for _, a := range args {
			if asks(e) && a.Kind() == ast.IdentKind {
				continue // the event, which stands in every question
			}
			if k := a.Kind(); k == ast.LiteralKind || k == ast.ListKind && x.constantList(a) {
				continue
			}
			o.steps = append(o.steps, x.outline(a))
		}
	}
	return o
}

// truth tells the values that an evaluation left; state is nil when it left none.
func (o *told) truth(state interpreter.EvalState) event.Truth {
	t := event.Truth{Expr: o.text}
	o.value(state, &t)
	if len(o.steps) > 0 {
		t.Steps = make([]event.Truth, len(o.steps))
		for i := range o.steps {
			t.Steps[i] = o.steps[i].truth(state)
		}
	}
	return t
}

// operands flattens a chain of the same connective, which CEL balances into a tree.
func (x *explainer) operands(e ast.Expr, op string) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != op {
		return []ast.Expr{e}
	}
	var out []ast.Expr
	for _, a := range e.AsCall().Args() {
		out = append(out, x.operands(a, op)...)
	}
	return out
}

func (x *explainer) constantList(e ast.Expr) bool {
	for _, el := range e.AsList().Elements() {
		if el.Kind() != ast.LiteralKind {
			return false
		}
	}
	return true
}

func (x *explainer) text(e ast.Expr) string {
	s, err := cel.ExprToString(e, x.info)
	if err != nil {
		return "(expression)"
	}
	return s
}

// secret reports whether an expression reads a member whose name says that it
// holds a secret: by selection, by index, or by a path.
func secret(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			found = found || event.Secret(e.AsSelect().FieldName())
		case ast.LiteralKind:
			if s, ok := constant(e); ok {
				for name := range strings.SplitSeq(s, ".") {
					found = found || event.Secret(name)
				}
			}
		}
	}))
	return found
}

func (o *told) value(state interpreter.EvalState, t *event.Truth) {
	if state == nil {
		return
	}
	v, ok := state.Value(o.id)
	if !ok || v == nil {
		return
	}
	switch v := v.(type) {
	case *types.Err:
		t.Error = v.Error()
	case *types.Unknown:
	case types.Bool, types.Null:
		t.Value = shown(v)
	default:
		// A verdict about a secret may be told, the secret may not.
		if o.secret {
			t.Value = json.RawMessage(`"` + event.Redacted + `"`)
			return
		}
		t.Value = shown(v)
	}
}

// shown renders a value as JSON, cut to maxShown.
func shown(v ref.Val) json.RawMessage {
	if o, ok := v.(*types.Optional); ok && !o.HasValue() {
		return json.RawMessage(`"(absent)"`)
	}
	switch v := v.(type) {
	case *object, *arnValue, *policy:
		return json.RawMessage(`"(object)"`)
	case *resourceValue:
		return shown(types.String(v.shown()))
	}
	native := toNative(v)
	event.Redact(native)
	if s, ok := native.(string); ok && len(s) > maxShown {
		native = cut(s)
	}
	b, err := json.Marshal(native)
	if err != nil {
		return json.RawMessage(`"(not shown)"`)
	}
	if len(b) > 2*maxShown {
		b, _ = json.Marshal(cut(string(b)))
	}
	return b
}

func cut(s string) string {
	s = s[:maxShown]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return strings.Clone(s) + "…"
}
