package digest

import (
	"fmt"
	"slices"
	"time"
)

// span is a stretch of time.
type span struct{ from, to time.Time }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// uncovered reports the log files that no digest names, in the time that the
// digests cover: before and after it, and where a digest is broken, nothing is
// said of a file, and it is only counted.
func (w *walk) uncovered(logs []file) {
	if len(logs) == 0 {
		return
	}
	named := map[string]bool{}
	var all span
	for _, n := range w.nodes {
		if n.d != nil {
			for _, l := range n.d.Logs {
				named[shortOf(l.Object)] = true
			}
		}
		if start, end := n.period(); !end.IsZero() && !n.backfill {
			if all.from.IsZero() || start.Before(all.from) {
				all.from = start
			}
			if end.After(all.to) {
				all.to = end
			}
		}
	}
	if len(w.nodes) == 0 {
		w.noDigests(logs)
		return
	}
	broken, outside := w.brokenSpans(), ""
	for _, f := range logs {
		if named[f.short] {
			continue
		}
		at := span{f.stamp.Add(-slack), f.stamp.Add(slack)}
		switch {
		case f.stamp.IsZero() && (f.day.IsZero() || all.overlaps(span{f.day, f.day.Add(24 * time.Hour)})):
			w.stray(&f, all.to)
		case at.from.Before(all.from), at.to.After(all.to):
			if w.chain.LogsOutside++; outside == "" {
				outside = f.Name
			}
		case slices.ContainsFunc(broken, at.overlaps):
			w.chain.LogsUnproven++
		default:
			w.problem(nil, Problem{Kind: LogUncovered, File: f.Name, Object: f.known, Time: f.stamp,
				Detail: "no digest names it, and there are digests of its time"})
		}
	}
	if w.chain.LogsOutside > 0 {
		w.note(outside, "%d log files, of which this is one, are older or newer than all digests by some minutes or more: nothing is known of them", w.chain.LogsOutside)
	}
}

// stray reports a log file whose name does not say when it was delivered.
func (w *walk) stray(f *file, at time.Time) {
	w.problem(nil, Problem{Kind: LogUncovered, File: f.Name, Object: f.known, Time: at, Detail: "no digest names it, and its name is not one that CloudTrail gives"})
}

// noDigests reports log files of an account and region that has no digests at all.
func (w *walk) noDigests(logs []file) {
	first := slices.MinFunc(logs, func(a, b file) int { return a.stamp.Compare(b.stamp) })
	w.chain.LogsOutside = int64(len(logs))
	w.problem(nil, Problem{Kind: LogUncovered, File: first.Name, Object: first.known, Time: first.stamp,
		Detail: fmt.Sprintf("it and %d more log files of this account and region: there are no digests of their time", len(logs)-1)})
}

// brokenSpans are the times whose digests are altered or missing, from the end
// of the digest before to the start of the one after.
func (w *walk) brokenSpans() []span {
	var out []span
	newer := map[string]time.Time{} // start of the last good digest of each stream
	for i, n := range w.nodes {
		start, end := n.period()
		if n.backfill || end.IsZero() {
			continue
		}
		if n.state == altered {
			s := span{start, end}
			if t, ok := newer[n.stream]; ok && t.After(s.to) {
				s.to = t
			}
			if o := w.older(i); o != nil {
				if _, e := o.period(); !e.IsZero() && e.Before(s.from) {
					s.from = e
				}
			}
			out = append(out, s)
			continue
		}
		newer[n.stream] = start
		if prev := n.d.Previous; prev != nil && len(w.byName[shortOf(prev.Object)]) == 0 {
			s := span{start.Add(-time.Hour), start}
			if o := w.older(i); o != nil {
				if _, e := o.period(); !e.IsZero() {
					s.from = e
				}
			} else {
				s.from = time.Time{}
			}
			out = append(out, s)
		}
	}
	return out
}
