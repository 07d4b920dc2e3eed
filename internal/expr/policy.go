package expr

import (
	"net/url"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"riposte/event"
)

// policy is an IAM policy document: identity, trust or resource policy. Its
// questions are about what the document grants; what other documents deny is
// not in it. Semantics after the IAM JSON policy reference.
type policy struct {
	native
	valid      bool
	statements []statement
}

type statement struct {
	allow bool
	// principal maps "AWS", "Service", "Federated", "CanonicalUser" to values;
	// the bare "*" is AWS: *.
	principal    map[string][]string
	notPrincipal bool
	actions      []string
	notActions   []string
	resources    []string
	notResources []string
	conditions   map[string]any
}

// parsePolicy reads a document given as an object, as JSON text, or as
// URL-encoded JSON text, which is how IAM's API returns it.
func parsePolicy(v any) *policy {
	p := &policy{native: native{policyType}}
	if s, ok := v.(string); ok {
		text := strings.TrimSpace(s)
		if strings.HasPrefix(text, "%7B") || strings.HasPrefix(text, "%7b") {
			if u, err := url.PathUnescape(text); err == nil {
				text = u
			}
		}
		parsed, err := event.ParseJSON([]byte(text))
		if err != nil {
			return p
		}
		v = parsed
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return p
	}
	var list []any
	switch s := doc["Statement"].(type) {
	case []any:
		list = s
	case map[string]any:
		list = []any{s}
	default:
		return p
	}
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return p
		}
		effect, _ := m["Effect"].(string)
		if effect != "Allow" && effect != "Deny" {
			return p
		}
		s := statement{
			allow: effect == "Allow", actions: words(m["Action"]), notActions: words(m["NotAction"]),
			resources: words(m["Resource"]), notResources: words(m["NotResource"]), principal: principals(m["Principal"]),
		}
		_, s.notPrincipal = m["NotPrincipal"]
		s.conditions, _ = m["Condition"].(map[string]any)
		p.statements = append(p.statements, s)
	}
	p.valid = true
	return p
}

func words(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

func principals(v any) map[string][]string {
	switch v := v.(type) {
	case string:
		return map[string][]string{"AWS": {v}}
	case map[string]any:
		out := map[string][]string{}
		for kind, values := range v {
			out[kind] = words(values)
		}
		return out
	}
	return nil
}

// narrowing are the condition keys that bind a statement open to everyone to an
// account, an organisation, a network or a source that its owner names.
var narrowing = map[string]bool{
	"aws:principalaccount": true, "aws:principalorgid": true, "aws:principalorgpaths": true, "aws:principalarn": true,
	"aws:sourceaccount": true, "aws:sourcearn": true, "aws:sourceorgid": true, "aws:sourceorgpaths": true, "aws:sourceowner": true,
	"aws:sourcevpc": true, "aws:sourcevpce": true, "aws:vpcsourceip": true, "aws:sourceip": true, "aws:userid": true,
	"aws:username": true, "s3:dataaccesspointaccount": true, "kms:calleraccount": true, "lambda:eventsourcetoken": true,
	"sns:endpoint": true, "aws:calledvia": true, "aws:viaawsservice": true,
}

// narrowed reports whether a condition binds the statement: a narrowing key
// under an operator that demands a match, with values that are not everything.
func (s *statement) narrowed() bool {
	for op, body := range s.conditions {
		keys, ok := body.(map[string]any)
		if !ok {
			continue
		}
		op = strings.ToLower(op)
		if strings.HasSuffix(op, "ifexists") || strings.Contains(op, "not") || strings.HasPrefix(op, "null") || strings.HasPrefix(op, "forallvalues:") {
			continue // satisfied by a request that lacks the key, or by all but some
		}
		for key, values := range keys {
			if !narrowing[strings.ToLower(key)] {
				continue
			}
			if !slices.ContainsFunc(words(values), open) {
				return true
			}
		}
	}
	return false
}

// open is a condition value that admits everyone.
func open(v string) bool {
	return strings.Trim(v, "*") == "" || v == "0.0.0.0/0" || v == "::/0" || strings.HasPrefix(v, "arn:*:*:*:*:")
}

// public reports whether some statement allows everyone.
func (p *policy) public() bool {
	for i := range p.statements {
		s := &p.statements[i]
		// Allow with NotPrincipal is everyone but those named.
		if s.allow && !s.narrowed() && (s.notPrincipal || slices.Contains(s.principal["AWS"], "*")) {
			return true
		}
	}
	return false
}

// accounts are the ids of the accounts that some statement allows, sorted, each once.
func (p *policy) accounts() []string {
	var out []string
	for _, s := range p.statements {
		if !s.allow {
			continue
		}
		for _, v := range s.principal["AWS"] {
			if id := accountOf(v); id != "" {
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// accountOf returns the account of an AWS principal: a bare id or an ARN.
func accountOf(principal string) string {
	id := principal
	if strings.HasPrefix(principal, "arn:") {
		id = parseARN(principal).account
	}
	if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
		return ""
	}
	return id
}

// crossAccount reports whether somebody outside the own accounts is allowed.
func (p *policy) crossAccount(own []string) bool {
	if p.public() {
		return true
	}
	for _, a := range p.accounts() {
		if !slices.Contains(own, a) {
			return true
		}
	}
	return false
}

// principals are the values of a kind of principal that some statement allows.
func (p *policy) principals(kind string) []string {
	out := []string{}
	for _, s := range p.statements {
		if s.allow {
			out = append(out, s.principal[kind]...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// admin reports whether some statement allows every action on every resource.
func (p *policy) admin() bool {
	for _, s := range p.statements {
		all := slices.ContainsFunc(s.actions, func(a string) bool { return a == "*" || a == "*:*" })
		if s.allow && all && slices.Contains(s.resources, "*") {
			return true
		}
	}
	return false
}

// allows reports whether some statement allows the action, by IAM's wildcards
// and without regard to case. Allow with NotAction allows all but those named.
func (p *policy) allows(action string) bool {
	action = strings.ToLower(action)
	match := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(a string) bool { return glob(strings.ToLower(a), action) })
	}
	for _, s := range p.statements {
		if !s.allow {
			continue
		}
		if match(s.actions) || len(s.notActions) > 0 && !match(s.notActions) {
			return true
		}
	}
	return false
}

// wildcardActions are the allowed actions that hold a wildcard.
func (p *policy) wildcardActions() []string {
	out := []string{}
	for _, s := range p.statements {
		for _, a := range s.actions {
			if s.allow && strings.ContainsAny(a, "*?") {
				out = append(out, a)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// glob matches IAM's wildcards: * is any run of characters, ? is one.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// Value, Equal and Get implement ref.Val and selection.
func (p *policy) Value() any                { return p }
func (p *policy) Equal(o ref.Val) ref.Val   { return types.Bool(p == o) }
func (p *policy) Get(field ref.Val) ref.Val { return getField(valueTypes["aws.Policy"], p, field) }
