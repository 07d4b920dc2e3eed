package expr

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"riposte/event"
)

// Resources answer what is known of AWS's resources as of a time. The same
// question gets the same answer while an event is evaluated. An error says that
// nothing is known, and not that there is nothing.
type Resources interface {
	// Resource returns a resource as of t, nil when none is known: by its type and
	// id in an account and region, or, with an empty kind, by its ARN.
	Resource(account, region, kind, id string, t time.Time) (*event.Resource, error)
	// Before returns the version of an item's resource before the item's own, nil
	// when none is known.
	Before(e *event.Event) (*event.Resource, error)
}

// resourceFunction is what resource becomes: with the event, whose account,
// region and time say where and as of when.
const resourceFunction = "riposte_resource"

var resourceType = cel.ObjectType("aws.Resource")

// resourceValue is a resource, known or not; what is not known of it is "",
// false or empty.
type resourceValue struct {
	native
	*event.Resource
	known bool
}

func newResource(r *event.Resource) *resourceValue {
	if r == nil {
		return &resourceValue{native: native{resourceType}, Resource: &event.Resource{}}
	}
	return &resourceValue{native: native{resourceType}, Resource: r, known: true}
}

// Value, Equal and Get implement ref.Val and selection.
func (r *resourceValue) Value() any { return r }
func (r *resourceValue) Equal(o ref.Val) ref.Val {
	other, ok := o.(*resourceValue)
	return types.Bool(ok && r.known == other.known && r.Account == other.Account && r.Region == other.Region && r.Resource.Type == other.Resource.Type &&
		r.ID == other.ID && r.Captured.Equal(other.Captured) && r.StateID == other.StateID)
}
func (r *resourceValue) Get(field ref.Val) ref.Val {
	return getField(valueTypes["aws.Resource"], r, field)
}

// Type is CEL's: the resource's own is a field.
func (r *resourceValue) Type() ref.Type { return r.native.Type() }

// shown is how an explanation names a resource.
func (r *resourceValue) shown() string {
	if !r.known {
		return "(not known)"
	}
	word := ""
	if !r.Exists {
		word = ", deleted"
	}
	return r.Key() + " as of " + r.Captured.Format(time.RFC3339) + word
}

// resourceFields are what conditions may read of a resource.
var resourceFields = map[string]*types.FieldType{
	"known":      resourceField(cel.BoolType, func(r *resourceValue) any { return r.known }),
	"exists":     resourceField(cel.BoolType, func(r *resourceValue) any { return r.Exists }),
	"incomplete": resourceField(cel.BoolType, func(r *resourceValue) any { return r.Incomplete }),
	"account":    resourceText(func(r *resourceValue) string { return r.Account }), "region": resourceText(func(r *resourceValue) string { return r.Region }),
	"type": resourceText(func(r *resourceValue) string { return r.Resource.Type }), "id": resourceText(func(r *resourceValue) string { return r.ID }),
	"name": resourceText(func(r *resourceValue) string { return r.Name }), "arn": resourceText(func(r *resourceValue) string { return r.ARN }),
	"availabilityZone": resourceText(func(r *resourceValue) string { return r.AvailabilityZone }),
	"status":           resourceText(func(r *resourceValue) string { return r.Status }), "stateId": resourceText(func(r *resourceValue) string { return r.StateID }),
	"captureTime":                resourceField(cel.TimestampType, func(r *resourceValue) any { return types.Timestamp{Time: r.Captured} }),
	"tags":                       resourceObject(func(r *resourceValue) map[string]any { return r.Tags }),
	"configuration":              resourceObject(func(r *resourceValue) map[string]any { return r.Configuration }),
	"supplementaryConfiguration": resourceObject(func(r *resourceValue) map[string]any { return r.SupplementaryConfiguration }),
	"relationships": {
		Type: cel.ListType(cel.DynType), IsSet: func(target any) bool { return len(target.(*resourceValue).Relationships) > 0 },
		GetFrom: func(target any) (any, error) {
			if l := target.(*resourceValue).Relationships; l != nil {
				return adapt(l), nil
			}
			return emptyList, nil
		},
	},
}

func resourceField(t *cel.Type, get func(*resourceValue) any) *types.FieldType {
	return &types.FieldType{
		Type: t, IsSet: func(target any) bool { return target.(*resourceValue).known },
		GetFrom: func(target any) (any, error) { return adapt(get(target.(*resourceValue))), nil },
	}
}

func resourceText(get func(*resourceValue) string) *types.FieldType {
	return &types.FieldType{
		Type: cel.StringType, IsSet: func(target any) bool { return get(target.(*resourceValue)) != "" },
		GetFrom: func(target any) (any, error) { return types.String(get(target.(*resourceValue))), nil },
	}
}

func resourceObject(get func(*resourceValue) map[string]any) *types.FieldType {
	return &types.FieldType{
		Type: cel.DynType, IsSet: func(target any) bool { return len(get(target.(*resourceValue))) > 0 },
		GetFrom: func(target any) (any, error) {
			if m := get(target.(*resourceValue)); m != nil {
				return adapt(m), nil
			}
			return emptyMap, nil
		},
	}
}

// resourceFunctions are those of events: resource(arn), resource(type, id), and
// what a resource may be asked.
func resourceFunctions() []cel.EnvOption {
	expand := func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return f.NewCall(resourceFunction, append([]ast.Expr{f.NewIdent("event")}, args...)...), nil
	}
	text, texts := cel.StringType, cel.ListType(cel.StringType)
	of := cel.ObjectType("riposte.Event")
	return []cel.EnvOption{
		cel.Macros(cel.GlobalMacro("resource", 1, expand), cel.GlobalMacro("resource", 2, expand)),
		cel.Function(resourceFunction,
			cel.Overload("riposte_resource_arn", []*cel.Type{of, text}, resourceType, cel.BinaryBinding(func(e, arn ref.Val) ref.Val {
				return e.(*object).in.resource("", string(arn.(types.String)))
			})),
			cel.Overload("riposte_resource_type_id", []*cel.Type{of, text, text}, resourceType, cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				return args[0].(*object).in.resource(string(args[1].(types.String)), string(args[2].(types.String)))
			}))),
		cel.Function("tag", cel.MemberOverload("resource_tag_string", []*cel.Type{resourceType, text}, text, cel.BinaryBinding(func(r, key ref.Val) ref.Val {
			return types.String(r.(*resourceValue).Tag(string(key.(types.String))))
		}))),
		cel.Function("tagged", cel.MemberOverload("resource_tagged_list_list", []*cel.Type{resourceType, texts, texts}, cel.BoolType, cel.FunctionBinding(func(args ...ref.Val) ref.Val {
			return types.Bool(tagged(args[0].(*resourceValue), elements(args[1]), elements(args[2])))
		}))),
	}
}

// tagged reports whether a tag with one of the keys has one of the values,
// whatever the case of the letters of either.
func tagged(r *resourceValue, keys, values []ref.Val) bool {
	for _, k := range keys {
		key, ok := k.(types.String)
		if !ok {
			continue
		}
		has := r.Tag(string(key))
		for _, v := range values {
			if value, ok := v.(types.String); ok && has != "" && strings.EqualFold(has, string(value)) {
				return true
			}
		}
	}
	return false
}

// resource looks a resource up as of the event.
func (in *Input) resource(kind, id string) ref.Val {
	if in.resources == nil || id == "" {
		return newResource(nil)
	}
	e := in.event
	r, err := in.resources.Resource(e.Account(), e.Region(), kind, id, e.Time())
	if err != nil {
		return types.WrapErr(err)
	}
	return newResource(r)
}

// before is the version before the item that the event is.
func (in *Input) before() ref.Val {
	if in.earlier != nil {
		return in.earlier
	}
	var r *event.Resource
	if in.resources != nil && in.event.Kind == event.ConfigItem {
		var err error
		if r, err = in.resources.Before(in.event); err != nil {
			return types.WrapErr(err)
		}
	}
	in.earlier = newResource(r)
	return in.earlier
}

// SetResources says what resource() and before answer from; nil knows nothing.
func (in *Input) SetResources(r Resources) { in.resources, in.earlier = r, nil }

// asks reports whether an expression is a question for a resource.
func asks(e ast.Expr) bool {
	return e.Kind() == ast.CallKind && e.AsCall().FunctionName() == resourceFunction
}

// readsResources reports whether an expression asks for a resource.
func (env *Env) readsResources(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || asks(e) ||
			e.Kind() == ast.IdentKind && e.AsIdent() == "before" && env.kind == event.ConfigItem
	}))
	return found
}

// ReadsResources reports whether the expression reads more than its event: a
// resource, or an item's version before.
func (p *Program) ReadsResources() bool { return p.env.readsResources(p.ast.NativeRep().Expr()) }
