package detect

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"riposte/event"
	"riposte/internal/problem"
	"riposte/internal/rulegen"
	"riposte/rules"
)

// TestExplanationIsTheVerdict: the root of the truth tree is what the condition
// said, an error included, for the shipped rules over the samples and their own
// tests and for generated rules over generated events.
func TestExplanationIsTheVerdict(t *testing.T) {
	pairs, failed := 0, 0
	check := func(r *Rule, e *event.Event) {
		t.Helper()
		in := r.when.NewInput()
		in.SetEvent(e)
		verdict, err := r.when.Bool(in)
		truth := r.when.Explain(in)
		pairs++
		switch {
		case err != nil:
			failed++
			if truth.Error == "" {
				t.Fatalf("%s ends in %v, and its explanation says %s\n%s", r.When, err, truth.Value, e.Raw)
			}
		case truth.Error != "" || string(truth.Value) != map[bool]string{true: "true", false: "false"}[verdict]:
			t.Fatalf("%s is %v, and its explanation says %s %s\n%s", r.When, verdict, truth.Value, truth.Error, e.Raw)
		}
	}
	rs, err := Load(rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	samples := sampleEvents(t)
	for i, r := range rs.Rules() {
		for k := range samples { // every sample meets every ninth rule; hits meet theirs below
			if e := &samples[k]; e.Kind == r.Source && (k+i)%9 == 0 {
				check(r, e)
			}
		}
		for _, test := range r.Tests {
			for _, m := range test.Events {
				e, err := r.TestEvent(m)
				if err != nil {
					t.Fatal(err)
				}
				check(r, &e)
			}
		}
	}
	for _, d := range dialects {
		g := newGenerator(t, 5)
		rs, err := Load(g.rules(&d, 60), Options{Lists: testLists(t)})
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			e := d.event(g)
			for _, r := range rs.Rules() {
				check(r, &e)
			}
		}
	}
	t.Logf("%d pairs, %d of them errors", pairs, failed)
	if failed == 0 {
		t.Error("no evaluation ended in an error: that half is not shown")
	}
}

// TestExplanationKeepsSecrets: a finding goes to chat and tickets.
func TestExplanationKeepsSecrets(t *testing.T) {
	rs, err := Load(fstest.MapFS{"a.yaml": {Data: []byte(`id: a
title: t
severity: low
source: cloudtrail
when: |
  eventName == "X" && requestParameters.masterUserPassword != "" && path(requestParameters, "auth.password", "").size() > 3 &&
  requestParameters["secretString"].startsWith("hunt") && requestParameters.?token.orValue("") != "" && requestParameters.auth.size() == 2
`)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(event.CloudTrail, []byte(`{"eventName":"X","requestParameters":{"masterUserPassword":"hunter-1","auth":{"password":"hunter-2","user":"kim"},"secretString":"hunter-3","token":"hunter-4"}}`))
	if err != nil {
		t.Fatal(err)
	}
	found := NewEngine(rs).Eval(&e, nil)
	if len(found) != 1 {
		t.Fatalf("%d findings: %+v", len(found), rs.Counters())
	}
	var walk func(event.Truth) string
	walk = func(n event.Truth) string {
		out := n.Expr + " = " + string(n.Value) + "\n"
		for _, s := range n.Steps {
			out += walk(s)
		}
		return out
	}
	text := walk(*found[0].Evidence.Explain) + string(found[0].Evidence.Records[0].Raw)
	if strings.Contains(text, "hunter") {
		t.Errorf("a secret is told:\n%s", text)
	}
	for _, told := range []string{`requestParameters.masterUserPassword = "REDACTED"`, `eventName = "X"`, `"user":"kim"`} {
		if !strings.Contains(text, told) {
			t.Errorf("%s is not told:\n%s", told, text)
		}
	}
}

// FuzzLoad: whatever stands in a rule file, loading it does not panic and its
// problems have places; what loads gives the same findings with the index and
// without.
func FuzzLoad(f *testing.F) {
	n := 0
	err := fs.WalkDir(rules.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if n++; n%20 == 0 {
			data, err := rules.FS.ReadFile(name)
			f.Add(data)
			return err
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, data := range rulegen.Files(6, 9) {
		f.Add(data)
	}
	f.Add([]byte("id: a\ntitle: t\nseverity: low\nsource: flow\nwhen: flow.dstport == 22\ngroup: [flow.srcaddr]\nentities: [{kind: address, id: flow.srcaddr}]\nsummary: x ${flow.dstport}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("id: {a: b}\nwhen: >-\n  eventName\n  == 1\ntests: [{event: {a: 2026-01-01}, fires: true, name: x}]\n"))
	samples := sampleEvents(f)
	var few []event.Event
	for i := 0; i < len(samples); i += max(1, len(samples)/60) {
		few = append(few, samples[i])
	}
	lists := testLists(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 10_000 {
			return
		}
		fsys := fstest.MapFS{"r.yaml": {Data: data}}
		rs, err := Load(fsys, Options{Lists: lists})
		if err != nil {
			var list problem.List
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			lines := regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]").Split(string(data), -1)
			for _, p := range list {
				if p.File != "r.yaml" || p.Message == "" || p.Line < 0 || p.Line > len(lines) || p.Col < 0 || p.Line == 0 && p.Col > 0 {
					t.Fatalf("a place that is none: %#v", p)
				}
			}
			return
		}
		rs.Lint()
		rs.Test(nil)
		pair := newEnginePair(t, fsys, Options{Lists: lists})
		for i := range few {
			pair.compare(t, &few[i])
		}
		a, b := pair.indexed.set.Counters(), pair.every.set.Counters()
		for i := range a {
			if a[i].Hits != b[i].Hits || a[i].Errors != b[i].Errors {
				t.Fatalf("with the index %+v, without %+v", a[i], b[i])
			}
		}
	})
}
