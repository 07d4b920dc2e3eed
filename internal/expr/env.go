package expr

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"

	"riposte/event"
)

// DefaultMaxCost bounds an expression's estimated cost, in CEL's units of about
// 50 ns each: no shipped rule comes near it, two nested loops over large lists
// with a regex inside go beyond.
const DefaultMaxCost = 2_000_000

// Options of an environment.
type Options struct {
	// Lists are the named lists; nil is none.
	Lists Lists
	// MaxCost bounds an expression's static cost estimate; 0 is DefaultMaxCost.
	MaxCost uint64
}

// Env is a typed environment. It is immutable and safe for concurrent use.
type Env struct {
	env     *cel.Env
	schema  *schema
	lists   Lists
	maxCost uint64
	kind    event.Kind // 0 for findings
}

// NewEventEnv returns the environment of rules over events of a kind.
func NewEventEnv(kind event.Kind, o Options) (*Env, error) {
	switch kind {
	case event.CloudTrail:
		return newEnv(kind, cloudTrailSchema(), o)
	case event.FlowLog:
		return newEnv(kind, flowSchema(), o)
	case event.ConfigItem:
		return newEnv(kind, configSchema(), o)
	case event.Insight, event.GuardDuty, event.SecurityHub, event.Compliance, event.Log:
		return newEnv(kind, entrySchema(), o)
	}
	return nil, fmt.Errorf("no environment for %s", kind)
}

// NewFindingEnv returns the environment of playbooks: finding, event (the last
// record of its evidence), incident and steps.
func NewFindingEnv(o Options) (*Env, error) { return newEnv(0, findingSchema(), o) }

func newEnv(kind event.Kind, s *schema, o Options) (*Env, error) {
	// The libraries register their types with the default provider, which ours
	// then wraps.
	base, err := cel.NewEnv(
		cel.OptionalTypes(),
		cel.EnableMacroCallTracking(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		ext.Strings(ext.StringsVersion(4)), ext.Lists(), ext.Sets(), ext.Math(), ext.Encoders(), ext.Bindings(),
		ext.TwoVarComprehensions(), ext.Regex(), ext.Network(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(3)),
	)
	if err != nil {
		return nil, fmt.Errorf("make the CEL environment: %w", err)
	}
	opts := []cel.EnvOption{
		cel.CustomTypeProvider(&provider{Provider: base.CELTypeProvider(), schema: s}),
		cel.CustomTypeAdapter(adapter{base.CELTypeAdapter()}),
	}
	for name, m := range s.variables {
		opts = append(opts, cel.Variable(name, m.typ))
	}
	opts = append(opts, functions(o.Lists)...)
	if kind != 0 {
		opts = append(opts, resourceFunctions()...)
	}
	env, err := base.Extend(opts...)
	if err != nil {
		return nil, fmt.Errorf("make the CEL environment: %w", err)
	}
	maxCost := o.MaxCost
	if maxCost == 0 {
		maxCost = DefaultMaxCost
	}
	return &Env{env: env, schema: s, lists: o.Lists, maxCost: maxCost, kind: kind}, nil
}
