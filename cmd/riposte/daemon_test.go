package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"riposte/respond"
	"riposte/samples"
)

// realProgram is the command riposte, which can reach no AWS unless env says so.
func realProgram(env []string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = "riposte" // testscript's name for main
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_MAX_ATTEMPTS=1", "AWS_EC2_METADATA_DISABLED=true")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// process is a riposte that runs, with its standard input and its log by line.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	out   bytes.Buffer
}

// start runs the real program; it is interrupted when the test ends, and must
// then end well.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startWith(t, nil, args...)
}

// startWith is start with more in the environment.
func startWith(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	var err error
	p := &process{t: t, cmd: realProgram(env, args...), lines: make(chan string, 10_000)}
	p.cmd.Stdout = &p.out
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(p.lines)
		for sc := bufio.NewScanner(stderr); sc.Scan(); {
			p.lines <- sc.Text()
		}
	}()
	return p
}

// until reads the log up to a line that holds all the words.
func (p *process) until(words ...string) string {
	p.t.Helper()
	var seen []string
	for line := range p.lines {
		seen = append(seen, line)
		hit := true
		for _, w := range words {
			hit = hit && strings.Contains(line, w)
		}
		if hit {
			return line
		}
	}
	p.t.Fatalf("the process ended without a line with %q:\n%s", words, strings.Join(seen, "\n"))
	return ""
}

// end closes standard input and waits; a daemon that drains ends by itself.
func (p *process) end() {
	p.t.Helper()
	p.stdin.Close()
	for range p.lines {
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the process ended badly: %v", err)
	}
}

// TestTracesFromIngestToPlan: one trace leads from reading the record through
// the rules to the plan, across both streams.
func TestTracesFromIngestToPlan(t *testing.T) {
	var mu sync.Mutex
	spans := map[string][]string{} // by trace
	otlp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		if err != nil || r.URL.Path != "/v1/traces" {
			return
		}
		var req collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					spans[string(s.TraceId)] = append(spans[string(s.TraceId)], s.Name)
				}
			}
		}
	}))
	defer otlp.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect, respond]\ntelemetry: {otlp_endpoint: \""+otlp.URL+"\"}\n")
	attack := filepath.Join(dir, "attack.ndjson")
	data, err := samples.FS.ReadFile("cloudtrail/stratus/aws.persistence.iam-backdoor-role.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	write(t, attack, string(data))
	p := start(t, "run", "--config", config, "--drain", attack)
	p.end()
	mu.Lock()
	defer mu.Unlock()
	for _, names := range spans {
		all := strings.Join(names, " ")
		if strings.Contains(all, "ingest") && strings.Contains(all, "detect") && strings.Contains(all, "respond") && strings.Contains(all, "plan") {
			return
		}
	}
	t.Errorf("no trace leads from ingest over detect and respond to plan: %v", spans)
}

// TestMetrics: a daemon that was told to serves what Prometheus reads: what came
// in, what was found, and what waits.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect]\ntelemetry: {metrics_listen: \"127.0.0.1:0\", log_format: json}\n")
	p := start(t, "run", "--config", config, "--drain", "-")
	_, url, _ := strings.Cut(p.until("metrics: http://127.0.0.1:"), "metrics: ")
	io.WriteString(p.stdin, `{"eventVersion":"1.08","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","eventTime":"2026-01-01T00:00:00Z","eventID":"e1","recipientAccountId":"111122223333"}`+"\n")
	p.until(`"msg":"finding"`)
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`riposte_ingest_events_total{kind="cloudtrail",source="stdin"} 1`, `riposte_findings_total{rule="evasion.trail-stopped",severity="critical"} 1`,
		`riposte_detect_latency_seconds_count 1`, `riposte_stream_pending{consumer="detect"} `, `riposte_stream_pending{consumer="dead-letters"} 0`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	p.end()
}

// TestRulesReload: a daemon takes rules that change while it runs, on a file's
// change and on SIGHUP; a mistake never replaces the rules that run.
func TestRulesReload(t *testing.T) {
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		t.Fatal(err)
	}
	rule := filepath.Join(rules, "r.yaml")
	text := func(id, event string) string {
		return "id: " + id + "\ntitle: " + id + "\nseverity: low\nsource: cloudtrail\nwhen: eventName == \"" + event + "\"\n"
	}
	write(t, rule, text("first", "One"))
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect]\ndetect: {builtin: false, rules: ["+rules+"]}\ntelemetry: {log_format: json}\n")
	p := start(t, "run", "--config", config, "--drain", "-")
	n := 0
	feed := func(event string) {
		n++
		io.WriteString(p.stdin, `{"eventVersion":"1.08","eventSource":"iam.amazonaws.com","eventName":"`+event+`","eventTime":"2026-01-01T00:00:00Z","eventID":"e`+string(rune('a'+n))+`"}`+"\n")
	}
	feed("One")
	p.until(`"finding"`, `"rule":"first"`)

	write(t, rule, text("second", "Two"))
	p.until(`"rules reloaded"`)
	feed("One")
	feed("Two")
	if line := p.until(`"msg":"finding"`); !strings.Contains(line, `"rule":"second"`) {
		t.Errorf("after the change: %s", line)
	}

	write(t, rule, text("third", "Two")+"whne: x\n")
	if line := p.until(`"rules not reloaded, the last good set goes on"`); !strings.Contains(line, "r.yaml:6:1") || !strings.Contains(line, "did you mean") {
		t.Errorf("the mistake is told so: %s", line)
	}
	feed("Two")
	p.until(`"msg":"finding"`, `"rule":"second"`)

	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until(`"rules not reloaded, the last good set goes on"`)
	p.end()
	if !strings.Contains(p.out.String(), `"findings":3`) {
		t.Errorf("the daemon says %s", p.out.String())
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEvidenceOfEveryFinding: an incident of many findings shows the records of
// each, though it has room for those of few.
func TestEvidenceOfEveryFinding(t *testing.T) {
	dir := t.TempDir()
	var events strings.Builder
	padding := strings.Repeat("x", 9000)
	for i := range 60 {
		fmt.Fprintf(&events, `{"eventVersion":"1.08","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","eventTime":"2026-01-01T00:00:%02dZ","eventID":"e%d","recipientAccountId":"111122223333","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/ops/a","principalId":"AROAX:a"},"requestParameters":{"name":"t%d","note":"%s"}}`+"\n", i, i, i, padding)
	}
	file := filepath.Join(dir, "events.ndjson")
	write(t, file, events.String())
	p := start(t, "run", "--drain", "--roles", "ingest,detect,respond", "--data-dir", filepath.Join(dir, "data"), file)
	p.end()
	var list, shown bytes.Buffer
	if status := execute(t.Context(), []string{"incidents", "list", "--data-dir", filepath.Join(dir, "data"), "--output", "json"}, nil, &list, os.Stderr); status != exitOK {
		t.Fatalf("list: status %d", status)
	}
	var summary respond.Summary
	if err := json.Unmarshal(list.Bytes(), &summary); err != nil || summary.Findings != 60 {
		t.Fatalf("want one incident of 60 findings: %v %s", err, list.String())
	}
	if status := execute(t.Context(), []string{"incidents", "show", summary.ID[:8], "--data-dir", filepath.Join(dir, "data"), "--output", "json"}, nil, &shown, os.Stderr); status != exitOK {
		t.Fatalf("show: status %d", status)
	}
	var in respond.Incident
	if err := json.Unmarshal(shown.Bytes(), &in); err != nil {
		t.Fatal(err)
	}
	for _, f := range in.Findings {
		if len(f.Evidence.Records) != 1 || f.Evidence.Explain == nil {
			t.Fatalf("finding %s has %d records", f.ID, len(f.Evidence.Records))
		}
	}
	if len(in.Findings) != 60 || len(in.EvidenceLeftOut) != 0 {
		t.Errorf("%d findings, evidence left out of %d", len(in.Findings), len(in.EvidenceLeftOut))
	}
}
