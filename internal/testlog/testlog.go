// Package testlog keeps what a test's program logs, so that the test can wait for
// a line and look at it.
package testlog

import (
	"bytes"
	"sync"
)

// Journal is written by many goroutines and read meanwhile. Its zero value is empty.
type Journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends p.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

// String is all that was written.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}
