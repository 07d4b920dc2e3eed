package digest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// links looks for digests that are not there, or not where they should be, and
// adds up what is known.
func (w *walk) links() {
	newest := map[string]bool{}
	for i, n := range w.nodes {
		isNewest := !newest[n.stream]
		newest[n.stream] = true
		if !w.inRange(n) {
			continue
		}
		w.chain.Digests++
		if n.state == verified {
			w.chain.DigestsVerified++
		}
		w.misplaced(n)
		older := w.older(i)
		if n.state == altered {
			w.gapBelow(n, older)
			continue
		}
		if w.chain.To.Before(n.d.End) {
			w.chain.To = n.d.End
		}
		if w.chain.From.IsZero() || n.d.Start.Before(w.chain.From) {
			w.chain.From = n.d.Start
		}
		if n.state == unproven {
			w.unproven(n, isNewest)
		}
		w.previous(n, older)
	}
	w.tail()
}

// unproven says of a digest without a signature whether that is as it should be:
// only the newest waits for the next one. One before a chain that starts again is
// in no other digest, nor is a backfill digest: theirs has to be fetched. And
// where the next one is broken, that is the problem.
func (w *walk) unproven(n *node, newest bool) {
	_, end := n.period()
	switch last := w.nodes[0].order(); {
	case newest && !n.backfill && !last.After(end.Add(late)):
		w.note(n.Name, "not yet verifiable: the newest digest's signature comes with the next one, or from %s%s", n.Name, sidecar)
	case w.nextIsBroken(n):
		w.note(n.Name, "not verifiable: the next digest, which carries its signature, is not there or broken, and there is no %s%s", n.Name, sidecar)
	default:
		w.problem(n, Problem{Kind: DigestUnsigned, File: n.Name, Object: n.known, Time: n.order(),
			Detail: "no other digest carries its signature, and there is no " + n.known + sidecar})
	}
}

// nextIsBroken reports whether there is a problem with the digest that should
// carry the signature of n.
func (w *walk) nextIsBroken(n *node) bool {
	var next *node
	for _, o := range w.nodes {
		if o == n {
			break
		}
		if o.stream == n.stream {
			next = o
		}
	}
	if next == nil || next.state == altered {
		return next != nil
	}
	return next.d.Previous != nil && !slices.Contains(w.byName[shortOf(next.d.Previous.Object)], n)
}

// misplaced reports a digest that lies where CloudTrail did not put it. An
// altered one has said nothing of its place that is to be believed.
func (w *walk) misplaced(n *node) {
	p := Problem{File: n.Name, Object: n.known, Time: n.stamp}
	switch {
	case n.twin:
		p.Kind, p.Detail = DigestDuplicate, "another file is the same digest"
	case n.moved && n.state != altered:
		p.Kind, p.Detail = DigestMoved, "it names another place"
	default:
		return
	}
	if n.d != nil {
		p.Expected = "s3://" + n.d.Bucket + "/" + n.d.Object
	}
	p.Actual = n.known
	if n.Bucket != "" {
		p.Actual = "s3://" + n.Bucket + "/" + n.Key
	} else if w.Bucket != "" {
		p.Actual = "s3://" + w.Bucket + "/.../" + n.known
	}
	w.problem(n, p)
}

// older returns the next older digest of the same chain that is there.
func (w *walk) older(i int) *node {
	for _, o := range w.nodes[i+1:] {
		if o.stream == w.nodes[i].stream {
			return o
		}
	}
	return nil
}

// gapBelow reports that digests are missing before one that cannot be asked which.
func (w *walk) gapBelow(n, older *node) {
	start, _ := n.period()
	if older == nil || n.backfill || start.IsZero() {
		return
	}
	if _, end := older.period(); !end.IsZero() && start.Sub(end) > time.Hour/2 {
		w.problem(n, Problem{Kind: DigestMissing, File: older.Name, Digest: n.Name, Time: start, Object: older.known,
			Detail: fmt.Sprintf("about %s between this file and %s", hours(start.Sub(end)), n.known)})
	}
}

// previous follows the link of a digest to the one before it.
func (w *walk) previous(n, older *node) {
	prev := n.d.Previous
	if prev == nil {
		if n.backfill {
			return
		}
		text := "a chain starts at " + n.d.Start.Format(time.RFC3339)
		if older != nil {
			if _, end := older.period(); !end.IsZero() {
				text += fmt.Sprintf(": logging or validation was started again after %s without, since %s", hours(n.d.Start.Sub(end)), end.Format(time.RFC3339))
			}
		}
		w.note(n.Name, "%s", text)
		return
	}
	if len(w.byName[shortOf(prev.Object)]) > 0 {
		return
	}
	p, known := placeOf(prev.Object)
	end := n.d.Start
	if known && !p.stamp.IsZero() {
		end = p.stamp
	}
	if !w.From.IsZero() && !end.After(w.From) {
		return // older than what was asked for
	}
	detail := "the next digest, " + n.known + ", names it"
	if older != nil {
		if _, from := older.period(); !from.IsZero() {
			detail += fmt.Sprintf("; %s without digests, since %s", hours(n.d.Start.Sub(from)), from.Format(time.RFC3339))
		}
	}
	address := "s3://" + prev.Bucket + "/" + prev.Object
	w.problem(n, Problem{Kind: DigestMissing, File: address, Object: shownKey(prev.Object), Digest: n.Name, Time: end, Detail: detail, Expected: prev.Hash})
}

// shownKey is a key as other files of the mirror are named.
func shownKey(key string) string {
	if p, ok := placeOf(key); ok {
		return p.known
	}
	return key
}

// tail reports that the end of the time asked for has no digests.
func (w *walk) tail() {
	if w.To.IsZero() || w.chain.To.IsZero() || !w.chain.To.Add(late).Before(w.To) {
		return
	}
	var newest *node
	for _, n := range w.nodes {
		if n.stream != "" && !n.backfill {
			newest = n
			break
		}
	}
	if newest == nil {
		return
	}
	w.problem(newest, Problem{Kind: TimeUncovered, File: newest.Name, Object: newest.known, Time: w.chain.To,
		Detail:   fmt.Sprintf("the newest digest ends %s before the time asked for", hours(w.To.Sub(w.chain.To))),
		Expected: w.To.Format(time.RFC3339), Actual: w.chain.To.Format(time.RFC3339)})
}

func hours(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%.1f hours", d.Hours())
}

// isGone reports whether an object was listed and is no longer there, or never was.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
