package expr

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
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
		// What can be said about constants without types is said with the rest.
		parsed, parseIssues := env.env.Parse(t.Value)
		if parseIssues.Err() == nil {
			list = append(list, env.checkConstants(t, parsed.NativeRep())...)
		} else {
			parsed = nil
		}
		for _, e := range issues.Errors() {
			// The parser gives up without a place.
			p := t.Problem(max(1, e.Location.Line()), max(0, e.Location.Column())+1, firstLine(e.Message))
			env.explainError(t, p, e, parsed)
			list.Add(p)
		}
		list.Sort()
		return nil, list
	}
	out := checked.OutputType()
	if want == Bool && out.Kind() != types.BoolKind || want == String && out.Kind() != types.StringKind && out.Kind() != types.DynKind {
		list.Add(t.Problem(1, 1, fmt.Sprintf("this yields %s, want %s", typeName(out), map[Type]string{Bool: "bool", String: "string"}[want])))
	}
	list = append(list, env.checkConstants(t, checked.NativeRep())...)
	estimate, err := env.env.EstimateCost(checked, estimator{})
	switch {
	case err != nil:
		list.Add(t.Problem(1, 1, "its cost cannot be estimated: "+err.Error()))
	case estimate.Max > env.maxCost:
		p := t.Problem(1, 1, fmt.Sprintf("it may cost %d units (about %v) an event, the bound is %d", estimate.Max, (unit*time.Duration(min(estimate.Max, 1<<36))).Round(time.Millisecond), env.maxCost))
		p.Hint = "avoid loops inside loops and regexes inside loops"
		list.Add(p)
	}
	if list.Err() != nil {
		return nil, list
	}
	hot, err := env.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(lean),
		cel.OptimizeRegex(leanRegex(overloads.Matches), leanRegex(overloads.MatchesString)))
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

// unit is about what one unit of CEL's cost takes.
const unit = 50 * time.Nanosecond

var (
	undeclared  = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	undefined   = regexp.MustCompile(`^undefined field '([^']*)'`)
	noOverload  = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'`)
	wrongType   = regexp.MustCompile(`^expected type '([^']*)' but found '([^']*)'`)
	unexpected  = regexp.MustCompile(`(?:mismatched|extraneous) input '(.*)' expecting`)
	unreadable  = regexp.MustCompile(`token recognition error at: '(.*)'`)
	noViable    = regexp.MustCompile(`no viable alternative at input '(.*)'`)
	otherTongue = map[string]string{"and": "&&", "or": "||", "not": "!", "AND": "&&", "OR": "||", "NOT": "!", "like": "glob(text, pattern)"}
)

// explainError rewrites CEL's message for people who write rules, and suggests.
// parsed is the expression when it could be parsed.
func (env *Env) explainError(t yamlfile.Text, p *problem.Problem, e *cel.Error, parsed *cel.Ast) {
	message := e.Message
	switch {
	case undeclared.MatchString(message):
		name := undeclared.FindStringSubmatch(message)[1]
		p.Message = fmt.Sprintf("there is no %q here", name)
		p.Hint = problem.Suggest(name, env.names())
		if p.Hint == "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
			p.Hint = "text stands in quotes"
		}
	case undefined.MatchString(message):
		name := undefined.FindStringSubmatch(message)[1]
		p.Message = fmt.Sprintf("there is no field %q", name)
		if members, owner := env.siblings(parsed, e.ExprID); members != nil {
			p.Message = fmt.Sprintf("%s has no field %q", owner, name)
			p.Hint = hint(name, members, "want one of "+strings.Join(members, ", "))
		} else {
			p.Hint = problem.Suggest(name, env.fieldNames())
		}
		// CEL points at the dot.
		at := t.Problem(e.Location.Line(), e.Location.Column()+2, "")
		p.Line, p.Col = at.Line, at.Col
	case noOverload.MatchString(message):
		m := noOverload.FindStringSubmatch(message)
		if name, ok := operators.FindReverse(m[1]); ok && name != "" {
			m[1] = name
		}
		p.Message = fmt.Sprintf("%s does not take %s", m[1], strings.ReplaceAll(m[2], "aws.", ""))
		switch {
		case strings.Contains(m[2], "null"):
			p.Hint = `a field that is absent is "", 0 or false, and has() tells`
		case textMethods[m[1]] && !strings.Contains(m[2], "."):
			p.Hint = fmt.Sprintf(`write text.%s("...")`, m[1])
		case strings.Contains(m[2], "UserIdentity") || strings.Contains(m[2], "Actor") || strings.Contains(m[2], "Event"):
			p.Hint = "name one of its fields"
		}
	case wrongType.MatchString(message):
		m := wrongType.FindStringSubmatch(message)
		p.Message = fmt.Sprintf("this is %s, want %s", m[2], m[1])
	case strings.HasPrefix(message, "invalid matches argument"):
		p.Message = "this is not a valid regular expression"
		p.Hint = "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax"
	case unexpected.MatchString(message):
		word := unexpected.FindStringSubmatch(message)[1]
		p.Message = fmt.Sprintf("%s is not expected here", word)
		if word == "<EOF>" {
			p.Message = "the expression ends too early"
		}
		if op := otherTongue[word]; op != "" {
			p.Hint = "write " + op
		}
	case unreadable.MatchString(message):
		text := strings.TrimSpace(unreadable.FindStringSubmatch(message)[1])
		p.Message = fmt.Sprintf("%s means nothing here", text)
		switch {
		case strings.HasPrefix(text, "="):
			p.Hint = "equality is =="
		case strings.HasPrefix(text, "&"):
			p.Hint = "and is &&"
		case strings.HasPrefix(text, "|"):
			p.Hint = "or is ||"
		case strings.HasPrefix(text, "'") || strings.HasPrefix(text, `"`):
			p.Hint = "is a quote not closed?"
		}
	case noViable.MatchString(message):
		p.Message = fmt.Sprintf("%s is not expected here", noViable.FindStringSubmatch(message)[1])
	default:
		p.Message = strings.TrimPrefix(p.Message, "Syntax error: ")
	}
}

var textMethods = map[string]bool{"startsWith": true, "endsWith": true, "contains": true, "matches": true, "lowerAscii": true, "split": true}

// siblings are the fields beside the one that a selection names, and what they are fields of.
func (env *Env) siblings(parsed *cel.Ast, id int64) (members []string, owner string) {
	if parsed == nil {
		return nil, ""
	}
	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.ID() != id || e.Kind() != ast.SelectKind {
			return
		}
		if o, ok := env.objectOf(e.AsSelect().Operand()); ok {
			members = sortedKeys(o.members)
			owner, _ = cel.ExprToString(e.AsSelect().Operand(), parsed.NativeRep().SourceInfo())
		}
	}))
	return members, owner
}

// names are the variables and functions of the environment.
func (env *Env) names() []string {
	names := append(sortedKeys(env.schema.variables), "in_list", "resource")
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

// checkConstants looks at the constants of an expression: lists that do not
// exist, CIDR blocks and regular expressions that are none are errors; services
// and actions that AWS does not have are warnings.
func (env *Env) checkConstants(t yamlfile.Text, a *ast.AST) problem.List {
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
	for _, call := range ast.MatchDescendants(root, ast.FunctionMatcher("in_cidr")) {
		for _, block := range constants(call.AsCall().Args()) {
			s, _ := constant(block)
			if _, err := netip.ParsePrefix(s); err != nil {
				at(block, fmt.Sprintf("%q is not a CIDR block", s), "such as 10.0.0.0/8", false)
			}
		}
	}
	if !a.IsChecked() { // the checker's own validator tells the rest
		for _, call := range ast.MatchDescendants(root, ast.FunctionMatcher("matches")) {
			for _, arg := range constants(call.AsCall().Args()[max(0, len(call.AsCall().Args())-1):]) {
				s, _ := constant(arg)
				if _, err := regexp.Compile(s); err != nil {
					at(arg, "this is not a valid regular expression", "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax", false)
				}
			}
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

// constants are the text literals in the last argument: itself, or a list's elements.
func constants(args []ast.Expr) []ast.Expr {
	if len(args) == 0 {
		return nil
	}
	last := args[len(args)-1]
	candidates := []ast.Expr{last}
	if last.Kind() == ast.ListKind {
		candidates = last.AsList().Elements()
	}
	var out []ast.Expr
	for _, c := range candidates {
		if _, ok := constant(c); ok {
			out = append(out, c)
		}
	}
	return out
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
	if target != nil && (*target).Type().Kind() != types.StringKind && len(args) == 1 {
		// The text is free-form: as a text it may be far longer than it has items as a list.
		switch function {
		case "matches":
			pattern := uint64(maxText)
			if s, ok := constant(args[0].Expr()); ok {
				pattern = uint64(len(s))
			}
			return cost.NewCallEstimate(cost.FixedCostEstimate(maxText/10*max(1, pattern/4)), nil)
		case "contains", "startsWith", "endsWith":
			return cost.NewCallEstimate(cost.FixedCostEstimate(maxText/10), nil)
		}
	}
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
