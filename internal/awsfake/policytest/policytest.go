// Package policytest holds the IAM policies that are shipped against what sources
// call: each call is allowed, and without any one action something breaks and says
// which is missing.
package policytest

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"riposte/internal/awsfake"
)

// Policy is a policy document: statements that allow.
type Policy struct{ statements []statement }

type statement struct {
	Sid, Effect      string
	Action, Resource list
}

// list is what IAM writes as one text or several.
type list []string

func (l *list) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// Load reads a policy, and finds fault with one that is wider than it has to be:
// actions with a wildcard, and a resource of * for actions that are not named in
// everywhere, which are those that know no resources.
func Load(t testing.TB, file string, everywhere ...string) Policy {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version   string
		Statement []statement
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if doc.Version != "2012-10-17" || len(doc.Statement) == 0 {
		t.Errorf("%s: version %q with %d statements", file, doc.Version, len(doc.Statement))
	}
	for _, s := range doc.Statement {
		if s.Effect != "Allow" || len(s.Action) == 0 || len(s.Resource) == 0 {
			t.Errorf("%s: statement %s is %s of %d actions on %d resources", file, s.Sid, s.Effect, len(s.Action), len(s.Resource))
		}
		for _, a := range s.Action {
			if strings.Contains(a, "*") {
				t.Errorf("%s: statement %s allows %s", file, s.Sid, a)
			}
			if slices.Contains(s.Resource, "*") && !slices.Contains(everywhere, a) {
				t.Errorf("%s: statement %s allows %s on *", file, s.Sid, a)
			}
		}
	}
	return Policy{doc.Statement}
}

// Actions are all that it allows, each once.
func (p Policy) Actions() []string {
	var out []string
	for _, s := range p.statements {
		out = append(out, s.Action...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Allows reports whether an action is allowed on a resource, as IAM would.
func (p Policy) Allows(action, resource string) bool {
	return slices.ContainsFunc(p.statements, func(s statement) bool {
		return slices.Contains(s.Action, action) && slices.ContainsFunc(s.Resource, func(pattern string) bool { return matches(pattern, resource) })
	})
}

// AllowsAction reports whether an action is allowed on anything.
func (p Policy) AllowsAction(action, _ string) bool { return slices.Contains(p.Actions(), action) }

// Without is the policy without an action.
func (p Policy) Without(action string) Policy {
	var out Policy
	for _, s := range p.statements {
		s.Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return a == action })
		out.statements = append(out.statements, s)
	}
	return out
}

// Covers: each call that was made needs only what the policy allows, and all of
// that is needed. needs says what a call such as s3:HeadObject needs, where that
// is not the action of its own name.
func (p Policy) Covers(t testing.TB, calls []awsfake.Call, needs map[string][]string) {
	t.Helper()
	used := map[string]bool{}
	for _, c := range calls {
		name := c.Service + ":" + c.Operation
		need, ok := needs[name]
		if !ok {
			need = []string{name}
		}
		for _, a := range need {
			used[a] = true
			if !slices.Contains(p.Actions(), a) {
				t.Errorf("%s needs %s, which the policy does not allow", name, a)
			}
		}
	}
	for _, a := range p.Actions() {
		if !used[a] {
			t.Errorf("the policy allows %s, which nothing needs", a)
		}
	}
}

// matches is IAM's wildcard: * is any run of characters.
func matches(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	text = text[len(head):]
	for i := 0; i <= len(text); i++ {
		if matches(rest, text[i:]) {
			return true
		}
	}
	return false
}
