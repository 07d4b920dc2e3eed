package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"riposte/ingest/cloudtrail/digest"
	"riposte/internal/awsaccess"
)

func (p *program) trailCommand() *cobra.Command {
	return group("trail", "Ask whether CloudTrail's files are those that CloudTrail wrote", "  riposte trail verify ./trail-bucket",
		p.trailVerifyCommand())
}

// trailVerify verifies a mirror of a trail's bucket.
type trailVerify struct {
	*program
	from, to timeFlag
	keys     []string
	bucket   string
	workers  int
	stats    bool
	output   string
}

func (p *program) trailVerifyCommand() *cobra.Command {
	v := &trailVerify{program: p}
	cmd := &cobra.Command{
		Use:   "verify PATH... | s3://BUCKET/PREFIX",
		Short: "Verify log files against CloudTrail's signed digests",
		Long: `verify walks the digest files of a trail's bucket, or of a folder that mirrors
it (aws s3 sync s3://BUCKET/AWSLogs trail/AWSLogs): it checks their signatures
and the chain they make, and the SHA-256 of every log file they name. A file
that is altered or missing, a broken chain, a log file that no digest names:
each is printed with the exact file, and the exit status is 1. With --output
json each is a finding like those of hunt.

The public keys are asked of AWS (cloudtrail:ListPublicKeys), or read from
--keys. The signature of a digest is in its next one; that of the newest is
lost in a plain copy and is read from a file beside it, NAME.json.gz.sig.
docs/trail-integrity.md says how to fetch it, and what each problem means.`,
		Example: `  riposte trail verify --from 2026-11-01 ./trail
  riposte trail verify --from 24h s3://BUCKET/AWSLogs/
  riposte trail verify --keys keys.json --output json ./trail | jq -r '.rule + " " + .file'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("trail verify wants at least one folder that mirrors a trail's bucket, or its s3:// address; see riposte trail verify --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	cmd.Flags().Var(&v.from, "from", "verify digests that end after this time")
	cmd.Flags().Var(&v.to, "to", "verify digests that start before this time")
	cmd.Flags().StringArrayVar(&v.keys, "keys", nil, "file of public keys: the JSON of aws cloudtrail list-public-keys, PEM or DER (may be repeated; default: ask AWS)")
	cmd.Flags().StringVar(&v.bucket, "bucket", "", "the bucket that is mirrored: digests that name another are reported")
	cmd.Flags().IntVar(&v.workers, "workers", runtime.GOMAXPROCS(0), "files read at the same time")
	cmd.Flags().BoolVar(&v.stats, "stats", false, "print what was verified on stderr")
	_ = cmd.RegisterFlagCompletionFunc("bucket", cobra.NoFileCompletions)
	outputFlag(cmd, &v.output)
	return cmd
}

// trailStats is what --stats prints.
type trailStats struct {
	Chains   []digest.Chain `json:"chains"`
	Problems int            `json:"problems"`
	Seconds  float64        `json:"seconds"`
}

func (v *trailVerify) run(ctx context.Context, paths []string) error {
	start := time.Now()
	switch {
	case v.workers < 1:
		return fmt.Errorf("--workers %d: want 1 or more", v.workers)
	case !v.from.IsZero() && !v.to.IsZero() && !v.from.Before(v.to.Time):
		return fmt.Errorf("--from %s is not before --to %s", v.from.String(), v.to.String())
	}
	objects, err := v.objects(ctx, paths)
	if err != nil {
		return err
	}
	keys, err := v.publicKeys(ctx)
	if err != nil {
		return err
	}
	opt := digest.Options{From: v.from.Time, To: v.to.Time, Bucket: v.bucket, Workers: v.workers}
	var bar *progressbar.ProgressBar
	if interactive(v.stderr) {
		opt.Begin = func(n int64) {
			bar = progressbar.NewOptions64(n, progressbar.OptionSetWriter(v.stderr), progressbar.OptionShowBytes(true),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription("verifying"))
		}
		opt.Progress = func(n int64) { _ = bar.Add64(n) }
	}
	r, err := digest.Verify(ctx, objects, keys, opt)
	if bar != nil {
		_ = bar.Finish()
		fmt.Fprintln(v.stderr)
	}
	if err != nil {
		return err
	}
	if err := v.print(r); err != nil {
		return err
	}
	if v.stats {
		if err := v.printStats(trailStats{Chains: r.Chains, Problems: len(r.Problems), Seconds: time.Since(start).Seconds()}); err != nil {
			return err
		}
	}
	return v.verdict(r)
}

// verdict is the exit status: a file that could not be read is no answer.
func (v *trailVerify) verdict(r *digest.Report) error {
	for _, err := range r.Errors {
		fmt.Fprintf(v.stderr, "riposte: %s\n", printable(err.Error()))
	}
	switch {
	case len(r.Errors) > 0:
		return fmt.Errorf("%d file(s) could not be read, and nothing is known of them: mend that and verify again", len(r.Errors))
	case len(r.Problems) > 0:
		return errNo
	case r.Total().Digests == 0:
		return errors.New("no digest file of that time was found: want .../ACCOUNT/CloudTrail-Digest/REGION/... as in the bucket, and log file validation enabled on the trail")
	}
	return nil
}

// objects are those of folders, or of one bucket.
func (v *trailVerify) objects(ctx context.Context, paths []string) (digest.Objects, error) {
	inS3 := func(p string) bool { return strings.HasPrefix(p, "s3://") }
	if !slices.ContainsFunc(paths, inS3) {
		return digest.Folder{Paths: paths}, nil
	}
	if len(paths) > 1 {
		return nil, errors.New("trail verify takes one s3://bucket/prefix, or folders: give one bucket at a time")
	}
	access, err := awsaccess.New(ctx, awsaccess.Config{}, awsaccess.Options{Adaptive: true, Connections: 2 * v.workers})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", paths[0], err)
	}
	return digest.NewBucket(ctx, awsaccess.S3(access.Ambient()), paths[0])
}

// publicKeys are those of the files, or AWS's.
func (v *trailVerify) publicKeys(ctx context.Context) (digest.Keys, error) {
	if len(v.keys) == 0 {
		access, err := awsaccess.New(ctx, awsaccess.Config{}, awsaccess.Options{Adaptive: true})
		if err != nil {
			return nil, fmt.Errorf("ask AWS for public keys: %w, or give --keys", err)
		}
		return digest.AWSKeys{Client: cloudtrail.NewFromConfig(access.Ambient())}, nil
	}
	var keys digest.FixedKeys
	for _, file := range v.keys {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--keys %w", err)
		}
		some, err := digest.ReadKeys(content)
		if err != nil {
			return nil, fmt.Errorf("--keys %s: %w", file, err)
		}
		keys = append(keys, some...)
	}
	return keys, nil
}

func (v *trailVerify) print(r *digest.Report) error {
	w := bufio.NewWriterSize(v.stdout, 64<<10)
	if v.output == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, f := range r.Findings() {
			if err := enc.Encode(&f); err != nil {
				return err
			}
		}
		for _, n := range r.Notes {
			fmt.Fprintf(v.stderr, "riposte: note: %s\n", printable(noteText(n)))
		}
		return w.Flush()
	}
	paint := paletteFor(v.stdout)
	for i := range r.Problems {
		p := &r.Problems[i]
		fmt.Fprintf(w, "%s  %s  %s\n", paint.severity(p.Severity()), paint.bold(printable(p.Title())), paint.faint(string(p.Kind)))
		fmt.Fprintf(w, "%10s%s\n%10s%s\n", "", printable(p.File), "", printable(p.Detail))
		for _, s := range []struct{ name, value string }{{"digest", p.Digest}, {"expected", p.Expected}, {"actual", p.Actual}} {
			if s.value != "" {
				fmt.Fprintf(w, "%10s%s\n", "", paint.faint(printable(s.name+" "+s.value)))
			}
		}
		fmt.Fprintf(w, "%10s%s\n", "", paint.faint("→ "+p.Remedy()))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "%s\n", paint.faint(printable("note: "+noteText(n))))
	}
	for _, c := range r.Chains {
		fmt.Fprintln(w, printable(chainLine(c)))
	}
	switch n := len(r.Problems); {
	case n > 0:
		fmt.Fprintln(w, paint.bad(plural(n, "problem")))
	case r.Total().Digests > 0 && len(r.Errors) == 0:
		fmt.Fprintln(w, paint.good("no problems"))
	}
	return w.Flush()
}

func noteText(n digest.Note) string {
	text := n.Account + " " + n.Region + ": "
	if n.File != "" {
		text += n.File + ": "
	}
	return text + n.Text
}

// chainLine says what is proven of one account and region.
func chainLine(c digest.Chain) string {
	covers := "no digests"
	if !c.To.IsZero() {
		covers = c.From.Format(time.RFC3339) + " to " + c.To.Format(time.RFC3339)
	}
	line := fmt.Sprintf("%s %s  %s  %d of %s and %d of %s verified", c.Account, c.Region, covers,
		c.DigestsVerified, plural(c.Digests, "digest"), c.LogsVerified, plural(c.Logs, "log file"))
	if c.LogsUnproven > 0 {
		line += fmt.Sprintf(", %d not proven", c.LogsUnproven)
	}
	if c.LogsOutside > 0 {
		line += fmt.Sprintf(", %d outside", c.LogsOutside)
	}
	return line
}

func (v *trailVerify) printStats(s trailStats) error {
	if v.output == "json" {
		return json.NewEncoder(v.stderr).Encode(s)
	}
	total := (&digest.Report{Chains: s.Chains}).Total()
	seconds := max(s.Seconds, 1e-9)
	_, err := fmt.Fprintf(v.stderr, "%d digests, %d log files, %d problems, %.1f MB (%.1f MB unpacked), %.2f s (%.0f MB/s, %.0f unpacked)\n",
		total.Digests, total.Logs, s.Problems, float64(total.Bytes)/1e6, float64(total.Unpacked)/1e6, s.Seconds,
		float64(total.Bytes)/1e6/seconds, float64(total.Unpacked)/1e6/seconds)
	return err
}
