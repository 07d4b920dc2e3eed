package aws

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
	"riposte/respond"
)

var update = flag.Bool("update", false, "write the golden files")

// each runs a check on every scenario, in a world of its own.
func each(t *testing.T, check func(t *testing.T, r *rig, s *scenario)) {
	for i := range scenarios {
		t.Run(scenarios[i].name, func(t *testing.T) { check(t, newRig(t), &scenarios[i]) })
	}
}

func TestPlanGolden(t *testing.T) {
	each(t, func(t *testing.T, r *rig, s *scenario) {
		before := r.state(t)
		p := r.plan(t, s)
		if w := r.Writes(); len(w) > 0 || r.state(t) != before {
			t.Errorf("planning wrote: %v", w)
		}
		var reads []string
		for _, c := range r.Calls() {
			if c.Service != "sts" {
				reads = append(reads, c.Service+":"+c.Operation)
			}
		}
		if d := cmp.Diff(operations(p.Reads), reads); d != "" {
			t.Errorf("the plan does not say what was read (-says +read):\n%s", d)
		}
		got, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", s.name+".json")
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
			t.Errorf("the plan changed (-golden +plan; renew with -update):\n%s", d)
		}
	})
}

// TestPlanTellsTheWholeTruth: what is applied and undone are exactly the calls of
// the plan, with exactly its permissions; applying or undoing twice is once; and
// undoing gives back the world as it was.
func TestPlanTellsTheWholeTruth(t *testing.T) {
	each(t, func(t *testing.T, r *rig, s *scenario) {
		before := r.state(t)
		p := r.plan(t, s)
		receipt := r.apply(t, p)
		if d := cmp.Diff(operations(p.Calls), made(r.Writes())); d != "" {
			t.Errorf("applying makes other calls (-plan +made):\n%s", d)
		}
		if len(receipt.RequestIDs) != len(p.Calls) || receipt.After == nil {
			t.Errorf("the receipt is %+v", receipt)
		}
		contained := r.state(t)
		if contained == before {
			t.Error("applying changed nothing")
		}
		r.apply(t, p)
		if r.state(t) != contained || len(r.Writes()) != len(p.Calls) {
			t.Errorf("applying twice is not once: %v", made(r.Writes()))
		}
		if again := r.plan(t, s); again.Decision != respond.AlreadyContained {
			t.Errorf("what is contained is planned again: %s, %s", again.Decision, again.Reason)
		}
		if got, err := r.actions[s.action].Verify(t.Context(), receipt); got != respond.Effective || err != nil {
			t.Errorf("verified as %s, %v", got, err)
		}
		writes := len(r.Writes())
		undoer, ok := r.actions[s.action].(respond.Undoer)
		if p.Restore == respond.RestoreNever {
			if ok && undoer.Undo(t.Context(), receipt) == nil || len(p.Undo) > 0 {
				t.Error("what is never restored is undone")
			}
		} else {
			for range 2 {
				if err := undoer.Undo(t.Context(), receipt); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(before, r.state(t)); d != "" {
					t.Errorf("undoing leaves the world otherwise:\n%s", d)
				}
			}
		}
		if d := cmp.Diff(operations(p.Undo), made(r.Writes()[writes:])); d != "" {
			t.Errorf("undoing makes other calls (-plan +made):\n%s", d)
		}
		var needed []string
		for _, op := range made(r.Writes()) {
			needed = append(needed, wanted(op))
		}
		for _, c := range p.Undo {
			if strings.Contains(string(c.Input), "TagSpecifications\":[") {
				needed = append(needed, "ec2:CreateTags")
			}
		}
		slices.Sort(needed)
		declared := slices.Sorted(slices.Values(p.Permissions))
		if d := cmp.Diff(slices.Compact(needed), declared); d != "" {
			t.Errorf("permissions (-used +declared):\n%s", d)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		action string
		params map[string]any
		reason string
	}{
		{"iam.access-key.disable", map[string]any{}, "names no access key"},
		{"iam.access-key.disable", map[string]any{"key": "ASIAEXAMPLESESSION01"}, "temporary key"},
		{"iam.access-key.disable", map[string]any{"key": "AKIA/../x"}, "not the id of a user's access key"},
		{"iam.access-key.disable", map[string]any{"key": "AKIAEXAMPLENOBODY001"}, "nobody in account"},
		{"iam.access-key.disable", map[string]any{"key": "AKIAEXAMPLEFOREIGN01"}, "nobody in account"},
		{"iam.access-key.disable", map[string]any{"key": key, "user": "nobody"}, "there is no user nobody"},
		{"iam.access-key.disable", map[string]any{"key": key, "user": "bystander"}, "has no key"},
		{"iam.access-key.disable", map[string]any{"key": "AKIAEXAMPLEBREAKGL01"}, "tagged riposte:protected"},
		{"iam.access-key.disable", map[string]any{"key": "AKIAEXAMPLELISTED001"}, "the configuration protects"},
		{"iam.access-key.disable", map[string]any{"key": ownKey}, "riposte itself signs with"},
		{"iam.access-key.disable", map[string]any{"key": key, "leaked": "yes"}, "want true or false"},
		{"iam.user.deny-all", map[string]any{}, "names no IAM user"},
		{"iam.user.deny-all", map[string]any{"user": 7}, "names no IAM user"},
		{"iam.user.deny-all", map[string]any{"user": "nobody"}, "there is no user"},
		{"iam.user.deny-all", map[string]any{"user": "break-glass"}, "tagged riposte:protected"},
		{"iam.user.deny-all", map[string]any{"user": "listed"}, "the configuration protects"},
		{"ec2.sg.revoke-rules", map[string]any{}, "names no security group"},
		{"ec2.sg.revoke-rules", map[string]any{"group": "sg-"}, "names no security group"},
		{"ec2.sg.revoke-rules", map[string]any{"group": "sg-0gone"}, "there is no security group"},
		{"ec2.sg.revoke-rules", map[string]any{"group": "arn:aws:ec2:us-east-1:" + account + ":security-group/" + groupID}, "in us-east-1"},
		{"ec2.sg.revoke-rules", map[string]any{"group": "arn:aws:ec2:eu-west-1:" + other + ":security-group/" + groupID}, "is of account " + other},
		{"ec2.sg.revoke-rules", map[string]any{"group": "arn:aws:ec2:eu-west-1:" + account + ":instance/i-1"}, "is no security group"},
		{"ec2.sg.revoke-rules", map[string]any{"group": "sg-0protected"}, "tagged riposte:protected"},
		{"ec2.sg.revoke-rules", map[string]any{"group": "sg-0shared"}, "shares its VPC"},
		{"ec2.sg.revoke-rules", map[string]any{"group": groupID, "port": "22"}, "want a number"},
		{"ec2.sg.revoke-rules", map[string]any{"group": groupID, "port": int64(65536)}, "want a number"},
		{"ec2.sg.revoke-rules", map[string]any{"group": groupID, "keep": []any{"80"}}, "list of port numbers"},
		{"ec2.sg.revoke-rules", map[string]any{"group": groupID, "rules": "sgr-ssh"}, "list of rule ids"},
		{"s3.block-public-access", map[string]any{}, "names no bucket"},
		{"s3.block-public-access", map[string]any{"bucket": "nowhere"}, "there is no bucket"},
		{"s3.block-public-access", map[string]any{"bucket": "foreign"}, "is not of account"},
		{"s3.block-public-access", map[string]any{"bucket": "../open"}, "is no bucket's name"},
		{"s3.block-public-access", map[string]any{"bucket": "a..b"}, "is no bucket's name"},
		{"s3.block-public-access", map[string]any{"bucket": "x--use1-az4--x-s3"}, "directory bucket"},
		{"s3.block-public-access", map[string]any{"bucket": "arn:aws:s3:eu-west-1:" + account + ":accesspoint/x"}, "is no bucket"},
		{"s3.block-public-access", map[string]any{"bucket": "web"}, "tagged riposte:protected"},
		{"s3.block-public-access", map[string]any{"bucket": "open", "account": true}, "both given"},
		{"s3.block-public-access", map[string]any{"account": "yes"}, "want true or false"},
		{"cloudtrail.restore-logging", map[string]any{}, "names no trail"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "gone"}, "there is no trail gone"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "arn:aws:cloudtrail:eu-west-1:" + other + ":trail/x"}, "account that owns it"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "arn:aws:s3:::x"}, "is no trail"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "org"}, "account that owns it"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "broken"}, "do not arrive in logs (AccessDenied)"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "selective"}, "leave management events out"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "fine", "validation": "yes"}, "want true or false"},
	} {
		r := newRig(t)
		p := r.plan(t, &scenario{action: c.action, params: c.params})
		if p.Decision != respond.Refuse || !strings.Contains(p.Reason, c.reason) {
			t.Errorf("%s %v: %s, %q; want refuse with %q", c.action, c.params, p.Decision, p.Reason, c.reason)
		}
		if p.Calls != nil || p.Undo != nil || p.Restore != "" || len(r.Writes()) > 0 {
			t.Errorf("%s %v: a refusal has calls: %v", c.action, c.params, p.Calls)
		}
	}
}

func TestAlreadyContained(t *testing.T) {
	for _, c := range []struct {
		action string
		params map[string]any
		reason string
	}{
		{"iam.access-key.disable", map[string]any{"key": "AKIAEXAMPLEINACTIVE1"}, "inactive"},
		{"iam.user.deny-all", map[string]any{"user": "attached"}, "AWSDenyAll is attached"},
		{"iam.user.deny-all", map[string]any{"user": "denied"}, "the inline policy theirs"},
		{"ec2.sg.revoke-rules", map[string]any{"group": "sg-0closed"}, "no ingress rule"},
		{"ec2.sg.revoke-rules", map[string]any{"group": groupID, "rules": []any{"sgr-office"}}, "no ingress rule"},
		{"s3.block-public-access", map[string]any{"bucket": "guarded"}, "all four"},
		{"cloudtrail.restore-logging", map[string]any{"trail": "fine", "multi_region": true, "global_events": true, "validation": true}, "is logging"},
	} {
		r := newRig(t)
		p := r.plan(t, &scenario{action: c.action, params: c.params})
		if p.Decision != respond.AlreadyContained || !strings.Contains(p.Reason, c.reason) || p.Calls != nil {
			t.Errorf("%s %v: %s, %q; want already-contained with %q", c.action, c.params, p.Decision, p.Reason, c.reason)
		}
		if c.action != "iam.access-key.disable" && p.Before == nil {
			t.Errorf("%s %v: the state is not recorded", c.action, c.params)
		}
	}
}

func TestOwnUserIsRefused(t *testing.T) {
	r := newRig(t)
	r.clients.own = "arn:aws:iam::" + account + ":user/mallory"
	for _, i := range []int{0, 3} {
		if p := r.plan(t, &scenarios[i]); p.Decision != respond.Refuse || !strings.Contains(p.Reason, "riposte runs as") {
			t.Errorf("%s: %s, %s", scenarios[i].name, p.Decision, p.Reason)
		}
	}
	r = newRig(t)
	r.Fail(awsfake.Fault{Service: "sts", Operation: "GetCallerIdentity", Kind: awsfake.HTML500})
	if _, err := r.tryPlan(t.Context(), &scenarios[3]); err == nil || !strings.Contains(err.Error(), "find out who riposte is") {
		t.Errorf("without knowing who it is it plans: %v", err)
	}
}

func TestProtectedPrincipals(t *testing.T) {
	c := &Clients{c: Config{Config: awsaccess.Config{Role: "arn:aws:iam::{account}:role/riposte"}, Protected: []string{"arn:aws:iam::*:role/admin*x"}}}
	for arn, want := range map[string]bool{
		"arn:aws:iam::1:role/aws-service-role/x/y": true, "arn:aws:iam::1:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_x": true, "arn:aws:iam::1:root": true,
		"arn:aws:iam::1:role/riposte": true, "arn:aws:iam::1:role/riposte2": false, "arn:aws:iam::1:role/admin-x": true, "arn:aws:iam::1:role/admin-y": false, "arn:aws:iam::1:user/kim": false,
	} {
		if got := c.protected(arn, nil) != ""; got != want {
			t.Errorf("%s protected: %v, want %v", arn, got, want)
		}
	}
}

// faults tries a kind of fault on every operation that a scenario uses, while it
// plans, applies and undoes.
func faults(t *testing.T, fault awsfake.Fault, check func(t *testing.T, s *scenario, op string, r *rig, clean string)) {
	each(t, func(t *testing.T, r *rig, s *scenario) {
		p := r.plan(t, s)
		receipt := r.apply(t, p)
		clean := r.state(t)
		if u, ok := r.actions[s.action].(respond.Undoer); ok && p.Undo != nil {
			if err := u.Undo(t.Context(), receipt); err != nil {
				t.Fatal(err)
			}
		}
		ops := made(r.Calls())
		slices.Sort(ops)
		for _, op := range slices.Compact(ops) {
			r := newRig(t)
			f := fault
			f.Service, f.Operation, _ = strings.Cut(op, ":")
			r.Fail(f)
			check(t, s, op, r, clean)
		}
	})
}

// whole plans, applies and undoes; the error is the first.
func whole(t *testing.T, r *rig, s *scenario) (contained string, err error) {
	p, err := r.tryPlan(t.Context(), s)
	if err != nil {
		return "", err
	}
	if p.Decision == respond.Refuse {
		return "", errors.New(p.Reason)
	}
	receipt, err := r.actions[s.action].Apply(t.Context(), p)
	if err != nil {
		return "", err
	}
	contained = r.state(t)
	if u, ok := r.actions[s.action].(respond.Undoer); ok && p.Undo != nil {
		err = u.Undo(t.Context(), receipt)
	}
	return contained, err
}

func TestPassingFaultsAreRetried(t *testing.T) {
	for _, kind := range []string{awsfake.Throttle, awsfake.HTML500, awsfake.LostReply} {
		t.Run(kind, func(t *testing.T) {
			faults(t, awsfake.Fault{Kind: kind, Times: attempts - 1}, func(t *testing.T, s *scenario, op string, r *rig, clean string) {
				before := r.state(t)
				contained, err := whole(t, r, s)
				if err != nil {
					t.Errorf("%s: %v", op, err)
					return
				}
				if contained != clean {
					t.Errorf("%s: contained otherwise than without faults:\n%s", op, cmp.Diff(clean, contained))
				}
				if d := cmp.Diff(before, r.state(t)); d != "" && r.plan(t, s).Restore != "" {
					t.Errorf("%s: undone otherwise:\n%s", op, d)
				}
			})
		})
	}
}

func TestLastingFaultsAreErrors(t *testing.T) {
	for kind, want := range map[string]string{awsfake.Throttle: "exceeded", awsfake.HTML500: "500"} {
		t.Run(kind, func(t *testing.T) {
			faults(t, awsfake.Fault{Kind: kind}, func(t *testing.T, s *scenario, op string, r *rig, _ string) {
				if _, err := whole(t, r, s); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v", op, err)
				}
			})
		})
	}
}

func TestDeniedNamesThePermission(t *testing.T) {
	faults(t, awsfake.Fault{Kind: awsfake.Deny}, func(t *testing.T, s *scenario, op string, r *rig, _ string) {
		want := wanted(op)
		if _, err := whole(t, r, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want an error that names %s", op, err, want)
		}
	})
}

// TestLostForGood: the work is done and no answer ever comes; the next try finds
// it done and writes nothing more.
func TestLostForGood(t *testing.T) {
	each(t, func(t *testing.T, r *rig, s *scenario) {
		p := r.plan(t, s)
		for _, c := range p.Calls {
			r.Fail(awsfake.Fault{Service: c.Service, Operation: c.Operation, Kind: awsfake.LostReply, Times: attempts})
			if _, err := r.actions[s.action].Apply(t.Context(), p); err == nil {
				t.Fatalf("%s: the lost reply is no error", c.Operation)
			}
		}
		contained, writes := r.state(t), len(r.Writes())
		receipt := r.apply(t, p)
		if r.state(t) != contained || len(r.Writes()) != writes {
			t.Errorf("the next try writes again: %v", made(r.Writes()[writes:]))
		}
		if got, err := r.actions[s.action].Verify(t.Context(), receipt); got != respond.Effective || err != nil {
			t.Errorf("verified as %s, %v", got, err)
		}
	})
}

func TestVerify(t *testing.T) {
	each(t, func(t *testing.T, r *rig, s *scenario) {
		verify := func(receipt *respond.Receipt) (respond.Outcome, error) {
			return r.actions[s.action].Verify(t.Context(), receipt)
		}
		p := r.plan(t, s)
		if got, err := verify(&respond.Receipt{Plan: *p}); got != respond.NotEffective || err != nil {
			t.Errorf("before it is applied: %s, %v", got, err)
		}
		// A write that shows after a few reads is waited for; what does not show in
		// time is not effective, whatever the answer to the write was.
		for lag, want := range map[int]respond.Outcome{0: respond.Effective, 3: respond.Effective, 1000: respond.NotEffective} {
			r = newRig(t)
			p = r.plan(t, s)
			r.Lag(lag)
			receipt, err := r.actions[s.action].Apply(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := verify(receipt); got != want || err != nil {
				t.Errorf("%d reads late: %s, %v; want %s", lag, got, err, want)
			}
			if (lag > 0) != (r.slept > 0) && lag != 0 {
				t.Errorf("%d reads late: it waited %s", lag, r.slept)
			}
		}
		r = newRig(t)
		p = r.plan(t, s)
		receipt := r.apply(t, p)
		r.Fail(awsfake.Fault{Kind: awsfake.HTML500})
		if got, err := verify(receipt); got != respond.Unknown || err == nil {
			t.Errorf("when nothing can be read: %s, %v", got, err)
		}
	})
}

func TestVerifyRules(t *testing.T) {
	e, n, u := respond.Effective, respond.NotEffective, respond.Unknown
	for _, c := range []struct {
		looks []respond.Outcome
		want  respond.Outcome
	}{
		{[]respond.Outcome{e, e}, e}, {[]respond.Outcome{n, e, n, e, e}, e}, {[]respond.Outcome{n, n, n, n, n, n, n, n}, n},
		{[]respond.Outcome{e, n, e, n, e, n, n, n}, n}, {[]respond.Outcome{n, n, n, n, n, n, n, e}, u}, {[]respond.Outcome{u, u, u, u, u, u, u, u}, u}, {[]respond.Outcome{e, n, e, n, e, n, e, n}, u},
	} {
		r := newRig(t)
		i := 0
		got, err := r.clients.verify(t.Context(), func(_ context.Context) (respond.Outcome, error) { i++; return c.looks[i-1], nil })
		if got != c.want || err != nil || i != len(c.looks) {
			t.Errorf("%v: %s after %d looks, %v; want %s", c.looks, got, i, err, c.want)
		}
	}
}

func TestTrailIsUnknownUntilItDelivers(t *testing.T) {
	r := newRig(t)
	s := &scenario{action: "cloudtrail.restore-logging", params: map[string]any{"trail": "stopped"}}
	receipt := r.apply(t, r.plan(t, s))
	r.Edit(func(w *awsfake.World) { w.Accounts[account].Trails["stopped"].Undelivered = true })
	if got, err := r.actions[s.action].Verify(t.Context(), receipt); got != respond.Unknown || err != nil {
		t.Errorf("nothing delivered yet: %s, %v", got, err)
	}
	r.Edit(func(w *awsfake.World) { w.Accounts[account].Trails["stopped"].DeliveryError = "AccessDenied" })
	if got, err := r.actions[s.action].Verify(t.Context(), receipt); got != respond.NotEffective || err != nil {
		t.Errorf("delivery fails: %s, %v", got, err)
	}
}

func TestReceiptNamesEveryAttempt(t *testing.T) {
	r := newRig(t)
	r.Fail(awsfake.Fault{Operation: "UpdateAccessKey", Kind: awsfake.Throttle, Times: 2})
	receipt := r.apply(t, r.plan(t, &scenarios[0]))
	var want []string
	for _, c := range r.Writes() {
		want = append(want, c.RequestID)
	}
	if d := cmp.Diff(want, receipt.RequestIDs); d != "" || len(want) != 3 {
		t.Errorf("-requests +receipt:\n%s", d)
	}
}
