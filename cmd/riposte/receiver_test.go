package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"riposte/samples"
)

// TestReceiverSource drives the real daemon over HTTP: an attack is posted twice,
// and is found once.
func TestReceiverSource(t *testing.T) {
	attack, err := samples.FS.ReadFile("cloudtrail/stratus/aws.persistence.iam-backdoor-role.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect]\ntelemetry: {log_format: json}\nsources: [{receiver: {listen: \"127.0.0.1:0\", keys: [env:RECEIVER_KEY]}}]\n")
	p := startWith(t, []string{"RECEIVER_KEY=0123456789abcdef"}, "run", "--config", config)
	var line struct{ URL string }
	if err := json.Unmarshal([]byte(p.until(`"msg":"receiving"`)), &line); err != nil {
		t.Fatal(err)
	}
	post := func(key string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, line.URL, bytes.NewReader(attack))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", key)
		req.Header.Set("Content-Type", "application/x-ndjson")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if stranger, first, again := post("0123456789abcdeg"), post("0123456789abcdef"), post("0123456789abcdef"); stranger != 401 || first != 202 || again != 202 {
		t.Errorf("%d %d %d", stranger, first, again)
	}
	p.until(`"msg":"finding"`)
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.end()
	got := audit(t, filepath.Join(dir, "data"))
	if n := bytes.Count(bytes.TrimSpace(attack), []byte("\n")) + 1; len(got.events) != n {
		t.Errorf("%d events are stored, want %d", len(got.events), n)
	}
}
