package main

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/schollz/progressbar/v3"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/inventory"
)

// huntRun is the state of one hunt, shared by its workers.
type huntRun struct {
	*hunt
	rules *detect.RuleSet
	*grounds
	out *orderedFindings
	// inventory is of the Config items in the files, nil when no rule asks.
	inventory *inventory.Inventory
	bar       *progressbar.ProgressBar

	files64, events, bytes, skipped, failed atomic.Int64

	brokenMu sync.Mutex
	broken   []ingest.Broken
	errs     []error
	doubts   map[string]*doubt
}

// doubt is what a reader said of objects, the first of them and how many there are.
type doubt struct {
	first string
	times int
}

// work reads files until none is left. One engine and one set of buffers serve all its files.
func (r *huntRun) work(ctx context.Context, all <-chan quarry) error {
	var engine *detect.Engine // made for the first: there may be more workers than files
	reader, render := newHuntReader(), r.renderer()
	var scratch []event.Finding
	for q := range all {
		if engine == nil || r.isolate {
			engine = detect.NewEngine(r.rules)
		}
		known, err := r.known(ctx, q)
		if err != nil {
			return err
		}
		if known != nil {
			engine.SetResources(known.Session(ctx))
		}
		sink := ingest.Sink{
			Emit: func(ctx context.Context, b ingest.Batch) error {
				if known != nil && q.Path == "-" { // which cannot be read twice
					if err := putItems(ctx, known, b.Events); err != nil {
						return err
					}
				}
				for j := range b.Events {
					e := &b.Events[j]
					if !r.inRange(e) {
						continue
					}
					scratch = engine.Eval(e, scratch[:0])
					for k := range scratch {
						if scratch[k].Severity >= r.minSeverity.Severity {
							text, err := render(&scratch[k])
							if err != nil {
								return err
							}
							if err := r.out.add(q.i, scratch[k].Severity, text); err != nil {
								return err
							}
						}
					}
				}
				r.events.Add(int64(len(b.Events)))
				if q.Path == "-" { // somebody may be waiting at the other end of a pipe
					return r.out.flush()
				}
				return nil
			},
			Broken: func(_ context.Context, b ingest.Broken) error { r.noteBroken(b); return nil },
			Notice: func(o event.Origin, text string) { r.noteDoubt(o, text) },
		}
		stats, err := reader.read(ctx, r.grounds, q, sink, r.advance)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.files64.Add(1)
		r.bytes.Add(stats.Bytes)
		if err != nil {
			r.noteError(err)
		}
		if stats.Foreign && q.Named { // in a folder other files are expected
			r.noteBroken(ingest.Broken{Origin: event.Origin{Source: q.Path}, Reason: "the file holds no telemetry that is known"})
		}
		if err := r.out.done(q.i); err != nil {
			return err
		}
	}
	return nil
}

// known is what is known of resources while a file is read: with --isolate, what
// that file alone tells.
func (r *huntRun) known(ctx context.Context, q quarry) (*inventory.Inventory, error) {
	switch {
	case !r.isolate:
		return r.inventory, nil
	case q.object != nil:
		return r.gatherObjects(ctx, nil, func(yield func(quarry, error) bool) { yield(q, nil) })
	}
	return r.gather(ctx, []ingest.FileRef{q.FileRef}, 1)
}

func (r *huntRun) advance(n int64) {
	if r.bar != nil {
		_ = r.bar.Add64(n)
	}
}
