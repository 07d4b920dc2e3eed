// Package store is compare-and-swap state: tables of values with revisions and
// logs that only grow, over JetStream and in memory. A writer says what it has
// read; when somebody else wrote since, it gets ErrConflict and reads again.
// Every implementation passes storetest.
package store

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that the key has no value.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the key has another revision than the caller read.
	ErrConflict = errors.New("somebody else wrote first")
)

// MaxKey is how long a key may be, in bytes.
const MaxKey = 1024

// check refuses a key that a server would drop the connection for.
func check(key string) error {
	if len(key) > MaxKey {
		return fmt.Errorf("key %.40q... has %d bytes: at most %d are stored, hash what may be longer", key, len(key), MaxKey)
	}
	return nil
}

// Table holds a value and its revision under each key. Any text of at most MaxKey
// bytes is a key.
type Table interface {
	// Get returns ErrNotFound when there is no value.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Create returns ErrConflict when there is a value.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update returns ErrConflict unless the value still has the revision.
	Update(ctx context.Context, key string, value []byte, revision uint64) (newRevision uint64, err error)
	// Delete returns ErrConflict unless the value still has the revision.
	Delete(ctx context.Context, key string, revision uint64) error
	// Keys lists the keys that have a value, sorted.
	Keys(ctx context.Context) ([]string, error)
}

// Log holds entries in order under each key.
type Log interface {
	// Append adds an entry after the one with the sequence the caller read last,
	// 0 for none, or returns ErrConflict.
	Append(ctx context.Context, key string, after uint64, entry []byte) (seq uint64, err error)
	// Read returns the entries in order and the last one's sequence; none is no error.
	Read(ctx context.Context, key string) (entries [][]byte, last uint64, err error)
}
