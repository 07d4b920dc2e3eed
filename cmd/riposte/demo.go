package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"riposte/event"
	"riposte/internal/awsfake"
	"riposte/internal/telemetry"
	"riposte/internal/traffic"
	"riposte/respond"
	"riposte/respond/notify"
	"riposte/samples"
)

// demo plays the recorded attacks through the whole pipeline.
type demo struct {
	*program
	once    bool
	dataDir string
	listen  string
	verbose bool

	paint  palette
	scenes []traffic.Scene
	mu     sync.Mutex // guards stdout
}

func (p *program) demoCommand() *cobra.Command {
	d := &demo{program: p}
	cmd := &cobra.Command{
		Use: "demo", Short: "Play recorded attacks through the whole pipeline, with console",
		Long: `demo plays the bundled records of real attacks as a live feed, with times shifted
to now and mixed into ordinary traffic, through everything: an embedded NATS
server with JetStream on disk, detection with the built-in rules, incidents,
playbooks in dry run against an AWS endpoint inside this process, and the console
at a loopback address. Nothing outside the process is read or changed.

--once plays everything as fast as it goes, prints a summary and ends.`,
		Example: "  riposte demo\n  riposte demo --once",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&d.once, "once", false, "play to the end, print a summary, exit")
	cmd.Flags().StringVar(&d.dataDir, "data-dir", "", "keep streams and state in this folder (default: a temporary one)")
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:8180", "loopback address of the console")
	cmd.Flags().BoolVarP(&d.verbose, "verbose", "v", false, "print riposte's own log too")
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	d.paint = paletteFor(d.stdout)
	if err := loopback(d.listen); err != nil {
		return fmt.Errorf("--listen %w", err)
	}
	if d.scenes, err = traffic.Scenes(); err != nil {
		return err
	}
	c := defaultConfig()
	c.DataDir = d.dataDir
	if c.DataDir == "" {
		if c.DataDir, err = os.MkdirTemp("", "riposte-demo-"); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(c.DataDir)) }()
	}
	c.Respond.Webhooks = map[string]notify.Config{"on-call": {URL: "https://hooks.example.com/riposte"}}
	if c.Telemetry.LogLevel = "error"; d.verbose {
		c.Telemetry.LogLevel = "info"
	}
	tel, err := telemetry.Setup(ctx, c.Telemetry, d.stderr, interactive(d.stderr), version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flush(ctx, tel)) }()

	var world awsfake.World
	if err := json.Unmarshal(samples.World, &world); err != nil {
		return fmt.Errorf("read what exists in the demo's AWS: %w", err)
	}
	fake := awsfake.New(&world, "111122223333")
	defer fake.Close()
	clients, err := fakeClients(ctx, fake)
	if err != nil {
		return err
	}
	pl, err := openPipeline(ctx, c, tel, clients)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pl.bus.Close()) }()
	feed, err := newFeed(d.scenes, !d.once)
	if err != nil {
		return err
	}
	pl.sources = append(pl.sources, feed)
	if d.once {
		return d.playOnce(ctx, pl, feed, fake)
	}
	return d.playLive(ctx, pl, feed)
}

// playOnce plays everything and sums it up.
func (d *demo) playOnce(ctx context.Context, pl *pipeline, feed *feed, fake *awsfake.Server) error {
	start := time.Now()
	var first time.Duration
	var once sync.Once
	var findings []event.Finding
	pl.onFinding = func(f *event.Finding) {
		once.Do(func() { first = time.Since(start) })
		d.mu.Lock()
		defer d.mu.Unlock()
		findings = append(findings, *f)
	}
	if err := pl.run(ctx, true); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	took := time.Since(start)
	if err := pl.view.list(ctx); err != nil {
		return err
	}
	s := demoSummary{demo: d, pl: pl, feed: feed, findings: findings, took: took, first: first, reads: len(fake.Calls()), writes: len(fake.Writes())}
	return s.print(ctx)
}

// playLive plays the attacks one after the other and prints what is found as it is.
func (d *demo) playLive(ctx context.Context, pl *pipeline, feed *feed) error {
	g, ctx := errgroup.WithContext(ctx)
	url, err := pl.serveConsole(ctx, g, d.listen)
	if err != nil {
		// Somebody else has the usual port: any other will do for a demo.
		if url, err = pl.serveConsole(ctx, g, "127.0.0.1:0"); err != nil {
			return err
		}
	}
	d.say("%s  recorded attacks as a live feed, in dry run: nothing is ever changed\n\n", d.paint.bold("riposte demo"))
	d.say("  console   %s\n", d.paint.bold(url))
	d.say("  or        riposte incidents list --data-dir %s\n", pl.cfg.DataDir)
	d.say("  end with  Ctrl-C\n\n")
	feed.onScene = func(s traffic.Scene) { d.say("%s\n", d.paint.faint("── "+s.Title+" ──")) }
	feed.onEnd = func() {
		d.say("\n%s\n", d.paint.faint("every attack has been played; ordinary traffic goes on until Ctrl-C"))
	}
	pl.onFinding = func(f *event.Finding) {
		var b strings.Builder
		if err := writeFindingLine(&b, d.paint, f); err == nil {
			d.say("%s", b.String())
		}
	}
	g.Go(func() error { return d.sayPlans(ctx, pl) })
	g.Go(func() error { return pl.run(ctx, false) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	d.say("\n%s read, %s, %s\n", plural(pl.published.Load(), "event"), plural(pl.found.Load(), "finding"), plural(pl.handled.Load(), "plan check"))
	return nil
}

// sayPlans prints what each run would do, once it is planned.
func (d *demo) sayPlans(ctx context.Context, pl *pipeline) error {
	said := map[string]bool{}
	for id := range pl.view.Subscribe(ctx) {
		in, runs, err := pl.view.Incident(ctx, id)
		if err != nil {
			continue // it became part of another, or we are ending
		}
		for _, r := range runs {
			if said[r.ID] {
				continue
			}
			said[r.ID] = true
			for i := range r.Steps {
				if p := r.Steps[i].Plan; p != nil && p.Decision == respond.Contain && r.Steps[i].Action != "notify.webhook" {
					d.say("%22s%s\n", "", d.paint.good("would "+does(p))+d.paint.faint("  incident "+in.ID[:12]))
				}
			}
		}
	}
	return nil
}

func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.stdout, format, args...)
}

// does says in a few words what a plan would do.
func does(p *respond.Plan) string {
	calls := make([]string, len(p.Calls))
	for i, c := range p.Calls {
		calls[i] = c.Service + ":" + c.Operation
	}
	return printable(fmt.Sprintf("%s on %s", strings.Join(slices.Compact(calls), " and "), cmp.Or(p.Target.ID, p.TargetID)))
}
