package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"riposte/event"
	"riposte/samples"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"riposte": main,
	})
}

// TestScript drives the real program: each file under testdata/script is a
// user's session with what it must print.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("SAMPLES", filepath.Join(env.WorkDir, "samples"))
			env.Setenv("LOGS", filepath.Join(env.WorkDir, "logs"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			if err := os.CopyFS(filepath.Join(env.WorkDir, "logs"), os.DirFS("../../logs/testdata")); err != nil {
				return err
			}
			return os.CopyFS(filepath.Join(env.WorkDir, "samples"), samples.FS)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"truth":    scriptTruth,
			"twins":    scriptTwins,
			"gzip":     scriptGzip,
			"truncate": scriptTruncate,
			"bigline":  scriptBigLine,
			"jsonl":    scriptJSONLines,
			"mktrail":  scriptTrail,
			"speak":    scriptSpeak,
		},
	})
}

// truthCase is one technique of samples/cloudtrail/truth.json.
type truthCase struct {
	Kind     string   `json:"kind"`
	Log      string   `json:"log"`
	MustFlag []string `json:"must_flag_event_ids"`
}

func readTruth(t interface{ Fatalf(string, ...any) }) map[string]truthCase {
	data, err := samples.FS.ReadFile("cloudtrail/truth.json")
	if err != nil {
		t.Fatalf("read the truth: %v", err)
	}
	var truth map[string]truthCase
	if err := json.Unmarshal(data, &truth); err != nil {
		t.Fatalf("read the truth: %v", err)
	}
	return truth
}

// scriptTruth runs `riposte hunt` over the sample of each technique of the named
// kind and fails unless every event that must be flagged is, at medium or above.
func scriptTruth(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: truth KIND")
	}
	ran := 0
	for technique, c := range readTruth(ts) {
		if c.Kind != args[0] || c.Log == "no sample" {
			continue
		}
		ran++
		flagged := map[string]bool{}
		for _, f := range huntFindings(ts, ts.MkAbs("samples/cloudtrail/stratus/"+technique+".ndjson")) {
			if f.Severity >= event.Medium {
				for _, id := range f.Events {
					flagged[id] = true
				}
			}
		}
		for _, id := range c.MustFlag {
			if !flagged[id] {
				ts.Fatalf("%s: event %s must be flagged at medium or above and is not", technique, id)
			}
		}
		ts.Logf("%s: %d of %d flagged", technique, len(c.MustFlag), len(c.MustFlag))
	}
	if ran == 0 {
		ts.Fatalf("no technique of kind %q has a sample", args[0])
	}
}

// scriptTwins runs every near miss alone, and fails if one raises anything.
func scriptTwins(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: twins")
	}
	data, err := samples.FS.ReadFile("cloudtrail/twins.ndjson")
	ts.Check(err)
	for line := range bytes.Lines(data) {
		var twin struct {
			Case   string            `json:"case_id"`
			Twin   string            `json:"twin"`
			Events []json.RawMessage `json:"events"`
		}
		ts.Check(json.Unmarshal(line, &twin))
		file := ts.MkAbs("twin.ndjson")
		ts.Check(os.WriteFile(file, append(bytes.Join(rawLines(twin.Events), []byte("\n")), '\n'), 0o600))
		for _, f := range huntFindings(ts, file) {
			ts.Fatalf("%s (%s) must stay quiet, but rule %s says %q", twin.Case, twin.Twin, f.Rule, f.Title)
		}
	}
}

func rawLines(in []json.RawMessage) [][]byte {
	out := make([][]byte, len(in))
	for i, r := range in {
		out[i] = r
	}
	return out
}

func huntFindings(ts *testscript.TestScript, file string) []event.Finding {
	ts.Check(ts.Exec("riposte", "hunt", "--output", "json", file))
	var out []event.Finding
	sc := bufio.NewScanner(strings.NewReader(ts.ReadFile("stdout")))
	sc.Buffer(nil, 8<<20)
	for sc.Scan() {
		var f event.Finding
		ts.Check(json.Unmarshal(sc.Bytes(), &f))
		out = append(out, f)
	}
	ts.Check(sc.Err())
	return out
}

// scriptGzip compresses a file: gzip FILE OUT.
func scriptGzip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: gzip FILE OUT")
	}
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), buf.Bytes(), 0o600))
}

// scriptTruncate cuts a file: truncate FILE PERCENT.
func scriptTruncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE PERCENT")
	}
	percent, err := strconv.Atoi(args[1])
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), info.Size()*int64(percent)/100))
}

// scriptBigLine writes a file whose middle line is a record of the given size:
// bigline OUT MEGABYTES FIRST LAST, where FIRST and LAST are files of whole records.
func scriptBigLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: bigline OUT MEGABYTES FIRST LAST")
	}
	mb, err := strconv.Atoi(args[1])
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w := bufio.NewWriter(f)
	w.WriteString(ts.ReadFile(args[2]))
	w.WriteString(`{"eventName":"`)
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range mb {
		w.Write(chunk)
	}
	w.WriteString("\"}\n")
	w.WriteString(ts.ReadFile(args[3]))
	ts.Check(w.Flush())
	ts.Check(f.Close())
}

// scriptJSONLines checks that the last standard output is one JSON object a
// line and that each has the named keys: jsonl KEY...
func scriptJSONLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: jsonl KEY...")
	}
	lines := slices.Collect(strings.Lines(ts.ReadFile("stdout")))
	if len(lines) == 0 {
		ts.Fatalf("standard output is empty")
	}
	for _, line := range lines {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("not one JSON object a line: %v: %s", err, line)
		}
		for _, key := range args {
			if _, ok := object[key]; !ok {
				ts.Fatalf("no key %q in %s", key, line)
			}
		}
	}
}
