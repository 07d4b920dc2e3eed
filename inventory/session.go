package inventory

import (
	"context"
	"strings"
	"time"

	"riposte/event"
)

// Session asks the inventory during one piece of work, such as a batch of events,
// and remembers whether a question could not be answered. It serves one goroutine.
type Session struct {
	inventory *Inventory
	ctx       context.Context //nolint:containedctx // a session is a call's
	err       error
	states    map[stateKey]*event.Resource
}

type stateKey struct {
	key      string
	captured time.Time
	state    string
}

// maxStates is how many states a session keeps unpacked.
const maxStates = 256

// Session begins to ask on behalf of ctx.
func (v *Inventory) Session(ctx context.Context) *Session {
	return &Session{inventory: v, ctx: ctx, states: map[stateKey]*event.Resource{}}
}

// Err is why the first question that was not answered was not. What was made of
// the answers is then not to be trusted: the work is to be done again.
func (s *Session) Err() error { return s.err }

// Resource returns a resource as of t, nil when none is known. kind is its type
// and id its id in the account and region; with an empty kind, id is an ARN. A
// resource that is not in the region is looked for among the global ones.
func (s *Session) Resource(account, region, kind, id string, t time.Time) (*event.Resource, error) {
	keys := []string{identity{account: account, region: region, typ: kind, id: id}.key(), identity{account: account, region: "global", typ: kind, id: id}.key()}
	if kind == "" {
		var err error
		if keys, err = s.inventory.named(s.ctx, id); err != nil {
			return nil, s.fail(err)
		}
	}
	var best *event.Resource
	for _, key := range keys {
		r, err := s.inventory.record(s.ctx, key)
		if err != nil {
			return nil, s.fail(err)
		}
		if r == nil {
			continue
		}
		n := r.at(t)
		if n == 0 {
			continue
		}
		state, err := s.state(key, r, n-1)
		if err != nil {
			return nil, err
		}
		if best == nil || later(state, best) {
			best = state
		}
	}
	return best, nil
}

// later prefers, of two resources with one name, the one that exists, and of
// those the one that was seen last.
func later(a, b *event.Resource) bool {
	if a.Exists != b.Exists {
		return a.Exists
	}
	return a.Captured.After(b.Captured)
}

// Before returns the version before an item's own, nil when none is known.
func (s *Session) Before(e *event.Event) (*event.Resource, error) {
	own := version{Captured: e.Time(), State: stateOf(e)}
	key := identity{account: e.Text(event.ConfigAccountID), region: e.Text(event.ConfigRegion), typ: e.Text(event.ConfigResourceType), id: e.Text(event.ConfigResourceID)}.key()
	r, err := s.inventory.record(s.ctx, key)
	if err != nil {
		return nil, s.fail(err)
	}
	if r == nil {
		return nil, nil
	}
	n := 0
	for n < len(r.Versions) && r.Versions[n].compare(&own) < 0 {
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return s.state(key, r, n-1)
}

func (s *Session) state(key string, r *record, n int) (*event.Resource, error) {
	v := r.Versions[n]
	at := stateKey{key, v.Captured, v.State}
	if st, ok := s.states[at]; ok {
		return st, nil
	}
	st, err := s.inventory.codec.state(r, n)
	if err != nil {
		return nil, s.fail(err)
	}
	if len(s.states) >= maxStates {
		clear(s.states)
	}
	at.key = strings.Clone(key)
	s.states[at] = st
	return st, nil
}

func (s *Session) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return err
}
