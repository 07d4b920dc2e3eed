package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"riposte/console"
	"riposte/internal/bus"
	"riposte/internal/store"
	"riposte/inventory"
	"riposte/respond"
)

// view reads incidents, rules and health for people: the console's Reader, and
// what the commands that look at a running daemon print.
type view struct {
	bus   *bus.Bus
	state *state
	// pl is this process's pipeline; nil in a command that looks from outside.
	pl *pipeline
	// inventory is what a command that looks from outside asks.
	inventory *inventory.Inventory

	mu        sync.Mutex
	summaries map[string]respond.Summary
	watchers  map[chan string]struct{}
	samples   []sample
}

// sample is what the pipeline had done at a moment.
type sample struct {
	at     time.Time
	totals [4]int64
}

// stageNames are the stages in the order of sample.totals.
var stageNames = [4]string{"read", "evaluated", "findings", "handled"}

// rateOver is the stretch over which rates are averaged.
const rateOver = 10 * time.Second

// relist is how often the incidents are listed from the table, in case a
// change's announcement was lost.
const relist = 30 * time.Second

func newView(b *bus.Bus, s *state, pl *pipeline) *view {
	return &view{bus: b, state: s, pl: pl, summaries: map[string]respond.Summary{}, watchers: map[chan string]struct{}{}}
}

// run keeps the summaries and rates up to date until ctx is done.
func (v *view) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return v.bus.WatchIncidents(ctx, func(id string, _ []byte) {
			if err := v.refresh(ctx, id); err != nil && ctx.Err() == nil {
				v.pl.log.WarnContext(ctx, "incident not read", "incident", id, "err", err)
			}
		})
	})
	g.Go(func() error {
		second, all := time.NewTicker(time.Second), time.NewTicker(relist)
		defer second.Stop()
		defer all.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-second.C:
				v.sample()
			case <-all.C:
				if err := v.list(ctx); err != nil && ctx.Err() == nil {
					v.pl.log.WarnContext(ctx, "incidents not listed", "err", err)
				}
			}
		}
	})
	g.Go(func() error { return v.list(ctx) })
	return g.Wait()
}

// list reads every incident's summary from the table, which is the truth.
func (v *view) list(ctx context.Context) error {
	keys, err := v.state.incidents.Keys(ctx)
	if err != nil {
		return fmt.Errorf("list the incidents: %w", err)
	}
	for _, id := range keys {
		if err := v.refresh(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// refresh reads one incident again and tells those who watch when it changed.
func (v *view) refresh(ctx context.Context, id string) error {
	in, err := v.incident(ctx, id)
	if errors.Is(err, console.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s := in.Summary()
	v.mu.Lock()
	defer v.mu.Unlock()
	if same(v.summaries[id], s) {
		return nil
	}
	v.summaries[id] = s
	for c := range v.watchers {
		select {
		case c <- id:
		default: // a slow reader misses the oldest, never the last
			<-c
			c <- id
		}
	}
	return nil
}

func same(a, b respond.Summary) bool {
	return a.Updated.Equal(b.Updated) && a.Findings == b.Findings && a.Runs == b.Runs && a.Status == b.Status && a.Merged == b.Merged && a.Title == b.Title
}

func (v *view) incident(ctx context.Context, id string) (*respond.Incident, error) {
	b, _, err := v.state.incidents.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, console.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read incident %s: %w", id, err)
	}
	var in respond.Incident
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("read incident %s: %w", id, err)
	}
	return &in, nil
}

// Incidents implements console.Reader.
func (v *view) Incidents(context.Context) ([]respond.Summary, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]respond.Summary, 0, len(v.summaries))
	for _, s := range v.summaries {
		if s.Merged == "" {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b respond.Summary) int {
		return cmp.Or(b.Updated.Compare(a.Updated), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// Incident implements console.Reader.
func (v *view) Incident(ctx context.Context, id string) (respond.Incident, []respond.Run, error) {
	in, err := v.incident(ctx, id)
	if err != nil {
		return respond.Incident{}, nil, err
	}
	var runs []respond.Run
	for _, id := range in.Runs {
		b, _, err := v.state.runs.Get(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return *in, nil, fmt.Errorf("read run %s: %w", id, err)
		}
		var r respond.Run
		if err := json.Unmarshal(b, &r); err != nil {
			return *in, nil, fmt.Errorf("read run %s: %w", id, err)
		}
		runs = append(runs, r)
	}
	if err := v.fill(ctx, in); err != nil {
		return *in, nil, err
	}
	slices.SortStableFunc(runs, func(a, b respond.Run) int { return cmp.Or(a.Started.Compare(b.Started), strings.Compare(a.ID, b.ID)) })
	return *in, runs, nil
}

// fill takes the evidence that the incident had no room for from the stream of
// findings, as far as that goes back.
func (v *view) fill(ctx context.Context, in *respond.Incident) error {
	var still []string
	for i := range in.Findings {
		f := &in.Findings[i]
		if !slices.Contains(in.EvidenceLeftOut, f.ID) {
			continue
		}
		whole, found, err := v.bus.Finding(ctx, f.ID)
		if err != nil {
			return err
		}
		if !found {
			still = append(still, f.ID)
			continue
		}
		f.Evidence = whole.Evidence
	}
	in.EvidenceLeftOut = still
	return nil
}

// Rules implements console.Reader.
func (v *view) Rules(ctx context.Context) ([]console.Rule, error) {
	totals, err := readTotals(ctx, v.state.counts)
	if err != nil {
		return nil, err
	}
	rules := v.pl.rules.Current().Rules()
	out := make([]console.Rule, len(rules))
	for i, r := range rules {
		t := totals[r.ID]
		out[i] = console.Rule{
			ID: r.ID, Title: r.Title, Description: r.Description, Severity: r.Severity, Source: r.Source.String(), When: r.When,
			Attack: r.Attack, File: r.File, Evaluated: t.Evaluated, Hits: t.Hits, Errors: t.Errors, LastError: t.LastError, LastHit: t.LastHit,
		}
	}
	return out, nil
}

// Coverage implements console.Reader.
func (v *view) Coverage(ctx context.Context) ([]console.Telemetry, error) {
	parts, err := readCoverage(ctx, v.state.coverage, nil, time.Now().UTC())
	if err != nil {
		return nil, err
	}
	out := make([]console.Telemetry, len(parts))
	for i := range parts {
		p := &parts[i]
		out[i] = console.Telemetry{
			Level: string(p.Level), Log: p.Log, Account: p.Account, Region: p.Region, VPC: p.VPC, Source: p.Source, State: string(p.State),
			Last: p.Last, Lag: p.Lag, Delivered: p.DeliveryLag, Gap: p.Rhythm.Gap, Patience: p.Patience, Events: p.Events, Lost: p.SkipData,
			Future: p.Future, Sources: p.Sources, Speaking: p.Speaking, Within: p.Within,
		}
	}
	return out, nil
}

// Health implements console.Reader.
func (v *view) Health(ctx context.Context) (console.Health, error) {
	p := v.pl
	h := console.Health{
		Version: version, Started: p.started, Roles: p.cfg.Roles, Mode: p.cfg.Respond.Mode,
		P50: p.latency.quantile(0.5), P99: p.latency.quantile(0.99), RulesError: p.rules.LastError(), Stages: v.stages(),
	}
	state, err := v.bus.Health(ctx)
	if err != nil {
		return h, err
	}
	h.DeadLetters = state.DeadLetters
	for _, s := range state.Streams {
		stream := console.Stream{Name: s.Name, Messages: s.Messages, Bytes: s.Bytes, MaxBytes: s.MaxBytes, Last: s.Last}
		for _, c := range s.Consumers {
			stream.Consumers = append(stream.Consumers, console.Consumer{Name: c.Name, Pending: c.Pending, Unacked: c.Unacked, Redelivered: c.Redelivered})
		}
		h.Streams = append(h.Streams, stream)
		if s.Name == bus.DeadStream && s.Messages > 0 {
			from := max(s.FirstSeq, s.LastSeq-min(s.LastSeq, shownLetters)+1)
			letters, err := v.bus.DeadLetters(ctx, from, shownLetters)
			if err != nil {
				return h, err
			}
			for _, l := range slices.Backward(letters) {
				h.Letters = append(h.Letters, console.Letter{Seq: l.Seq, Time: l.Time, Place: l.Place, Reason: l.Reason, Kind: l.Kind})
			}
		}
	}
	return h, nil
}

// shownLetters is how many of the latest dead letters the console shows.
const shownLetters = 20

func (v *view) totals() sample {
	p := v.pl
	return sample{time.Now(), [4]int64{p.published.Load(), p.evaluated.Load(), p.found.Load(), p.handled.Load()}}
}

func (v *view) sample() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.totals()
	v.samples = append(slices.DeleteFunc(v.samples, func(s sample) bool { return now.at.Sub(s.at) > rateOver }), now)
}

func (v *view) stages() []console.Stage {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.totals()
	out := make([]console.Stage, len(stageNames))
	for i, name := range stageNames {
		out[i] = console.Stage{Name: name, Total: now.totals[i]}
		if len(v.samples) > 0 {
			first := v.samples[0]
			if d := now.at.Sub(first.at).Seconds(); d > 0.1 {
				out[i].Rate = float64(now.totals[i]-first.totals[i]) / d
			}
		}
	}
	return out
}

// Subscribe implements console.Reader.
func (v *view) Subscribe(ctx context.Context) <-chan string {
	c := make(chan string, 64)
	v.mu.Lock()
	v.watchers[c] = struct{}{}
	v.mu.Unlock()
	context.AfterFunc(ctx, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watchers, c)
		close(c)
	})
	return c
}
