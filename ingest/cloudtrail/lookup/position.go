package lookup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"riposte/ingest"
)

// position is how far one place was read. It is stored after every page, and only
// when the events of the page are durable.
type position struct {
	// Settled is up to where nothing is looked for any more: everything before it
	// was delivered, or lies in Backlog.
	Settled time.Time `json:"settled"`
	// Backlog are older times that are still to be read, oldest first.
	Backlog []span `json:"backlog,omitempty"`
	// Slice is how much of the backlog is read at a time.
	Slice time.Duration `json:"slice,omitempty"`
	// Fresh are the events that were delivered since the memory was stored.
	Fresh []byte `json:"fresh,omitempty"`
}

// span is the time from From up to and without To.
type span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

func (s span) has(t time.Time) bool { return !t.Before(s.From) && t.Before(s.To) }

const (
	// entry is the size of one event in a memory: 8 bytes of its id's hash, 4 of its time.
	entry = 12
	// mostSeen bounds a memory: 600 KB, which fits a message of any NATS server.
	// It is 28 events a second for half an hour.
	mostSeen = 50_000
	// mostFresh is how many events the position itself may carry, which is stored
	// with every page.
	mostFresh = 1000
	// mostBacklog bounds the spans of a backlog.
	mostBacklog = 32
)

// memory knows which events were delivered, where they may be found again.
type memory map[uint64]time.Time

// mark is how an event is remembered.
func mark(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

func appendEntry(b []byte, m uint64, at time.Time) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, m), uint32(at.Unix()))
}

// add reads entries.
func (m memory) add(b []byte) error {
	if len(b)%entry != 0 {
		return fmt.Errorf("the memory of delivered events has %d bytes, which is not a multiple of %d", len(b), entry)
	}
	for ; len(b) > 0; b = b[entry:] {
		m[binary.BigEndian.Uint64(b)] = time.Unix(int64(binary.BigEndian.Uint32(b[8:])), 0).UTC()
	}
	return nil
}

// bytes are the entries, in the order of their marks.
func (m memory) bytes() []byte {
	marks := make([]uint64, 0, len(m))
	for k := range m {
		marks = append(marks, k)
	}
	slices.Sort(marks)
	out := make([]byte, 0, entry*len(marks))
	for _, k := range marks {
		out = appendEntry(out, k, m[k])
	}
	return out
}

// prune forgets what will not be read again, and, of more than most, the oldest;
// it returns how many of these.
func (m memory) prune(p *position, most int) (forgotten int) {
	for k, at := range m {
		if at.Before(p.Settled) && !slices.ContainsFunc(p.Backlog, func(s span) bool { return s.has(at) }) {
			delete(m, k)
		}
	}
	if len(m) <= most {
		return 0
	}
	times := make([]time.Time, 0, len(m))
	for _, at := range m {
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	limit := times[len(times)-most]
	for k, at := range m {
		if at.Before(limit) {
			delete(m, k)
			forgotten++
		}
	}
	return forgotten
}

// book keeps the position and the memory of a place in the store.
type book struct {
	cursors ingest.Cursors
	key     string
	at      position
	seen    memory
	// was reports whether there was a position before.
	was bool
	// stale is set when the memory that is stored is not this one.
	stale bool
}

func openBook(ctx context.Context, cursors ingest.Cursors, key string) (*book, error) {
	b := &book{cursors: cursors, key: key, seen: memory{}}
	if cursors == nil {
		return b, nil
	}
	raw, err := cursors.Load(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("load the cursor %s: %w", key, err)
	}
	if raw != nil {
		if err := json.Unmarshal(raw, &b.at); err != nil {
			return nil, fmt.Errorf("read the cursor %s: %w", key, err)
		}
		b.was = true
	}
	seen, err := cursors.Load(ctx, b.memoryKey())
	if err != nil {
		return nil, fmt.Errorf("load the cursor %s: %w", b.memoryKey(), err)
	}
	for _, part := range [][]byte{seen, b.at.Fresh} {
		if err := b.seen.add(part); err != nil {
			return nil, fmt.Errorf("read the cursor %s: %w", key, err)
		}
	}
	return b, nil
}

func (b *book) memoryKey() string { return b.key + "/seen" }

// delivered notes an event; savePage makes it last.
func (b *book) delivered(m uint64, at time.Time) {
	b.seen[m] = at
	b.stale = true
	b.at.Fresh = appendEntry(b.at.Fresh, m, at)
}

// savePage stores what a page brought.
func (b *book) savePage(ctx context.Context) error {
	if len(b.at.Fresh) > entry*mostFresh {
		_, err := b.saveAll(ctx)
		return err
	}
	return b.save(ctx)
}

// saveAll stores the position with the memory beside it, and forgets what may be
// forgotten. The memory comes first: a crash between the two remembers too much.
func (b *book) saveAll(ctx context.Context) (forgotten int, err error) {
	before := len(b.seen)
	forgotten = b.seen.prune(&b.at, mostSeen)
	if b.stale = b.stale || len(b.seen) != before || len(b.at.Fresh) > 0; b.stale && b.cursors != nil {
		if err := b.cursors.Save(ctx, b.memoryKey(), b.seen.bytes()); err != nil {
			return forgotten, fmt.Errorf("save the cursor %s: %w", b.memoryKey(), err)
		}
	}
	b.stale, b.at.Fresh = false, nil
	return forgotten, b.save(ctx)
}

func (b *book) save(ctx context.Context) error {
	if b.cursors == nil {
		return nil
	}
	raw, err := json.Marshal(b.at)
	if err != nil {
		return err
	}
	if err := b.cursors.Save(ctx, b.key, raw); err != nil {
		return fmt.Errorf("save the cursor %s: %w", b.key, err)
	}
	return nil
}
