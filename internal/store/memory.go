package store

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
)

// Memory is a Table and a Log in memory, for tests and for simulations.
type Memory struct {
	mu     sync.Mutex
	seq    uint64
	values map[string]memoryValue
	logs   map[string][]memoryValue
}

type memoryValue struct {
	value    []byte
	revision uint64
}

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{values: map[string]memoryValue{}, logs: map[string][]memoryValue{}}
}

// Get implements Table.
func (m *Memory) Get(_ context.Context, key string) ([]byte, uint64, error) {
	if err := check(key); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok {
		return nil, 0, ErrNotFound
	}
	return bytes.Clone(v.value), v.revision, nil
}

// Create implements Table.
func (m *Memory) Create(_ context.Context, key string, value []byte) (uint64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[key]; ok {
		return 0, ErrConflict
	}
	return m.put(key, value), nil
}

func (m *Memory) put(key string, value []byte) uint64 {
	m.seq++
	m.values[key] = memoryValue{bytes.Clone(value), m.seq}
	return m.seq
}

// Update implements Table.
func (m *Memory) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.values[key]; !ok || v.revision != revision {
		return 0, ErrConflict
	}
	return m.put(key, value), nil
}

// Delete implements Table.
func (m *Memory) Delete(_ context.Context, key string, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok {
		return ErrNotFound
	}
	if v.revision != revision {
		return ErrConflict
	}
	delete(m.values, key)
	return nil
}

// Keys implements Table.
func (m *Memory) Keys(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.values)), nil
}

// Append implements Log.
func (m *Memory) Append(_ context.Context, key string, after uint64, entry []byte) (uint64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	log := m.logs[key]
	last := uint64(0)
	if len(log) > 0 {
		last = log[len(log)-1].revision
	}
	if last != after {
		return 0, ErrConflict
	}
	m.seq++
	m.logs[key] = append(log, memoryValue{bytes.Clone(entry), m.seq})
	return m.seq, nil
}

// Read implements Log.
func (m *Memory) Read(_ context.Context, key string) ([][]byte, uint64, error) {
	if err := check(key); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out [][]byte
	last := uint64(0)
	for _, e := range m.logs[key] {
		out = append(out, bytes.Clone(e.value))
		last = e.revision
	}
	return out, last, nil
}
