package expr

import (
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// arnValue is a parsed ARN; every part of what is not one is "".
type arnValue struct {
	native
	partition, service, region, account, resource string
	// kind and name split the resource at its first "/" or ":"; a resource
	// without one, such as a bucket, is all name.
	kind, name string
}

func parseARN(s string) *arnValue {
	a := &arnValue{native: native{arnType}}
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return a
	}
	a.partition, a.service, a.region, a.account, a.resource = parts[1], parts[2], parts[3], parts[4], parts[5]
	if i := strings.IndexAny(a.resource, "/:"); i >= 0 {
		a.kind, a.name = a.resource[:i], a.resource[i+1:]
	} else {
		a.name = a.resource
	}
	return a
}

// Value, Equal and Get implement ref.Val and selection.
func (a *arnValue) Value() any { return a }
func (a *arnValue) Equal(o ref.Val) ref.Val {
	b, ok := o.(*arnValue)
	return types.Bool(ok && *a == *b)
}
func (a *arnValue) Get(field ref.Val) ref.Val { return getField(valueTypes["aws.ARN"], a, field) }
