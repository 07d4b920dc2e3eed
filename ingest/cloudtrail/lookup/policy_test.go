package lookup

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// TestPolicy: the shipped policy allows what the source calls in an account whose
// regions are written down, and without its action the log names it.
func TestPolicy(t *testing.T) {
	data, err := os.ReadFile("../../../deploy/iam/lookup.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Statement []struct{ Effect, Action, Resource string }
	}
	if err := json.Unmarshal(data, &doc); err != nil || len(doc.Statement) != 1 {
		t.Fatalf("%v: %+v", err, doc)
	}
	action := doc.Statement[0].Action
	r := newRig(t, func(c *Config) { c.Insights = true; c.Since = 24 * time.Hour })
	want := r.fill(account, "us-east-1", "e", 120, time.Minute, time.Minute)
	r.fake.Authorize(func(a, _ string) bool { return a == action })
	r.whole(len(want))
	for _, c := range r.fake.Calls() {
		// GetCallerIdentity needs no permission.
		if called := c.Service + ":" + c.Operation; called != action && called != "sts:GetCallerIdentity" {
			t.Errorf("%s is called, which the policy does not allow", called)
		}
	}
	r = newRig(t, nil)
	r.fake.Authorize(func(string, string) bool { return false })
	stop := r.start()
	r.until("the complaint", func() bool { return strings.Contains(r.log.String(), action+" is not allowed") })
	if err := stop(); err != nil {
		t.Error(err)
	}
}
