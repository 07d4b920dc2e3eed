package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"riposte/internal/awsfake"
	"riposte/respond"
)

// edit is something that somebody else does to a target; false when the target
// is not in a state to do it to.
type edit struct {
	name string
	do   func(a *awsfake.Account) bool
}

func always(do func(a *awsfake.Account)) func(*awsfake.Account) bool {
	return func(a *awsfake.Account) bool { do(a); return true }
}

// recreate deletes a user and makes another of the same name.
func recreate(name string) edit {
	return edit{"another user has the name", func(a *awsfake.Account) bool {
		old := a.Users[name]
		if old == nil || strings.HasPrefix(old.ID, "AIDAANOTHER") {
			return false
		}
		a.Users[name] = &awsfake.User{ID: "AIDAANOTHER" + old.ID, Keys: map[string]*awsfake.AccessKey{"AKIAEXAMPLEANOTHER01": {Status: "Active"}}}
		return true
	}}
}

func deleteUser(name string) edit {
	return edit{"the user is deleted", func(a *awsfake.Account) bool {
		had := a.Users[name] != nil
		delete(a.Users, name)
		return had
	}}
}

// narrow is a rule in the place of the one that opens SSH to the world.
func narrow(a *awsfake.Account) {
	a.SecurityGroups[groupID].Rules["sgr-narrow"] = &awsfake.Rule{Protocol: "tcp", From: 22, To: 22, IPv4: "203.0.113.0/24"}
}

func flags(on bool) *awsfake.PublicAccess {
	return &awsfake.PublicAccess{BlockPublicPolicy: true, RestrictPublicBuckets: on}
}

// TestChangedBetweenPlanAndApply: the world is no longer what the plan saw, and
// nothing is touched.
func TestChangedBetweenPlanAndApply(t *testing.T) {
	for scenario, edits := range map[string][]edit{
		"key":       {recreate("mallory"), deleteUser("mallory"), {"the key is deleted", always(func(a *awsfake.Account) { delete(a.Users["mallory"].Keys, key) })}},
		"deny":      {recreate("mallory"), deleteUser("mallory")},
		"deny-full": {recreate("full"), deleteUser("full")},
		"group":     {{"a rule with the same id admits less", always(func(a *awsfake.Account) { a.SecurityGroups[groupID].Rules["sgr-ssh"].IPv4 = "10.0.0.0/8" })}},
		"bucket": {
			{"the bucket is deleted", always(func(a *awsfake.Account) { delete(a.Buckets, "open") })},
			{"another has set the block", always(func(a *awsfake.Account) { a.Buckets["open"].PublicAccess = flags(false) })},
		},
		"account": {{"another has set the block", always(func(a *awsfake.Account) { a.PublicAccess = flags(true) })}},
		"trail":   {{"the trail is deleted", always(func(a *awsfake.Account) { delete(a.Trails, "stopped") })}},
	} {
		for _, e := range edits {
			t.Run(scenario+"/"+e.name, func(t *testing.T) {
				r, s := newRig(t), named(scenario)
				p := r.plan(t, s)
				r.Edit(func(w *awsfake.World) { e.do(w.Accounts[account]) })
				left := r.state(t)
				_, err := r.actions[s.action].Apply(t.Context(), p)
				if conflict := new(respond.ConflictError); !errors.As(err, &conflict) || conflict.Target == "" {
					t.Errorf("applied with %v, want a ConflictError", err)
				}
				if d := cmp.Diff(left, r.state(t)); d != "" || len(r.Writes()) > 0 {
					t.Errorf("and touched:\n%s", d)
				}
			})
		}
	}
}

func named(name string) *scenario {
	return &scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })]
}

// TestRevokedMeanwhile: revoking is all or nothing, so a rule that goes away
// between reading and revoking must not keep the others from going.
func TestRevokedMeanwhile(t *testing.T) {
	r, s := newRig(t), named("group")
	p := r.plan(t, s)
	gone := []string{"sgr-ssh", "sgr-half"}
	for _, id := range gone {
		r.Fail(awsfake.Fault{Operation: "RevokeSecurityGroupIngress", Kind: awsfake.Before, Times: 1, Do: func(w *awsfake.World) { delete(w.Accounts[account].SecurityGroups[groupID].Rules, id) }})
	}
	receipt := r.apply(t, p)
	r.Edit(func(w *awsfake.World) {
		for id := range w.Accounts[account].SecurityGroups[groupID].Rules {
			if id == "sgr-all" || slices.Contains(gone, id) {
				t.Errorf("%s is left", id)
			}
		}
	})
	if got, err := r.actions[s.action].Verify(t.Context(), receipt); got != respond.Effective || err != nil {
		t.Errorf("verified as %s, %v", got, err)
	}
	if err := r.actions[s.action].(respond.Undoer).Undo(t.Context(), receipt); err != nil {
		t.Fatal(err)
	}
	r.Edit(func(w *awsfake.World) {
		open := 0
		for _, rule := range w.Accounts[account].SecurityGroups[groupID].Rules {
			if strings.HasSuffix(rule.IPv4, "/0") && !rule.Egress || strings.HasSuffix(rule.IPv4, "/1") {
				t.Errorf("undo brings back what somebody else revoked: %+v", rule)
			}
			if rule.IPv6 == "::/0" {
				open++
			}
		}
		if open != 1 {
			t.Error("undo does not bring back what was revoked")
		}
	})
}

// TestWrittenOnAStranger: at the very moment of the write the user is replaced.
func TestWrittenOnAStranger(t *testing.T) {
	for scenario, name := range map[string]string{"deny": "mallory", "deny-full": "full", "key": "mallory"} {
		r, s := newRig(t), named(scenario)
		p := r.plan(t, s)
		var left string
		r.Fail(awsfake.Fault{Operation: p.Calls[0].Operation, Kind: awsfake.Before, Times: 1, Do: func(w *awsfake.World) {
			recreate(name).do(w.Accounts[account])
			b, err := json.Marshal(w)
			if err != nil {
				t.Error(err)
			}
			left = canonical(t, b)
		}})
		_, err := r.actions[s.action].Apply(t.Context(), p)
		if conflict := new(respond.ConflictError); !errors.As(err, &conflict) {
			t.Errorf("%s: applied with %v, want a ConflictError", scenario, err)
		}
		if d := cmp.Diff(left, r.state(t)); d != "" {
			t.Errorf("%s: the stranger is changed:\n%s", scenario, d)
		}
	}
}

// TestUndoAfterSomebodyElse: what somebody else has decided since is not overwritten.
func TestUndoAfterSomebodyElse(t *testing.T) {
	type outcome struct {
		edit
		conflict bool // else it is undone, or there is nothing to undo
	}
	for scenario, outcomes := range map[string][]outcome{
		"key": {
			{recreate("mallory"), true}, {deleteUser("mallory"), true},
			{edit{"the key is deleted", always(func(a *awsfake.Account) { delete(a.Users["mallory"].Keys, key) })}, true},
			{edit{"the key is given back", always(func(a *awsfake.Account) { a.Users["mallory"].Keys[key].Status = "Active" })}, false},
		},
		"deny": {
			{recreate("mallory"), true}, {deleteUser("mallory"), true},
			{edit{"the policy says something else", always(func(a *awsfake.Account) {
				for name := range a.Users["mallory"].Inline {
					if strings.HasPrefix(name, "riposte-") {
						a.Users["mallory"].Inline[name] = "{}"
					}
				}
			})}, true},
			{edit{"the policy is removed", always(func(a *awsfake.Account) {
				maps.DeleteFunc(a.Users["mallory"].Inline, func(name, _ string) bool { return strings.HasPrefix(name, "riposte-") })
			})}, false},
		},
		"deny-full": {
			{recreate("full"), true},
			{edit{"AWSDenyAll is detached", always(func(a *awsfake.Account) { a.Users["full"].Attached = nil })}, false},
		},
		"group": {
			{edit{"another rule is in the place", always(narrow)}, true},
			{edit{"the group is deleted", always(func(a *awsfake.Account) { delete(a.SecurityGroups, groupID) })}, true},
			{edit{"the rules are back", always(func(a *awsfake.Account) {
				for id, rule := range world().Accounts[account].SecurityGroups[groupID].Rules {
					if a.SecurityGroups[groupID].Rules[id] == nil {
						a.SecurityGroups[groupID].Rules[id+"2"] = rule
					}
				}
			})}, false},
		},
		"bucket": {
			{edit{"the block is set otherwise", always(func(a *awsfake.Account) { a.Buckets["open"].PublicAccess = flags(false) })}, true},
			{edit{"the bucket is deleted", always(func(a *awsfake.Account) { delete(a.Buckets, "open") })}, true},
			{edit{"the block is removed", always(func(a *awsfake.Account) { a.Buckets["open"].PublicAccess = nil })}, false},
		},
		"bucket-half": {{edit{"the block is removed", always(func(a *awsfake.Account) { a.Buckets["half"].PublicAccess = nil })}, true}},
		"account":     {{edit{"the block is set otherwise", always(func(a *awsfake.Account) { a.PublicAccess = flags(true) })}, true}},
	} {
		for _, o := range outcomes {
			t.Run(scenario+"/"+o.name, func(t *testing.T) {
				r, s := newRig(t), named(scenario)
				receipt := r.apply(t, r.plan(t, s))
				writes := len(r.Writes())
				r.Edit(func(w *awsfake.World) { o.do(w.Accounts[account]) })
				left := r.state(t)
				for range 2 {
					err := r.actions[s.action].(respond.Undoer).Undo(t.Context(), receipt)
					conflict := new(respond.ConflictError)
					if errors.As(err, &conflict) != o.conflict || !o.conflict && err != nil {
						t.Errorf("undone with %v, want a conflict: %v", err, o.conflict)
					}
					if o.conflict && (conflict.Target == "" || conflict.What == "" || !strings.Contains(conflict.Error(), "left as it is")) {
						t.Errorf("the conflict says %v", conflict)
					}
				}
				if d := cmp.Diff(left, r.state(t)); d != "" || len(r.Writes()) != writes {
					t.Errorf("what somebody else left is overwritten:\n%s", d)
				}
			})
		}
	}
}

// TestUndoOneByOne: a rule that is back already keeps no other from coming back.
func TestUndoOneByOne(t *testing.T) {
	r, s := newRig(t), named("group")
	before := r.state(t)
	receipt := r.apply(t, r.plan(t, s))
	r.Fail(awsfake.Fault{Operation: "AuthorizeSecurityGroupIngress", Kind: awsfake.Before, Times: 1, Do: func(w *awsfake.World) {
		g := w.Accounts[account].SecurityGroups[groupID]
		for id, rule := range world().Accounts[account].SecurityGroups[groupID].Rules {
			if id == "sgr-all" {
				g.Rules["sgr-back"] = rule
			}
		}
	}})
	if err := r.actions[s.action].(respond.Undoer).Undo(t.Context(), receipt); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, r.state(t)); d != "" {
		t.Error(d)
	}
}

// strangers are what others do to the targets of scenarios. None makes by chance
// exactly what the action would have made: that could not be told from our own.
var strangers = map[string][]edit{
	"key": {
		recreate("mallory"), deleteUser("mallory"),
		{"another key", always(func(a *awsfake.Account) {
			if u := a.Users["mallory"]; u != nil {
				u.Keys["AKIAEXAMPLEMALLORY02"] = &awsfake.AccessKey{Status: "Active"}
			}
		})},
		{"the key is deleted", func(a *awsfake.Account) bool {
			u := a.Users["mallory"]
			if u == nil || u.Keys[key] == nil {
				return false
			}
			delete(u.Keys, key)
			return true
		}},
		{"the key is given back", func(a *awsfake.Account) bool {
			u := a.Users["mallory"]
			if u == nil || u.Keys[key] == nil {
				return false
			}
			u.Keys[key].Status = "Active"
			return true
		}},
	},
	"deny": {
		recreate("mallory"), deleteUser("mallory"),
		{"another policy", func(a *awsfake.Account) bool {
			u := a.Users["mallory"]
			if u == nil {
				return false
			}
			u.Inline = maps.Clone(u.Inline)
			if u.Inline == nil {
				u.Inline = map[string]string{}
			}
			u.Inline["new"] = `{"Statement":[]}`
			return true
		}},
	},
	"group": {
		{"a rule on another port", always(func(a *awsfake.Account) {
			a.SecurityGroups[groupID].Rules["sgr-new"] = &awsfake.Rule{Protocol: "tcp", From: 8080, To: 8080, IPv4: "10.0.0.0/8"}
		})},
		{"a rule in the place", always(narrow)},
		{"the office's rule goes", always(func(a *awsfake.Account) { delete(a.SecurityGroups[groupID].Rules, "sgr-office") })},
		{"the open rule goes", func(a *awsfake.Account) bool {
			had := a.SecurityGroups[groupID].Rules["sgr-ssh"] != nil
			delete(a.SecurityGroups[groupID].Rules, "sgr-ssh")
			return had
		}},
	},
	"bucket": {
		{"set otherwise", always(func(a *awsfake.Account) { a.Buckets["open"].PublicAccess = flags(false) })},
		{"set otherwise again", always(func(a *awsfake.Account) { a.Buckets["open"].PublicAccess = flags(true) })},
		{"removed", always(func(a *awsfake.Account) { a.Buckets["open"].PublicAccess = nil })},
	},
	"trail": {
		{"stopped", always(func(a *awsfake.Account) { a.Trails["stopped"].Logging = false })},
		{"another bucket", always(func(a *awsfake.Account) { a.Trails["stopped"].Bucket = "elsewhere" })},
	},
}

// containedAs makes of a world that is as others left it what it is with the action on it.
var containedAs = map[string]func(a *awsfake.Account, p *respond.Plan){
	"key": func(a *awsfake.Account, _ *respond.Plan) {
		if u := a.Users["mallory"]; u != nil && u.ID == "AIDAMALLORY" && u.Keys[key] != nil {
			u.Keys[key].Status = "Inactive"
		}
	},
	"deny": func(a *awsfake.Account, p *respond.Plan) {
		var state userState
		if u := a.Users["mallory"]; u != nil && p != nil && u.ID == p.TargetID && json.Unmarshal(p.Before, &state) == nil {
			if u.Inline == nil {
				u.Inline = map[string]string{}
			}
			u.Inline[state.Policy] = denyAll
		}
	},
	"group": func(a *awsfake.Account, _ *respond.Plan) {
		for _, id := range []string{"sgr-ssh", "sgr-all", "sgr-half"} {
			delete(a.SecurityGroups[groupID].Rules, id)
		}
	},
	"bucket": func(a *awsfake.Account, _ *respond.Plan) {
		a.Buckets["open"].PublicAccess = &awsfake.PublicAccess{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}
	},
	"trail": func(a *awsfake.Account, _ *respond.Plan) { a.Trails["stopped"].Logging = true },
}

// TestOnlyTheTargetEver: whatever happens in whatever order, with faults, the
// world is as others left it, with or without exactly the containment on the
// target, and nothing else is ever touched.
func TestOnlyTheTargetEver(t *testing.T) {
	for name, edits := range strangers {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(25) {
				sequence(t, name, edits, rand.New(rand.NewPCG(seed, 3)))
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func sequence(t *testing.T, name string, edits []edit, rnd *rand.Rand) {
	r, s := newRig(t), named(name)
	action := r.actions[s.action]
	mirror := world() // as others left it
	var plan *respond.Plan
	var receipt *respond.Receipt
	var log []string
	say := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	meddle := func(w *awsfake.World) {
		e := edits[rnd.IntN(len(edits))]
		if e.do(w.Accounts[account]) {
			e.do(mirror.Accounts[account])
			say("meanwhile: %s", e.name)
		}
	}
	for range 12 {
		if rnd.IntN(2) == 0 {
			switch kind := []string{awsfake.Throttle, awsfake.HTML500, awsfake.LostReply, awsfake.Deny, awsfake.Before}[rnd.IntN(5)]; kind {
			case awsfake.Before:
				// A read is where a change is still seen in time.
				op := map[string]string{"key": "GetUser", "deny": "GetUser", "group": "DescribeSecurityGroupRules", "bucket": "GetPublicAccessBlock", "trail": "GetTrail"}[name]
				r.Fail(awsfake.Fault{Operation: op, Kind: kind, Times: 1, Do: meddle})
			default:
				times := 1 + rnd.IntN(2*attempts)
				if name == "group" && kind == awsfake.LostReply {
					times = 1 // what a lost try revoked cannot be told from what others did
				}
				say("%s, %d times", kind, times)
				r.Fail(awsfake.Fault{Kind: kind, Times: times})
			}
		}
		var err error
		switch rnd.IntN(5) {
		case 0:
			var p *respond.Plan
			if p, err = r.tryPlan(t.Context(), s); err == nil && plan == nil && p.Decision == respond.Contain {
				plan = p
			}
			say("plan: %v", err)
		case 1, 2:
			if plan != nil && receipt == nil {
				var got *respond.Receipt
				if got, err = action.Apply(t.Context(), plan); err == nil {
					receipt = got
				}
				say("apply: %v", err)
			}
		case 3:
			undoer, ok := action.(respond.Undoer)
			if receipt != nil && ok {
				err = undoer.Undo(t.Context(), receipt)
				say("undo: %v", err)
			}
		case 4:
			r.Edit(meddle)
		}
		b, err := json.Marshal(mirror)
		if err != nil {
			t.Fatal(err)
		}
		free := canonical(t, b)
		var with awsfake.World
		if err := json.Unmarshal(b, &with); err != nil {
			t.Fatal(err)
		}
		containedAs[name](with.Accounts[account], plan)
		if b, err = json.Marshal(with); err != nil {
			t.Fatal(err)
		}
		contained := canonical(t, b)
		if now := r.state(t); now != free && now != contained {
			t.Errorf("%s\nthe world is neither as others left it nor contained:\n%s", strings.Join(log, "\n"), cmp.Diff(free, now))
			return
		}
	}
}
