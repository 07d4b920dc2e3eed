package playbooks_test

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
	"riposte/internal/expr"
	"riposte/playbooks"
	"riposte/respond"
	"riposte/respond/aws"
	"riposte/respond/notify"
	"riposte/rules"
)

func actions(t *testing.T) map[string]respond.Action {
	t.Helper()
	var world awsfake.World
	if err := json.Unmarshal(playbooks.World, &world); err != nil {
		t.Fatal(err)
	}
	fake := awsfake.New(&world, "111122223333")
	t.Cleanup(func() {
		if w := fake.Writes(); len(w) > 0 {
			t.Errorf("planning wrote: %v", w)
		}
		fake.Close()
	})
	clients, err := aws.NewClients(t.Context(), aws.Config{Config: awsaccess.Config{Role: "arn:aws:iam::{account}:role/riposte"}}, fake.Dial,
		config.WithBaseEndpoint(fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")))
	if err != nil {
		t.Fatal(err)
	}
	all := aws.Actions(clients)
	maps.Copy(all, map[string]respond.Action{"notify.webhook": notify.NewWebhook(map[string]notify.Config{"on-call": {URL: "https://hooks.example.com/riposte"}})})
	return all
}

func TestShippedPlaybooks(t *testing.T) {
	acts := actions(t)
	p, err := respond.LoadPlaybooks([]respond.Folder{{Name: "playbooks", FS: playbooks.FS}}, acts, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.List()) < 8 {
		t.Errorf("only %d playbooks", len(p.List()))
	}
	if w := p.Warnings(); len(w) > 0 {
		t.Errorf("they load with warnings:\n%v", w)
	}
	came := map[string]bool{} // what steps came to in some test
	for _, r := range p.Test(t.Context(), acts) {
		if !r.Passed {
			t.Errorf("%s: %s: %s", r.Playbook, r.Test, r.Reason)
		}
		if r.Run != nil {
			for _, s := range r.Run.Steps {
				came[r.Playbook+" "+s.ID+" "+s.Decision()] = true
			}
		}
	}
	for _, pb := range p.List() {
		expected := map[string]bool{}
		for _, test := range pb.Tests {
			for id := range test.Steps {
				expected[id] = true
			}
			if test.Matches && len(test.Steps) == 0 {
				t.Errorf("%s: test %q matches and expects nothing of the steps", pb.ID, test.Name)
			}
		}
		for _, id := range steps(p, pb, acts) {
			if !expected[id] || !came[pb.ID+" "+id+" contain"] {
				t.Errorf("%s: no test shows step %s contain", pb.ID, id)
			}
			if id != "tell" && !came[pb.ID+" "+id+" skipped"] && !came[pb.ID+" "+id+" refuse"] && !came[pb.ID+" "+id+" already-contained"] {
				t.Errorf("%s: no test shows step %s hold back", pb.ID, id)
			}
		}
	}
}

// steps are the ids of a playbook's steps.
func steps(p *respond.Playbooks, pb *respond.Playbook, acts map[string]respond.Action) (ids []string) {
	for _, s := range p.Simulate(context.Background(), pb, &event.Finding{Severity: event.Info, Account: "111122223333"}, acts).Steps {
		ids = append(ids, s.ID)
	}
	return ids
}

// TestRulesExist: a playbook that names a rule which nobody ships would never run.
func TestRulesExist(t *testing.T) {
	lists, err := expr.NewLists(map[string][]string{"own_accounts": nil, "trusted_accounts": nil, "trusted_networks": nil, "approved_regions": nil, "ci_identities": nil, "break_glass": nil, "log_buckets": nil})
	if err != nil {
		t.Fatal(err)
	}
	rs, err := detect.Load(rules.FS, detect.Options{Lists: lists})
	if err != nil {
		t.Fatal(err)
	}
	p, err := respond.LoadPlaybooks([]respond.Folder{{FS: playbooks.FS}}, actions(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, pb := range p.List() {
		for _, test := range pb.Tests {
			if id, _ := test.Finding["rule"].(string); rs.Rule(id) == nil {
				t.Errorf("%s: test %q is about rule %q, which does not exist", pb.ID, test.Name, id)
			}
		}
		for _, id := range quoted(pb.Match) {
			if rs.Rule(id) == nil {
				t.Errorf("%s matches rule %q, which does not exist", pb.ID, id)
			}
		}
	}
}

// quoted returns the rule ids inside a condition: literals with a dot that do not end in one or a dash.
func quoted(s string) []string {
	var out []string
	for len(s) > 0 {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i+1:], '"')
		if w := s[i+1 : i+1+j]; strings.Contains(w, ".") && !strings.HasSuffix(w, ".") && !strings.HasSuffix(w, "-") && !strings.Contains(w, "requestParameters") && !strings.Contains(w, "responseElements") {
			out = append(out, w)
		}
		s = s[i+j+2:]
	}
	return out
}
