package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/internal/expr"
	"riposte/internal/traffic"
	shipped "riposte/rules"
)

// flow measures what a flow log record costs, from the text of a file in memory to
// the verdict of the shipped rules, beside two floors of the same text: counting
// its line ends, and splitting it into words as the standard library does. It is this
// thread's CPU, so that a busy machine disturbs little.
func (b *bench) flow(ctx context.Context) error {
	lists, err := expr.NewLists(map[string][]string{
		"own_accounts": nil, "trusted_accounts": nil, "trusted_networks": nil, "approved_regions": nil, "ci_identities": nil, "break_glass": nil, "log_buckets": nil,
	})
	if err != nil {
		return err
	}
	set, err := detect.Load(shipped.FS, detect.Options{Lists: lists})
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	procs := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(procs)
	for _, name := range []string{"v2", "v5"} {
		const n = 200_000
		f := flowLoop{ctx: ctx, text: traffic.FlowFile(seed, event.KnownFlowFormat(name), n), n: n, reader: ingest.NewReader(), engine: detect.NewEngine(set)}
		var lines, words, read, whole []float64
		for range max(b.rounds, 3) + 2 {
			lines, words = append(lines, f.time(f.lines)), append(words, f.time(f.words))
			read, whole = append(read, f.time(f.read)), append(whole, f.time(f.evaluate))
			if f.err != nil {
				return f.err
			}
		}
		if f.found > 0 {
			return fmt.Errorf("%w: %d findings in ordinary traffic", errCheck, f.found)
		}
		b.report.add(figure{Name: "flow log records " + name + ", from text to evaluated, one core", Measured: 1e9 / median(whole), Unit: "/s", Limit: 1e6, AtLeast: true,
			Note: fmt.Sprintf("%.0f ns a record of %d bytes, of which reading %.0f; %.3f allocations", median(whole), len(f.text)/n, median(read), f.allocations())})
		b.report.add(figure{Name: "flow log records " + name + ", to splitting their text into words", Measured: median(pairs(whole, words)), Unit: "×",
			Note: fmt.Sprintf("bytes.Lines and bytes.FieldsSeq %.0f ns a record, counting its line end %.1f", median(words), median(lines))})
	}
	return nil
}

// flowLoop goes over the same text again and again.
type flowLoop struct {
	ctx    context.Context
	text   []byte
	n      int
	reader *ingest.Reader
	engine *detect.Engine
	out    []event.Finding
	count  int
	found  int
	err    error
}

func (f *flowLoop) lines() { f.count += bytes.Count(f.text, []byte{'\n'}) }

func (f *flowLoop) words() {
	for line := range bytes.Lines(f.text) {
		for range bytes.FieldsSeq(line) {
			f.count++
		}
	}
}

func (f *flowLoop) read() {
	f.pass(func(context.Context, ingest.Batch) error { return nil })
}

func (f *flowLoop) evaluate() {
	f.pass(func(_ context.Context, batch ingest.Batch) error {
		for i := range batch.Events {
			f.out = f.engine.Eval(&batch.Events[i], f.out[:0])
			f.found += len(f.out)
		}
		return nil
	})
}

func (f *flowLoop) pass(emit ingest.Emit) {
	stats, err := f.reader.Read(f.ctx, ingest.Object{Source: "files", Name: "f", Identity: "x"}, bytes.NewReader(f.text), ingest.Sink{Emit: emit})
	if err == nil && (stats.Events != int64(f.n) || stats.Broken > 0) {
		err = fmt.Errorf("%w: of %d records %d were read and %d were broken", errCheck, f.n, stats.Events, stats.Broken)
	}
	if err != nil {
		f.err = err
	}
}

// time returns the nanoseconds of this thread's CPU that a record takes.
func (f *flowLoop) time(pass func()) float64 {
	pass() // warm
	before := threadCPU()
	pass()
	return float64(threadCPU()-before) / float64(f.n)
}

// allocations are how many one record makes, from text to evaluated.
func (f *flowLoop) allocations() float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f.evaluate()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(f.n)
}
