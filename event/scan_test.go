package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func sampleLines(t testing.TB) [][]byte {
	files, err := filepath.Glob("../samples/cloudtrail/stratus/*.ndjson")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	var out [][]byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			out = append(out, bytes.TrimSpace(line))
		}
	}
	return out
}

func TestScanSamples(t *testing.T) {
	for _, line := range sampleLines(t) {
		var e Event
		n, err := e.Scan(CloudTrail, line)
		if err != nil {
			t.Fatalf("%v: %.200s", err, line)
		}
		if n != len(line) {
			t.Fatalf("read %d of %d bytes", n, len(line))
		}
		var std map[string]any
		if err := json.Unmarshal(line, &std); err != nil {
			t.Fatal(err)
		}
		agree(t, &e, std)
		if e.Time().IsZero() || e.Account() == "" || e.Actor().Type == "" {
			t.Errorf("time %v account %q actor %+v", e.Time(), e.Account(), e.Actor())
		}
	}
}

// agree checks every hot field against what encoding/json found.
func agree(t testing.TB, e *Event, std map[string]any) {
	t.Helper()
	var walk func(l *level, m map[string]any)
	walk = func(l *level, m map[string]any) {
		for _, members := range l.byLength {
			for _, mem := range members {
				v, present := m[mem.name]
				if mem.level != nil {
					inner, _ := v.(map[string]any)
					walk(mem.level, inner)
				}
				if mem.field == noField {
					continue
				}
				if got := e.Has(mem.field); got != (present && v != nil) {
					t.Errorf("%s: has %v, encoding/json has %v", mem.name, got, v)
				}
				if s, ok := v.(string); ok && e.Text(mem.field) != s {
					t.Errorf("%s: %q, encoding/json %q", mem.name, e.Text(mem.field), s)
				}
			}
		}
	}
	walk(cloudTrailLevel, std)
	var tree any
	dec := json.NewDecoder(bytes.NewReader(e.Raw))
	dec.UseNumber()
	if err := dec.Decode(&tree); err == nil && !reflect.DeepEqual(any(e.Tree()), tree) {
		if got, err := ParseJSON(e.Raw); err == nil && !reflect.DeepEqual(got, tree) {
			t.Errorf("tree differs:\n%v\n%v", got, tree)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"duplicate key", `{"eventName":"a","eventName":"b"}`, `duplicate key "eventName"`},
		{"duplicate escaped", `{"eventName":"a","event\u004eame":"b"}`, `duplicate key "eventName"`},
		{"control", "{\"a\":\"\x01\"}", "control character"},
		{"utf8", "{\"a\":\"\xff\"}", "UTF-8"},
		{"escape", `{"a":"\q"}`, "unknown escape"},
		{"hex", `{"a":"\u00g0"}`, "hexadecimal"},
		{"literal", `{"a":tru }`, "true"},
		{"number", `{"a":01}`, "comma"},
		{"deep", `{"a":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nested deeper"},
		{"array", `[1]`, "object"},
		{"trailing comma", `{"a":1,}`, "quotes"},
	} {
		var e Event
		_, err := e.Scan(CloudTrail, []byte(c.in))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, cut := range []string{``, ` `, `{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":"`, `{"a":1`, `{"a":tr`, `{"a":"\`, `{"a":"\u0`, `{"a":[`, `{"a":1,`} {
		var e Event
		if _, err := e.Scan(CloudTrail, []byte(cut)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v, want unexpected EOF", cut, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, l := range sampleLines(f)[:40] {
		f.Add(l)
	}
	f.Add([]byte(`{"event\u004eame":"x\ud83d\ude00\ud83d","userIdentity":{"sessionContext":{"sessionIssuer":null}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e Event
		n, err := e.Scan(CloudTrail, data)
		if err != nil {
			return
		}
		var std map[string]any
		if err := json.Unmarshal(data[:n], &std); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if _, err := ParseJSON(data[:n]); err != nil {
			return // a duplicate key below the hot fields
		}
		agree(t, &e, std)
		e.Record()
		e.Entities()
		e.Actor()
	})
}

func BenchmarkScan(b *testing.B) {
	lines := sampleLines(b)
	total := 0
	for _, l := range lines {
		total += len(l)
	}
	var e Event
	b.SetBytes(int64(total / len(lines)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := e.Scan(CloudTrail, lines[i%len(lines)]); err != nil {
			b.Fatal(err)
		}
	}
}
