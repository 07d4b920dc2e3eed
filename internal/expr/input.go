package expr

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"riposte/event"
)

// Input is what an expression is evaluated over: one event or one finding. It
// boxes each hot field once an event, however many rules read it. An Input
// serves one goroutine at a time and is made to be reused.
type Input struct {
	env     *Env
	event   *event.Event
	finding *event.Finding
	extra   map[string]any

	boxed   [64]ref.Val
	used    []event.Field
	objects map[*objectType]*object
	actor   event.Actor
	known   bool // actor is read
	record  ref.Val

	resources Resources
	earlier   ref.Val // what before is, once it was asked
	change    string  // of a Config item, with the properties, once it was asked
	changed   []string
	asked     bool
}

// NewInput returns an empty input for programs of the environment.
func (env *Env) NewInput() *Input {
	in := &Input{env: env, objects: map[*objectType]*object{}, event: &event.Event{}, finding: &event.Finding{}}
	for _, o := range env.schema.objects {
		in.objects[o] = &object{typ: o, in: in}
	}
	return in
}

// SetEvent makes the input about e, which must not change until the next SetEvent.
func (in *Input) SetEvent(e *event.Event) {
	for _, f := range in.used {
		in.boxed[f] = nil
	}
	in.used = in.used[:0]
	in.event, in.known, in.record, in.earlier, in.asked = e, false, nil, nil, false
}

// SetFinding makes the input about f; `event` is the last record of its evidence.
func (in *Input) SetFinding(f *event.Finding) { in.finding, in.record = f, nil }

// Set gives an extra variable of the environment a value: JSON-like maps, lists and scalars.
func (in *Input) Set(name string, v any) {
	if in.extra == nil {
		in.extra = map[string]any{}
	}
	in.extra[name] = v
}

// ResolveName finds a variable; it implements CEL's Activation.
func (in *Input) ResolveName(name string) (any, bool) {
	m, ok := in.env.schema.variables[name]
	if !ok {
		return nil, false
	}
	return m.get(in), true
}

// Parent is nil: an input stands alone.
func (in *Input) Parent() interpreter.Activation { return nil }

var _ interpreter.Activation = (*Input)(nil)

// text boxes a text field once an event.
func (in *Input) text(f event.Field) ref.Val {
	if v := in.boxed[f]; v != nil {
		return v
	}
	v := ref.Val(types.String(in.event.Text(f)))
	in.box(f, v)
	return v
}

func (in *Input) box(f event.Field, v ref.Val) {
	in.boxed[f] = v
	in.used = append(in.used, f)
}

func (in *Input) free(f event.Field) ref.Val {
	if v := in.boxed[f]; v != nil {
		return v
	}
	v := emptyMap
	if x := in.event.Value(f); x != nil {
		v = adapt(x)
	}
	in.box(f, v)
	return v
}

func (in *Input) freeList(f event.Field) ref.Val {
	if l, ok := in.event.Value(f).([]any); ok {
		return adapt(l)
	}
	return emptyList
}

func (in *Input) who() *event.Actor {
	if !in.known {
		in.actor, in.known = in.event.Actor(), true
	}
	return &in.actor
}

// whatChanged is what an item tells of its change.
func (in *Input) whatChanged() (string, []string) {
	if !in.asked {
		in.change, in.changed = in.event.Change()
		in.asked = true
	}
	return in.change, in.changed
}

// evidence is the last record of a finding.
func (in *Input) evidence() ref.Val {
	if in.record != nil {
		return in.record
	}
	in.record = emptyMap
	if n := len(in.finding.Evidence.Records); n > 0 {
		if v, err := event.ParseJSON(in.finding.Evidence.Records[n-1].Raw); err == nil {
			in.record = adapt(v)
		}
	}
	return in.record
}

func (in *Input) object(o *objectType) ref.Val { return in.objects[o] }

// object is a struct value: a view of the input, made once.
type object struct {
	typ *objectType
	in  *Input
}

func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot become %v: name one of its fields", o.typ.name, t)
}
func (o *object) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("%s cannot become %s", o.typ.name, t.TypeName())
}
func (o *object) Equal(other ref.Val) ref.Val { return types.Bool(o == other) }
func (o *object) Type() ref.Type              { return o.typ.typ }
func (o *object) Value() any                  { return o }

// IsSet implements has() where the checker did not know the type.
func (o *object) IsSet(field ref.Val) ref.Val {
	name, _ := field.Value().(string)
	m, ok := o.typ.members[name]
	if !ok {
		return types.NewErr("no such field '%s'", name)
	}
	return types.Bool(m.has(o.in))
}

// Get implements selection where the checker did not know the type.
func (o *object) Get(field ref.Val) ref.Val {
	name, _ := field.Value().(string)
	m, ok := o.typ.members[name]
	if !ok {
		return types.NewErr("no such field '%s'", name)
	}
	return m.get(o.in)
}

// adapter turns JSON into CEL values: numbers without a fraction are int.
type adapter struct{ types.Adapter }

var celAdapter = adapter{types.DefaultTypeAdapter}

// NativeToValue implements CEL's Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case ref.Val:
		return v
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return types.Int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return types.String(v) // beyond float64: text keeps what was written
		}
		return types.Double(f)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case map[string]string:
		return types.NewStringStringMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return a.Adapter.NativeToValue(v)
}

func adapt(v any) ref.Val { return celAdapter.NativeToValue(v) }

var (
	emptyMap  = adapt(map[string]any{})
	emptyList = adapt([]any{})
)

// provider knows the object types of a schema besides CEL's own.
type provider struct {
	types.Provider
	schema *schema
}

// FindStructType implements CEL's Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if o, ok := p.schema.objects[name]; ok {
		return types.NewTypeTypeWithParam(o.typ), true
	}
	if v, ok := valueTypes[name]; ok {
		return types.NewTypeTypeWithParam(v.typ), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements CEL's Provider.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if o, ok := p.schema.objects[name]; ok {
		return slices.Sorted(maps.Keys(o.members)), true
	}
	if v, ok := valueTypes[name]; ok {
		return slices.Sorted(maps.Keys(v.fields)), true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements CEL's Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if v, ok := valueTypes[name]; ok {
		f, ok := v.fields[field]
		return f, ok
	}
	o, ok := p.schema.objects[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	m, ok := o.members[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type:  m.typ,
		IsSet: func(target any) bool { return m.has(target.(*object).in) },
		GetFrom: func(target any) (any, error) {
			return m.get(target.(*object).in), nil
		},
	}, true
}

var _ cel.Activation = (*Input)(nil)
