package bus_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte/event"
	"riposte/internal/bus"
)

var kills = flag.Int("bus.kills", 24, "how many times TestKilled kills the process that publishes")

// TestMain is also the other process of the tests that need one: it opens the
// folder, publishes batches and says each that was acknowledged, until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("RIPOSTE_BUS_TEST_CHILD"); dir != "" {
		if err := child(dir, os.Getenv("RIPOSTE_BUS_TEST_FIRST")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		return
	}
	os.Exit(m.Run())
}

func child(dir, first string) error {
	ctx := context.Background()
	b, err := bus.Open(ctx, dir, bus.DefaultConfig(), nil)
	if err != nil {
		return err
	}
	fmt.Println("open")
	if first == "" { // holds the folder until its input ends
		var line string
		_, _ = fmt.Scanln(&line)
		return b.Close()
	}
	n, err := strconv.Atoi(first)
	for ; err == nil; n++ {
		e, decodeErr := event.Decode(event.CloudTrail, fmt.Appendf(nil, `{"eventID":"e%d","userAgent":"%s"}`, n, strings.Repeat("x", n%5000)))
		if decodeErr != nil {
			return decodeErr
		}
		e.Origin.Object = "child"
		if err = b.PublishEvents(ctx, fmt.Sprint("b", n), []event.Event{e}); err == nil {
			if _, err = b.PublishFinding(ctx, &event.Finding{ID: fmt.Sprint("f", n), Severity: event.Low}); err == nil {
				fmt.Println(n)
			}
		}
	}
	return err
}

func startChild(t *testing.T, dir, first string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RIPOSTE_BUS_TEST_CHILD="+dir, "RIPOSTE_BUS_TEST_FIRST="+first)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the other process said %q", lines.Text())
	}
	return cmd, lines
}

// TestKilled kills a process that publishes, again and again, at moments that the
// seed decides. All that was acknowledged must be there, and nothing twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 1))
	dir := t.TempDir()
	acked := 0 // the first that is not known to be acknowledged
	for range *kills {
		cmd, lines := startChild(t, dir, strconv.Itoa(acked))
		for range rnd.IntN(40) {
			if !lines.Scan() {
				t.Fatal("the other process ended by itself")
			}
			if n, err := strconv.Atoi(lines.Text()); err != nil || n != acked {
				t.Fatalf("acknowledged %q, want %d", lines.Text(), acked)
			}
			acked++
		}
		pause := time.NewTimer(time.Duration(rnd.IntN(3000)) * time.Microsecond) // somewhere inside the next
		<-pause.C
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said before it died
			if n, err := strconv.Atoi(lines.Text()); err == nil && n == acked {
				acked++
			}
		}
		_ = cmd.Wait()
	}
	b := open(t, dir, bus.DefaultConfig())
	events, findings := map[string]int{}, map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() {
		done <- b.ConsumeEvents(ctx, "all", 1, func(_ context.Context, batch *bus.Batch) error {
			for i := range batch.Events {
				events[strings.Clone(batch.Events[i].ID())]++
			}
			return nil
		})
	}()
	go func() {
		done <- b.ConsumeFindings(ctx, "found", 1, func(_ context.Context, f *event.Finding) error {
			findings[f.ID]++
			return nil
		})
	}()
	for idle := false; !idle; {
		var err error
		if idle, err = b.Idle(t.Context(), "all", "found"); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for n := range acked {
		if events[fmt.Sprint("e", n)] != 1 || findings[fmt.Sprint("f", n)] != 1 {
			t.Errorf("event %d is there %d times, its finding %d times", n, events[fmt.Sprint("e", n)], findings[fmt.Sprint("f", n)])
		}
	}
	t.Logf("%d kills, %d acknowledged, %d stored", *kills, acked, len(events))
	if len(events) > acked+1 {
		t.Errorf("%d events where %d were sent at most", len(events), acked+1)
	}
	if l, err := b.DeadLetters(t.Context(), 0, 10); err != nil || len(l) > 0 {
		t.Errorf("dead letters: %+v %v", l, err)
	}
}

func TestFolderInUse(t *testing.T) {
	t.Parallel()
	inUse := func(t *testing.T, dir string, pid int) {
		t.Helper()
		_, err := bus.Open(t.Context(), dir, bus.DefaultConfig(), nil)
		if !errors.Is(err, bus.ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(pid)) || !strings.Contains(err.Error(), dir) {
			t.Errorf("open: %v, want it in use by process %d", err, pid)
		}
	}
	t.Run("by this process", func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir, bus.DefaultConfig())
		inUse(t, dir, os.Getpid())
		for range 2 { // twice is once
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
		again := open(t, dir, bus.DefaultConfig())
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "attach.json")); err != nil {
			t.Errorf("closing the old one took the new one's attach.json: %v", err)
		}
		inUse(t, dir, os.Getpid())
		if _, err := again.Health(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("by another", func(t *testing.T) {
		dir := t.TempDir()
		cmd, _ := startChild(t, dir, "")
		inUse(t, dir, cmd.Process.Pid)
		attached, err := bus.Attach(t.Context(), dir, bus.DefaultConfig(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := attached.Health(t.Context()); err != nil {
			t.Error(err)
		}
		if err := attached.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		// Its attach.json names a port where nobody answers any more.
		if _, err := os.Stat(filepath.Join(dir, "attach.json")); err != nil {
			t.Fatal(err)
		}
		b, err := bus.Attach(t.Context(), dir, bus.DefaultConfig(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if got := attachFile(t, dir); got.PID != os.Getpid() {
			t.Errorf("attach.json names process %d", got.PID)
		}
	})
}

type attachInfo struct {
	URL, Token string
	PID        int
}

func attachFile(t *testing.T, dir string) (info attachInfo) {
	t.Helper()
	name := filepath.Join(dir, "attach.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &info); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("attach.json: %v %v, want mode 0600", st.Mode(), err)
	}
	return info
}

func TestAttach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// What an untidy process left is not written into.
	if err := os.WriteFile(filepath.Join(dir, "attach.json"), []byte(`{"url":"nats://127.0.0.1:1"`), 0o666); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir, bus.DefaultConfig())
	info := attachFile(t, dir)
	if !strings.HasPrefix(info.URL, "nats://127.0.0.1:") || len(info.Token) < 20 || info.PID != os.Getpid() {
		t.Errorf("attach.json: %s, token of %d, process %d", info.URL, len(info.Token), info.PID)
	}
	a, err := bus.Attach(t.Context(), dir, bus.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.DeadLetter(t.Context(), bus.DeadLetter{Reason: "r", Place: "p", Kind: "cloudtrail", Payload: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := a.Replay(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if h, err := b.Health(t.Context()); err != nil || h.Streams[0].Messages != 1 || h.DeadLetters != 0 {
		t.Errorf("health: %+v %v", h, err)
	}
	c := bus.DefaultConfig()
	c.URL = info.URL
	if _, err := bus.Open(t.Context(), "", c, nil); err == nil {
		t.Error("connected without the token")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "attach.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("attach.json after the end: %v", err)
	}
	if _, err := a.Health(t.Context()); err == nil {
		t.Error("the attached one does not notice the end")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := bus.Attach(t.Context(), filepath.Join(dir, "none"), bus.DefaultConfig(), nil); err == nil || !strings.Contains(err.Error(), "riposte run") {
		t.Errorf("attach to nothing: %v", err)
	}
}

// TestWholeFiles copies the folder of a bus that was closed: it needs nothing
// that was left in memory.
func TestWholeFiles(t *testing.T) {
	t.Parallel()
	dir, copied := t.TempDir(), t.TempDir()
	b := open(t, dir, bus.DefaultConfig())
	for i := range 50 {
		if _, err := b.PublishFinding(t.Context(), &event.Finding{ID: fmt.Sprint("f", i), Severity: event.Low}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(copied, "d"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again := open(t, filepath.Join(copied, "d"), bus.DefaultConfig())
	if h, err := again.Health(t.Context()); err != nil || h.Streams[1].Messages != 50 {
		t.Errorf("findings: %+v %v", h.Streams[1], err)
	}
}
