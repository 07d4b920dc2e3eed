package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"riposte/ingest"
)

// hunt runs the production engine over files and folders.
type hunt struct {
	*program
	ruleFlags
	minSeverity, failOn     severityFlag
	since, until            timeFlag
	workers                 int
	isolate, stats          bool
	output, log, flowFormat string
	accounts, regions       []string
	role, externalID        string
}

func (p *program) huntCommand() *cobra.Command {
	h := &hunt{program: p}
	cmd := &cobra.Command{
		Use:   "hunt PATH...",
		Short: "Run the rules over files, folders and buckets",
		Long: `hunt runs the production engine over files and folders, - is standard input,
and over what begins with s3://bucket/prefix.
What a file holds is recognised by its content: CloudTrail {"Records":[...]},
NDJSON, EventBridge envelopes, LookupEvents output, VPC flow logs, AWS Config
items and snapshots; plain, gzip or zstd. A broken record costs that record: it
is counted and shown with its file and place.

Rules that ask what a resource was like, with resource() or before, are answered
from the Config items in the same files and buckets, as of each event's time. A
file counts when its first 8 KiB tell of a Config item, an object when it lies
where Config writes, from two days before --since; of standard input, what came
before the event counts. With --isolate, each file knows its own items only.

In a bucket, --account, --region, --since and --until choose which folders of
AWS's layouts are listed at all: [prefix/]AWSLogs/[o-ORG/]ACCOUNT/SERVICE/REGION/
YEAR/MONTH/DAY. Objects elsewhere are read unless they are older than --since.
Wanted are s3:ListBucket, s3:GetObject and, for encrypted ones, kms:Decrypt; the
endpoint is that of AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3, where it is set.`,
		Example: `  riposte hunt ./logs
  riposte hunt --min-severity high --output json trail.json.gz | jq .title
  riposte hunt --since 24h --account 111122223333 s3://example-logs/AWSLogs/
  zcat flow.log.gz | riposte hunt --fail-on high -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("hunt wants at least one file, folder or s3://bucket/prefix, or - for standard input; see riposte hunt --help")
			}
			return h.checkFilters(args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.ContainsFunc(args, isS3) && !cmd.Flags().Changed("workers") {
				h.workers = max(h.workers, s3Workers) // most of the time they wait
			}
			return h.run(cmd.Context(), args)
		},
	}
	h.ruleFlags.add(cmd)
	h.minSeverity.add(cmd, "min-severity", "leave out findings below this severity")
	h.failOn.add(cmd, "fail-on", "exit 1 when a finding of this severity or above is made")
	cmd.Flags().Var(&h.since, "since", "leave out events before this time")
	cmd.Flags().Var(&h.until, "until", "leave out events at or after this time")
	cmd.Flags().IntVar(&h.workers, "workers", runtime.GOMAXPROCS(0), "files read at the same time (s3://: at least 8)")
	cmd.Flags().StringVar(&h.log, "log", "", "the files hold JSON records of this log, such as github-audit (default: AWS's telemetry, recognised)")
	cmd.Flags().StringSliceVar(&h.accounts, "account", nil, "only events of this account (may be repeated)")
	cmd.Flags().StringSliceVar(&h.regions, "region", nil, "only events of this region (may be repeated)")
	cmd.Flags().StringVar(&h.role, "role", "", "assumed to list and read s3://: arn:aws:iam::111122223333:role/NAME")
	cmd.Flags().StringVar(&h.externalID, "external-id", "", "passed when the role is assumed")
	cmd.Flags().BoolVar(&h.isolate, "isolate", false, "each file starts with empty state")
	cmd.Flags().StringVar(&h.flowFormat, "flow-format", "", "columns of flow logs without a header: the flow log's format string, or v2, v3, v4, v5, v7 to v10, tgw; otherwise guessed")
	cmd.Flags().BoolVar(&h.stats, "stats", false, "print events, findings, bytes, seconds, rules and what was skipped on stderr")
	outputFlag(cmd, &h.output)
	return cmd
}

// s3Workers read from buckets unless it is said.
const s3Workers = 8

// huntStats is what --stats prints.
type huntStats struct {
	Files    int64   `json:"files"`
	Events   int64   `json:"events"`
	Findings int64   `json:"findings"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	Rules    int     `json:"rules"`
	// Skipped counts records that could not be read and files that hold no telemetry.
	Skipped int64 `json:"skipped"`
	// RuleErrors counts evaluations that ended in an error instead of yes or no.
	RuleErrors int64 `json:"ruleErrors"`
}

func (h *hunt) run(ctx context.Context, paths []string) error {
	start := time.Now()
	if h.workers < 1 {
		return fmt.Errorf("--workers %d: want 1 or more", h.workers)
	}
	format, err := flowFormat(h.flowFormat)
	if err != nil {
		return fmt.Errorf("--flow-format: %w", err)
	}
	debug.SetGCPercent(200) // loading makes much that is needed once
	debug.SetMemoryLimit(mostHeld)
	rules, err := h.load(h.stderr)
	if err != nil {
		return err
	}
	debug.SetGCPercent(400) // as far as the limit lets it
	debug.SetMemoryLimit(min(max(held(), 64<<20), mostHeld))
	log, err := h.mapping(h.log)
	if err != nil {
		return fmt.Errorf("--log: %w", err)
	}
	files := ingest.Files{Paths: paths, Stdin: h.stdin, FlowFormat: format, Log: log}
	where, err := h.grounds(ctx, files)
	if err != nil {
		return err
	}

	run := &huntRun{hunt: h, rules: rules, grounds: where, bar: h.progress(where)}
	run.out = newOrderedFindings(h.writer(run.bar))
	if !h.isolate {
		if run.inventory, err = run.gatherAll(ctx); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	all := make(chan quarry)
	g.Go(func() error {
		defer close(all)
		return where.give(ctx, run.bar, all)
	})
	for range h.workers {
		g.Go(func() error { return run.work(ctx, all) })
	}
	err = errors.Join(g.Wait(), run.out.flush())
	if run.bar != nil {
		_ = run.bar.Finish()
	}
	run.reportBroken()
	if err != nil {
		return err
	}

	s := huntStats{
		Files: run.files64.Load(), Events: run.events.Load(), Findings: run.out.count, Bytes: run.bytes.Load(),
		Seconds: time.Since(start).Seconds(), Rules: len(rules.Rules()), Skipped: run.skipped.Load(),
	}
	for _, c := range rules.Counters() {
		s.RuleErrors += int64(c.Errors)
	}
	h.reportRuleErrors(rules)
	if h.stats {
		if err := h.printStats(s); err != nil {
			return err
		}
	}
	if run.failed.Load() > 0 {
		return fmt.Errorf("%d file(s) could not be read to the end; what was read before is above", run.failed.Load())
	}
	if h.failOn.Severity > 0 && run.out.worst >= h.failOn.Severity {
		return errNo
	}
	return nil
}

// mostHeld is the most of it: the rest of 128 MB are pages of the program itself,
// and what is read at the moment.
const mostHeld = 88 << 20

// held is the memory that the program has from the system: after loading the
// rules, more than they need. A collection marks every compiled rule, so a hunt
// goes on with that much and collects rarely, instead of giving it back.
func held() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
