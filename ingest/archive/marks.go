package archive

import (
	"context"
	"sync"
	"time"
)

// Progress is how far a backfill is. Bytes are of objects as stored.
type Progress struct {
	// Listed is what is known of; Listing is set while more may come.
	Listed, ListedBytes int64
	Listing             bool
	// Done is what was delivered, set aside or found foreign, in this run and before.
	Done, DoneBytes int64
	// Foreign are objects without telemetry.
	Foreign int64
	// Elapsed is of this run, and Before what earlier ones had done.
	Elapsed             time.Duration
	Before, BeforeBytes int64
}

// Left estimates the time to the end, from the bytes that are known; false
// while nothing can be said.
func (p Progress) Left() (time.Duration, bool) {
	done := p.DoneBytes - p.BeforeBytes
	if done <= 0 || p.Elapsed <= 0 {
		return 0, false
	}
	return time.Duration(float64(p.ListedBytes-p.DoneBytes) / float64(done) * float64(p.Elapsed)), true
}

// marks know which objects are on their way, so that the cursor stands behind
// the last of an unbroken run of those that are done.
type marks struct {
	report func(Progress)
	room   chan struct{} // of the tail
	moved  chan struct{} // enough is new to be saved

	mu      sync.Mutex
	start   time.Time
	next    int64 // the number of the next object
	low     int64 // of the first that is not done
	open    map[int64]*mark
	at      cursor
	saved   int64
	changed bool
	p       Progress
}

type mark struct {
	Entry
	done bool
}

func newMarks(at cursor, report func(Progress)) *marks {
	return &marks{
		report: report, room: make(chan struct{}, tail), moved: make(chan struct{}, 1), start: time.Now(), open: map[int64]*mark{}, at: at, saved: at.Objects,
		p: Progress{Listing: true, Listed: at.Objects, ListedBytes: at.Bytes, Done: at.Objects, DoneBytes: at.Bytes, Before: at.Objects, BeforeBytes: at.Bytes},
	}
}

// begin numbers an object; it waits while too many are on their way.
func (m *marks) begin(ctx context.Context, e Entry) (int64, error) {
	select {
	case m.room <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.next
	m.next++
	m.open[n] = &mark{Entry: e}
	m.p.Listed, m.p.ListedBytes = m.p.Listed+1, m.p.ListedBytes+e.Size
	m.tell()
	return n, nil
}

// end says that an object is done.
func (m *marks) end(n int64, foreign bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.open[n]
	o.done = true
	m.p.Done, m.p.DoneBytes = m.p.Done+1, m.p.DoneBytes+o.Size
	if foreign {
		m.p.Foreign++
	}
	for o := m.open[m.low]; o != nil && o.done; o = m.open[m.low] {
		delete(m.open, m.low)
		m.low++
		m.at.After, m.at.Objects, m.at.Bytes, m.changed = o.Key, m.at.Objects+1, m.at.Bytes+o.Size, true
		<-m.room
	}
	if m.at.Objects-m.saved >= saveObjects {
		select {
		case m.moved <- struct{}{}:
		default:
		}
	}
	m.tell()
}

func (m *marks) listed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p.Listing = false
	m.tell()
}

func (m *marks) tell() {
	if m.report != nil {
		m.p.Elapsed = time.Since(m.start)
		m.report(m.p)
	}
}

func (m *marks) progress() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p
}

func (m *marks) cursor(done bool) cursor {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at.Done = done
	return m.at
}

// news is the cursor, if it has moved since.
func (m *marks) news() (cursor, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := m.changed
	m.changed, m.saved = false, m.at.Objects
	return m.at, changed
}
