package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/inventory"
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
	rules, err := h.load(h.stderr)
	if err != nil {
		return err
	}
	debug.SetGCPercent(400) // as far as the limit lets it
	debug.SetMemoryLimit(max(held(), 64<<20))
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

// held is the memory that the program has from the system: after loading the
// rules, more than they need. A collection marks every compiled rule, so a hunt
// goes on with that much and collects rarely, instead of giving it back.
func held() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

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

// maxShownBroken bounds what a hunt over a broken archive prints; all are counted.
const maxShownBroken = 20

func (r *huntRun) noteBroken(b ingest.Broken) {
	r.skipped.Add(1)
	r.brokenMu.Lock()
	defer r.brokenMu.Unlock()
	if len(r.broken) < maxShownBroken {
		b.Raw = nil
		r.broken = append(r.broken, b)
	}
}

func (r *huntRun) noteDoubt(o event.Origin, text string) {
	r.brokenMu.Lock()
	defer r.brokenMu.Unlock()
	if d := r.doubts[text]; d != nil {
		d.times++
		return
	}
	if r.doubts == nil {
		r.doubts = map[string]*doubt{}
	}
	r.doubts[text] = &doubt{first: o.Object, times: 1}
}

func (r *huntRun) noteError(err error) {
	r.failed.Add(1)
	r.brokenMu.Lock()
	defer r.brokenMu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *huntRun) reportBroken() {
	for _, text := range slices.Sorted(maps.Keys(r.doubts)) {
		d := r.doubts[text]
		more := ""
		if d.times > 1 {
			more = fmt.Sprintf(" (and %d more)", d.times-1)
		}
		fmt.Fprintf(r.stderr, "riposte: %s%s: %s\n", printable(d.first), more, printable(text))
	}
	for _, b := range r.broken {
		fmt.Fprintf(r.stderr, "riposte: skipped %s: %s\n", printable(b.Origin.String()), printable(b.Reason))
	}
	if more := r.skipped.Load() - int64(len(r.broken)); more > 0 {
		fmt.Fprintf(r.stderr, "riposte: and %d more records skipped\n", more)
	}
	for _, err := range r.errs {
		fmt.Fprintf(r.stderr, "riposte: %s\n", printable(err.Error()))
	}
}

func (h *hunt) reportRuleErrors(rules *detect.RuleSet) {
	for _, c := range rules.Counters() {
		if c.Errors > 0 {
			fmt.Fprintf(h.stderr, "riposte: rule %s: %d evaluations ended in an error, last: %s\n", c.Rule, c.Errors, printable(c.LastError))
		}
	}
}

func (h *hunt) progress(g *grounds) *progressbar.ProgressBar {
	if !interactive(h.stderr) {
		return nil
	}
	return progressbar.NewOptions64(g.total, progressbar.OptionSetWriter(h.stderr), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription("hunting"))
}

// renderer returns how one worker renders a finding; the bytes are good until
// the next.
func (h *hunt) renderer() func(*event.Finding) ([]byte, error) {
	var buf bytes.Buffer
	if h.output == "json" {
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		return func(f *event.Finding) ([]byte, error) {
			buf.Reset()
			err := enc.Encode(f)
			return buf.Bytes(), err
		}
	}
	paint := paletteFor(h.stdout)
	return func(f *event.Finding) ([]byte, error) {
		buf.Reset()
		err := writeFindingLine(&buf, paint, f)
		return buf.Bytes(), err
	}
}

// writer returns how rendered findings are written; nil writes out what is
// buffered. On a terminal, which the bar shares, they take the bar's place at once.
func (h *hunt) writer(bar *progressbar.ProgressBar) func([]byte) error {
	w := bufio.NewWriterSize(h.stdout, 64<<10)
	shared := bar != nil && interactive(h.stdout)
	return func(rendered []byte) error {
		if rendered == nil {
			return w.Flush()
		}
		if !shared {
			_, err := w.Write(rendered)
			return err
		}
		if err := bar.Clear(); err != nil {
			return err
		}
		_, err := w.Write(rendered)
		return errors.Join(err, w.Flush(), bar.RenderBlank())
	}
}

// writeFindingLine prints one finding for people: time, severity, rule, title, who.
func writeFindingLine(w io.Writer, paint palette, f *event.Finding) error {
	who := f.Actor.Identity()
	if f.Actor.Root != nil {
		who = f.Actor.Root.Identity() + " via " + who
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s  %s\n", paint.faint(f.Time.UTC().Format(time.RFC3339)), paint.severity(f.Severity),
		paint.bold(printable(f.Title)), paint.faint(f.Rule))
	if err != nil {
		return err
	}
	place := f.Account
	if f.Region != "" {
		place += " " + f.Region
	}
	_, err = fmt.Fprintf(w, "%22s%s\n", "", paint.faint(printable(fmt.Sprintf("by %s in %s, event %s", who, place, first(f.Events)))))
	return err
}

func first(s []string) string {
	if len(s) == 0 {
		return "-"
	}
	return s[0]
}

func (h *hunt) printStats(s huntStats) error {
	if h.output == "json" {
		return json.NewEncoder(h.stderr).Encode(s)
	}
	rate := float64(s.Events) / max(s.Seconds, 1e-9)
	_, err := fmt.Fprintf(h.stderr, "%d events in %d files, %d findings, %.1f MB, %.2f s (%.0f events/s), %d rules, %d skipped, %d rule errors\n",
		s.Events, s.Files, s.Findings, float64(s.Bytes)/1e6, s.Seconds, rate, s.Rules, s.Skipped, s.RuleErrors)
	return err
}
