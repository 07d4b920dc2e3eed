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
	"syscall"
	"time"
)

// usage is what a child process took.
type usage struct {
	cpu, wall time.Duration
	rss       int64 // the most it held, bytes
}

func cpu(u usage) float64  { return seconds(u.cpu) }
func wall(u usage) float64 { return seconds(u.wall) }
func rss(u usage) float64  { return float64(u.rss) / 1e6 }

// child runs a command and says what it took. Its standard error is in the error
// when it fails.
func child(ctx context.Context, stdin io.Reader, stdout io.Writer, name string, args ...string) (usage, []byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	u := usage{wall: time.Since(start)}
	if cmd.ProcessState != nil {
		u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			u.rss = r.Maxrss << 10
		}
	}
	if err != nil {
		err = fmt.Errorf("%s %v: %w: %s", name, args, err, tail(stderr.Bytes()))
	}
	return u, stderr.Bytes(), err
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
