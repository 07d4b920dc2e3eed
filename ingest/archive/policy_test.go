package archive

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"riposte/internal/awsfake"
)

// TestPolicy: the shipped policy allows all that a backfill calls, and without
// any of its actions something is not read and the reason names the action.
func TestPolicy(t *testing.T) {
	data, err := os.ReadFile("../../deploy/iam/backfill.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Statement []struct{ Effect, Action, Resource string }
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, s := range doc.Statement {
		if s.Effect != "Allow" || s.Resource == "*" {
			t.Errorf("a statement is %s on %s", s.Effect, s.Resource)
		}
		allowed = append(allowed, s.Action)
	}
	run := func(allowed []string) (events int, told string) {
		r := newRig(t)
		r.fake.Store("logs", "k", awsfake.Blob{Body: file(t, record("k")), KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"})
		r.fake.Authorize(func(action, _ string) bool { return slices.Contains(allowed, action) })
		err := r.source(Config{From: "s3://logs/"}, nil).Run(t.Context(), r.sink())
		if err != nil {
			told = err.Error()
		}
		for _, b := range r.broken {
			told += b.Reason
		}
		return len(r.events()), told
	}
	if n, told := run(allowed); n != 1 || told != "" {
		t.Errorf("with the policy %d events come: %s", n, told)
	}
	for _, a := range allowed {
		less := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == a })
		if n, told := run(less); n != 0 || !strings.Contains(told, a+" is not") {
			t.Errorf("without %s %d events come: %s", a, n, told)
		}
	}
}
