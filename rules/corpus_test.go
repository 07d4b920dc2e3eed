package rules_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"riposte/detect"
	"riposte/event"
	"riposte/logs"
	"riposte/rules"
	"riposte/samples"
)

// record is one event of a corpus, as bytes.
type record struct {
	name string
	kind event.Kind
	raw  []byte
	flow *event.FlowFormat // how to read raw, when it is a line
}

func (r record) event(t *testing.T) *event.Event {
	t.Helper()
	if r.kind == event.FlowLog {
		var e event.Event
		if err := e.ScanFlow(r.flow, r.raw); err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		return &e
	}
	e, err := event.Decode(r.kind, r.raw)
	if err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	return &e
}

func readSample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := fs.ReadFile(samples.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func lines(data []byte) [][]byte {
	var out [][]byte
	for l := range bytes.Lines(data) {
		if l = bytes.TrimSpace(l); len(l) > 0 {
			out = append(out, l)
		}
	}
	return out
}

func unmarshal[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// everySample is every record of the samples, of every kind.
func everySample(t *testing.T) []record {
	t.Helper()
	var out []record
	names, err := fs.Glob(samples.FS, "cloudtrail/stratus/*.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		for _, l := range lines(readSample(t, name)) {
			out = append(out, record{name: name, kind: event.CloudTrail, raw: l})
		}
	}
	for _, c := range twins(t) {
		for _, raw := range c.Events {
			out = append(out, record{name: c.ID, kind: event.CloudTrail, raw: raw})
		}
	}
	for _, c := range pantherCases(t) {
		if c.cloudTrail() {
			out = append(out, record{name: c.ID, kind: event.CloudTrail, raw: c.Event})
		}
	}
	return append(append(out, configSamples(t)...), flowSamples(t)...)
}

// configSamples are the items in the sample files, taken out of their wrapping:
// a list, an EventBridge envelope, the JSON in a string of a rule's Lambda event.
func configSamples(t *testing.T) []record {
	t.Helper()
	names, err := fs.Glob(samples.FS, "config/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []record
	for _, name := range names {
		data := bytes.TrimSpace(readSample(t, name))
		if data[0] == '[' {
			data = unmarshal[[]json.RawMessage](t, data)[0]
		}
		wrap := unmarshal[struct {
			InvokingEvent string          `json:"invokingEvent"`
			Detail        json.RawMessage `json:"detail"`
		}](t, data)
		switch {
		case wrap.InvokingEvent != "":
			data = []byte(wrap.InvokingEvent)
		case wrap.Detail != nil:
			data = wrap.Detail
		}
		out = append(out, record{name: name, kind: event.ConfigItem, raw: data})
	}
	return out
}

// flowSamples are the lines of the sample files, read by the format that the
// last header before them names.
func flowSamples(t *testing.T) []record {
	t.Helper()
	names, err := fs.Glob(samples.FS, "flow/*.log")
	if err != nil {
		t.Fatal(err)
	}
	var out []record
	for _, name := range names {
		format := event.DefaultFlowFormat()
		for _, l := range lines(readSample(t, name)) {
			text := string(l)
			fields, isComment := strings.CutPrefix(text, "# fields:")
			switch {
			case isComment || strings.Contains(text, "srcaddr"):
				if format, err = event.ParseFlowFormat(strings.TrimPrefix(fields, "#")); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			case text[0] != '#':
				out = append(out, record{name: name, kind: event.FlowLog, raw: l, flow: format})
			}
		}
	}
	return out
}

// twin is a near miss: events that must raise nothing.
type twin struct {
	ID     string            `json:"case_id"`
	Why    string            `json:"twin"`
	Events []json.RawMessage `json:"events"`
}

func twins(t *testing.T) []twin {
	t.Helper()
	var out []twin
	for _, l := range lines(readSample(t, "cloudtrail/twins.ndjson")) {
		out = append(out, unmarshal[twin](t, l))
	}
	return out
}

// ruleTest is one test in a rule file, read without the loader so that the
// corpus does not depend on what is being tested.
type ruleTest struct {
	Rule  string
	Kind  event.Kind
	Log   *event.Mapping
	Name  string         `yaml:"name"`
	Fires bool           `yaml:"fires"`
	Event map[string]any `yaml:"event"`
}

func (r ruleTest) event() (event.Event, error) {
	if r.Kind != event.Log {
		return detect.TestEvent(r.Kind, r.Event)
	}
	raw, err := json.Marshal(r.Event)
	if err != nil {
		return event.Event{}, err
	}
	return r.decode(raw)
}

func (r ruleTest) decode(raw []byte) (event.Event, error) {
	if r.Kind == event.Log {
		return event.DecodeLog(r.Log, raw)
	}
	return event.Decode(r.Kind, raw)
}

func ruleTests(t *testing.T) []ruleTest {
	t.Helper()
	names, err := fs.Glob(rules.FS, "*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mappings, err := logs.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	var out []ruleTest
	for _, name := range names {
		data, err := rules.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Source event.Kind `yaml:"source"`
			Log    string     `yaml:"log"`
			Tests  []ruleTest `yaml:"tests"`
		}
		if err := yaml.Unmarshal(data, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, test := range file.Tests {
			test.Rule = strings.ReplaceAll(strings.TrimSuffix(name, path.Ext(name)), "/", ".")
			test.Kind, test.Log = file.Source, mappings[file.Log]
			out = append(out, test)
		}
	}
	return out
}
