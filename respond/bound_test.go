package respond

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
)

// hostile is a finding made by somebody who knows where it will be kept.
func hostile(i int, severity event.Severity) event.Finding {
	text := strings.Repeat("\u202e<&\x00\"é", 1000)
	f := event.Finding{
		ID: event.Hash("hostile", fmt.Sprint(i)), Rule: "r." + text, Severity: severity, Account: "111122223333", Title: text, Key: text, Region: text, File: text,
		Time: time.Date(2026, 1, 1, 0, i, 0, 0, time.UTC), Actor: event.Actor{ARN: text, Name: text, UserAgent: text, Root: &event.Actor{ARN: text, Session: text, Root: &event.Actor{ARN: text}}},
	}
	for n := range 1000 {
		f.Entities = append(f.Entities, event.Entity{Kind: "s3-bucket", ID: fmt.Sprint("<", i, ".", n, text[:600])})
		f.Events = append(f.Events, text[:300])
	}
	return f
}

// evidence is records of 64 KiB and an explanation.
func evidence(records int) event.Evidence {
	e := event.Evidence{Explain: &event.Truth{Expr: "a && b", Value: json.RawMessage("true"), Steps: []event.Truth{{Expr: "a", Error: "<>"}}}}
	for i := range records {
		e.Records = append(e.Records, event.Record{ID: fmt.Sprint(i), Kind: event.CloudTrail, Raw: json.RawMessage(`{"x":"` + strings.Repeat("x", 64<<10-8) + `"}`)})
	}
	return e
}

func size(t *testing.T, v any) int {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return len(b)
}

func TestWeightBoundsJSON(t *testing.T) {
	for _, f := range []event.Finding{hostile(1, event.High), {}, {Title: "plain", Entities: []event.Entity{{Kind: "a", ID: "b"}}, Events: []string{"1"}, Actor: event.Actor{Root: &event.Actor{}}}} {
		f.Severity = event.High
		if got, bound := size(t, f), weight(&f); got > bound {
			t.Errorf("a finding of %d bytes weighs %d", got, bound)
		}
	}
	for _, e := range []event.Evidence{evidence(0), evidence(3), {Records: []event.Record{{Kind: event.CloudTrail, Raw: json.RawMessage(`{"a":"<\u2028` + "\u2028" + `>"}`)}}}} {
		if got, bound := size(t, e), evidenceWeight(&e)+40; got > bound {
			t.Errorf("evidence of %d bytes weighs %d", got, bound)
		}
	}
}

func TestShrink(t *testing.T) {
	f := hostile(1, event.High)
	f.Evidence = evidence(5)
	small, less := shrink(&f)
	if got := size(t, small); !less || got > maxFinding+maxOwnEvidence {
		t.Errorf("shrunk to %d bytes, less evidence %v", got, less)
	}
	if n := len(small.Evidence.Records); n != 1 || small.Evidence.Records[0].ID != "4" || small.Evidence.Explain == nil {
		t.Errorf("%d records are kept, want the last, and the explanation", n)
	}
	again, less := shrink(&small)
	if d := cmp.Diff(small, again); d != "" || less {
		t.Errorf("shrinking twice is not shrinking once:\n%s", d)
	}
	var read event.Finding
	if err := json.Unmarshal(must(t, small), &read); err != nil {
		t.Fatal(err)
	}
	if again, _ := shrink(&read); weight(&again) > maxFinding || again.Title != small.Title {
		t.Errorf("a round through JSON changes the title from %q to %q", small.Title, again.Title)
	}
	ordinary := event.Finding{ID: "1", Severity: event.High, Title: "ordinary", Actor: event.Actor{ARN: "arn:aws:iam::111122223333:user/kim"}, Entities: []event.Entity{{Kind: "trail", ID: "main"}}, Events: []string{"e"}, Tags: []string{"t"}, Evidence: evidence(1)}
	if kept, less := shrink(&ordinary); less || cmp.Diff(ordinary, kept) != "" {
		t.Errorf("an ordinary finding changes:\n%s", cmp.Diff(ordinary, kept))
	}
}

func must(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestIncidentIsBounded: whatever 220 findings hold, an incident fits into a
// message, keeps the worst, and says what it left out; in any order.
func TestIncidentIsBounded(t *testing.T) {
	var all []event.Finding
	for i := range 220 {
		f := hostile(i, event.Low)
		f.Entities, f.Events = f.Entities[:10], f.Events[:10]
		f.Evidence = evidence(2)
		if i == 219 {
			f.Severity, f.Title = event.Critical, "what matters"
		}
		all = append(all, f)
	}
	var first []byte
	for seed := range uint64(2) {
		in := Incident{ID: "i", Status: "open"}
		rnd := rand.New(rand.NewPCG(seed, 1))
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for i := range all {
			if !in.add(&all[i]) {
				t.Fatal("a new finding changes nothing")
			}
		}
		stored := must(t, in)
		for i := range all {
			if in.add(&all[i]) {
				t.Fatal("a finding that was handled is counted again")
			}
		}
		if len(stored) > 5<<20 {
			t.Errorf("the incident has %d bytes", len(stored))
		}
		if len(in.Findings) != MaxFindings || in.More != 20 || len(in.Others) != 20 {
			t.Errorf("%d findings kept, %d more, %d told apart", len(in.Findings), in.More, len(in.Others))
		}
		if in.Title != "what matters" || in.Severity != event.Critical {
			t.Errorf("the headline is %q", in.Title)
		}
		kept := 0
		for _, f := range in.Findings {
			told := slices.Contains(in.EvidenceLeftOut, f.ID)
			if f.Evidence.Records == nil && !told {
				t.Error("evidence is missing and nothing says so")
			}
			if f.Evidence.Records != nil {
				kept++
			}
			if f.Severity == event.Critical && f.Evidence.Records == nil {
				t.Error("the worst finding has lost its evidence")
			}
		}
		if kept < maxEvidence/maxOwnEvidence || kept > 8 {
			t.Errorf("%d findings keep their evidence", kept)
		}
		if first == nil {
			first = stored
		} else if string(first) != string(stored) {
			t.Errorf("another order makes another incident:\n%s", cmp.Diff(string(first), string(stored)))
		}
	}
}

// TestAbsorbIsAdding: an incident made of two is the one that all findings would have made.
func TestAbsorbIsAdding(t *testing.T) {
	whole, left, right := Incident{ID: "left"}, Incident{ID: "left"}, Incident{ID: "right"}
	for i := range 400 {
		f := event.Finding{ID: fmt.Sprint(i), Severity: event.Severity(1 + i%5), Time: time.Date(2026, 1, 1, 0, 0, i*7919%5000, 0, time.UTC), Rule: fmt.Sprint("r", i%9)}
		if i%6 == 0 {
			f.Evidence = evidence(1)
		}
		f.Entities = []event.Entity{{Kind: "trail", ID: fmt.Sprint(i % 30)}}
		whole.add(&f)
		if i%3 == 0 {
			left.add(&f)
		} else {
			right.add(&f)
		}
	}
	right.Runs = []string{"run"}
	left.absorb(&right)
	whole.Runs, whole.Absorbed = []string{"run"}, []string{"right"}
	if d := cmp.Diff(string(must(t, whole)), string(must(t, left))); d != "" {
		t.Errorf("-added +absorbed:\n%s", d)
	}
}

// TestBookIsBounded: neither findings with very many targets nor very many incidents grow an account's index beyond a message.
func TestBookIsBounded(t *testing.T) {
	var b book
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	place := func(i int, f *event.Finding) string {
		id, _, _ := b.place(causes(f), start.Add(time.Duration(i)*time.Minute), time.Hour, fmt.Sprint("incident", i))
		return id
	}
	for i := range 900 {
		var f event.Finding
		for n := range 1000 {
			f.Entities = append(f.Entities, event.Entity{Kind: "s3-bucket", ID: fmt.Sprint(i, ".", n)})
		}
		place(i, &f)
	}
	if n := size(t, b); n > 4<<20 {
		t.Errorf("many targets: the book has %d bytes", n)
	}
	if n := len(b.Incidents); n < 500 || b.Incidents[n-1].ID != "incident899" {
		t.Errorf("many targets: %d incidents are left", n)
	}
	b = book{}
	for i := range maxChapters + 100 {
		place(i, &event.Finding{Actor: event.Actor{ARN: fmt.Sprint("user", i)}})
	}
	if len(b.Incidents) != maxChapters || b.Incidents[0].ID != "incident100" {
		t.Errorf("many incidents: %d are left, the first is %s", len(b.Incidents), b.Incidents[0].ID)
	}
	b = book{}
	for i := range 600 {
		place(i/60, &event.Finding{Actor: event.Actor{ARN: "crawler"}, Entities: []event.Entity{{Kind: "trail", ID: fmt.Sprint(i)}}})
	}
	if len(b.Incidents) != 1 || b.Incidents[0].size() != maxSpans {
		t.Errorf("one actor on many targets: %d incidents, %d spans", len(b.Incidents), b.Incidents[0].size())
	}
	if id := place(10, &event.Finding{Actor: event.Actor{ARN: "crawler"}}); id != "incident0" {
		t.Errorf("its actor is forgotten: %s", id)
	}
}

func TestMaxRuns(t *testing.T) {
	in := Incident{}
	for i := range MaxRuns + 5 {
		in.name(fmt.Sprint(i))
	}
	if len(in.Runs) != MaxRuns || !in.RunsLeftOut || in.name("0") || in.name("another") {
		t.Errorf("%d runs, left out %v", len(in.Runs), in.RunsLeftOut)
	}
}
