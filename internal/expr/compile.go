package expr

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"riposte/internal/problem"
	"riposte/internal/yamlfile"
)

// Type is what an expression must yield.
type Type int

// The types that a place in a file can ask for.
const (
	Any Type = iota
	Bool
	String
)

// Compile checks an expression and makes its programs. Every mistake is in the
// list, at its place in the file; the program is nil when one is not a warning.
func (env *Env) Compile(t yamlfile.Text, want Type) (*Program, problem.List) {
	var list problem.List
	if strings.TrimSpace(t.Value) == "" {
		list.Add(t.Problem(1, 1, "the expression is empty"))
		return nil, list
	}
	checked, issues := env.env.Compile(t.Value)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			p := t.Problem(e.Location.Line(), e.Location.Column()+1, firstLine(e.Message))
			env.explainError(p, e.Message)
			list.Add(p)
		}
		return nil, list
	}
	out := checked.OutputType()
	if want == Bool && out.Kind() != types.BoolKind || want == String && out.Kind() != types.StringKind && out.Kind() != types.DynKind {
		list.Add(t.Problem(1, 1, fmt.Sprintf("this yields %s, want %s", typeName(out), map[Type]string{Bool: "bool", String: "string"}[want])))
	}
	list = append(list, env.checkNames(t, checked.NativeRep())...)
	estimate, err := env.env.EstimateCost(checked, estimator{})
	switch {
	case err != nil:
		list.Add(t.Problem(1, 1, "its cost cannot be estimated: "+err.Error()))
	case estimate.Max > env.maxCost:
		p := t.Problem(1, 1, fmt.Sprintf("it may cost %d units an event, the bound is %d", estimate.Max, env.maxCost))
		p.Hint = "avoid loops inside loops and regexes inside loops"
		list.Add(p)
	}
	if list.Err() != nil {
		return nil, list
	}
	hot, err := env.env.Program(checked, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		list.Add(t.Problem(1, 1, err.Error()))
		return nil, list
	}
	return &Program{
		env: env, ast: checked, hot: hot, cost: estimate.Max, text: t.Value,
		predicate: env.predicate(checked.NativeRep().Expr()),
	}, list
}

func firstLine(s string) string { s, _, _ = strings.Cut(s, "\n"); return s }

func typeName(t *cel.Type) string { return strings.TrimPrefix(t.String(), "aws.") }

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	undefined  = regexp.MustCompile(`^undefined field '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'`)
)

// explainError rewrites CEL's message for people who write rules, and suggests.
func (env *Env) explainError(p *problem.Problem, message string) {
	switch {
	case undeclared.MatchString(message):
		name := undeclared.FindStringSubmatch(message)[1]
		p.Message = fmt.Sprintf("there is no %q here", name)
		p.Hint = problem.Suggest(name, env.names())
	case undefined.MatchString(message):
		name := undefined.FindStringSubmatch(message)[1]
		p.Message = fmt.Sprintf("there is no field %q", name)
		p.Hint = problem.Suggest(name, env.fieldNames())
	case noOverload.MatchString(message):
		m := noOverload.FindStringSubmatch(message)
		if name, ok := operators.FindReverse(m[1]); ok && name != "" {
			m[1] = name
		}
		p.Message = fmt.Sprintf("%s does not take %s", m[1], m[2])
	case strings.HasPrefix(message, "invalid matches argument"):
		p.Message = "this is not a valid regular expression"
		p.Hint = "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax"
	default:
		p.Message = strings.TrimPrefix(p.Message, "Syntax error: ")
	}
}

// names are the variables and functions of the environment.
func (env *Env) names() []string {
	names := append(sortedKeys(env.schema.variables), "in_list")
	for name := range env.env.Functions() {
		if !strings.HasPrefix(name, "riposte_") && strings.Trim(name, "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.") == "" {
			names = append(names, name)
		}
	}
	return names
}

func (env *Env) fieldNames() []string {
	var names []string
	for _, o := range env.schema.objects {
		names = append(names, sortedKeys(o.members)...)
	}
	for _, v := range valueTypes {
		names = append(names, sortedKeys(v.fields)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkNames looks at the constants of an expression: lists that do not exist
// are errors, services and actions that AWS does not have are warnings.
func (env *Env) checkNames(t yamlfile.Text, a *ast.AST) problem.List {
	var list problem.List
	root := ast.NavigateAST(a)
	at := func(e ast.Expr, message, hint string, warning bool) {
		loc := a.SourceInfo().GetStartLocation(e.ID())
		p := t.Problem(loc.Line(), loc.Column()+1, message)
		p.Hint, p.Warning = hint, warning
		list.Add(p)
	}
	for _, call := range ast.MatchDescendants(root, ast.FunctionMatcher(listedFunction)) {
		arg := call.AsCall().Args()[0]
		name, ok := constant(arg)
		if !ok {
			at(call, "in_list wants the list's name as a constant", "", false)
			continue
		}
		if env.lists != nil && !env.lists.Has(name) {
			at(arg, fmt.Sprintf("there is no list %q", name), hint(name, env.lists.Names(), "define it under lists: in the configuration"), false)
		}
	}
	if env.kind != 0 {
		for _, use := range namesUsed(root) {
			if message, suggestion := shippedCatalogue().check(use); message != "" {
				at(use.expr, message, suggestion, true)
			}
		}
	}
	return list
}

func hint(word string, names []string, otherwise string) string {
	if s := problem.Suggest(word, names); s != "" {
		return s
	}
	return otherwise
}

// constant returns a literal text.
func constant(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// Sizes that the cost model takes for what an event can hold. CloudTrail cuts a
// text field at 1 KB. Loops inside loops walk one document of at most 100 KB, so
// their sizes do not multiply to the worst of each: 20 a level is already 8,000
// elements in three.
const (
	maxText  = 1024
	maxItems = 20
)

// estimator gives CEL the sizes and costs that it cannot know.
type estimator struct{}

// EstimateSize implements cost.Estimator.
func (estimator) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if c := n.ComputedSize(); c != nil && c.Max < math.MaxUint64 {
		return c
	}
	switch n.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &cost.SizeEstimate{Min: 0, Max: maxText}
	}
	return &cost.SizeEstimate{Min: 0, Max: maxItems}
}

// EstimateCallCost implements cost.Estimator.
func (estimator) EstimateCallCost(function, _ string, target *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	units, ok := functionCosts[function]
	if !ok {
		return nil
	}
	size := uint64(maxText)
	if n := len(args); n > 0 && (function == "path" || function == "orValue") && args[n-1].Type().Kind() != types.StringKind {
		size = maxItems
	}
	return cost.NewCallEstimate(cost.FixedCostEstimate(units), &cost.SizeEstimate{Min: 0, Max: size})
}
