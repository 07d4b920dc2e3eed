package expr

import (
	"regexp"
	"strings"

	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// lean replaces the calls that rules make most, on every candidate event, by
// nodes that allocate nothing but what they return: CEL packs the arguments of
// such calls into a slice each time. The explaining program keeps CEL's own.
func lean(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	args := call.Args()
	if call.Function() == "path" && len(args) == 3 {
		if dotted, ok := constText(args[1]); ok {
			return &leanPath{InterpretableCall: call, from: args[0], names: strings.Split(dotted, "."), fallback: args[2]}, nil
		}
	}
	return i, nil
}

// leanRegex is the same for matches with a constant expression. CEL has a seam of
// its own for it, which goes by the overload.
func leanRegex(overload string) *interpreter.RegexOptimization {
	return &interpreter.RegexOptimization{
		Function: overloads.Matches, OverloadID: overload, RegexIndex: 1,
		Factory: func(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return nil, err
			}
			return &leanMatches{InterpretableCall: call, text: call.Args()[0], re: re}, nil
		},
	}
}

func constText(i interpreter.InterpretableV2) (string, bool) {
	c, ok := i.(interpreter.InterpretableConst)
	if !ok {
		return "", false
	}
	s, ok := c.Value().(types.String)
	return string(s), ok
}

// noValue tells errors and unknowns, which calls pass on.
func noValue(v ref.Val) bool {
	switch v.(type) {
	case *types.Err, *types.Unknown:
		return true
	}
	return false
}

type leanMatches struct {
	interpreter.InterpretableCall
	text interpreter.InterpretableV2
	re   *regexp.Regexp
}

// Exec implements InterpretableV2.
func (m *leanMatches) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := m.text.Exec(frame)
	if noValue(v) {
		return v
	}
	s, ok := v.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	return types.Bool(m.re.MatchString(string(s)))
}

// Eval implements Interpretable.
func (m *leanMatches) Eval(ctx interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(ctx, m.Exec)
}

type leanPath struct {
	interpreter.InterpretableCall
	from, fallback interpreter.InterpretableV2
	names          []string
}

// Exec implements InterpretableV2.
func (p *leanPath) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := p.from.Exec(frame)
	if noValue(v) {
		return v
	}
	fallback := p.fallback.Exec(frame)
	if noValue(fallback) {
		return fallback
	}
	return walk(v, p.names, fallback)
}

// Eval implements Interpretable.
func (p *leanPath) Eval(ctx interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(ctx, p.Exec)
}

// walk follows names into maps: the value there when it is of the fallback's
// type, else the fallback. Parsed JSON is walked as it is, without a CEL value a level.
func walk(v ref.Val, names []string, fallback ref.Val) ref.Val {
	if m, ok := v.(traits.Mapper); ok {
		if tree, ok := m.Value().(map[string]any); ok {
			return walkTree(tree, names, fallback)
		}
	}
	for _, name := range names {
		m, ok := v.(traits.Mapper)
		if !ok {
			return fallback
		}
		inner, found := m.Find(types.String(name))
		if !found {
			return fallback
		}
		v = inner
	}
	return ofType(v, fallback)
}

func walkTree(tree map[string]any, names []string, fallback ref.Val) ref.Val {
	var x any = tree
	for _, name := range names {
		m, ok := x.(map[string]any)
		if !ok {
			return fallback
		}
		if x, ok = m[name]; !ok {
			return fallback
		}
	}
	return ofType(adapt(x), fallback)
}

func ofType(v, fallback ref.Val) ref.Val {
	if v.Type() != fallback.Type() {
		return fallback
	}
	return v
}
