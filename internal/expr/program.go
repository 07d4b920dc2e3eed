package expr

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Program is a compiled expression. It is safe for concurrent use, with an
// Input a goroutine.
type Program struct {
	env       *Env
	ast       *cel.Ast
	text      string
	hot       cel.Program
	cost      uint64
	predicate Predicate

	explainOnce sync.Once
	explain     cel.Program
	outline     told
	explainErr  error
}

// Cost is the most the expression may cost an event, in CEL's units.
func (p *Program) Cost() uint64 { return p.cost }

// Source is the expression as written.
func (p *Program) Source() string { return p.text }

// Predicate is a condition that the expression cannot do without.
func (p *Program) Predicate() Predicate { return p.predicate }

// Bool evaluates a condition. An error says that it has no verdict: a free-form
// part did not have the shape the expression relies on.
func (p *Program) Bool(in *Input) (bool, error) {
	v, err := p.eval(in)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, fmt.Errorf("yields %s, want bool", v.Type().TypeName())
	}
	return bool(b), nil
}

// Value evaluates to plain Go: string, int64, float64, bool, []any,
// map[string]any, time.Time or nil, with nothing aliased.
func (p *Program) Value(in *Input) (any, error) {
	v, err := p.eval(in)
	if err != nil {
		return nil, err
	}
	return toNative(v), nil
}

// Text evaluates to text: scalars as people write them, lists and maps not.
func (p *Program) Text(in *Input) (string, error) {
	v, err := p.Value(in)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case nil:
		return "", nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339), nil
	}
	return "", fmt.Errorf("yields %T, want text", v)
}

func (p *Program) eval(in *Input) (ref.Val, error) {
	v, _, err := p.hot.Eval(in)
	if err != nil {
		return nil, err
	}
	if e, ok := v.(*types.Err); ok {
		return nil, e
	}
	return v, nil
}

// NewInput returns an input for the program's environment.
func (p *Program) NewInput() *Input { return p.env.NewInput() }
