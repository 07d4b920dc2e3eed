package expr

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"riposte/event"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// listedFunction is what in_list becomes.
const listedFunction = "riposte_listed"

// functions are ours, beside CEL's. Every one is pure, and each has a cost in functionCosts.
func functions(lists Lists) []cel.EnvOption {
	str, boolean, dyn := cel.StringType, cel.BoolType, cel.DynType
	return []cel.EnvOption{
		cel.Function("in_cidr",
			cel.Overload("in_cidr_string", []*cel.Type{str, str}, boolean, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				return inCIDR(a, []ref.Val{b})
			})),
			cel.Overload("in_cidr_list", []*cel.Type{str, cel.ListType(str)}, boolean, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				return inCIDR(a, elements(b))
			}))),
		test1("is_private", func(s string) bool { a, ok := address(s); return ok && private(a) }),
		test1("is_public", func(s string) bool { a, ok := address(s); return ok && a.IsGlobalUnicast() && !private(a) }),
		test2("glob", func(s, p string) bool { return glob(p, s) }),
		test2("iglob", func(s, p string) bool { return glob(strings.ToLower(p), strings.ToLower(s)) }),
		test2("ieq", strings.EqualFold),
		test2("icontains", func(s, sub string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(sub)) }),
		test2("istarts", func(s, p string) bool { return strings.HasPrefix(strings.ToLower(s), strings.ToLower(p)) }),
		test2("iends", func(s, p string) bool { return strings.HasSuffix(strings.ToLower(s), strings.ToLower(p)) }),
		// in_list is a macro: CEL's own overload of the operator in has that name.
		cel.Macros(cel.GlobalMacro("in_list", 2, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
			return f.NewCall(listedFunction, args...), nil
		})),
		test2(listedFunction, func(name, value string) bool { return lists != nil && lists.Contains(name, value) }),
		cel.Function("arn", cel.Overload("arn_string", []*cel.Type{str}, arnType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return parseARN(string(v.(types.String)))
		}))),
		cel.Function("json", cel.Overload("json_string", []*cel.Type{str}, dyn, cel.UnaryBinding(func(v ref.Val) ref.Val {
			parsed, err := event.ParseJSON([]byte(string(v.(types.String))))
			if err != nil {
				return types.NewErr("json: %v", err)
			}
			return adapt(parsed)
		}))),
		cel.Function("policy", cel.Overload("policy_dyn", []*cel.Type{dyn}, policyType, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return parsePolicy(toNative(v))
		}))),
		cel.Function("cross_account",
			cel.MemberOverload("policy_cross_account_string", []*cel.Type{policyType, str}, boolean, cel.BinaryBinding(func(p, own ref.Val) ref.Val {
				return ask(p, func(p *policy) bool { return p.crossAccount([]string{string(own.(types.String))}) })
			})),
			cel.MemberOverload("policy_cross_account_list", []*cel.Type{policyType, cel.ListType(str)}, boolean, cel.BinaryBinding(func(p, own ref.Val) ref.Val {
				var ids []string
				for _, v := range elements(own) {
					if s, ok := v.(types.String); ok {
						ids = append(ids, string(s))
					}
				}
				return ask(p, func(p *policy) bool { return p.crossAccount(ids) })
			}))),
		cel.Function("allows", cel.MemberOverload("policy_allows", []*cel.Type{policyType, str}, boolean, cel.BinaryBinding(func(p, action ref.Val) ref.Val {
			return ask(p, func(p *policy) bool { return p.allows(string(action.(types.String))) })
		}))),
		// path(x, "a.b.c", default): the value there when it is of the default's type, else the default.
		cel.Function("path", cel.Overload("path_dyn_string_dyn", []*cel.Type{dyn, str, cel.TypeParamType("T")}, cel.TypeParamType("T"),
			cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				return walk(args[0], strings.Split(string(args[1].(types.String)), "."), args[2])
			}))),
	}
}

// functionCosts are what a call costs of our functions, and of orValue, whose
// size CEL does not know, in CEL's units of about 50 ns.
var functionCosts = map[string]uint64{
	"in_cidr": 10, "is_private": 2, "is_public": 2, "glob": 20, "iglob": 30, "ieq": 10, "icontains": 20, "istarts": 10,
	"iends": 10, listedFunction: 20, "arn": 5, "json": 500, "policy": 500, "cross_account": 20, "allows": 50, "path": 10, "orValue": 1,
	resourceFunction: 500, "tag": 10, "tagged": 50,
}

func test1(name string, f func(string) bool) cel.EnvOption {
	return cel.Function(name, cel.Overload("riposte_"+name+"_string", []*cel.Type{cel.StringType}, cel.BoolType, cel.UnaryBinding(func(v ref.Val) ref.Val {
		return types.Bool(f(string(v.(types.String))))
	})))
}

func test2(name string, f func(a, b string) bool) cel.EnvOption {
	return cel.Function(name, cel.Overload("riposte_"+name+"_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
		return types.Bool(f(string(a.(types.String)), string(b.(types.String))))
	})))
}

// address reads an IP address; an IPv4 address inside IPv6 is the IPv4 address,
// and a zone is no part of what a record means.
func address(s string) (netip.Addr, bool) {
	if s == "" || s[0] > 'f' && s[0] != ':' {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap().WithZone(""), err == nil
}

// block reads a CIDR block; one of IPv4 inside IPv6 is the IPv4 block, as for addresses.
func block(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// ask puts a question to a policy that may be none.
func ask(v ref.Val, question func(*policy) bool) ref.Val {
	p := v.(*policy)
	if err := p.err(); err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(question(p))
}

// sharedSpace is carrier-grade NAT's, RFC 6598.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || sharedSpace.Contains(a)
}

func inCIDR(addr ref.Val, blocks []ref.Val) ref.Val {
	a, isAddr := address(string(addr.(types.String)))
	for _, b := range blocks {
		s, ok := b.(types.String)
		if !ok {
			return types.NewErr("in_cidr: want CIDR blocks as text")
		}
		p, ok := block(string(s))
		if !ok {
			return types.NewErr("in_cidr: %q is not a CIDR block", string(s))
		}
		if isAddr && p.Contains(a) {
			return types.True
		}
	}
	return types.False
}

func elements(v ref.Val) []ref.Val {
	l, ok := v.(traits.Lister)
	if !ok {
		return nil
	}
	var out []ref.Val
	for it := l.Iterator(); it.HasNext() == types.True; {
		out = append(out, it.Next())
	}
	return out
}

// toNative turns a CEL value into plain Go: string, int64, float64, bool, []any,
// map[string]any, time.Time, nil. Text is copied: it may alias a record.
func toNative(v ref.Val) any {
	switch v := v.(type) {
	case types.String:
		return strings.Clone(string(v))
	case types.Int:
		return int64(v)
	case types.Double:
		return float64(v)
	case types.Uint:
		return uint64(v)
	case types.Bool:
		return bool(v)
	case types.Null:
		return nil
	case types.Timestamp:
		return v.Time
	case types.Duration:
		return v.Duration
	case *types.Optional:
		if v.HasValue() {
			return toNative(v.GetValue())
		}
		return nil
	case traits.Mapper:
		out := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			key, ok := k.(types.String)
			if !ok {
				key, _ = k.ConvertToType(types.StringType).(types.String)
			}
			out[strings.Clone(string(key))] = toNative(v.Get(k))
		}
		return out
	case traits.Lister:
		out := []any{}
		for _, e := range elements(v) {
			out = append(out, toNative(e))
		}
		return out
	case *arnValue, *policy, *resourceValue, *object:
		return nil
	}
	return v.Value()
}
