package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"riposte/internal/telemetry"
)

func (p *program) runCommand() *cobra.Command {
	var (
		configFile string
		roles      []string
		drain      bool
		dataDir    string
	)
	cmd := &cobra.Command{
		Use:   "run [PATH...]",
		Short: "Run the daemon: sources, detection, response and console",
		Long: `run plays the roles of the configuration until it is interrupted. Without a
configuration it keeps an embedded NATS server under ./riposte-data and serves
the console on loopback. PATHs are files and folders to ingest, - is standard
input; folders are watched for new files.

Killed at any moment and started again, it loses no event and repeats no finding.`,
		Example: `  riposte run ./incoming
  riposte run --config riposte.yaml --roles detect,respond
  riposte run --drain ./archive      # stop when everything is handled`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(configFile)
			if err != nil {
				return err
			}
			if dataDir != "" {
				c.DataDir = dataDir
			}
			if len(roles) > 0 {
				c.Roles = roles
			}
			if len(args) > 0 {
				c.Sources = append(c.Sources, SourceConfig{Files: &FilesConfig{Paths: args, Follow: !drain, Poll: 2 * time.Second}})
			}
			if err := c.validate(configFile); err != nil {
				return err
			}
			if name := endless(c.Sources); drain && name != "" {
				return fmt.Errorf("--drain stops when every source has ended, and the source %s never does: leave one of them out", name)
			}
			return p.daemon(cmd.Context(), c, drain)
		},
	}
	cmd.Flags().StringVar(&configFile, "config", "", "configuration file")
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "folder for streams and state (default riposte-data)")
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "roles to play: ingest, detect, respond, console")
	cmd.Flags().BoolVar(&drain, "drain", false, "stop when every source has ended and all is handled, and print what was done as JSON")
	_ = cmd.RegisterFlagCompletionFunc("roles", cobra.FixedCompletions(allRoles, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// daemon opens everything that the configuration names and runs it until ctx is
// done, or, with drain, until all is handled.
func (p *program) daemon(ctx context.Context, c Config, drain bool) (err error) {
	tel, err := telemetry.Setup(ctx, c.Telemetry, p.stderr, interactive(p.stderr), version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flush(ctx, tel)) }()
	pl, err := openPipeline(ctx, c, tel, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pl.bus.Close()) }()
	pl.stdin = p.stdin
	if err := pl.open(ctx, c.Sources); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if c.hasRole("console") {
		url, err := pl.serveConsole(ctx, g, c.Console.Listen)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "console: %s\n", url)
	}
	metrics, err := pl.serveMetrics(ctx, g)
	if err != nil {
		return err
	}
	if metrics != "" {
		fmt.Fprintf(p.stderr, "metrics: %s\n", metrics)
	}
	g.Go(func() error { return pl.reloadOnSignal(ctx) })
	g.Go(func() error {
		defer stop()
		return pl.run(ctx, drain)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if drain {
		return json.NewEncoder(p.stdout).Encode(pl.summary())
	}
	return nil
}

// flush sends what telemetry has buffered even though ctx is done.
func flush(ctx context.Context, tel *telemetry.Telemetry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return tel.Shutdown(ctx)
}

// drainSummary is what `run --drain` prints.
type drainSummary struct {
	Published int64   `json:"published"`
	Evaluated int64   `json:"evaluated"`
	Findings  int64   `json:"findings"`
	Repeated  int64   `json:"repeated"`
	Handled   int64   `json:"handled"`
	Broken    int64   `json:"broken"`
	Seconds   float64 `json:"seconds"`
	// P50Millis and P99Millis are from reading an event to its finding being acknowledged.
	P50Millis float64 `json:"p50ms"`
	P99Millis float64 `json:"p99ms"`
}

func (p *pipeline) summary() drainSummary {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return drainSummary{
		Published: p.published.Load(), Evaluated: p.evaluated.Load(), Findings: p.found.Load(), Repeated: p.repeated.Load(),
		Handled: p.handled.Load(), Broken: p.broken.Load(), Seconds: time.Since(p.started).Seconds(),
		P50Millis: ms(p.latency.quantile(0.5)), P99Millis: ms(p.latency.quantile(0.99)),
	}
}
