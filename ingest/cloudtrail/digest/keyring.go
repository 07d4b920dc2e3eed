package digest

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Keyring asks for keys once: those that it knows it does not ask for again. It
// may be used by several goroutines.
type Keyring struct {
	from Keys

	mu    sync.Mutex
	known map[string][]Key // by region
}

// NewKeyring keeps what others answer.
func NewKeyring(from Keys) *Keyring { return &Keyring{from: from, known: map[string][]Key{}} }

// Keys asks always, and remembers.
func (k *Keyring) Keys(ctx context.Context, region string, from, to time.Time) ([]Key, error) {
	keys, err := k.from.Keys(ctx, region, from, to)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known[region] = keys
	return keys, nil
}

// has returns the keys of a region if those with the fingerprints are among them.
// A key without a fingerprint may be any.
func (k *Keyring) has(region string, fingerprints []string) ([]Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := k.known[region]
	for _, f := range fingerprints {
		if !slices.ContainsFunc(keys, func(key Key) bool { return key.Fingerprint == f || key.Fingerprint == "" }) {
			return nil, false
		}
	}
	return keys, len(keys) > 0
}
