package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
)

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
