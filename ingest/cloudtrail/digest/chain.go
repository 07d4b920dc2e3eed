package digest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// state is what is known of a digest.
type state int

const (
	unjudged state = iota
	judging
	unproven // nothing speaks against it, and no signature for it
	verified
	altered // not to be believed
)

// node is one digest file.
type node struct {
	file
	d      *Digest
	reason string // why there is no d
	meta   Metadata
	state  state
	blamed bool // there is a problem that says why it is altered
	twin   bool // another file is the same digest, and at its place
	moved  bool
}

// period is the time that a digest covers; by its name where its content is not to be believed.
func (n *node) period() (start, end time.Time) {
	if n.d != nil && n.state != altered {
		return n.d.Start, n.d.End
	}
	if n.stamp.IsZero() {
		return time.Time{}, time.Time{}
	}
	return n.stamp.Add(-time.Hour), n.stamp
}

// order is when a digest ends: by its name, which its neighbours vouch for, or
// where that is not its own by its content.
func (n *node) order() time.Time {
	if n.d != nil && (n.stamp.IsZero() || !fits(n.d.Object, n.known)) {
		return n.d.End
	}
	return n.stamp
}

// walk is the verification of one account and region.
type walk struct {
	*verifier
	nodes  []*node // newest first
	byName map[string][]*node
	next   map[string][]*node // the digests that name one as the one before
	public []Key
	chain  Chain
	trail  string // ARN of the trail of most of it
	bucket string
	only   func(c *claim) bool // which log files to hash; nil is all
	mu     sync.Mutex          // guards report while files are read
	report *Report
}

// problem reports what is wrong with a digest or a file that it names; n is the
// digest, nil where no digest speaks of the file.
func (w *walk) problem(n *node, p Problem) {
	p.Account, p.Region = w.chain.Account, w.chain.Region
	if n != nil {
		p.by = n.Name
		p.Trail = cmp.Or(p.Trail, n.trail)
	}
	p.Trail, p.Bucket = cmp.Or(p.Trail, w.trail), cmp.Or(p.Bucket, w.bucket)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Problems = append(w.report.Problems, p)
}

func (w *walk) note(file, format string, args ...any) {
	w.report.Notes = append(w.report.Notes, Note{Account: w.chain.Account, Region: w.chain.Region, File: file, Text: fmt.Sprintf(format, args...)})
}

// failed notes that a file could not be read: a digest, or a log that by names.
func (w *walk) failed(name, by string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Errors = append(w.report.Errors, &ReadError{File: name, by: by, Err: err})
}

// each calls do for 0..n-1 from as many goroutines as there are workers, each
// with an unpacker of its own, and waits for them.
func (w *walk) each(ctx context.Context, n int, do func(ctx context.Context, u *unpacker, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(w.Workers, n) {
		g.Go(func() error {
			u := newUnpacker()
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := do(ctx, u, i); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// read reads the digests with their signatures.
func (w *walk) read(ctx context.Context, digests []file) ([]*node, error) {
	nodes := make([]*node, len(digests))
	err := w.each(ctx, len(digests), func(ctx context.Context, u *unpacker, i int) error {
		n := &node{file: digests[i]}
		if err := w.readOne(ctx, u, n); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			w.failed(n.Name, n.Name, err)
			n.d, n.blamed = nil, true // it is there, and nothing more is known
		}
		nodes[i] = n
		return nil
	})
	return nodes, err
}

func (w *walk) readOne(ctx context.Context, u *unpacker, n *node) error {
	r, err := w.objects.Open(ctx, n.Object)
	if err != nil {
		return err
	}
	defer r.Close()
	src := &source{r: r, progress: w.Progress}
	content, err := u.read(ctx, src)
	atomic.AddInt64(&w.chain.Bytes, src.n)
	atomic.AddInt64(&w.chain.Unpacked, int64(len(content)))
	switch {
	case errors.Is(err, errContent):
		n.reason = err.Error()
	case err != nil:
		return err
	default:
		if n.d, err = Parse(content); err != nil {
			n.reason = err.Error()
		}
	}
	n.meta, err = w.objects.Metadata(ctx, n.Object)
	if errors.Is(err, errSidecar) {
		n.meta.Signature = ""
		w.problem(n, Problem{Kind: SignatureAltered, File: n.meta.Name, Object: n.known + sidecar, Digest: n.Name, Time: n.order(), Detail: err.Error()})
		return nil
	}
	return err
}

// link orders the digests, newest first, and finds which names which.
func (w *walk) link(nodes []*node) {
	slices.SortStableFunc(nodes, func(a, b *node) int {
		if c := b.order().Compare(a.order()); c != 0 {
			return c
		}
		if a.backfill != b.backfill { // a backfill digest may name the one of its hour
			if a.backfill {
				return -1
			}
			return 1
		}
		return 0
	})
	w.nodes = nodes
	for _, n := range nodes {
		w.byName[n.short] = append(w.byName[n.short], n)
	}
	for _, n := range nodes {
		n.twin = len(w.byName[n.short]) > 1 && w.byName[n.short][0] != n
		if n.d == nil {
			continue
		}
		if n.d.Previous != nil {
			prev := shortOf(n.d.Previous.Object)
			w.next[prev] = append(w.next[prev], n)
		}
		claim := shortOf(n.d.Object)
		if !fits(n.d.Object, n.known) {
			n.moved = true
			n.twin = n.twin || len(w.byName[claim]) > 0
			w.byName[claim] = append(w.byName[claim], n)
		}
		if b := n.Bucket; b != "" && (b != n.d.Bucket || n.Key != n.d.Object) || w.Bucket != "" && w.Bucket != n.d.Bucket {
			n.moved = true
		}
	}
}

// after returns the digests that name n as the one before.
func (w *walk) after(n *node) []*node {
	out := w.next[n.short]
	if n.d != nil {
		if claim := shortOf(n.d.Object); claim != n.short {
			out = slices.Concat(out, w.next[claim])
		}
	}
	return out
}
