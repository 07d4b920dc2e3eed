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
	rnd       *rand.Rand
	templates []template
	people    int
}

// New returns a generator of ordinary records.
func New(seed uint64) (*Generator, error) {
	data, err := samples.FS.ReadFile("cloudtrail/ordinary.ndjson")
	if err != nil {
		return nil, fmt.Errorf("read the ordinary records: %w", err)
	}
	g := &Generator{rnd: rand.New(rand.NewPCG(seed, 0x51ca)), people: 5000}
	for line := range bytes.Lines(data) {
		t, err := cut(bytes.TrimSpace(line))
		if err != nil {
			return nil, err
		}
		g.templates = append(g.templates, t)
	}
	return g, nil
}

// cut finds what varies in a record.
func cut(raw []byte) (template, error) {
	e, err := event.Decode(event.CloudTrail, raw)
	if err != nil {
		return template{}, fmt.Errorf("read a sample: %w", err)
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
	return t, nil
}

// Append appends one record, of time t, to dst.
func (g *Generator) Append(dst []byte, t time.Time) []byte {
	tpl := &g.templates[g.rnd.IntN(len(g.templates))]
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

// Attacks are the recorded attacks of the samples, as records, each technique's together.
func Attacks() ([][]byte, error) {
	files, err := samples.FS.ReadDir("cloudtrail/stratus")
	if err != nil {
		return nil, fmt.Errorf("list the attacks: %w", err)
	}
	names := []string{"cloudtrail/demo.ndjson"}
	for _, f := range files {
		names = append(names, "cloudtrail/stratus/"+f.Name())
	}
	var out [][]byte
	for _, n := range names {
		data, err := samples.FS.ReadFile(n)
		if err != nil {
			return nil, fmt.Errorf("read an attack: %w", err)
		}
		for line := range bytes.Lines(data) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				out = append(out, line)
			}
		}
	}
	return out, nil
}

// At returns a record as if it had happened at t.
func At(raw []byte, t time.Time) ([]byte, error) {
	e, err := event.Decode(event.CloudTrail, raw)
	if err != nil {
		return nil, err
	}
	b := e.Bytes(event.EventTime)
	if b == nil {
		return bytes.Clone(raw), nil
	}
	from := cap(e.Raw) - cap(b)
	out := append(bytes.Clone(e.Raw[:from]), '"')
	out = append(t.UTC().AppendFormat(out, time.RFC3339), '"')
	return append(out, e.Raw[from+len(b):]...), nil
}

// perFile is how many records a file of a corpus holds.
const perFile = 4000

// attackEvery is how many ordinary records stand between two of an attack.
const attackEvery = 2000

// Corpus writes {"Records":[...]} files, gzip, into dir until they come to at
// least size bytes, and returns the number of records.
func Corpus(ctx context.Context, dir string, size int64, seed uint64, workers int) (int64, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	attacks, err := Attacks()
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
				gen, err := New(seed + uint64(n))
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
						raw, err := At(attacks[gen.rnd.IntN(len(attacks))], t)
						if err != nil {
							return err
						}
						buf = append(buf, fresh(raw, gen.rnd)...)
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

// fresh gives a record a new id.
func fresh(raw []byte, rnd *rand.Rand) []byte {
	e, err := event.Decode(event.CloudTrail, raw)
	if err != nil {
		return raw
	}
	return bytes.Replace(raw, e.Bytes(event.EventID), fmt.Appendf(nil, `"%016x-%016x"`, rnd.Uint64(), rnd.Uint64()), 1)
}
