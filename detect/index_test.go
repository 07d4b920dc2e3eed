package detect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
	"riposte/internal/expr"
	"riposte/internal/rulegen"
	"riposte/rules"
	"riposte/samples"
)

// seeds is how many generated sets a test takes; RIPOSTE_SEEDS asks for more.
func seeds(t *testing.T, few int) int {
	if s := os.Getenv("RIPOSTE_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 1
	}
	return few
}

func testLists(t testing.TB) expr.Lists {
	t.Helper()
	l, err := expr.NewLists(map[string][]string{"names": {"Stop*", "10.0.0.0/8", "kms"}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A dialect is what generated rules and events of one kind are about.
type dialect struct {
	kind    event.Kind
	texts   []string // text fields
	numbers []string // whole-number fields
	flags   []string // conditions that are fields or their likes
	dyn     string   // a free-form field
	event   func(g *generator) event.Event
}

var dialects = []dialect{
	{
		kind:  event.CloudTrail,
		texts: []string{"eventName", "eventSource", "userAgent", "errorCode", "sourceIPAddress", "userIdentity.arn", "userIdentity.sessionContext.sessionIssuer.userName"},
		flags: []string{"readOnly", "readOnly == true", "true == readOnly", "readOnly == false", "!managementEvent", "has(userIdentity.arn)", "has(userIdentity.sessionContext)", "has(requestParameters.a)"},
		dyn:   "requestParameters", event: (*generator).cloudTrail,
	},
	{
		kind: event.FlowLog, texts: []string{"flow.srcaddr", "flow.action", "flow.interface_id", "flow.pkt_dst_aws_service", "flow.log_status"},
		numbers: []string{"flow.dstport", "flow.protocol", "flow.packets", "flow.tcp_flags"},
		flags:   []string{"has(flow.dstport)", "has(flow.srcaddr)", "flow.bytes > flow.packets", "flow.packets + flow.bytes == 22", "is_private(flow.srcaddr)"},
		dyn:     "flow.extra", event: (*generator).flowLine,
	},
	{
		kind: event.ConfigItem, texts: []string{"item.resourceType", "item.resourceId", "item.status", "item.awsRegion", "item.arn"},
		flags: []string{"has(item.resourceName)", "item.relationships.exists(r, r.a == 'x')", "item.tags.size() > 0", "has(item.configuration.a)"},
		dyn:   "item.configuration", event: (*generator).item,
	},
}

// vocabulary is what conditions and events share, so that conditions often hold;
// some words are what naive indexes break on: case folds beyond ASCII, escapes,
// prefixes of each other, the empty text, numbers that are not written canonically.
var vocabulary = []string{
	"StopLogging", "stoplogging", "Stop", "ſtoplogging", "DeleteTrail", "KMS", "\u212Ams", "kms", "a\"b", "a\\b", "tab\tx", "", "x", "aab", "aabaab", "ab", "b",
	"iam.amazonaws.com", "ec2.amazonaws.com", "true", "false", "22", "022", "é", "日本", "İ", "Mozilla/5.0 (kali)", "10.1.2.3", "ACCEPT", "0", "-",
}

type generator struct {
	*rand.Rand
	format *event.FlowFormat
	t      testing.TB
}

func newGenerator(t testing.TB, seed int) *generator {
	format, err := event.ParseFlowFormat("version srcaddr dstport protocol packets bytes action interface-id tcp-flags pkt-dst-aws-service log-status a")
	if err != nil {
		t.Fatal(err)
	}
	return &generator{Rand: rand.New(rand.NewPCG(uint64(seed), 17)), format: format, t: t}
}

func (g *generator) word() string { return vocabulary[g.IntN(len(vocabulary))] }

func one[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

// condition generates a CEL condition of at most depth connectives.
func (g *generator) condition(d *dialect, depth int) string {
	if depth > 0 {
		a := func() string { return g.condition(d, depth-1) }
		switch g.IntN(8) {
		case 0, 1, 2:
			return "(" + a() + " && " + a() + ")"
		case 3:
			return "(" + a() + " || " + a() + ")"
		case 4:
			return "!(" + a() + ")"
		case 5:
			return "(" + a() + " ? " + a() + " : " + a() + ")"
		}
	}
	if len(d.numbers) > 0 && g.IntN(4) == 0 {
		f, n := one(g, d.numbers...), one(g, "22", "6", "0", "443", "-1", "9223372036854775807")
		switch g.IntN(5) {
		case 0:
			return n + " == " + f
		case 1:
			return f + " in [" + n + ", 17]"
		case 2:
			return f + " > 21.5"
		}
		return f + one(g, " == ", " == ", " > ", " >= ", " != ", " <= ") + n
	}
	f := one(g, d.texts...)
	w := quoted(g.word())
	switch g.IntN(23) {
	case 0, 1, 2:
		return f + " == " + w
	case 3:
		return w + " == " + f
	case 4:
		return f + " in [" + w + ", " + quoted(g.word()) + ", " + quoted(g.word()) + "]"
	case 5:
		return f + ".startsWith(" + w + ")"
	case 6:
		return f + ".endsWith(" + w + ")"
	case 7:
		return f + ".contains(" + w + ")"
	case 8:
		return one(g, "ieq", "icontains", "istarts", "iends") + "(" + f + ", " + w + ")"
	case 9:
		return f + ".matches(" + quoted(one(g, "(?i)stop", "^aab", "(ab|b)$", "a+b", "(?i)(kms|x)", "S.opL", "k", "(?i:st)op", "[Kk]ms", "x*", "(Stop){1,2}", "ka?li|Delete", "(?s)^.*22$", "\\x{212A}")) + ")"
	case 10:
		return one(g, "glob", "iglob") + "(" + f + ", " + quoted(one(g, "Stop*", "*ab", "*kms*", "?ab*", "x", "", "*", "a*b*b", "S?op*ing", "日?", "*İ*", "iam.*.com")) + ")"
	case 11, 12:
		return one(g, d.flags...)
	case 13:
		return d.dyn + ".a == " + w // an error when a is missing
	case 14:
		return d.dyn + `.?a.orValue("") == ` + w
	case 15:
		return f + " != " + w
	case 16:
		return one(g, "actor.arn", "event.id", "event.name") + " == " + w
	case 17:
		return `in_list("names", ` + f + ")"
	case 18:
		at := "path(" + d.dyn + ", " + one(g, `"a"`, `"n.a"`, `"b"`) + ", " + one(g, `""`, `""`, w) + ")"
		return one(g, at+" == "+w, w+" == "+at, at+".startsWith("+w+")", at+".contains("+w+")", at+".endsWith("+w+")", at+" != "+w)
	case 19:
		return "path(" + d.dyn + ", " + one(g, `"a"`, `"n.a"`) + ", " + one(g, "false", "true") + ")"
	case 20:
		return "path(" + d.dyn + `, "a", "").matches(` + quoted(one(g, "^Stop", "(ab|x)$", "(?i)kms", "a+b", "x*", `"`, `a.b`, "é")) + ")"
	case 21:
		if d.kind == event.CloudTrail {
			return "actor.session" + one(g, " == "+w, ".startsWith("+w+")", ".contains("+w+")", ".endsWith("+w+")", `.matches("^Stop")`, `.matches("^i-[0-9a-f]+$")`, `.matches("(ab|x)")`, `.matches("^(a|b)")`, " != "+w)
		}
	}
	return "int(" + f + ") == 22" // an error when it is no number
}

// escape writes some letters of a JSON document as escapes that the scanner must see through.
func (g *generator) escape(b []byte) []byte {
	if g.IntN(3) == 0 {
		return bytes.ReplaceAll(b, []byte("Stop"), []byte(`\u0053top`))
	}
	return b
}

func (g *generator) text() string {
	if g.IntN(3) == 0 {
		return g.word() + g.word()
	}
	return g.word()
}

func (g *generator) decode(kind event.Kind, m map[string]any) event.Event {
	b, err := json.Marshal(m)
	if err != nil {
		g.t.Fatal(err)
	}
	e, err := event.Decode(kind, g.escape(b))
	if err != nil {
		g.t.Fatalf("%v: %s", err, b)
	}
	return e
}

func (g *generator) put(m map[string]any, key string, v any) {
	if g.IntN(5) > 0 {
		m[key] = v
	}
}

func (g *generator) free() any {
	return one[any](g, nil, map[string]any{"a": g.word()}, map[string]any{"b": 1}, map[string]any{"a": 3}, g.word(), []any{"a"},
		map[string]any{"a": true}, map[string]any{"n": map[string]any{"a": g.text()}}, map[string]any{"a": g.text(), "n": map[string]any{"a": true}})
}

func (g *generator) cloudTrail() event.Event {
	m := map[string]any{}
	for _, f := range []string{"eventName", "eventSource", "userAgent", "errorCode", "sourceIPAddress"} {
		g.put(m, f, g.text())
	}
	g.put(m, "errorCode", one[any](g, g.text(), nil, 22, true))
	g.put(m, "readOnly", g.IntN(2) == 0)
	g.put(m, "managementEvent", one[any](g, true, false, nil, "true", 1))
	principal := one(g, g.word(), g.word()+":"+g.word(), ":"+g.text(), g.word()+":i-0f1e2d3c", "")
	arn := one(g, g.text(), g.text()+"/"+g.word(), "arn:aws:sts::1:assumed-role/r/i-0f1e2d3c")
	kind := one(g, "AssumedRole", "FederatedUser", "IAMUser", "Root", "")
	g.put(m, "userIdentity", one[any](g, nil, map[string]any{"type": kind, "principalId": principal, "arn": arn}, map[string]any{"arn": g.text(), "sessionContext": map[string]any{"sessionIssuer": map[string]any{"userName": g.text()}}}, g.word()))
	g.put(m, "requestParameters", g.free())
	return g.decode(event.CloudTrail, m)
}

func (g *generator) item() event.Event {
	m := map[string]any{}
	for _, f := range []string{"resourceType", "resourceId", "configurationItemStatus", "awsRegion", "ARN", "resourceName"} {
		g.put(m, f, one[any](g, g.text(), g.text(), nil, 22))
	}
	g.put(m, "configuration", one(g, g.free(), `{"a":"Stop"}`, `{"a":`))
	g.put(m, "relationships", []any{map[string]any{one(g, "a", "b"): "x"}})
	g.put(m, "tags", one[any](g, nil, map[string]any{"a": "b"}))
	return g.decode(event.ConfigItem, m)
}

func (g *generator) flowLine() event.Event {
	cell := func(from ...string) string {
		s := one(g, append(from, "-", one(g, from...), g.word())...)
		if s = strings.Map(func(r rune) rune {
			if r <= ' ' || r >= 0x7f {
				return 'u'
			}
			return r
		}, s); s == "" {
			return "-"
		}
		return s
	}
	number := func() string { return cell("22", "6", "022", "17", "443", "-6", "99999999999999999999", "0") }
	line := strings.Join([]string{
		"2", cell("10.1.2.3", "1.1.1.1"), number(), number(), number(), number(), cell("ACCEPT", "REJECT"), cell("StopLogging", "x"), number(), cell("S3", "kms"), cell("OK"), cell("x", "Stop"),
	}, " ")
	var e event.Event
	if err := e.ScanFlow(g.format, []byte(line)); err != nil {
		g.t.Fatalf("%v: %s", err, line)
	}
	return e
}

// generated is a rule set of generated conditions.
func (g *generator) rules(d *dialect, n int) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := range n {
		fsys[fmt.Sprintf("r%03d.yaml", i)] = &fstest.MapFile{Data: []byte(fmt.Sprintf("id: r%03d\ntitle: t\nseverity: low\nsource: %s\nwhen: |\n  %s\n", i, d.kind, g.condition(d, 4)))}
	}
	return fsys
}

// TestIndexHidesNothing is the differential proof, rule by rule: over generated
// rules and events of every kind, a rule that the index leaves out evaluates to
// false, and not to true or to an error.
func TestIndexHidesNothing(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.kind.String(), func(t *testing.T) {
			t.Parallel()
			var verdicts [3]int // true, false, error
			left, indexed := 0, 0
			for seed := range seeds(t, 6) {
				g := newGenerator(t, seed)
				rs, err := Load(g.rules(&d, 200), Options{Lists: testLists(t)})
				if err != nil {
					t.Fatal(err)
				}
				ix := rs.indexes[d.kind]
				offered := make([]bool, len(ix.rules))
				in := ix.rules[0].when.NewInput()
				memos := ix.memos()
				for range 500 {
					e := d.event(g)
					clear(offered)
					ix.candidates(&e, memos, func(i int32) { offered[i] = offered[i] || ix.predicates[i].Holds(&e) })
					in.SetEvent(&e)
					for i, r := range ix.rules {
						verdict, err := r.when.Bool(in)
						switch {
						case err != nil:
							verdicts[2]++
						case verdict:
							verdicts[0]++
						default:
							verdicts[1]++
						}
						if offered[i] {
							indexed++
						} else if left++; verdict || err != nil {
							t.Fatalf("seed %d: the index hides a verdict of %v, %v:\n%s\npredicate %+v\n%s", seed, verdict, err, r.When, r.when.Predicate(), e.Raw)
						}
					}
				}
			}
			t.Logf("%d pairs: %d true, %d false, %d errors; the index left out %d", indexed+left, verdicts[0], verdicts[1], verdicts[2], left)
			all := indexed + left
			if verdicts[0]*50 < all || verdicts[2]*200 < all || left*10 < all {
				t.Error("the generator is too one-sided to prove much")
			}
		})
	}
}

// TestEvalEqualsEvalAll is the same proof of the whole engine: findings and the
// counts of hits and errors are the same with the index and without.
func TestEvalEqualsEvalAll(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.kind.String(), func(t *testing.T) {
			t.Parallel()
			for seed := range seeds(t, 1) {
				g := newGenerator(t, 1000+seed)
				fsys := g.rules(&d, 80)
				pair := newEnginePair(t, fsys, Options{Lists: testLists(t)})
				for range 60 {
					e := d.event(g)
					pair.compare(t, &e)
				}
				pair.finish(t)
			}
		})
	}
}

func TestEvalEqualsEvalAllOnSamples(t *testing.T) {
	sets := map[string]fs.FS{"shipped": rules.FS, "generated": rulegen.Rules(500, 3)}
	for name, fsys := range sets {
		pair := newEnginePair(t, fsys, Options{})
		for _, e := range sampleEvents(t) {
			pair.compare(t, &e)
		}
		// The rules' own tests pass the first conditions, and near misses nearly all.
		for _, r := range pair.indexed.set.Rules() {
			for _, test := range r.Tests {
				for _, m := range test.Events {
					e, err := r.TestEvent(m)
					if err != nil {
						t.Fatal(err)
					}
					pair.compare(t, &e)
				}
			}
		}
		if pair.hits < 100 {
			t.Errorf("%s: %d hits: the comparison compared little", name, pair.hits)
		}
		pair.finish(t)
	}
}

// enginePair evaluates with the index and without, counting apart.
type enginePair struct {
	indexed, every *Engine
	hits           int
}

func newEnginePair(t *testing.T, fsys fs.FS, o Options) *enginePair {
	t.Helper()
	engine := func() *Engine {
		rs, err := Load(fsys, o)
		if err != nil {
			t.Fatal(err)
		}
		return NewEngine(rs)
	}
	return &enginePair{indexed: engine(), every: engine()}
}

func (p *enginePair) compare(t *testing.T, e *event.Event) {
	t.Helper()
	byID := func(fs []event.Finding) map[string]event.Finding {
		out := map[string]event.Finding{}
		for _, f := range fs {
			out[f.ID] = f
		}
		return out
	}
	a, b := byID(p.indexed.Eval(e, nil)), byID(p.every.EvalAll(e, nil))
	if diff := cmp.Diff(b, a); diff != "" {
		t.Fatalf("the index changes the findings (-every +indexed):\n%s\n%s", diff, e.Raw)
	}
	p.hits += len(b)
}

// finish compares the counters, all but how often a condition ran.
func (p *enginePair) finish(t *testing.T) {
	t.Helper()
	a, b := p.indexed.set.Counters(), p.every.set.Counters()
	more := int64(0)
	for i := range a {
		if a[i].Evaluated > b[i].Evaluated {
			t.Errorf("%s: evaluated %d times with the index, %d without", a[i].Rule, a[i].Evaluated, b[i].Evaluated)
		}
		more += b[i].Evaluated - a[i].Evaluated
		a[i].Evaluated, b[i].Evaluated = 0, 0
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("the index changes the counts (-every +indexed):\n%s", diff)
	}
	if more == 0 {
		t.Error("the index saved nothing: the comparison compared a thing with itself")
	}
}

// sampleEvents are the records of every sample that holds bare ones.
func sampleEvents(t testing.TB) []event.Event {
	t.Helper()
	var out []event.Event
	add := func(name string, kind event.Kind, raw []byte) {
		e, err := event.Decode(kind, raw)
		if err != nil {
			t.Fatalf("%s: %v: %.200s", name, err, raw)
		}
		out = append(out, e)
	}
	err := fs.WalkDir(samples.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := samples.FS.ReadFile(name)
		if err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(name, ".ndjson"):
			for line := range bytes.Lines(data) {
				var wrapped struct {
					Event  json.RawMessage   `json:"event"`
					Events []json.RawMessage `json:"events"`
				}
				if err := json.Unmarshal(line, &wrapped); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				switch {
				case wrapped.Event != nil:
					add(name, event.CloudTrail, wrapped.Event)
				case wrapped.Events != nil:
					for _, raw := range wrapped.Events {
						add(name, event.CloudTrail, raw)
					}
				default:
					add(name, event.CloudTrail, bytes.TrimSpace(line))
				}
			}
		case strings.HasPrefix(name, "config/rdk-") && data[0] == '{':
			add(name, event.ConfigItem, bytes.TrimSpace(data))
		case strings.HasPrefix(name, "flow/") && strings.HasSuffix(name, ".log"):
			format := event.DefaultFlowFormat()
			for line := range bytes.Lines(data) {
				var e event.Event
				if e.ScanFlow(format, bytes.TrimSpace(line)) == nil {
					out = append(out, e)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
