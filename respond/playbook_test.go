package respond_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
	"riposte/playbooks"
	"riposte/respond"
)

func one(text string) []respond.Folder {
	return []respond.Folder{{Name: "mine", FS: fstest.MapFS{"p.yaml": {Data: []byte(text)}}}}
}

func fakes() map[string]respond.Action {
	return map[string]respond.Action{"fake.act": &act{}, "fake.other": &act{}}
}

const mistakes = `
mine/p.yaml:1:1: the playbook has no title
mine/p.yaml:1:5: an id is lower case words joined by dots and dashes
mine/p.yaml:2:16: finding has no field "rool" (want one of account, actor, entities, events, id, key, level, region, rule, severity, tags, time, title)
mine/p.yaml:3:1: unknown key "stepz" (did you mean "steps"?)
mine/p.yaml:6:13: there is no action "fake.akt" (did you mean "fake.act"?)
mine/p.yaml:8:5: step id "one" is used twice
mine/p.yaml:8:5: fake.act wants the parameter "who": whom
mine/p.yaml:10:11: this yields string, want bool
mine/p.yaml:11:17: fake.act has no parameter "wo" (did you mean "who"?)
mine/p.yaml:12:5: a step wants an id
mine/p.yaml:13:45: the expression ends too early
mine/p.yaml:14:5: a step wants an action (want one of fake.act, fake.other)
mine/p.yaml:15:11: step "frist" is not before this one
mine/p.yaml:15:86: step "last" is not before this one
mine/p.yaml:18:5: test "a test" expects step "one" to decide "contained" (want one of contain, already-contained, refuse, skipped, error)
mine/p.yaml:18:5: test "a test" expects step "onee", which does not exist (did you mean "one"?)
mine/p.yaml:22:5: a test wants name, finding and matches
mine/p.yaml:24:5: test "steps of nothing" expects decisions of steps although the playbook should not match
`

// TestEveryMistakeAtOnce: somebody who mends a playbook mends it once.
func TestEveryMistakeAtOnce(t *testing.T) {
	const text = `id: Not An Id
match: finding.rool == "x"
stepz: []
steps:
  - id: one
    action: fake.akt
    with: {who: finding.actor.name}
  - id: one
    action: fake.act
    when: finding.title
    with: {wo: '"x"'}
  - action: fake.act
    with: {who: '"x"', port: finding.level +}
  - id: last
    when: steps.frist.decision == "contain" && steps["one"].decision == "contain" && steps.last.decision == "x"
    with: {}
tests:
  - name: a test
    finding: {rule: x}
    matches: true
    steps: {onee: contain, one: contained}
  - name: no finding
    matches: true
  - name: steps of nothing
    finding: {rule: x}
    matches: false
    steps: {one: skipped}
`
	_, err := respond.LoadPlaybooks(one(text), fakes(), nil)
	if err == nil {
		t.Fatal("it loads")
	}
	var lines []string
	for _, l := range strings.Split(err.Error(), "\n") {
		if strings.HasPrefix(l, "mine/") {
			lines = append(lines, l)
		}
	}
	if d := cmp.Diff(strings.Split(strings.TrimSpace(mistakes), "\n"), lines); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestSameIDInTwoFiles(t *testing.T) {
	files := fstest.MapFS{"a.yaml": {Data: []byte(strings.TrimSpace(twoSteps))}, "sub/b.yml": {Data: []byte(strings.TrimSpace(twoSteps))}, "notes.txt": {Data: []byte("{")}}
	_, err := respond.LoadPlaybooks([]respond.Folder{{Name: "mine", FS: files}}, fakes(), nil)
	if err == nil || !strings.Contains(err.Error(), `mine/sub/b.yml:1:5: playbook id "contain" is already used at mine/a.yaml:1`) {
		t.Errorf("loaded with %v", err)
	}
}

type broken struct{ fstest.MapFS }

func (b broken) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".yaml") {
		return nil, errors.New("disk on fire")
	}
	return b.MapFS.Open(name)
}

func (b broken) ReadFile(string) ([]byte, error) { return nil, errors.New("disk on fire") }

func TestUnreadableFolder(t *testing.T) {
	_, err := respond.LoadPlaybooks([]respond.Folder{{Name: "mine", FS: broken{fstest.MapFS{"a.yaml": {}}}}}, fakes(), nil)
	if err == nil || !strings.Contains(err.Error(), "mine: ") || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("loaded with %v", err)
	}
}

func TestWarnings(t *testing.T) {
	p, err := respond.LoadPlaybooks(one(twoSteps), fakes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := p.Warnings().Error()
	for _, want := range []string{"warning: no test has a finding that it matches", "warning: no test has a finding that it does not match"} {
		if !strings.Contains(got, want) {
			t.Errorf("the warnings lack %q:\n%s", want, got)
		}
	}
}

func TestVersionFollowsMeaning(t *testing.T) {
	version := func(text string) string { return load(t, fakes(), text).List()[0].Version }
	base := version(twoSteps)
	for _, same := range []string{"\n# a comment\n" + twoSteps, strings.Replace(twoSteps, "title: Contain", "title: Another", 1)} {
		if version(same) != base {
			t.Errorf("the version changes with what means the same:\n%s", same)
		}
	}
	for old, changed := range map[string]string{">= 4": ">= 3", "id: second": "id: third", `"two "`: `"three "`, `== "contain"`: `== "refuse"`, "action: fake.act, with": "action: fake.other, with"} {
		if version(strings.Replace(twoSteps, old, changed, 1)) == base {
			t.Errorf("the version stays when %s becomes %s", old, changed)
		}
	}
}

func TestPlaybookTestsFail(t *testing.T) {
	const text = `
id: tested
title: Tested
match: finding.level >= 4 && path(event, "eventName", "") == "StopLogging"
steps:
  - {id: act, action: fake.act, with: {who: finding.actor.name}}
  - {id: skip, action: fake.act, when: 'steps.act.decision == "refuse"', with: {who: '"x"'}}
tests:
  - {name: right, finding: {rule: r, severity: high}, event: {eventName: StopLogging}, matches: true, steps: {act: contain, skip: skipped}}
  - {name: no match, finding: {rule: r, severity: high}, event: {eventName: StartLogging}, matches: true}
  - {name: match, finding: {rule: r, severity: high}, event: {eventName: StopLogging}, matches: false}
  - {name: other decision, finding: {rule: r, severity: high}, event: {eventName: StopLogging}, matches: true, steps: {act: refuse}}
  - {name: other skip, finding: {rule: r, severity: high}, event: {eventName: StopLogging}, matches: true, steps: {skip: contain}}
  - {name: bad severity, finding: {rule: r, severity: grave}, matches: true}
`
	p := load(t, fakes(), text)
	var got []string
	for _, r := range p.Test(t.Context(), fakes()) {
		got = append(got, r.Test+": "+r.Reason)
		if r.Passed != (r.Reason == "") || r.Playbook != "tested" {
			t.Errorf("%+v", r)
		}
	}
	want := []string{
		"right: ",
		"no match: playbooks/p0.yaml:10: matches is false, want true",
		"match: playbooks/p0.yaml:11: matches is true, want false",
		"other decision: playbooks/p0.yaml:12: step act decides contain (it is there), want refuse",
		"other skip: playbooks/p0.yaml:13: step skip decides skipped (its condition does not hold), want contain",
		`bad severity: playbooks/p0.yaml:14: the finding: unknown severity "grave": want one of info, low, medium, high, critical`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestSimulate(t *testing.T) {
	acts := fakes()
	p := load(t, acts, twoSteps)
	f := at("a", event.High, "mallory", 0)
	run := p.Simulate(context.Background(), p.List()[0], &f, acts)
	if run.ID != respond.RunID(p.List()[0], &f) || run.Status != "planned" || len(run.Steps) != 2 || run.Steps[1].Plan.Target.ID != "two mallory" || run.Steps[0].Plan.Key == run.Steps[1].Plan.Key {
		t.Errorf("simulated %+v", run)
	}
}

func TestMatchingWithoutVerdict(t *testing.T) {
	p := load(t, fakes(), strings.Replace(twoSteps, "finding.level >= 4", `finding.entities[3].id == "x"`, 1), strings.Replace(twoSteps, "id: contain", "id: other", 1))
	f := at("a", event.High, "mallory", 0)
	matched, errs := p.Matching(&f)
	if len(matched) != 1 || matched[0].ID != "other" || len(errs) != 1 || !strings.Contains(errs[0].Error(), "playbook contain: match: ") {
		t.Errorf("matched %v with %v", matched, errs)
	}
}

func FuzzLoadPlaybooks(f *testing.F) {
	files, err := fs.Glob(playbooks.FS, "*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := fs.ReadFile(playbooks.FS, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(twoSteps)
	f.Add("id: &a x\nsteps: [*a, {<<: *a}]\ntests: [{finding: {a: [1, {b: !!binary x}]}, matches: yes}]")
	acts := fakes()
	f.Fuzz(func(t *testing.T, text string) {
		p, err := respond.LoadPlaybooks(one(text), acts, nil)
		if err != nil {
			if p != nil || !strings.Contains(err.Error(), "mine/p.yaml") {
				t.Errorf("an error without its place: %v", err)
			}
			return
		}
		finding := at("a", event.High, "mallory", 0)
		p.Matching(&finding)
		for _, r := range p.Test(t.Context(), acts) {
			if r.Passed == (r.Reason != "") {
				t.Errorf("%+v", r)
			}
		}
	})
}
