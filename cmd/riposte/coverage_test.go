package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestSilenceIsFound: the daemon finds an account that fell silent, says so once
// over a restart, and notes that it speaks again.
func TestSilenceIsFound(t *testing.T) {
	dir := t.TempDir()
	in, config := filepath.Join(dir, "in"), filepath.Join(dir, "riposte.yaml")
	if err := os.Mkdir(in, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, config, fmt.Sprintf("data_dir: %s\nroles: [ingest, detect, respond]\nsources: [{files: {paths: [%s], follow: true, poll: 100ms}}]\ncoverage: {every: 1s, grace: 0s}\n", filepath.Join(dir, "data"), in))
	now := time.Now()
	write(t, filepath.Join(in, "a.ndjson"), spoken(now.Add(-30*time.Hour), now, "111122223333", "us-east-1"))
	write(t, filepath.Join(in, "b.ndjson"), spoken(now.Add(-30*time.Hour), now.Add(-3*time.Hour), "444455556666", "us-east-1"))
	p := start(t, "run", "--config", config)
	if line := p.until("finding", "telemetry.silent"); !strings.Contains(line, "444455556666") {
		t.Errorf("found: %s", line)
	}
	p.interrupt()

	p = start(t, "run", "--config", config)
	write(t, filepath.Join(in, "c.ndjson"), spoken(now.Add(-10*time.Minute), now, "444455556666", "us-east-1"))
	p.until("telemetry recovered", "444455556666")
	p.interrupt()
	out, err := realProgram(nil, "incidents", "list", "--config", config).Output()
	if err != nil || strings.Count(string(out), "No cloudtrail of account 444455556666 since") != 1 {
		t.Errorf("incidents: %v\n%s", err, out)
	}
}

// interrupt ends a daemon as a person would.
func (p *process) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Error(err)
	}
	p.end()
}

// scriptSpeak writes a record of CloudTrail every ten minutes, from one time ago
// to another: speak OUT FROM TO ACCOUNT REGION.
func scriptSpeak(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: speak OUT FROM TO ACCOUNT REGION")
	}
	from, err := time.ParseDuration(args[1])
	ts.Check(err)
	to, err := time.ParseDuration(args[2])
	ts.Check(err)
	now := time.Now()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(spoken(now.Add(-from), now.Add(-to), args[3], args[4])), 0o600))
}

// spoken is a record of CloudTrail every ten minutes, after one time and up to another.
func spoken(from, to time.Time, account, region string) string {
	var b strings.Builder
	for at := from.Add(10 * time.Minute); !at.After(to); at = at.Add(10 * time.Minute) {
		fmt.Fprintf(&b, `{"eventVersion":"1.08","eventTime":%q,"eventName":"ListUsers","eventSource":"iam.amazonaws.com","awsRegion":%q,"recipientAccountId":%q,"eventID":"%s-%d","userIdentity":{"type":"IAMUser"}}`+"\n",
			at.UTC().Format(time.RFC3339), region, account, region, at.UnixNano())
	}
	return b.String()
}
