package kinesis

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPolicy: the shipped policy allows all that the source calls, and without
// any of its actions something breaks, which names that action.
func TestPolicy(t *testing.T) {
	data, err := os.ReadFile("../../deploy/iam/kinesis.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Statement []struct {
			Effect, Resource string
			Action           []string
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil || len(doc.Statement) != 1 || doc.Statement[0].Resource == "*" {
		t.Fatalf("%v: %+v", err, doc)
	}
	all := doc.Statement[0].Action
	r := newRig(t, 1, nil)
	r.fake.Authorize(func(a, _ string) bool { return slices.Contains(all, a) })
	want := r.fill(0, "a", 5)
	one, _ := r.fake.Split("s", 0)
	want = append(want, r.fill(one, "b", 5)...)
	r.drain(len(want))
	r.want(0, want...)
	used := map[string]bool{}
	for _, c := range r.fake.Calls() {
		used[c.Service+":"+c.Operation] = true
	}
	for a := range used {
		if !slices.Contains(all, a) {
			t.Errorf("%s is called, which the policy does not allow", a)
		}
	}
	for _, a := range all {
		if !used[a] {
			t.Errorf("the policy allows %s, which nothing needs", a)
		}
		r := newRig(t, 1, nil)
		r.fake.Authorize(func(o, _ string) bool { return slices.Contains(all, o) && o != a })
		r.fill(0, "a", 5)
		stop := r.start()
		r.until("the complaint", func() bool { return !r.running.Load() || strings.Contains(r.log.String(), a+" is not allowed") })
		if err := stop(); err != nil && !strings.Contains(err.Error(), a+" is not allowed") {
			t.Errorf("without %s: %v", a, err)
		}
	}
}
