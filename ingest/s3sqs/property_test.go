package s3sqs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"riposte/ingest/s3object"
	"riposte/internal/awsfake"
)

// TestAnySplit: however records are split into files, in whatever form a file has
// them, in whatever order and how often it is told of, the events are the same.
func TestAnySplit(t *testing.T) {
	roads := spellings()
	names := slices.Sorted(maps.Keys(roads))
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		r := newRig(t, awsfake.Queue{Pick: func(n int) int { return int(seed*7919) % n }}, func(c *Config) { c.Receivers = 1 + int(seed%4) })
		ids := make([]string, 1+rnd.IntN(900))
		for i := range ids {
			ids[i] = fmt.Sprintf("e-%05d", i)
		}
		left := records(ids, func() string { return strings.Repeat("x", rnd.IntN(1500)) })
		rnd.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		var notes []string
		files := 0
		for ; len(left) > 0; files++ {
			n := 1 + rnd.IntN(min(len(left), 400))
			o := r.store(fmt.Sprintf("AWSLogs/%d a+b.json.gz", files), form(t, rnd, left[:n]))
			left = left[n:]
			for range 1 + rnd.IntN(3) {
				notes = append(notes, roads[names[rnd.IntN(len(names))]](t, o))
			}
		}
		rnd.Shuffle(len(notes), func(i, j int) { notes[i], notes[j] = notes[j], notes[i] })
		for _, n := range notes {
			r.fake.Send("q", n, 0)
		}
		r.drain()
		r.want(ids...)
		if len(r.broken) > 0 {
			t.Errorf("seed %d: set aside %+v", seed, r.broken[0])
		}
		// What was done is counted: each notification once, each time an object.
		for what, want := range map[string]int{Messages: len(notes), Deletes: len(notes), s3object.Objects: len(notes), Again: 0, Returns: 0, s3object.Retries: 0} {
			if got := r.meter.of(what); got != int64(want) {
				t.Errorf("seed %d: %d %s are counted, want %d", seed, got, what, want)
			}
		}
		if r.meter.of(s3object.Bytes) == 0 || r.meter.of(Receives) == 0 || r.src.OldestAge() <= 0 {
			t.Errorf("seed %d: %d bytes, %d receives, age %s", seed, r.meter.of(s3object.Bytes), r.meter.of(Receives), r.src.OldestAge())
		}
	}
}

// form writes records as a file in one of the forms that are read.
func form(t *testing.T, rnd *rand.Rand, records []string) []byte {
	document := `{"Records":[` + strings.Join(records, ",") + `]}`
	switch rnd.IntN(5) {
	case 0:
		return []byte(document)
	case 1:
		return gzipped(t, strings.Join(records, "\n")+"\n")
	case 2: // members of gzip end to end
		return append(gzipped(t, document[:len(document)/2]), gzipped(t, document[len(document)/2:])...)
	case 3:
		return gzipped(t, `[`+strings.Join(records, " ,\n ")+`]`)
	}
	return gzipped(t, document)
}
