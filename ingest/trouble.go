package ingest

import (
	"sync"
	"time"
)

// Troubles are what a source cannot do at present, by its parts: a queue, a
// shard, an account and region. Its zero value has none; it is safe for use by
// many. A source that embeds it can be asked for its Trouble.
type Troubles struct {
	mu    sync.Mutex
	parts map[string]trouble
}

// trouble of a part; the zero value is none.
type trouble struct {
	since time.Time
	err   error
}

// Fail notes that a part fails, since the first time of a row.
func (t *Troubles) Fail(part string, now time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.parts == nil {
		t.parts = map[string]trouble{}
	}
	since := now
	if before := t.parts[part]; before.err != nil {
		since = before.since
	}
	t.parts[part] = trouble{since, err}
}

// Well notes that a part works.
func (t *Troubles) Well(part string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.parts == nil {
		t.parts = map[string]trouble{}
	}
	t.parts[part] = trouble{}
}

// Gone forgets a part.
func (t *Troubles) Gone(part string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.parts, part)
}

// Trouble says since when nothing of the source works, and why; nil when some of
// it does. What fails of one account among many is seen as that account's silence.
func (t *Troubles) Trouble() (since time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.parts {
		if p.err == nil {
			return time.Time{}, nil
		}
		if p.since.After(since) { // from then on the last of them failed too
			since, err = p.since, p.err
		}
	}
	return since, err
}
