package expr

import (
	"bytes"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"riposte/event"
)

// What a condition says of free-form fields and of the actor is not the text of a
// hot field, but has necessary conditions on one: a value inside requestParameters
// stands in its bytes, and a session's name in the principal's id or ARN.

// mentions reports whether the bytes of a JSON value may hold a text: they do, or
// they hold an escape, behind which anything may stand.
func mentions(raw []byte, text string) bool {
	return bytes.Contains(raw, []byte(text)) || bytes.IndexByte(raw, '\\') >= 0
}

// derived is the predicate of an operand that reads no hot field.
func (env *Env) derived(e ast.Expr) Predicate {
	if f, key, fallback, ok := env.pathCall(e); ok && fallback == types.False {
		return Predicate{{{Field: f, Op: Mentions, Value: `"` + key + `"`}}}
	}
	left, right, function, ok := binary(e)
	if !ok || right.Kind() != ast.LiteralKind {
		return nil
	}
	value, ok := right.AsLiteral().(types.String)
	if !ok || value == "" {
		return nil
	}
	if env.isSession(left) {
		return session(function, string(value))
	}
	f, key, fallback, ok := env.pathCall(left)
	if !ok || fallback != types.String("") {
		return nil // the fallback may hold the value
	}
	var c Clause
	one := func(text string) { c = Clause{{Field: f, Op: Mentions, Value: text}} }
	switch function { // a text stands between quotes
	case operators.Equals:
		one(`"` + string(value) + `"`)
	case "startsWith":
		one(`"` + string(value))
	case "endsWith":
		one(string(value) + `"`)
	case "contains":
		one(string(value))
	case "matches":
		for _, p := range regexClause(f, string(value)) {
			for _, a := range p {
				if a.Fold {
					return nil
				}
				c = append(c, Atom{Field: f, Op: Mentions, Value: a.Value})
			}
		}
	}
	if len(c) == 0 {
		return nil
	}
	return Predicate{c, {{Field: f, Op: Mentions, Value: `"` + key + `"`}}}
}

// binary takes a call of two operands apart; a literal on the left of == changes
// sides.
func binary(e ast.Expr) (left, right ast.Expr, function string, ok bool) {
	if e.Kind() != ast.CallKind {
		return nil, nil, "", false
	}
	call := e.AsCall()
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	if len(args) != 2 {
		return nil, nil, "", false
	}
	left, right, function = args[0], args[1], call.FunctionName()
	if function == operators.Equals && left.Kind() == ast.LiteralKind {
		left, right = right, left
	}
	return left, right, function, true
}

// pathCall takes path(requestParameters, "a.b.c", fallback) apart: the free-form
// field, the last key and the constant that it yields otherwise.
func (env *Env) pathCall(e ast.Expr) (f event.Field, key string, fallback any, ok bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != "path" || len(e.AsCall().Args()) != 3 {
		return 0, "", nil, false
	}
	args := e.AsCall().Args()
	if args[0].Kind() != ast.IdentKind || args[1].Kind() != ast.LiteralKind || args[2].Kind() != ast.LiteralKind {
		return 0, "", nil, false
	}
	m, known := env.schema.variables[args[0].AsIdent()]
	dotted, isText := args[1].AsLiteral().(types.String)
	if !known || !m.free || !isText {
		return 0, "", nil, false
	}
	return m.from, string(dotted[strings.LastIndexByte(string(dotted), '.')+1:]), args[2].AsLiteral(), true
}

func (env *Env) isSession(e ast.Expr) bool {
	if env.kind != event.CloudTrail || e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() || e.AsSelect().FieldName() != "session" {
		return false
	}
	of := e.AsSelect().Operand()
	return of.Kind() == ast.IdentKind && of.AsIdent() == "actor"
}

// session is the predicate of a comparison of actor.session, which is what stands
// behind the colon in the principal's id, or the last segment of the ARN.
func session(function, value string) Predicate {
	prefix := ""
	switch function {
	case operators.Equals, "startsWith":
		prefix = value
	case "endsWith", "contains":
		return Predicate{{{Field: event.UserPrincipalID, Op: Contains, Value: value}, {Field: event.UserARN, Op: Contains, Value: value}}}
	case "matches":
		if prefix = regexPrefix(value); prefix == "" {
			return nil
		}
	default:
		return nil
	}
	return Predicate{{
		{Field: event.UserPrincipalID, Op: Contains, Value: ":" + prefix},
		{Field: event.UserARN, Op: Contains, Value: "/" + prefix},
		{Field: event.UserARN, Op: Prefix, Value: prefix}, // an ARN without a segment
	}}
}

// regexPrefix is the literal that every match begins with, "" when there is none.
func regexPrefix(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	re = re.Simplify()
	if re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	if lit := re.Sub[1]; lit.Op == syntax.OpLiteral && lit.Flags&syntax.FoldCase == 0 {
		return string(lit.Rune)
	}
	return ""
}
