package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/cloudtrail/integrity"
	"riposte/ingest/cloudtrail/lookup"
	"riposte/ingest/kinesis"
	"riposte/ingest/s3sqs"
	"riposte/internal/bus"
	"riposte/internal/telemetry"
	"riposte/inventory"
	"riposte/respond"
)

// Names of the durable consumers: each role reads its stream through one, so
// that more processes of a role share its work and a restart goes on where it stopped.
const (
	detectDurable  = "detect"
	respondDurable = "respond"
)

// pipeline is the whole of riposte in one process: sources publish to the bus,
// workers evaluate rules, responders fold findings into incidents and plan.
// Which of these run is the configuration's roles.
type pipeline struct {
	cfg     Config
	log     *slog.Logger
	tel     *telemetry.Telemetry
	bus     *bus.Bus
	rules   *detect.Live
	respond *respond.Responder
	sources []ingest.Source
	queues  []*s3sqs.Source
	// sourceNames are theirs, for people.
	sourceNames []string
	// lookout watches what telemetry comes; nil in a process that ingests nothing.
	lookout *lookout
	stdin   io.Reader
	state   *state
	// inventory is what is known of resources.
	inventory *inventory.Inventory
	view      *view
	started   time.Time
	// lookups keep all that calls LookupEvents below AWS's limit together.
	lookups *lookup.Limits
	// trails are the buckets whose digests are verified.
	trails []*integrity.Source
	// streams are the data streams that are read.
	streams []*kinesis.Source

	// onFinding, when set, sees each new finding once it is acknowledged.
	onFinding func(*event.Finding)

	// published, evaluated, found and handled count what this process did, for
	// --drain and for the demo; the metrics have the same and more.
	published, evaluated, found, repeated, handled, broken atomic.Int64

	// latency is from reading an event to its finding being acknowledged.
	latency latencies

	doubts doubts

	engines sync.Pool
}

// run plays the roles until ctx is done, or, with drain, until every source has
// ended and all that they delivered has been handled.
func (p *pipeline) run(ctx context.Context, drain bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	sourcesDone := make(chan struct{})
	if p.cfg.hasRole("ingest") {
		lookout, err := newLookout(ctx, p)
		if err != nil {
			return err
		}
		p.lookout = lookout
		g.Go(func() error { return p.ingest(ctx, sourcesDone) })
		g.Go(func() error { return lookout.run(ctx) })
	} else {
		close(sourcesDone)
	}
	if p.cfg.hasRole("detect") {
		g.Go(func() error {
			return p.bus.ConsumeEvents(ctx, detectDurable, p.cfg.Detect.Workers, p.evaluate)
		})
		g.Go(func() error { return p.watchRules(ctx) })
		g.Go(func() error { return (&ruleCounts{table: p.state.counts, rules: p.rules}).run(ctx) })
	}
	if p.cfg.hasRole("respond") {
		g.Go(func() error {
			return p.bus.ConsumeFindings(ctx, respondDurable, p.cfg.Respond.Workers, p.handle)
		})
	}
	if drain {
		g.Go(func() error {
			defer cancel()
			return p.drained(ctx, sourcesDone)
		})
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ingest runs the sources side by side and closes done when all have ended.
func (p *pipeline) ingest(ctx context.Context, done chan<- struct{}) error {
	defer close(done)
	sink := ingest.Sink{
		Emit: func(ctx context.Context, b ingest.Batch) error {
			ctx, span := p.tel.Tracer.Start(ctx, "ingest")
			defer span.End()
			if err := p.bus.PublishEvents(ctx, b.ID, b.Events); err != nil {
				return err
			}
			p.published.Add(int64(len(b.Events)))
			source, kind, size, delivery, lag := describe(b.Events)
			p.tel.Ingested(ctx, source, kind, len(b.Events), size, delivery, lag)
			countFlows(ctx, p.tel, source, b.Events)
			return nil
		},
		Broken: func(ctx context.Context, b ingest.Broken) error {
			p.broken.Add(1)
			p.tel.Broken(ctx, b.Origin.Source)
			p.log.WarnContext(ctx, "record set aside", "source", b.Origin.Source, "place", b.Origin.String(), "err", b.Reason)
			letter := bus.DeadLetter{Reason: b.Reason, Place: b.Origin.String(), Payload: b.Raw}
			if b.Kind != 0 {
				letter.Kind = b.Kind.String()
			}
			switch {
			case b.Format != nil:
				letter.Format = b.Format.String()
			case b.Mapping != nil:
				letter.Format = b.Mapping.String()
			}
			return p.bus.DeadLetter(ctx, letter)
		},
		Notice: func(o event.Origin, text string) {
			p.log.Log(ctx, p.doubts.level(o.Source, text), "source read with a doubt", "source", o.Source, "place", o.Object, "err", text)
		},
		Findings: func(ctx context.Context, findings []event.Finding) error {
			ingested := make([]time.Time, len(findings))
			for i := range ingested {
				ingested[i] = time.Now()
			}
			return p.publish(ctx, findings, ingested)
		},
	}
	sink.Emit = p.lookout.watch(sink.Emit)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range p.sources {
		g.Go(func() error { return s.Run(ctx, sink) })
	}
	return g.Wait()
}

// evaluate runs the rules over one batch. It returns, and so acknowledges the
// batch, only when every finding is durable; a second delivery makes the same
// findings with the same ids, which the stream holds once.
func (p *pipeline) evaluate(ctx context.Context, b *bus.Batch) error {
	ctx, span := p.tel.Tracer.Start(ctx, "detect")
	defer span.End()
	engine := p.engine()
	defer p.engines.Put(engine)
	engine.findings, engine.ingested = engine.findings[:0], engine.ingested[:0]
	if err := p.record(ctx, b.Events); err != nil {
		return err
	}
	known := p.inventory.Session(ctx)
	engine.SetResources(known)
	for i := range b.Events {
		e := &b.Events[i]
		engine.findings = engine.Eval(e, engine.findings)
		for len(engine.ingested) < len(engine.findings) {
			for j := range engine.findings[len(engine.ingested)].Evidence.Records {
				engine.findings[len(engine.ingested)].Evidence.Records[j].Ingested = e.Ingested
			}
			engine.ingested = append(engine.ingested, e.Ingested)
		}
	}
	if err := known.Err(); err != nil {
		return fmt.Errorf("evaluate: %w", err) // a rule that had no answer would be a rule that says no
	}
	if err := p.publish(ctx, engine.findings, engine.ingested); err != nil {
		return err
	}
	p.evaluated.Add(int64(len(b.Events)))
	p.tel.Evaluated(ctx, len(b.Events))
	return nil
}

// publish makes findings durable, and tells of those that are new. ingested says
// of each when the event that completed it was read.
func (p *pipeline) publish(ctx context.Context, findings []event.Finding, ingested []time.Time) error {
	if len(findings) == 0 {
		return nil
	}
	all := make([]*event.Finding, len(findings))
	for i := range findings {
		all[i] = &findings[i]
	}
	isNew, err := p.bus.PublishFindings(ctx, all)
	if err != nil {
		return fmt.Errorf("publish %d findings: %w", len(all), err)
	}
	for i, f := range all {
		took := time.Since(ingested[i])
		p.tel.Found(ctx, f.Rule, f.Severity.String(), isNew[i], took)
		if !isNew[i] {
			p.repeated.Add(1)
			continue
		}
		p.found.Add(1)
		p.latency.add(took)
		p.log.InfoContext(ctx, "finding", "finding", f.ID, "rule", f.Rule, "severity", f.Severity.String(), "account", f.Account, "title", f.Title)
		if p.onFinding != nil {
			p.onFinding(f)
		}
	}
	return nil
}

// pooledEngine is an engine with the rule set it was made for and its scratch.
type pooledEngine struct {
	*detect.Engine
	set      *detect.RuleSet
	findings []event.Finding
	ingested []time.Time
}

// engine returns one for the rules that are live now.
func (p *pipeline) engine() *pooledEngine {
	set := p.rules.Current()
	if e, ok := p.engines.Get().(*pooledEngine); ok && e.set == set {
		return e
	}
	return &pooledEngine{Engine: detect.NewEngine(set), set: set}
}

// handle folds one finding into an incident and plans its containment.
func (p *pipeline) handle(ctx context.Context, f *event.Finding) error {
	ctx, span := p.tel.Tracer.Start(ctx, "respond")
	defer span.End()
	if err := p.respond.HandleFinding(ctx, f); err != nil {
		return err
	}
	p.handled.Add(1)
	return nil
}

// watchRules reloads rules when their files change.
func (p *pipeline) watchRules(ctx context.Context) error {
	return p.rules.Watch(ctx, func(err error) { p.reloaded(ctx, err) })
}

// reloaded says what a reload came to. A set that does not load never replaces
// the one that runs.
func (p *pipeline) reloaded(ctx context.Context, err error) {
	if err != nil {
		p.log.ErrorContext(ctx, "rules not reloaded, the last good set goes on", "err", err)
		return
	}
	p.log.InfoContext(ctx, "rules reloaded", "rules", len(p.rules.Current().Rules()))
}

// drained waits until the sources have ended and nothing is left to handle.
func (p *pipeline) drained(ctx context.Context, sourcesDone <-chan struct{}) error {
	select {
	case <-sourcesDone:
	case <-ctx.Done():
		return ctx.Err()
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		idle, err := p.bus.Idle(ctx, p.durables()...)
		if err != nil {
			return err
		}
		if idle {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *pipeline) durables() []string {
	var d []string
	if p.cfg.hasRole("detect") {
		d = append(d, detectDurable)
	}
	if p.cfg.hasRole("respond") {
		d = append(d, respondDurable)
	}
	return d
}

// describe sums up a batch for the metrics: its first event's source, kind and
// lags, -1 where one is not known, and its bytes.
func describe(events []event.Event) (source, kind string, size int, delivery, lag time.Duration) {
	for i := range events {
		size += len(events[i].Raw)
	}
	e := &events[0]
	delivery, lag = -1, -1
	if t := e.Time(); !t.IsZero() {
		lag = max(0, e.Ingested.Sub(t))
		if !e.Delivered.IsZero() {
			delivery = max(0, e.Delivered.Sub(t))
		}
	}
	return e.Origin.Source, e.Kind.String(), size, delivery, lag
}
