package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"riposte/internal/traffic"
)

// drained is what `riposte run --drain` prints.
type drained struct {
	Published int64   `json:"published"`
	Evaluated int64   `json:"evaluated"`
	Findings  int64   `json:"findings"`
	Repeated  int64   `json:"repeated"`
	Broken    int64   `json:"broken"`
	Seconds   float64 `json:"seconds"`
	P50       float64 `json:"p50ms"`
	P99       float64 `json:"p99ms"`
}

// streamSize bounds what goes through the stream.
const streamSize = 60e6

// stream measures the pipeline in one process: files, the embedded JetStream's
// file store, detection, findings.
func (b *bench) stream(ctx context.Context) error {
	day, err := b.makeCorpus(ctx, "stream", min(b.size, streamSize), ordinaryDay)
	if err != nil {
		return err
	}
	hunted, err := b.huntFindings(ctx, day)
	if err != nil {
		return err
	}
	var used []usage
	var done []drained
	for range b.rounds {
		u, d, err := b.drain(ctx, nil, day.dir)
		if err != nil {
			return err
		}
		used, done = append(used, u), append(done, d)
		if d.Published != day.Records || d.Evaluated != day.Records || d.Broken != 0 {
			return fmt.Errorf("%w: of %d records %d were published and %d evaluated, %d set aside", errCheck, day.Records, d.Published, d.Evaluated, d.Broken)
		}
		if d.Findings != hunted {
			return fmt.Errorf("%w: a hunt makes %d findings, the stream %d", errCheck, hunted, d.Findings)
		}
	}
	rate := over(done, func(d drained) float64 { return float64(d.Evaluated) / d.Seconds })
	perEvent := over(used, func(u usage) float64 { return float64(u.cpu.Microseconds()) / float64(day.Records) })
	b.report.add(figure{Name: "stream, events a second", Measured: quantile(rate, 1), Limit: 100_000, AtLeast: true,
		Note: fmt.Sprintf("best of %d, median %s, start and stop included; it had %.2f cores; %d events, %d findings, none lost, none twice",
			b.rounds, number(median(rate)), slices.Max(over(used, cores)), day.Records, hunted)})
	b.report.add(figure{Name: "stream, CPU an event", Measured: median(perEvent), Unit: "µs", Limit: 20,
		Note: fmt.Sprintf("2 cores to the full would be %s events/s; %.0f MB held", number(2e6/median(perEvent)), median(over(used, rss)))})
	return nil
}

// huntFindings is how many findings a hunt makes with the rules of the daemon.
func (b *bench) huntFindings(ctx context.Context, c *corpus) (int64, error) {
	var s huntStats
	_, stderr, err := child(ctx, nil, io.Discard, b.riposte, "hunt", "--output", "json", "--stats", c.dir)
	if err != nil {
		return 0, err
	}
	err = lastJSON(stderr, &s)
	return s.Findings, err
}

// drain runs the daemon's ingesting and detecting roles over what it is given.
func (b *bench) drain(ctx context.Context, stdin io.Reader, path string) (usage, drained, error) {
	var d drained
	data, err := os.MkdirTemp(b.dir, "data")
	if err != nil {
		return usage{}, d, err
	}
	defer os.RemoveAll(data)
	var out bytes.Buffer
	u, _, err := child(ctx, stdin, &out, b.riposte, "run", "--drain", "--data-dir", data, "--roles", "ingest,detect", path)
	if err != nil {
		return u, d, err
	}
	return u, d, lastJSON(out.Bytes(), &d)
}

const (
	feedRate = 5000 // records a second
	feedFor  = 20 * time.Second
	feedTick = 5 * time.Millisecond
)

// latency feeds the daemon records at a steady pace and asks how long each took
// from being read to its finding being acknowledged.
func (b *bench) latency(ctx context.Context) error {
	records, err := feedRecords(int(feedRate * feedFor / time.Second))
	if err != nil {
		return err
	}
	var runs []fed
	for range b.rounds {
		f, err := b.feedOnce(ctx, records)
		if err != nil {
			return err
		}
		runs = append(runs, f)
	}
	p99 := over(runs, func(f fed) float64 { return f.P99 })
	best := slices.MinFunc(runs, func(a, b fed) int { return cmp.Compare(a.P99, b.P99) })
	b.report.add(figure{Name: "event received to finding acknowledged, p99", Measured: best.P99, Unit: "ms", Limit: 25,
		Note: fmt.Sprintf("best of %d, median %s ms; p50 %.1f ms; %d records at %d/s, %d findings; the feeder was %.1f ms late at p99; CPU %.0f %% of a core",
			b.rounds, number(median(p99)), best.P50, len(records), feedRate, best.Findings, best.late, 100*seconds(best.used.cpu)/seconds(best.used.wall))})
	return nil
}

// fed is what a daemon came to that was fed at a steady pace.
type fed struct {
	drained
	used usage
	late float64 // the feeder, at p99, ms
}

func (b *bench) feedOnce(ctx context.Context, records [][]byte) (f fed, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return f, err
	}
	late := make(chan []float64, 1)
	go func() { // ends with the feed, or when the reader is gone
		defer w.Close()
		late <- feed(w, records)
	}()
	f.used, f.drained, err = b.drain(ctx, r, "-")
	r.Close()
	f.late = quantile(<-late, 0.99)
	if err == nil && f.Evaluated != int64(len(records)) {
		err = fmt.Errorf("%w: of %d records %d were evaluated", errCheck, len(records), f.Evaluated)
	}
	return f, err
}

func feedRecords(n int) ([][]byte, error) {
	gen, err := traffic.New(seed, ordinaryDay)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, n)
	for i := range out {
		out[i] = append(gen.Append(nil, time.Unix(1_780_000_000, 0).Add(time.Duration(i)*time.Second/feedRate)), '\n')
	}
	return out, nil
}

// feed writes records at feedRate, and returns how many milliseconds after its
// time each tick's were written: a reader that falls behind shows here.
func feed(w io.Writer, records [][]byte) (behind []float64) {
	const perTick = int(feedRate * feedTick / time.Second)
	time.Sleep(2 * time.Second) // the daemon starts
	start := time.Now()
	var buf []byte
	for i := 0; i < len(records); i += perTick {
		due := start.Add(time.Duration(i/perTick) * feedTick)
		time.Sleep(time.Until(due))
		buf = buf[:0]
		for _, r := range records[i:min(i+perTick, len(records))] {
			buf = append(buf, r...)
		}
		if _, err := w.Write(buf); err != nil {
			return behind
		}
		behind = append(behind, millis(time.Since(due)))
	}
	return behind
}

// cold measures a hunt of a small file, all shipped rules.
func (b *bench) cold(ctx context.Context) error {
	records, err := feedRecords(50)
	if err != nil {
		return err
	}
	name := filepath.Join(b.dir, "small.ndjson")
	if err := os.WriteFile(name, bytes.Join(records, nil), 0o644); err != nil {
		return err
	}
	var used []usage
	for range 20 {
		u, _, err := child(ctx, nil, io.Discard, b.riposte, "hunt", "--output", "json", name)
		if err != nil {
			return err
		}
		used = append(used, u)
	}
	w := over(used, wall)
	b.report.add(figure{Name: "cold start of a hunt", Measured: median(w), Unit: "s", Limit: 0.3,
		Note: fmt.Sprintf("median of 20, best %.3f s, p90 %.3f s; it had %.2f cores; CPU %.3f s, %.0f MB held",
			quantile(w, 0), quantile(w, 0.9), median(over(used, cores)), median(over(used, cpu)), median(over(used, rss)))})
	return nil
}
