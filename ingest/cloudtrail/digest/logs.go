package digest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// claim is what a digest says of a log file.
type claim struct {
	Log
	by *node
}

// verifyLogs hashes the log files that the digests name, where they can be believed.
func (w *walk) verifyLogs(ctx context.Context) error {
	var claims []claim
	for _, n := range w.nodes {
		if n.d == nil || n.twin || n.state == altered || !w.inRange(n) {
			continue
		}
		for _, l := range n.d.Logs {
			claims = append(claims, claim{l, n})
		}
	}
	w.chain.Logs = int64(len(claims))
	return w.each(ctx, len(claims), func(ctx context.Context, u *unpacker, i int) error {
		return w.verifyLog(ctx, u, &claims[i])
	})
}

func (w *walk) verifyLog(ctx context.Context, u *unpacker, c *claim) error {
	address := "s3://" + c.Bucket + "/" + c.Object
	missing := Problem{Kind: LogMissing, File: address, Object: shownKey(c.Object), Digest: c.by.Name, Time: c.at(), Detail: "the digest " + c.by.known + " names it", Expected: c.Hash}
	found := false
	for _, f := range w.logs[shortOf(c.Object)] {
		if !fits(c.Object, f.known) {
			continue
		}
		// A copy below another prefix is judged too, and is not the file itself.
		found = found || f.Bucket == "" || f.Bucket == c.Bucket && f.Key == c.Object
		hash, err := w.hashFile(ctx, u, f.Object)
		p := Problem{Kind: LogAltered, File: f.Name, Object: f.known, Digest: c.by.Name, Time: c.at(), Expected: c.Hash, Actual: hash}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isGone(err):
			w.problem(missing)
		case errors.Is(err, errContent):
			p.Detail = "it " + err.Error()
			w.problem(p)
		case err != nil:
			w.failed(f.Name, err)
		case hash != c.Hash:
			p.Detail = "its SHA-256 is not that which its digest gives"
			w.problem(p)
		case c.by.state == verified:
			atomic.AddInt64(&w.chain.LogsVerified, 1)
		default:
			atomic.AddInt64(&w.chain.LogsUnproven, 1)
		}
	}
	if !found {
		w.problem(missing)
	}
	return nil
}

// at is when what a log file tells of happened.
func (c *claim) at() time.Time {
	if !c.Newest.IsZero() {
		return c.Newest
	}
	return c.by.d.End
}

func (w *walk) hashFile(ctx context.Context, u *unpacker, o Object) (string, error) {
	r, err := w.objects.Open(ctx, o)
	if err != nil {
		return "", err
	}
	defer r.Close()
	src := &source{r: r, progress: w.Progress}
	hash, unpacked, err := u.hash(ctx, src)
	atomic.AddInt64(&w.chain.Bytes, src.n)
	atomic.AddInt64(&w.chain.Unpacked, unpacked)
	return hash, err
}

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
			w.problem(Problem{Kind: LogUncovered, File: f.Name, Object: f.known, Time: all.to, Detail: "no digest names it, and its name is not one that CloudTrail gives"})
		case at.from.Before(all.from), at.to.After(all.to):
			if w.chain.LogsOutside++; outside == "" {
				outside = f.Name
			}
		case slices.ContainsFunc(broken, at.overlaps):
			w.chain.LogsUnproven++
		default:
			w.problem(Problem{Kind: LogUncovered, File: f.Name, Object: f.known, Time: f.stamp,
				Detail: "no digest names it, and there are digests of its time"})
		}
	}
	if w.chain.LogsOutside > 0 {
		w.note(outside, "%d log files, of which this is one, are older or newer than all digests by some minutes or more: nothing is known of them", w.chain.LogsOutside)
	}
}

// noDigests reports log files of an account and region that has no digests at all.
func (w *walk) noDigests(logs []file) {
	first := slices.MinFunc(logs, func(a, b file) int { return a.stamp.Compare(b.stamp) })
	w.chain.LogsOutside = int64(len(logs))
	w.problem(Problem{Kind: LogUncovered, File: first.Name, Object: first.known, Time: first.stamp,
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
