package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"riposte/internal/traffic"
)

// huntStats is what `riposte hunt --stats` prints.
type huntStats struct {
	Events     int64 `json:"events"`
	Findings   int64 `json:"findings"`
	Bytes      int64 `json:"bytes"`
	Rules      int   `json:"rules"`
	Skipped    int64 `json:"skipped"`
	RuleErrors int64 `json:"ruleErrors"`
}

// rounds of gzip, one worker and two workers over the same files, in turns.
type rounds struct {
	gzip, one, two []usage
	stats          huntStats
	written        int64
}

// hunt measures the offline engine beside gzip.
func (b *bench) hunt(ctx context.Context) error {
	rules, err := b.makeRules("rules", 500)
	if err != nil {
		return err
	}
	day, err := b.makeCorpus(ctx, "day", b.size, ordinaryDay)
	if err != nil {
		return err
	}
	r, err := b.huntRounds(ctx, day, rules, b.rounds)
	if err != nil {
		return err
	}
	made := fmt.Sprintf("%d events, %.0f MB gz, %d rules, %d findings written (%.2f %% of events)",
		r.stats.Events, float64(day.Size)/1e6, r.stats.Rules, r.stats.Findings, 100*float64(r.stats.Findings)/float64(r.stats.Events))
	gz, one, two := over(r.gzip, cpu), over(r.one, cpu), over(r.two, cpu)
	b.report.add(figure{Name: "gzip -dc, CPU", Measured: median(gz), Unit: "s", Note: "the floor of the next lines"})
	b.report.add(figure{Name: "hunt, 1 worker, CPU", Measured: median(one), Unit: "s", Note: made})
	b.report.add(figure{Name: "hunt, 1 worker, CPU to gzip's", Measured: median(pairs(one, gz)), Unit: "×", Limit: 1.3, Note: "median of the rounds' ratios"})
	b.report.add(figure{Name: "hunt, 2 workers, speed-up", Measured: slices.Min(over(r.one, wall)) / slices.Min(over(r.two, wall)), Unit: "×", Limit: 1.8, AtLeast: true,
		Note: fmt.Sprintf("best wall %.2f s to %.2f s, in which they had %.2f and %.2f cores; 2 × CPU of one / CPU of two is %.2f", slices.Min(over(r.one, wall)), slices.Min(over(r.two, wall)),
			slices.Max(over(r.one, cores)), slices.Max(over(r.two, cores)), 2*median(pairs(one, two)))})
	b.report.add(figure{Name: "hunt, most memory held", Measured: slices.Max(append(over(r.one, rss), over(r.two, rss)...)), Unit: "MB", Limit: 128,
		Note: fmt.Sprintf("1 worker %.0f, 2 workers %.0f", slices.Max(over(r.one, rss)), slices.Max(over(r.two, rss)))})

	loud, err := b.makeCorpus(ctx, "recorded", min(b.size, 40e6), traffic.AsRecorded)
	if err != nil {
		return err
	}
	if r, err = b.huntRounds(ctx, loud, rules, b.rounds); err != nil {
		return err
	}
	b.report.add(figure{Name: "hunt, changes as frequent as in the samples, CPU to gzip's", Measured: median(pairs(over(r.one, cpu), over(r.gzip, cpu))), Unit: "×",
		Note: fmt.Sprintf("%d events, %d findings written (%.1f %% of events): %.0f MB of JSON from %.0f MB", r.stats.Events, r.stats.Findings,
			100*float64(r.stats.Findings)/float64(r.stats.Events), float64(r.written)/1e6, float64(r.stats.Bytes)/1e6)})
	return nil
}

// huntRounds hunts and unpacks in turns, and checks that what was found does not
// depend on the number of workers, nor on the round.
func (b *bench) huntRounds(ctx context.Context, c *corpus, rules string, n int) (*rounds, error) {
	files, err := c.files(0)
	if err != nil {
		return nil, err
	}
	var r rounds
	first := ""
	for range n {
		u, _, err := child(ctx, nil, io.Discard, "gzip", append([]string{"-dc"}, files...)...)
		if err != nil {
			return nil, err
		}
		r.gzip = append(r.gzip, u)
		for workers, into := range []*[]usage{&r.one, &r.two} {
			u, digest, err := b.huntOnce(ctx, c, rules, workers+1, &r)
			if err != nil {
				return nil, err
			}
			*into = append(*into, u)
			if first == "" {
				first = digest
			}
			if digest != first {
				return nil, fmt.Errorf("%w: the findings with %d workers are others than before", errCheck, workers+1)
			}
		}
	}
	return &r, nil
}

func (b *bench) huntOnce(ctx context.Context, c *corpus, rules string, workers int, r *rounds) (usage, string, error) {
	out, err := newOutput(filepath.Join(b.dir, "findings.ndjson"))
	if err != nil {
		return usage{}, "", err
	}
	defer out.Close()
	u, stderr, err := child(ctx, nil, out.File, b.riposte, "hunt", "--rules", rules, "--workers", strconv.Itoa(workers), "--output", "json", "--stats", c.dir)
	if err != nil {
		return usage{}, "", err
	}
	if err := lastJSON(stderr, &r.stats); err != nil {
		return usage{}, "", err
	}
	if s := r.stats; s.Events != c.Records || s.Skipped != 0 || s.RuleErrors != 0 {
		return usage{}, "", fmt.Errorf("%w: of %d records %d were read, %d skipped, %d evaluations ended in an error", errCheck, c.Records, s.Events, s.Skipped, s.RuleErrors)
	}
	digest, written, err := out.digest()
	if err != nil {
		return usage{}, "", err
	}
	r.written = written
	if n, err := lines(out.name); err != nil || n != r.stats.Findings {
		return usage{}, "", fmt.Errorf("%w: %d findings were counted and %d written (%v)", errCheck, r.stats.Findings, n, err)
	}
	return u, digest, nil
}
