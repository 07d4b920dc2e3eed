package traffic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"riposte/event"
	"riposte/samples"
)

// Scene is one recorded attack, or near misses of attacks.
type Scene struct {
	// Name is the technique's, Title says it in words.
	Name, Title string
	// Quiet says that nothing in it may raise a finding.
	Quiet bool
	// Records are in the order in which they happened.
	Records []Record
}

// Record is one recorded record.
type Record struct {
	Kind   event.Kind
	Format *event.FlowFormat // of a flow log record
	Raw    []byte
}

// Scenes are the samples in the order of an attack: what one actor does in a few
// minutes, then every recorded technique, what AWS Config and the network saw,
// and the near misses.
func Scenes() ([]Scene, error) {
	scenes := []Scene{{Name: "demo", Title: "One stolen key: the trail stopped, a bucket opened, RDP opened to the internet"}}
	names, err := fs.Glob(samples.FS, "cloudtrail/stratus/*.ndjson")
	if err != nil {
		return nil, fmt.Errorf("list the attacks: %w", err)
	}
	files := []string{"cloudtrail/demo.ndjson"}
	for _, n := range names {
		name := strings.TrimSuffix(path.Base(n), ".ndjson")
		scenes = append(scenes, Scene{Name: name, Title: inWords(name)})
		files = append(files, n)
	}
	for i, file := range files {
		if scenes[i].Records, err = trailRecords(file); err != nil {
			return nil, err
		}
	}
	posture := Scene{Name: "config", Title: "AWS Config: a security group open to the internet"}
	item, err := samples.FS.ReadFile("config/rdk-AWS_EC2_SecurityGroup.json")
	if err != nil {
		return nil, fmt.Errorf("read a Config item: %w", err)
	}
	posture.Records = []Record{{Kind: event.ConfigItem, Raw: bytes.TrimSpace(item)}}
	network := Scene{Name: "flow", Title: "VPC flow logs: SSH reached from the internet"}
	lines, err := samples.FS.ReadFile("flow/panther-rawlines.log")
	if err != nil {
		return nil, fmt.Errorf("read flow lines: %w", err)
	}
	for line := range bytes.Lines(lines) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			network.Records = append(network.Records, Record{Kind: event.FlowLog, Format: event.DefaultFlowFormat(), Raw: line})
		}
	}
	quiet, err := nearMisses()
	return append(scenes, posture, network, quiet), err
}

// inWords turns aws.credential-access.ssm-retrieve-parameters into
// "Credential access: ssm retrieve parameters".
func inWords(technique string) string {
	parts := strings.SplitN(technique, ".", 3)
	if len(parts) < 3 {
		return technique
	}
	words := func(s string) string { return strings.ReplaceAll(s, "-", " ") }
	tactic := words(parts[1])
	return strings.ToUpper(tactic[:1]) + tactic[1:] + ": " + words(parts[2])
}

// trailRecords reads a file's CloudTrail records in the order in which they happened.
func trailRecords(file string) ([]Record, error) {
	data, err := samples.FS.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read an attack: %w", err)
	}
	type timed struct {
		Record
		at time.Time
	}
	var all []timed
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		e, err := event.Decode(event.CloudTrail, line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, timed{Record{Kind: event.CloudTrail, Raw: line}, e.Time()})
	}
	slices.SortStableFunc(all, func(a, b timed) int { return a.at.Compare(b.at) })
	out := make([]Record, len(all))
	for i := range all {
		out[i] = all[i].Record
	}
	return out, nil
}

func nearMisses() (Scene, error) {
	s := Scene{Name: "near-misses", Title: "Near misses of all of these, which must stay quiet", Quiet: true}
	data, err := samples.FS.ReadFile("cloudtrail/twins.ndjson")
	if err != nil {
		return s, fmt.Errorf("read the near misses: %w", err)
	}
	for line := range bytes.Lines(data) {
		var twin struct {
			Events []json.RawMessage `json:"events"`
		}
		if err := json.Unmarshal(line, &twin); err != nil {
			return s, fmt.Errorf("read the near misses: %w", err)
		}
		for _, raw := range twin.Events {
			s.Records = append(s.Records, Record{Kind: event.CloudTrail, Raw: raw})
		}
	}
	return s, nil
}

// At returns the record as an event that happened at t. The id stays: a record
// played twice is the same record.
func (r Record) At(t time.Time) (event.Event, error) {
	if r.Kind == event.FlowLog {
		var e event.Event
		names, cells := strings.Fields(r.Format.String()), strings.Fields(string(r.Raw))
		for i, n := range names {
			switch {
			case i >= len(cells):
			case n == "start":
				cells[i] = strconv.FormatInt(t.Unix()-60, 10)
			case n == "end":
				cells[i] = strconv.FormatInt(t.Unix(), 10)
			}
		}
		err := e.ScanFlow(r.Format, []byte(strings.Join(cells, " ")))
		return e, err
	}
	e, err := event.Decode(r.Kind, r.Raw)
	if err != nil {
		return e, err
	}
	field := event.EventTime
	if r.Kind == event.ConfigItem {
		field = event.ConfigCaptureTime
	}
	raw := replace(&e, field, t.UTC().Format(time.RFC3339))
	return event.Decode(r.Kind, raw)
}

// replace returns an event's record with another text in a field that it has.
func replace(e *event.Event, f event.Field, text string) []byte {
	b := e.Bytes(f)
	if b == nil {
		return bytes.Clone(e.Raw)
	}
	from := cap(e.Raw) - cap(b)
	out := append(bytes.Clone(e.Raw[:from]), '"')
	out = append(append(out, text...), '"')
	return append(out, e.Raw[from+len(b):]...)
}
