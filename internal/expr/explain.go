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
	})
	if p.explainErr != nil {
		return event.Truth{Expr: p.text, Error: p.explainErr.Error()}
	}
	_, details, err := p.explain.Eval(in)
	x := &explainer{info: p.ast.NativeRep().SourceInfo()}
	if details != nil {
		x.state = details.State()
	}
	t := x.truth(p.ast.NativeRep().Expr())
	if err != nil && t.Error == "" {
		t.Error = err.Error()
	}
	return t
}

type explainer struct {
	info  *ast.SourceInfo
	state interpreter.EvalState
}

// truth explains one sub-expression: a connective by its operands, a comparison
// or a call by the values that went into it.
func (x *explainer) truth(e ast.Expr) event.Truth {
	t := event.Truth{Expr: x.text(e)}
	x.value(e, &t)
	if e.Kind() != ast.CallKind {
		return t
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		for _, operand := range x.operands(e, call.FunctionName()) {
			t.Steps = append(t.Steps, x.truth(operand))
		}
	case operators.LogicalNot, operators.Conditional:
		for _, a := range call.Args() {
			t.Steps = append(t.Steps, x.truth(a))
		}
	default:
		args := call.Args()
		if call.IsMemberFunction() {
			args = append([]ast.Expr{call.Target()}, args...)
		}
		for _, a := range args {
			if k := a.Kind(); k == ast.LiteralKind || k == ast.ListKind && x.constantList(a) {
				continue
			}
			t.Steps = append(t.Steps, x.truth(a))
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

func (x *explainer) value(e ast.Expr, t *event.Truth) {
	if x.state == nil {
		return
	}
	v, ok := x.state.Value(e.ID())
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
		if secret(e) {
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
	switch v.(type) {
	case *object, *arnValue, *policy:
		return json.RawMessage(`"(object)"`)
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
