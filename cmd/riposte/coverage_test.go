package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/coverage"
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
	incidents := func() int {
		out, err := realProgram(nil, "incidents", "list", "--config", config).Output()
		if err != nil {
			t.Fatalf("incidents: %v\n%s", err, out)
		}
		return strings.Count(string(out), "No cloudtrail of account 444455556666 since")
	}
	// What a responder had in its hands at the first end comes again after a while.
	for deadline := time.Now().Add(time.Minute); incidents() == 0 && time.Now().Before(deadline); {
	}
	p.interrupt()
	if n := incidents(); n != 1 {
		t.Errorf("%d incidents, want 1", n)
	}
}

// stumbling is a source that has trouble when it is told to.
type stumbling struct {
	since time.Time
	err   error
}

func (s *stumbling) Run(context.Context, ingest.Sink) error { return nil }
func (s *stumbling) Trouble() (time.Time, error)            { return s.since, s.err }

// TestSilenceMayBeOurOwn: nothing is found just after a start, while the bus takes
// nothing and while a source fails, which is a finding of its own, once.
func TestSilenceMayBeOurOwn(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	source := &stumbling{}
	p := &pipeline{cfg: defaultConfig(), log: slog.New(slog.DiscardHandler), started: now, sources: []ingest.Source{source}, sourceNames: []string{"s3 queue"}}
	var told []event.Finding
	l := &lookout{pipeline: p, failed: map[string]time.Time{}, tracker: coverage.NewTracker(), tell: func(_ context.Context, f []event.Finding) error {
		told = append(told, f...)
		return nil
	}}
	held := func(at time.Duration, want bool, why string) {
		t.Helper()
		if err := l.failures(t.Context(), now.Add(at)); err != nil {
			t.Fatal(err)
		}
		if got := l.hold(now.Add(at)); got != want {
			t.Errorf("%s: held %v", why, got)
		}
	}
	held(14*time.Minute, true, "just after the start")
	held(16*time.Minute, false, "later")

	var during bool
	taken := l.watch(func(context.Context, ingest.Batch) error {
		during = l.hold(now.Add(20 * time.Minute))
		return nil
	})
	if err := taken(t.Context(), ingest.Batch{}); err != nil || !during {
		t.Errorf("while the bus takes nothing: held %v, %v", during, err)
	}
	held(20*time.Minute, false, "when the bus took it")

	source.since, source.err = now.Add(20*time.Minute), errors.New("sqs:ReceiveMessage is not allowed")
	held(25*time.Minute, false, "five minutes of trouble")
	held(31*time.Minute, true, "eleven minutes of trouble")
	held(32*time.Minute, true, "it goes on")
	if len(told) != 1 || told[0].Rule != coverage.RuleFailing || told[0].Title != "The source s3 queue has read nothing since 2026-03-02 12:20 UTC" {
		t.Errorf("told: %+v", told)
	}
	source.err = nil
	held(33*time.Minute, false, "no trouble any more")
}

// TestAccountsInMetricsAreBounded: those that are expected have labels of their
// own, and the worst of the rest is that of "other".
func TestAccountsInMetricsAreBounded(t *testing.T) {
	var parts []coverage.Part
	for i := range maxAccounts + 20 {
		parts = append(parts, coverage.Part{Level: coverage.OfAccount, Key: coverage.Key{Log: "flow", Account: fmt.Sprintf("%012d", i)}, Last: time.Unix(1, 0), Lag: time.Duration(i) * time.Second, Expected: i == maxAccounts+10})
	}
	all := bounded(parts, func(p *coverage.Part) time.Duration { return p.Lag })
	if len(all) != maxAccounts+1 || all[0].account != fmt.Sprintf("%012d", maxAccounts+10) {
		t.Errorf("%d values, the first of %s", len(all), all[0].account)
	}
	if last := all[len(all)-1]; last.account != "other" || last.value != (maxAccounts+19)*time.Second {
		t.Errorf("the rest: %+v", last)
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
