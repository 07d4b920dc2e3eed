package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// usage is what a child process took.
type usage struct {
	cpu, wall time.Duration
	rss       int64 // the most it held, bytes
}

func cpu(u usage) float64  { return seconds(u.cpu) }
func wall(u usage) float64 { return seconds(u.wall) }

// cores is how many a process had while it ran: on a busy machine fewer than it
// asked for, and its wall time says nothing then.
func cores(u usage) float64 { return seconds(u.cpu) / seconds(u.wall) }
func rss(u usage) float64   { return float64(u.rss) / 1e6 }

// child runs a command and says what it took. Its standard error is in the error
// when it fails.
func child(ctx context.Context, stdin io.Reader, stdout io.Writer, name string, args ...string) (usage, []byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	start := time.Now()
	err := cmd.Start()
	var u usage
	if err == nil {
		stop := watchMemory(cmd.Process.Pid, &u.rss)
		err = cmd.Wait()
		u.wall = time.Since(start)
		stop()
		u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		err = fmt.Errorf("%s %v: %w: %s", name, args, err, tail(stderr.Bytes()))
	}
	return u, stderr.Bytes(), err
}

// watchMemory keeps the most memory that a process has held. The kernel's own
// account at its end is of no use: it begins with what the parent held when it
// started the child.
func watchMemory(pid int, most *int64) (stop func()) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
					*most = max(*most, peak(status))
				}
			case <-done:
				return
			}
		}
	})
	return func() { close(done); watching.Wait() }
}

// peak reads the line VmHWM of a process's status, in bytes; 0 when it has none.
func peak(status []byte) int64 {
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return n << 10
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// lastJSON reads the last line of out that is a JSON object.
func lastJSON(out []byte, v any) error {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		if line := bytes.TrimSpace(lines[i]); len(line) > 0 && line[0] == '{' {
			return json.Unmarshal(line, v)
		}
	}
	return errors.New("no JSON object was printed")
}

// output is a file that also knows the digest of what was written.
type output struct {
	*os.File
	name string
}

// digest reads the file back.
func (o *output) digest() (string, int64, error) {
	if _, err := o.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	var h hash.Hash = sha256.New()
	n, err := io.Copy(h, o)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

func newOutput(name string) (*output, error) {
	f, err := os.Create(name)
	return &output{f, name}, err
}
