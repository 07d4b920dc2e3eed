package detect_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/expr"
	"riposte/rules"
	"riposte/samples"
)

func lists(t testing.TB) expr.Lists {
	t.Helper()
	l, err := expr.NewLists(map[string][]string{
		"own_accounts": nil, "trusted_accounts": nil, "trusted_networks": nil, "approved_regions": nil,
		"ci_identities": nil, "break_glass": nil, "log_buckets": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func shipped(t testing.TB) *detect.RuleSet {
	t.Helper()
	rs, err := detect.Load(rules.FS, detect.Options{Lists: lists(t)})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// sampleEvents are the records of every CloudTrail sample.
func sampleEvents(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	err := fs.WalkDir(samples.FS, "cloudtrail", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".ndjson") {
			return err
		}
		data, err := samples.FS.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(data) {
			var wrapped struct {
				Event  json.RawMessage   `json:"event"`
				Events []json.RawMessage `json:"events"`
			}
			if json.Unmarshal(line, &wrapped) == nil && wrapped.Event != nil {
				out = append(out, wrapped.Event)
			} else if wrapped.Events != nil {
				for _, e := range wrapped.Events {
					out = append(out, e)
				}
			} else {
				out = append(out, bytes.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestIndexEqualsEveryRuleOnSamples(t *testing.T) {
	rs := shipped(t)
	a, b := detect.NewEngine(rs), detect.NewEngine(rs)
	hits := 0
	for _, raw := range sampleEvents(t) {
		e, err := event.Decode(event.CloudTrail, raw)
		if err != nil {
			t.Fatalf("%v: %.200s", err, raw)
		}
		hits += same(t, a, b, &e)
	}
	if hits == 0 {
		t.Fatal("no rule fired on any sample: the comparison compared nothing")
	}
}

// same fails when the index changes an event's findings, and returns how many there are.
func same(t *testing.T, a, b *detect.Engine, e *event.Event) int {
	t.Helper()
	indexed, every := ids(a.Eval(e, nil)), ids(b.EvalAll(e, nil))
	if diff := cmp.Diff(every, indexed); diff != "" {
		t.Fatalf("the index changes the findings (-every +indexed):\n%s\n%s", diff, e.Raw)
	}
	return len(every)
}

func ids(fs []event.Finding) map[string]string {
	out := map[string]string{}
	for _, f := range fs {
		out[f.ID] = f.Rule
	}
	return out
}

// Words that generated rules and events share, so that conditions often hold;
// some hold what breaks naive indexes: case folds beyond ASCII, escapes, prefixes of each other.
var vocabulary = []string{
	"StopLogging", "stoplogging", "Stop", "ſtoplogging", "DeleteTrail", "KMS", "\u212Ams", "kms", "a\"b", "a\\b", "tab\tx", "", "x", "aab", "aabaab", "ab", "b",
	"iam.amazonaws.com", "ec2.amazonaws.com", "true", "false", "22", "é", "日本", "Mozilla/5.0 (kali)",
}

var textFields = []string{"eventName", "eventSource", "userAgent", "errorCode", "sourceIPAddress", "userIdentity.arn", "userIdentity.sessionContext.sessionIssuer.userName"}

// TestIndexEqualsEveryRule is the differential proof: over generated rules and
// events, evaluating the candidates alone gives the findings, and the errors of
// candidates' rules, that evaluating everything gives.
func TestIndexEqualsEveryRule(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 17))
			fsys := fstest.MapFS{}
			for i := range 150 {
				when := condition(r, 3)
				fsys[fmt.Sprintf("r%03d.yaml", i)] = &fstest.MapFile{Data: []byte(fmt.Sprintf("id: r%03d\ntitle: t\nseverity: low\nsource: cloudtrail\nwhen: |\n  %s\n", i, when))}
			}
			rs, err := detect.Load(fsys, detect.Options{Lists: lists(t)})
			if err != nil {
				t.Fatal(err)
			}
			a, b := detect.NewEngine(rs), detect.NewEngine(rs)
			hits := 0
			for range 400 {
				raw := record(r)
				e, err := event.Decode(event.CloudTrail, raw)
				if err != nil {
					t.Fatalf("%v: %s", err, raw)
				}
				hits += same(t, a, b, &e)
			}
			if hits < 1000 {
				t.Errorf("only %d hits in %d pairs: the generator is too cold to prove much", hits, 150*400)
			}
		})
	}
}

func word(r *rand.Rand) string { return vocabulary[r.IntN(len(vocabulary))] }

func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

// condition generates a CEL condition of at most depth connectives.
func condition(r *rand.Rand, depth int) string {
	if depth > 0 {
		switch r.IntN(6) {
		case 0, 1:
			return "(" + condition(r, depth-1) + " && " + condition(r, depth-1) + ")"
		case 2:
			return "(" + condition(r, depth-1) + " || " + condition(r, depth-1) + ")"
		case 3:
			return "!(" + condition(r, depth-1) + ")"
		}
	}
	f := textFields[r.IntN(len(textFields))]
	w := quoted(word(r))
	switch r.IntN(16) {
	case 0, 1, 2:
		return f + " == " + w
	case 3:
		return w + " == " + f
	case 4:
		return f + " in [" + w + ", " + quoted(word(r)) + "]"
	case 5:
		return f + ".startsWith(" + w + ")"
	case 6:
		return f + ".endsWith(" + w + ")"
	case 7:
		return f + ".contains(" + w + ")"
	case 8:
		return []string{"ieq", "icontains", "istarts", "iends"}[r.IntN(4)] + "(" + f + ", " + w + ")"
	case 9:
		return f + ".matches(" + quoted([]string{"(?i)stop", "^aab", "(ab|b)$", "a+b", "(?i)(kms|x)", "S.opL", "k"}[r.IntN(7)]) + ")"
	case 10:
		return []string{"glob", "iglob"}[r.IntN(2)] + "(" + f + ", " + quoted([]string{"Stop*", "*ab", "*kms*", "?ab*", "x"}[r.IntN(5)]) + ")"
	case 11:
		return []string{"readOnly", "readOnly == true", "readOnly == false", "!managementEvent"}[r.IntN(4)]
	case 12:
		return "requestParameters.a == " + w // an error when a is missing
	case 13:
		return `requestParameters.?a.orValue("") == ` + w
	case 14:
		return f + " != " + w
	}
	return "has(" + []string{"userIdentity.arn", "requestParameters.a", "userIdentity.sessionContext"}[r.IntN(3)] + ")"
}

// record generates a CloudTrail record of the same words.
func record(r *rand.Rand) []byte {
	m := map[string]any{}
	put := func(key string, v any) {
		if r.IntN(5) > 0 {
			m[key] = v
		}
	}
	for _, f := range textFields[:5] {
		put(f, word(r)+[]string{"", "", word(r)}[r.IntN(3)])
	}
	put("readOnly", r.IntN(2) == 0)
	put("managementEvent", []any{true, false, nil, "true"}[r.IntN(4)])
	put("userIdentity", map[string]any{"arn": word(r), "sessionContext": map[string]any{"sessionIssuer": map[string]any{"userName": word(r)}}})
	put("requestParameters", []any{nil, map[string]any{"a": word(r)}, map[string]any{"b": 1}, map[string]any{"a": 3}}[r.IntN(4)])
	b, _ := json.Marshal(m)
	if r.IntN(3) == 0 { // the same with escapes that the scanner must see through
		b = bytes.ReplaceAll(b, []byte("Stop"), []byte(`\u0053top`))
	}
	return b
}

func TestErrorsAreCounted(t *testing.T) {
	rs, err := detect.Load(fstest.MapFS{"a.yaml": {Data: []byte("id: a\ntitle: t\nseverity: low\nsource: cloudtrail\nwhen: eventName == \"X\" && requestParameters.missing == 1\n")}}, detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := event.Decode(event.CloudTrail, []byte(`{"eventName":"X"}`))
	if f := detect.NewEngine(rs).Eval(&e, nil); len(f) != 0 {
		t.Errorf("findings: %v", f)
	}
	c := rs.Counters()[0]
	if c.Errors != 1 || c.Hits != 0 || !strings.Contains(c.LastError, "no such key: missing") {
		t.Errorf("%+v", c)
	}
}

func TestShippedRulesPassTheirTests(t *testing.T) {
	for _, r := range shipped(t).Test() {
		if !r.Passed {
			truth, _ := json.MarshalIndent(r.Explain, "", "  ")
			t.Errorf("%s: %s: %s\n%s", r.Rule, r.Test, r.Reason, truth)
		}
	}
}
