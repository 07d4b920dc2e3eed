package inventory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"riposte/event"
)

// InMemory is an inventory of one process that ends with it: for hunts and for
// the tests inside rules.
func InMemory(c Config) (*Inventory, error) {
	c.CacheBytes = 0 // the table is as near
	return New(Options{Config: c, Table: &memory{values: map[string]held{}}, NotFound: errMissing, Conflict: errChanged})
}

var (
	errMissing = errors.New("not there")
	errChanged = errors.New("changed meanwhile")
)

// memory is a Table that keeps what it is given without copying: records are
// written once and never changed.
type memory struct {
	mu     sync.Mutex
	values map[string]held
}

type held struct {
	value    []byte
	revision uint64
}

func (m *memory) Get(_ context.Context, key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.values[key]
	if !ok {
		return nil, 0, errMissing
	}
	return h.value, h.revision, nil
}

func (m *memory) Create(_ context.Context, key string, value []byte) (uint64, error) {
	return m.swap(key, value, 0)
}

func (m *memory) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return m.swap(key, value, revision)
}

// swap writes where the revision is still the value's; 0 is none.
func (m *memory) swap(key string, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values[key].revision != revision {
		return 0, errChanged
	}
	m.values[key] = held{value, revision + 1}
	return revision + 1, nil
}

func (m *memory) Keys(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.values)), nil
}

// Of is an inventory in memory that holds the items, ready to be asked.
func Of(ctx context.Context, c Config, items []event.Event) (*Session, error) {
	v, err := InMemory(c)
	if err != nil {
		return nil, err
	}
	for i := range items {
		if err := v.Put(ctx, &items[i]); err != nil {
			return nil, err
		}
	}
	return v.Session(ctx), nil
}
