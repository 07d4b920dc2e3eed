// Package traffic makes CloudTrail records of an organisation at work, for the
// demo, for tests and for measuring: the shapes are those of the samples, the
// ids, times, addresses, keys and people are new in every record. The same seed
// makes the same records.
package traffic

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	kgzip "github.com/klauspost/compress/gzip"

	"riposte/event"
	"riposte/samples"
)

// template is a record cut at what varies.
type template struct {
	parts [][]byte // constant text around the slots
	slots []slot
}

// slot is what stands between two parts.
type slot uint8

const (
	slotID slot = iota
	slotTime
	slotAddress
	slotKey
	slotPerson
)

// Generator makes records. It serves one goroutine.
type Generator struct {
	rnd *rand.Rand
	// reads look at things, changes change them.
	reads, changes []template
	share          float64 // of changes
	people         int
}

// AsRecorded is the share of changes among the ordinary records as they stand in
// the samples; in a day's traffic it is far less.
const AsRecorded = 0.72

// New returns a generator of ordinary records, of which the given share, 0 to 1,
// change something.
func New(seed uint64, share float64) (*Generator, error) {
	data, err := samples.FS.ReadFile("cloudtrail/ordinary.ndjson")
	if err != nil {
		return nil, fmt.Errorf("read the ordinary records: %w", err)
	}
	g := &Generator{rnd: rand.New(rand.NewPCG(seed, 0x51ca)), share: share, people: 5000}
	for line := range bytes.Lines(data) {
		t, reads, err := cut(bytes.TrimSpace(line))
		if err != nil {
			return nil, err
		}
		if reads {
			g.reads = append(g.reads, t)
		} else {
			g.changes = append(g.changes, t)
		}
	}
	return g, nil
}

// cut finds what varies in a record, and tells whether the record only reads.
func cut(raw []byte) (_ template, reads bool, err error) {
	e, err := event.Decode(event.CloudTrail, raw)
	if err != nil {
		return template{}, false, fmt.Errorf("read a sample: %w", err)
	}
	type place struct {
		from, to int
		s        slot
	}
	var places []place
	field := func(f event.Field, s slot) {
		if b := e.Bytes(f); len(b) > 2 && b[0] == '"' && e.Has(f) {
			from := cap(e.Raw) - cap(b) + 1 // past the quote
			places = append(places, place{from, from + len(b) - 2, s})
		}
	}
	field(event.EventID, slotID)
	field(event.RequestID, slotID)
	field(event.EventTime, slotTime)
	if a := e.Text(event.SourceIPAddress); len(a) > 0 && a[0] >= '0' && a[0] <= '9' {
		field(event.SourceIPAddress, slotAddress)
	}
	field(event.UserAccessKeyID, slotKey)
	if who := e.Actor(); who.Session != "" || who.Type == "IAMUser" {
		name := who.Session
		if name == "" {
			name = who.Name
		}
		for at := 0; len(name) > 2; {
			i := bytes.Index(raw[at:], []byte(name))
			if i < 0 {
				break
			}
			places = append(places, place{at + i, at + i + len(name), slotPerson})
			at += i + len(name)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return a.from - b.from })
	var t template
	at := 0
	for _, p := range places {
		if p.from < at {
			continue
		}
		t.parts = append(t.parts, bytes.Clone(raw[at:p.from]))
		t.slots = append(t.slots, p.s)
		at = p.to
	}
	t.parts = append(t.parts, bytes.Clone(raw[at:]))
	return t, e.Bool(event.ReadOnly), nil
}

// Append appends one record, of time t, to dst.
func (g *Generator) Append(dst []byte, t time.Time) []byte {
	from := g.reads
	if g.rnd.Float64() < g.share {
		from = g.changes
	}
	tpl := &from[g.rnd.IntN(len(from))]
	person := g.rnd.IntN(g.people)
	for i, s := range tpl.slots {
		dst = append(dst, tpl.parts[i]...)
		switch s {
		case slotID:
			a, b := g.rnd.Uint64(), g.rnd.Uint64()
			dst = fmt.Appendf(dst, "%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
		case slotTime:
			dst = t.UTC().AppendFormat(dst, time.RFC3339)
		case slotAddress:
			dst = fmt.Appendf(dst, "198.51.%d.%d", 100+g.rnd.IntN(2), 1+g.rnd.IntN(254))
		case slotKey:
			dst = fmt.Appendf(dst, "ASIA%016X", g.rnd.Uint64())
		case slotPerson:
			dst = fmt.Appendf(dst, "p%04d.%c", person, 'a'+rune(person%26))
		}
	}
	return append(dst, tpl.parts[len(tpl.parts)-1]...)
}

// attacks are the CloudTrail records of every scene that is an attack.
func attacks() ([]Record, error) {
	scenes, err := Scenes()
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, s := range scenes {
		for _, r := range s.Records {
			if r.Kind == event.CloudTrail && !s.Quiet {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// perFile is how many records a file of a corpus holds.
const perFile = 4000

// attackEvery is how many ordinary records stand between two of an attack.
const attackEvery = 2000

// Corpus writes {"Records":[...]} files, gzip, into dir until they come to at
// least size bytes, and returns the number of records. share of the ordinary
// ones change something; AsRecorded is as in the samples.
func Corpus(ctx context.Context, dir string, size int64, seed uint64, share float64, workers int) (int64, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	attacks, err := attacks()
	if err != nil {
		return 0, err
	}
	var written, files, records atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			var buf []byte
			var out bytes.Buffer
			z, err := kgzip.NewWriterLevel(&out, gzip.DefaultCompression)
			if err != nil {
				return err
			}
			for written.Load() < size && ctx.Err() == nil {
				n := files.Add(1)
				gen, err := New(seed+uint64(n), share)
				if err != nil {
					return err
				}
				at := time.Unix(1_780_000_000+n*300, 0)
				buf = append(buf[:0], `{"Records":[`...)
				for i := range perFile {
					if i > 0 {
						buf = append(buf, ',')
					}
					t := at.Add(time.Duration(i) * 75 * time.Millisecond)
					if i%attackEvery == attackEvery/2 {
						e, err := attacks[gen.rnd.IntN(len(attacks))].At(t)
						if err != nil {
							return err
						}
						buf = append(buf, replace(&e, event.EventID, fmt.Sprintf("%016x-%016x", gen.rnd.Uint64(), gen.rnd.Uint64()))...)
						continue
					}
					buf = gen.Append(buf, t)
				}
				buf = append(buf, `]}`...)
				out.Reset()
				z.Reset(&out)
				if _, err := z.Write(buf); err != nil {
					return err
				}
				if err := z.Close(); err != nil {
					return err
				}
				name := filepath.Join(dir, fmt.Sprintf("111122223333_CloudTrail_eu-west-1_%06d.json.gz", n))
				if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
					return err
				}
				written.Add(int64(out.Len()))
				records.Add(perFile)
			}
			return nil
		})
	}
	err = g.Wait()
	return records.Load(), err
}
