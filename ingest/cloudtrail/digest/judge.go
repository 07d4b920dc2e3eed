package digest

import (
	"context"
	"fmt"
	"time"
)

// loadKeys asks for the keys of the time of all digests.
func (w *walk) loadKeys(ctx context.Context) error {
	var from, to time.Time
	var fingerprints []string
	for _, n := range w.nodes {
		if n.d == nil {
			continue
		}
		fingerprints = append(fingerprints, n.d.Fingerprint)
		if from.IsZero() || n.d.Start.Before(from) {
			from = n.d.Start
		}
		if n.d.End.After(to) {
			to = n.d.End
		}
		if t, err := time.Parse(time.RFC3339, n.meta.Generated); err == nil && t.After(to) {
			to = t // a backfill digest is signed when it is made
		}
	}
	if from.IsZero() {
		return nil
	}
	if ring, ok := w.keys.(*Keyring); ok {
		if w.public, ok = ring.has(w.chain.Region, fingerprints); ok {
			return nil
		}
	}
	var err error
	w.public, err = w.keys.Keys(ctx, w.chain.Region, from, to)
	return err
}

// blame marks a digest as altered, once.
func (w *walk) blame(n *node, p Problem) {
	n.state = altered
	if n.blamed {
		return
	}
	n.blamed = true
	if p.File == "" {
		p.File = n.Name
	}
	p.Object, p.Time = n.known, n.stamp
	w.problem(n, p)
}

// judge decides what a digest is. The ones after it are judged first: they carry
// its signature, and whether to believe that depends on theirs.
func (w *walk) judge(n *node) {
	if n.state != unjudged {
		return
	}
	n.state = judging
	for _, s := range w.after(n) {
		w.judge(s)
	}
	if n.d == nil {
		w.accuse(n, Problem{Kind: DigestAltered, Detail: n.reason})
		return
	}
	keys := choose(w.public, n.d.Fingerprint)
	if len(keys) == 0 {
		w.accuse(n, Problem{Kind: KeyUnknown, Detail: fmt.Sprintf("no key of %s has its fingerprint", w.chain.Region), Actual: n.d.Fingerprint})
		return
	}
	own := n.meta.Signature != "" && signedBy(n.d, keys, n.meta.Signature)
	var good, bad []*node
	for _, s := range w.after(n) {
		if signedBy(n.d, keys, s.d.Previous.Signature) {
			good = append(good, s)
		} else {
			bad = append(bad, s)
		}
	}
	if own || len(good) > 0 {
		w.proven(n, own, good, bad)
		return
	}
	w.doubt(n, bad)
}

// accuse is blame, silent for what is outside the range asked for.
func (w *walk) accuse(n *node, p Problem) {
	n.state = altered
	if w.inRange(n) {
		w.blame(n, p)
	}
}

// proven judges a digest of which some signature is good: what says otherwise is wrong.
func (w *walk) proven(n *node, own bool, good, bad []*node) {
	n.state = verified
	if !own && n.meta.Signature != "" && w.inRange(n) {
		name, object := n.meta.Name, n.known+sidecar
		if name == "" {
			name, object = n.Name, n.known
		}
		w.problem(n, Problem{Kind: SignatureAltered, File: name, Object: object, Digest: n.Name, Time: n.stamp,
			Detail: "the signature beside it is not that of its content; the next digest carries the right one"})
	}
	for _, s := range good {
		if s.state != altered && s.d.Previous.Hash != n.d.Hash {
			bad = append(bad, s)
		}
	}
	for _, s := range bad {
		if s.state != altered {
			w.blame(s, Problem{Kind: DigestAltered, Detail: "what it says of the digest before it, which is intact, is not so",
				Digest: n.Name, Expected: n.d.Hash, Actual: s.d.Previous.Hash})
		}
	}
}

// doubt judges a digest of which no signature is good: bad are the digests that
// carry one that is not its own.
func (w *walk) doubt(n *node, bad []*node) {
	n.state = unproven
	if n.meta.Signature != "" {
		where := "stored with it"
		if n.meta.Name != "" {
			where = "in " + n.meta.Name
		}
		w.accuse(n, Problem{Kind: DigestAltered, Detail: "its signature, " + where + ", is not that of its content", Digest: n.meta.Name, Actual: n.d.Hash})
		return
	}
	for _, s := range bad {
		switch {
		case s.state == verified, s.state == unproven && s.d.Previous.Hash != n.d.Hash:
			w.accuse(n, Problem{Kind: DigestAltered, Detail: "its signature, in the next digest, is not that of its content",
				Digest: s.Name, Expected: s.d.Previous.Hash, Actual: n.d.Hash})
			return
		case s.state == unproven:
			w.blame(s, Problem{Kind: DigestAltered, Detail: "the signature it gives of the digest before it is not that of its content, and its hash is", Digest: n.Name})
		}
	}
}
