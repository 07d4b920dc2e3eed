package event

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func mapping(t testing.TB, s MappingSpec) *Mapping {
	t.Helper()
	m, err := NewMapping(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMapping(t *testing.T) {
	m := mapping(t, MappingSpec{
		Log: "app", Time: "@timestamp | at", ID: "id", Revision: "v", Kind: `what.event\.kind`, Account: "what.tenant",
		Actor: "who.name", Principal: "who", IP: "from", Target: "what.on | target", Severity: "level", Outcome: "ok",
	})
	for name, c := range map[string]struct {
		raw                                               string
		id, kind, account, actor, ip, target, level, okay string
		at                                                time.Time
	}{
		"all": {
			raw: `{"@timestamp":1767323045000,"id":"a\u0031","v":2,"what":{"event.kind":"open","tenant":"t","on":"door"},"who":{"name":"eve"},"from":["192.0.2.1","192.0.2.2"],"level":3,"ok":true}`,
			id:  "a1@2", kind: "open", account: "t", actor: "eve", ip: "192.0.2.1", target: "door", level: "3", okay: "true",
			at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		"the first alternative counts, wherever it stands, and none that is null": {
			raw: `{"target":"gate","at":"2027-01-01T00:00:00Z","@timestamp":"2026-01-02T03:04:05Z","what":{"on":null},"id":"b"}`,
			id:  "b", target: "gate", at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		"null, then another": {
			raw: `{"what":{"on":null},"target":"gate","id":"c","from":[],"who":[{"name":"x"}]}`,
			id:  "c", target: "gate",
		},
		"escapes in a list": {raw: `{"id":"d","from":[ "a\"b" ,"c"]}`, id: "d", ip: `a"b`},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := DecodeLog(m, []byte(" "+c.raw+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			for what, pair := range map[string][2]string{
				"id": {e.ID(), c.id}, "name": {e.Name(), c.kind}, "account": {e.Account(), c.account}, "actor": {e.Actor().Name, c.actor},
				"ip": {e.Actor().IP, c.ip}, "target": {e.Text(EntryTarget), c.target}, "severity": {e.Text(EntrySeverity), c.level}, "outcome": {e.Text(EntryOutcome), c.okay},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s is %q, want %q", what, pair[0], pair[1])
				}
			}
			if !e.Time().Equal(c.at) {
				t.Errorf("at %s, want %s", e.Time(), c.at)
			}
			if record, ok := e.Value(EntryRecord).(map[string]any); !ok || len(record) == 0 {
				t.Errorf("the whole record is %v", e.Value(EntryRecord))
			}
			again, err := ParseMapping(m.String())
			if err != nil || again.String() != m.String() {
				t.Errorf("the mapping reads again as %s: %v", again, err)
			}
		})
	}
}

func TestMappingRefuses(t *testing.T) {
	for want, s := range map[string]MappingSpec{
		"lower-case words":             {Log: "My Log", Time: "t"},
		"maps nothing":                 {Log: "x"},
		"is what time is already":      {Log: "x", Time: "a.b", ID: "a.b"},
		"a name that is empty":         {Log: "x", Time: "a..b"},
		"id \"\": has a name":          {Log: "x", ID: "a | "},
		"more than 10 names":           {Log: "x", Time: "a.b.c.d.e.f.g.h.i.j.k"},
		"longer than 500 bytes":        {Log: "x", Time: strings.Repeat("a", 501)},
		"kind \"..\": has a name that": {Log: "x", Time: "t", Kind: ".."},
	} {
		if _, err := NewMapping(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
	m := mapping(t, MappingSpec{Log: "x", ID: "id"})
	if _, err := DecodeLog(m, []byte(`{"id":1,"id":2}`)); err == nil {
		t.Error("an id given twice was taken")
	}
	if _, err := Decode(Log, []byte(`{"id":1}`)); err == nil {
		t.Error("a record of a log was read without its mapping")
	}
}

func TestEntryTime(t *testing.T) {
	want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, text := range []string{
		"2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02T04:04:05.000000+0100", "2026-01-02 03:04:05", "2026-01-02T03:04:05.000",
		"2026-01-02 05:04:05+02:00", "1767323045", "1767323045000", "1767323045000000", "1767323045000000000", "1767323045.0", "Fri, 02 Jan 2026 03:04:05 +0000",
	} {
		if got := entryTime(text); !got.Equal(want) {
			t.Errorf("%s is %s", text, got)
		}
	}
	for _, text := range []string{"", "yesterday", "-5", "0", "true", "2026-13-02T03:04:05Z", "99999999999999999999", "NaN", "1e400"} {
		if got := entryTime(text); !got.IsZero() {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// FuzzLog compares what the scanner finds at a mapping's paths with what
// encoding/json finds there.
func FuzzLog(f *testing.F) {
	m := mapping(f, MappingSpec{Log: "fuzz", Time: "t", ID: "a.b", Kind: "a.c", Actor: "l", Target: "x | y"})
	for _, raw := range []string{
		`{"t":1,"a":{"b":"id","c":null},"l":["x",1],"y":true}`, `{"l":[[1]],"x":{},"y":"z"}`, `{"l":[ ],"a":[1]}`, `{"a":{"b":"\u00e9\ud800"}}`, `{"x":null,"y":1e3}`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := DecodeLog(m, raw)
		if err != nil {
			return
		}
		var tree map[string]any
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		if err := d.Decode(&tree); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		// Keys that encoding/json matches and folds are exact in a map.
		for field, path := range map[Field][]string{EntryTime: {"t"}, EntryID: {"a", "b"}, EntryKind: {"a", "c"}, EntryActor: {"l"}} {
			if want, ok := scalar(at(tree, path...)); ok && e.Text(field) != want {
				t.Fatalf("%v is %q, want %q", path, e.Text(field), want)
			}
		}
		x, okX := scalar(tree["x"])
		y, okY := scalar(tree["y"])
		if got := e.Text(EntryTarget); okX && okY && got != x && got != y {
			t.Fatalf("the target is %q, neither %q nor %q", got, x, y)
		}
		e.ID()
		e.Actor()
		e.Entities()
		e.Record()
	})
}

// scalar is the text of a value, or of a list's first element; false of an
// object's, which reads as it is written.
func scalar(v any) (string, bool) {
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			return "", true
		}
		switch v = list[0]; v.(type) {
		case []any, map[string]any:
			return "", true
		}
	}
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return map[bool]string{true: "true", false: "false"}[v], true
	}
	return "", false
}
