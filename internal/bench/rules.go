package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing/fstest"
	"time"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/rulegen"
	"riposte/internal/traffic"
)

// rules measures what an event costs with more and more rules, in this process,
// so that compiling them is not in the figure: from a record's bytes to the
// verdict, and the verdict alone. Every set sees the same events, those that
// none of the rules matches.
func (b *bench) rules(ctx context.Context) error {
	counts := []int{100, 1000, 5000}
	sets := make([]*detect.RuleSet, len(counts))
	for i, n := range counts {
		var err error
		if sets[i], err = detect.Load(rulegen.Rules(n, seed), detect.Options{}); err != nil {
			return err
		}
	}
	records, err := quietRecords(sets[len(sets)-1], 4000)
	if err != nil {
		return err
	}
	whole, alone := make([][]float64, len(sets)), make([][]float64, len(sets))
	var allocs, evaluated []float64
	for round := range max(b.rounds, 3) + 2 {
		for i, set := range sets {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			loop := newLoop(set, records)
			w, a := loop.time(loop.decodeAndEval), loop.time(loop.eval)
			whole[i], alone[i] = append(whole[i], w), append(alone[i], a)
			if round == 0 {
				n, rules := loop.allocations(loop.eval)
				allocs, evaluated = append(allocs, n), append(evaluated, rules)
			}
		}
	}
	for i, n := range counts {
		f := figure{Name: fmt.Sprintf("an event with %d rules, to that with %d", n, counts[0]), Measured: median(pairs(whole[i], whole[0])), Unit: "×"}
		f.Note = fmt.Sprintf("%.0f ns an event from its bytes, %.0f ns evaluation alone (%.2f×), %.3f rules evaluated, %.3f allocations an event",
			median(whole[i]), median(alone[i]), median(pairs(alone[i], alone[0])), evaluated[i], allocs[i])
		switch n {
		case 100:
			f.Name, f.Measured, f.Unit = "an event with 100 rules", median(whole[0]), "ns"
		case 1000:
			f.Limit = 1.3
		case 5000:
			f.Limit = 2
		}
		b.report.add(f)
	}
	return b.allocations(records[:100])
}

// allocations evaluates every rule over every event, the index left out, and
// asks what an evaluation allocates: with rules over typed fields, and with all
// shapes, of which some look into free-form parts, which are parsed for them.
func (b *bench) allocations(records [][]byte) error {
	for _, c := range []struct {
		name, shape string
		limit       float64
	}{
		{"allocations a rule evaluated, typed fields", "keyed/", 0.01}, {"allocations a rule evaluated, all shapes", "", 0},
	} {
		files := fstest.MapFS{}
		for name, data := range rulegen.Files(1000, seed) {
			if strings.HasPrefix(name, c.shape) {
				files[name] = &fstest.MapFile{Data: data}
			}
		}
		set, err := detect.Load(files, detect.Options{})
		if err != nil {
			return err
		}
		l := newLoop(set, records)
		n, rules := l.allocations(l.evalAll)
		b.report.add(figure{Name: c.name, Measured: n / rules, Limit: c.limit, Note: fmt.Sprintf("%.0f rules evaluated an event, %.1f allocations an event: a field is boxed once an event", rules, n)})
	}
	return nil
}

// quietRecords are n records of ordinary traffic that no rule of the set matches.
func quietRecords(set *detect.RuleSet, n int) ([][]byte, error) {
	gen, err := traffic.New(seed, ordinaryDay)
	if err != nil {
		return nil, err
	}
	engine := detect.NewEngine(set)
	var out [][]byte
	for i := 0; len(out) < n; i++ {
		raw := gen.Append(nil, time.Unix(1_780_000_000+int64(i), 0))
		e, err := event.Decode(event.CloudTrail, raw)
		if err != nil {
			return nil, err
		}
		if len(engine.Eval(&e, nil)) == 0 {
			out = append(out, raw)
		}
	}
	return out, nil
}

// loop evaluates the same records again and again.
type loop struct {
	set     *detect.RuleSet
	engine  *detect.Engine
	records [][]byte
	events  []event.Event
	out     []event.Finding
}

func newLoop(set *detect.RuleSet, records [][]byte) *loop {
	l := &loop{set: set, engine: detect.NewEngine(set), records: records, events: make([]event.Event, len(records))}
	for i, raw := range records {
		_, _ = l.events[i].Scan(event.CloudTrail, raw) // they decoded before
	}
	return l
}

func (l *loop) eval() {
	for i := range l.events {
		l.out = l.engine.Eval(&l.events[i], l.out[:0])
	}
}

func (l *loop) evalAll() {
	for i := range l.events {
		l.out = l.engine.EvalAll(&l.events[i], l.out[:0])
	}
}

func (l *loop) decodeAndEval() {
	var e event.Event
	for _, raw := range l.records {
		_, _ = e.Scan(event.CloudTrail, raw)
		l.out = l.engine.Eval(&e, l.out[:0])
	}
}

// time returns the nanoseconds of this thread's CPU that an event takes.
func (l *loop) time(f func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f() // warm
	const times = 10
	before := threadCPU()
	for range times {
		f()
	}
	return float64(threadCPU()-before) / float64(times*len(l.records))
}

// allocations returns how many f makes an event, and how many rules it evaluates for one.
func (l *loop) allocations(f func()) (perEvent, rules float64) {
	f()
	evaluated := func() (n uint64) {
		for _, c := range l.set.Counters() {
			n += uint64(c.Evaluated)
		}
		return n
	}
	var before, after runtime.MemStats
	was := evaluated()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	n := float64(len(l.events))
	return float64(after.Mallocs-before.Mallocs) / n, float64(evaluated()-was) / n
}

func threadCPU() time.Duration {
	var r syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	if err := syscall.Getrusage(thread, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
