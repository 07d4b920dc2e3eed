package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
	"riposte/internal/bus"
	"riposte/internal/traffic"
	"riposte/respond"
)

// TestKilledDaemon kills the real process with SIGKILL again and again while it
// ingests, starts it again, and compares with a daemon that nobody killed: every
// event is in the stream exactly once, so is every finding, and the same
// findings are together in incidents.
func TestKilledDaemon(t *testing.T) {
	corpus := filepath.Join(t.TempDir(), "corpus")
	records, err := traffic.Corpus(t.Context(), corpus, 4<<20, 11, 0.03, 2)
	if err != nil {
		t.Fatal(err)
	}
	calm := filepath.Join(t.TempDir(), "calm")
	drainDaemon(t, calm, corpus)
	want := audit(t, calm)
	if len(want.events) != int(records) || len(want.findings) < 20 {
		t.Fatalf("the calm run has %d events of %d and %d findings", len(want.events), records, len(want.findings))
	}
	size := streamSize(t, calm)

	killed := filepath.Join(t.TempDir(), "killed")
	rnd := rand.New(rand.NewPCG(5, 5))
	kills := 0
	for range 15 {
		if !killDaemon(t, killed, corpus, 1+rnd.Int64N(size/8)) {
			break // it was done before it could be killed
		}
		kills++
	}
	if kills < 5 {
		t.Errorf("only %d kills: the corpus is too small to prove much", kills)
	}
	drainDaemon(t, killed, corpus)
	got := audit(t, killed)
	t.Logf("%d records, %d kills, %d findings, %d incidents", records, kills, len(got.findings), len(got.incidents))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(ledger{})); diff != "" {
		t.Errorf("the killed daemon differs (-calm +killed):\n%.3000s", diff)
	}
}

func daemon(data, corpus string) *exec.Cmd {
	return realProgram(nil, "run", "--drain", "--data-dir", data, "--roles", "ingest,detect,respond", corpus)
}

func drainDaemon(t *testing.T, data, corpus string) {
	t.Helper()
	var log strings.Builder
	cmd := daemon(data, corpus)
	cmd.Stderr = &log
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v\n%s\n%.3000s", err, out, log.String())
	}
}

// killDaemon starts a daemon and kills it when its event stream has grown by
// that many bytes; false when it ended before.
func killDaemon(t *testing.T, data, corpus string, grown int64) bool {
	t.Helper()
	before := streamSize(t, data)
	cmd := daemon(data, corpus)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("the daemon failed: %v", err)
			}
			return false
		default:
		}
		if streamSize(t, data)-before >= grown {
			break
		}
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	return (<-ended) != nil
}

// streamSize is the size of the events' blocks on disk.
func streamSize(t *testing.T, data string) int64 {
	t.Helper()
	var size int64
	_ = filepath.WalkDir(data, func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".blk") && strings.Contains(name, "/EVENTS/") {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil // files come and go while a daemon runs
	})
	return size
}

// ledger is what a daemon's folder holds.
type ledger struct {
	events    []string   // ids, as often as they are there
	findings  []string   // ids, likewise
	incidents [][]string // the findings of each
	runs      int
	dead      uint64 // letters
}

// audit reads a folder with a server of its own.
func audit(t *testing.T, data string) ledger {
	t.Helper()
	b, err := bus.Open(t.Context(), filepath.Join(data, "nats"), bus.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var l ledger
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.ConsumeEvents(ctx, "audit-events", 1, func(_ context.Context, batch *bus.Batch) error {
			mu.Lock()
			defer mu.Unlock()
			for i := range batch.Events {
				l.events = append(l.events, strings.Clone(batch.Events[i].ID()))
			}
			return nil
		})
	})
	wg.Go(func() {
		_ = b.ConsumeFindings(ctx, "audit-findings", 1, func(_ context.Context, f *event.Finding) error {
			mu.Lock()
			defer mu.Unlock()
			l.findings = append(l.findings, f.ID)
			return nil
		})
	})
	for idle := false; !idle; {
		if idle, err = b.Idle(t.Context(), "audit-events", "audit-findings"); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()

	health, err := b.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.dead = health.DeadLetters

	s, err := openState(t.Context(), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := s.incidents.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		raw, _, err := s.incidents.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		var in respond.Incident
		if err := json.Unmarshal(raw, &in); err != nil {
			t.Fatal(err)
		}
		if in.Merged != "" {
			continue
		}
		var ids []string
		for _, f := range in.Findings {
			ids = append(ids, f.ID)
		}
		slices.Sort(ids)
		l.incidents = append(l.incidents, ids)
	}
	runs, err := s.runs.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.runs = len(runs)
	slices.Sort(l.events)
	slices.Sort(l.findings)
	slices.SortFunc(l.incidents, slices.Compare)
	return l
}
