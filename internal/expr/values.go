package expr

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// valueType is a struct that a function returns: arn(s), policy(x), resource(s).
type valueType struct {
	typ    *cel.Type
	fields map[string]*types.FieldType
}

var arnType, policyType = cel.ObjectType("aws.ARN"), cel.ObjectType("aws.Policy")

// valueTypes are the structs that functions return, by name.
var valueTypes = map[string]*valueType{
	"aws.ARN": {typ: arnType, fields: map[string]*types.FieldType{
		"partition": arnField(func(a *arnValue) string { return a.partition }), "service": arnField(func(a *arnValue) string { return a.service }),
		"region": arnField(func(a *arnValue) string { return a.region }), "account": arnField(func(a *arnValue) string { return a.account }),
		"resource": arnField(func(a *arnValue) string { return a.resource }), "type": arnField(func(a *arnValue) string { return a.kind }),
		"name": arnField(func(a *arnValue) string { return a.name }),
	}},
	"aws.Policy": {typ: policyType, fields: map[string]*types.FieldType{
		"valid": {Type: cel.BoolType, IsSet: func(any) bool { return true },
			GetFrom: func(target any) (any, error) { return types.Bool(target.(*policy).valid), nil }},
		"public":           policyField(cel.BoolType, func(p *policy) any { return p.public() }),
		"admin":            policyField(cel.BoolType, func(p *policy) any { return p.admin() }),
		"accounts":         policyField(cel.ListType(cel.StringType), func(p *policy) any { return p.accounts() }),
		"services":         policyField(cel.ListType(cel.StringType), func(p *policy) any { return p.principals("Service") }),
		"federated":        policyField(cel.ListType(cel.StringType), func(p *policy) any { return p.principals("Federated") }),
		"wildcard_actions": policyField(cel.ListType(cel.StringType), func(p *policy) any { return p.wildcardActions() }),
	}},
	"aws.Resource": {typ: resourceType, fields: resourceFields},
}

func arnField(get func(*arnValue) string) *types.FieldType {
	return &types.FieldType{
		Type:    cel.StringType,
		IsSet:   func(target any) bool { return get(target.(*arnValue)) != "" },
		GetFrom: func(target any) (any, error) { return types.String(get(target.(*arnValue))), nil },
	}
}

func policyField(t *cel.Type, get func(*policy) any) *types.FieldType {
	return &types.FieldType{
		Type:  t,
		IsSet: func(any) bool { return true },
		GetFrom: func(target any) (any, error) {
			p := target.(*policy)
			if err := p.err(); err != nil {
				return nil, err
			}
			return adapt(get(p)), nil
		},
	}
}

// native is the part of ref.Val that arnValue and policy share: they convert to
// nothing and equal themselves.
type native struct{ typ *cel.Type }

func (n native) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot become %v: name one of its fields", n.typ, t)
}

func (n native) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("%s cannot become %s", n.typ, t.TypeName())
}

func (n native) Type() ref.Type { return n.typ }

func getField(v *valueType, target any, field ref.Val) ref.Val {
	name, _ := field.Value().(string)
	f, ok := v.fields[name]
	if !ok {
		return types.NewErr("no such field '%s'", name)
	}
	out, err := f.GetFrom(target)
	if err != nil {
		return types.WrapErr(err)
	}
	return adapt(out)
}
