package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"riposte/event"
)

// policy is an IAM policy document: identity, trust or resource policy. Its
// questions are about what the document grants; what other documents deny is
// not in it. Semantics after the IAM JSON policy reference.
//
// No document, which is an empty text or object, grants nothing. Something that
// is there and is not a document has no answer: every question but valid is an
// error, because it may well have been a policy.
type policy struct {
	native
	valid      bool
	problem    string // why it is no document, "" when it is one or is empty
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
	if err := p.parse(v); err != nil {
		p.problem, p.statements = err.Error(), nil
	}
	return p
}

func (p *policy) parse(v any) error {
	if s, ok := v.(string); ok {
		text := strings.TrimSpace(s)
		if strings.HasPrefix(text, "%") {
			if u, err := url.PathUnescape(text); err == nil {
				text = strings.TrimSpace(u)
			}
		}
		if text == "" {
			return nil
		}
		parsed, err := event.ParseJSON([]byte(text))
		if err != nil {
			return fmt.Errorf("it is not JSON: %w", err)
		}
		v = parsed
	}
	if v == nil {
		return nil
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return errors.New("it is not an object")
	}
	if len(doc) == 0 {
		return nil
	}
	var list []any
	switch s := doc["Statement"].(type) {
	case []any:
		list = s
	case map[string]any:
		list = []any{s}
	default:
		return errors.New("it has no Statement")
	}
	for i, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return fmt.Errorf("statement %d is not an object", i+1)
		}
		effect, _ := m["Effect"].(string)
		if effect != "Allow" && effect != "Deny" {
			return fmt.Errorf("statement %d has neither the effect Allow nor Deny", i+1)
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
	return nil
}

// err is why questions have no answer, nil when they have.
func (p *policy) err() error {
	if p.problem == "" {
		return nil
	}
	return errors.New("policy: " + p.problem)
}

// words are a text, or the texts of a list; numbers and booleans are written out.
func words(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case json.Number:
		return []string{v.String()}
	case int64, float64, bool:
		return []string{fmt.Sprint(v)}
	case []any:
		out := make([]string, 0, len(v))
		for _, x := range v {
			if _, nested := x.([]any); !nested {
				out = append(out, words(x)...)
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
// account, an organisation, a network or a source that its owner names, after
// S3's "meaning of public". A key that callers elsewhere can satisfy as well,
// such as aws:username or aws:ViaAWSService, binds nothing.
var narrowing = map[string]form{
	"aws:principalaccount": fixedForm, "aws:principalorgid": fixedForm, "aws:principalorgpaths": pathForm, "aws:principalarn": arnForm,
	"aws:principalisawsservice": trueForm, "aws:principalservicename": fixedForm, "aws:principalservicenameslist": fixedForm,
	"aws:sourceaccount": fixedForm, "aws:sourcearn": arnForm, "aws:sourceorgid": fixedForm, "aws:sourceorgpaths": pathForm, "aws:sourceowner": fixedForm,
	"aws:sourcevpc": fixedForm, "aws:sourcevpcarn": arnForm, "aws:sourcevpce": fixedForm, "aws:vpceaccount": fixedForm, "aws:vpceorgid": fixedForm, "aws:vpceorgpaths": pathForm,
	"aws:vpcsourceip": blockForm, "aws:sourceip": blockForm, "aws:userid": userForm, "s3:dataaccesspointaccount": fixedForm, "s3:dataaccesspointarn": arnForm,
	"kms:calleraccount": fixedForm, "lambda:eventsourcetoken": fixedForm, "sns:endpoint": fixedForm,
}

// form is what a condition key's values look like.
type form uint8

const (
	fixedForm form = iota // an id
	pathForm              // o-abc/r-abc/*
	arnForm
	blockForm // a CIDR block
	userForm  // AROAEXAMPLE:session
	trueForm  // true
)

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
			form, ok := narrowing[strings.ToLower(key)]
			if !ok {
				continue
			}
			// Only these operators know wildcards; under the others * is a letter.
			wild := strings.HasSuffix(op, "like") || strings.HasSuffix(op, "arnequals")
			if !slices.ContainsFunc(words(values), func(v string) bool { return open(form, v, wild) }) {
				return true
			}
		}
	}
	return false
}

// open reports whether a condition value admits callers its owner did not name.
func open(f form, v string, wild bool) bool {
	switch f {
	case trueForm:
		return v != "true"
	case blockForm:
		p, ok := block(v)
		if !ok {
			a, isAddr := address(v)
			return !isAddr || a.IsUnspecified()
		}
		if p.Addr().Is6() { // S3 calls broader blocks public
			return p.Bits() < 32 && !p.Addr().IsPrivate()
		}
		return p.Bits() < 8
	}
	if strings.Contains(v, "${") {
		return true // a policy variable: the caller's own word
	}
	if !wild || !strings.ContainsAny(v, "*?") {
		return false
	}
	fixed := func(s string) bool { return s != "" && !strings.ContainsAny(s, "*?") }
	switch f {
	case pathForm:
		org, _, _ := strings.Cut(v, "/")
		return !fixed(org)
	case userForm:
		id, _, _ := strings.Cut(v, ":")
		return !fixed(id)
	case arnForm:
		a := parseARN(v)
		if a.account == "" { // S3 names no account: the bucket is the name
			return strings.HasPrefix(a.resource, "*") || a.resource == ""
		}
		return !fixed(a.account)
	}
	return true
}

// everyone reports whether the statement names every principal there is.
func (s *statement) everyone() bool {
	// Allow with NotPrincipal is everyone but those named.
	return s.notPrincipal || slices.Contains(s.principal["AWS"], "*")
}

// public reports whether some statement allows everyone.
func (p *policy) public() bool {
	for i := range p.statements {
		s := &p.statements[i]
		if s.allow && s.everyone() && !s.narrowed() {
			return true
		}
	}
	return false
}

// accounts are the ids of the accounts that some statement allows, sorted, each
// once: those of its principals, and of the conditions that bind everyone to one.
func (p *policy) accounts() []string {
	out := []string{}
	add := func(values []string) {
		for _, v := range values {
			if id := accountOf(v); id != "" {
				out = append(out, id)
			}
		}
	}
	for i := range p.statements {
		s := &p.statements[i]
		if !s.allow {
			continue
		}
		add(s.principal["AWS"])
		if !s.everyone() {
			continue
		}
		for op, body := range s.conditions {
			keys, _ := body.(map[string]any)
			if strings.Contains(strings.ToLower(op), "not") {
				continue
			}
			for key, values := range keys {
				if accountKeys[strings.ToLower(key)] {
					add(words(values))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// accountKeys are the condition keys whose values are of the caller's account.
var accountKeys = map[string]bool{
	"aws:principalaccount": true, "aws:principalarn": true, "aws:sourceaccount": true, "aws:sourceowner": true, "kms:calleraccount": true,
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
		all := slices.ContainsFunc(s.actions, func(a string) bool { return strings.Trim(a, "*") == "" || a == "*:*" })
		if s.allow && all && (slices.ContainsFunc(s.resources, everything) || len(s.notResources) > 0) {
			return true
		}
	}
	return false
}

// everything is a resource pattern that every ARN matches.
func everything(pattern string) bool {
	return strings.Trim(pattern, "*:") == "" || strings.HasPrefix(pattern, "arn:") && strings.Trim(strings.TrimPrefix(strings.TrimPrefix(pattern, "arn:"), "aws:"), "*:") == ""
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
		case i < len(pattern) && pattern[i] == '?':
			_, size := utf8.DecodeRuneInString(s[j:])
			i++
			j += size
		case i < len(pattern) && pattern[i] == s[j]:
			i++
			j++
		case star >= 0:
			_, size := utf8.DecodeRuneInString(s[mark:])
			mark += size
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
