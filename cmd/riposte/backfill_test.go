package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"riposte/internal/awsfake"
	"riposte/samples"
)

// TestBackfill: the real program reads a bucket to its end with --drain, and again
// not at all; a queue that tells of the same objects adds nothing.
func TestBackfill(t *testing.T) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{"example-logs": {Region: "eu-west-1"}}}}}, "111122223333")
	defer fake.Close()
	attack, err := samples.FS.ReadFile("cloudtrail/stratus/aws.persistence.iam-backdoor-role.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	records := int64(strings.Count(strings.TrimSpace(string(attack)), "\n") + 1)
	key := "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/02/log.json"
	fake.Store("example-logs", key, awsfake.Blob{Body: attack})
	fake.Store("example-logs", "AWSLogs/444455556666/CloudTrail/us-east-1/2026/01/02/log.json", awsfake.Blob{Body: attack})
	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect]\nsources:\n  - backfill: {from: s3://example-logs/AWSLogs/, accounts: [\"111122223333\"], kinds: [cloudtrail], since: 2026-01-01}\n")
	drain := func() (s drainSummary) {
		t.Helper()
		cmd := realProgram(inAWS(t, fake), "run", "--drain", "--config", config)
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &s)
		}
		if err != nil {
			t.Fatalf("%v: %s\n%s", err, out, log.String())
		}
		return s
	}
	if s := drain(); s.Published != records || s.Findings == 0 {
		t.Errorf("the first run came to %+v, want %d events", s, records)
	}
	if s := drain(); s.Published != 0 {
		t.Errorf("the second run published %d events again", s.Published)
	}
	queue := fake.CreateQueue("q", awsfake.Queue{})
	fake.Send("q", fmt.Sprintf(`{"s3Bucket":"example-logs","s3ObjectKey":[%q]}`, key), 0)
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect]\ntelemetry: {metrics_listen: \"127.0.0.1:0\"}\nsources: [{s3: {queue: \""+queue+"\"}}]\n")
	p := startWith(t, inAWS(t, fake), "run", "--config", config)
	metrics := strings.TrimSpace(strings.TrimPrefix(p.until("metrics: "), "metrics: "))
	if err := fake.Until(t.Context(), func() bool { return len(fake.Messages("q")) == 0 }); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(metrics)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	for _, want := range []string{`riposte_queue_messages{queue="q",state="visible"} 0`, `what="messages"`, `what="objects"`, `riposte_queue_age_seconds{queue="q"}`} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics have no %s:\n%s", want, text)
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.end()
	if got := audit(t, filepath.Join(dir, "data")); int64(len(got.events)) != records {
		t.Errorf("%d events are in the stream, want %d", len(got.events), records)
	}
}
