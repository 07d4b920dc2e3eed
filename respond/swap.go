package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// remembered is how many values a responder keeps decoded: incidents and books
// that findings are coming for now.
const remembered = 48

// memory keeps values as this process wrote them last. A value is only believed
// when its revision is still the table's: a write with it fails otherwise, and
// the table is read. What is read from memory alone may be old, as anything that
// was read may be when it is used. Its locks also keep this process's workers
// from competing for one value.
type memory struct {
	mu    sync.Mutex
	held  map[string]*held
	order []string // the longest unused first
}

type held struct {
	mu    sync.Mutex // guards the value while it is changed
	value any        // nil when nothing is known
	rev   uint64
}

func (m *memory) of(key string) *held {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.held[key]; h != nil {
		i := slices.Index(m.order, key)
		m.order = append(slices.Delete(m.order, i, i+1), key)
		return h
	}
	if m.held == nil {
		m.held = map[string]*held{}
	}
	if len(m.order) >= remembered {
		delete(m.held, m.order[0])
		m.order = m.order[1:]
	}
	h := &held{}
	m.held[key] = h
	m.order = append(m.order, key)
	return h
}

// swap changes a value by compare and swap until nobody else wrote in between.
// change gets the zero value when there is none, and says whether to write; what
// it keeps of the value beyond its return, it copies.
// Values of a kind are remembered; those without one are read each time.
func swap[V any](ctx context.Context, r *Responder, t Table, kind, key string, change func(*V) bool) error {
	h := &held{}
	if kind != "" {
		h = r.memory.of(kind + " " + key)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		v, known := h.value.(*V)
		missing := false
		if !known {
			v = new(V)
			raw, rev, err := t.Get(ctx, key)
			missing = errors.Is(err, r.NotFound)
			if err != nil && !missing {
				return err
			}
			if !missing {
				if err := json.Unmarshal(raw, v); err != nil {
					return fmt.Errorf("read %s: %w", key, err)
				}
				h.value, h.rev = v, rev
			}
		}
		if !change(v) {
			return nil
		}
		raw, err := json.Marshal(v)
		if err != nil {
			h.value = nil
			return fmt.Errorf("write %s: %w", key, err)
		}
		rev := uint64(0)
		if missing {
			rev, err = t.Create(ctx, key, raw)
		} else {
			rev, err = t.Update(ctx, key, raw, h.rev)
		}
		if err == nil {
			h.value, h.rev = v, rev
			return nil
		}
		h.value = nil // whether it was written is not known
		if !errors.Is(err, r.Conflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
