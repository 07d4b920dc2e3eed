package digest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what to verify. The zero value verifies all there is.
type Options struct {
	// From and To bound the digests: those whose time overlaps [From, To) are
	// verified. Digests up to a few hours later are read for the signatures that
	// they carry.
	From, To time.Time
	// Bucket is the bucket that a mirror is of; digests that name another are
	// reported as moved. "" takes any.
	Bucket string
	// Workers is how many files are read at the same time; 0 is one per core.
	Workers int
	// Begin is told how many bytes are about to be read, Progress when some
	// have been; both may be nil. Progress is called by several goroutines.
	Begin    func(bytes int64)
	Progress func(bytes int64)
}

const (
	// after is how far beyond To digests are read for their signatures.
	after = 3 * time.Hour
	// slack is how far the time in a log file's name may be from its delivery.
	slack = 10 * time.Minute
	// late is how much of the time asked for may lack digests at its end: they
	// are written hourly, and some minutes late.
	late = 2 * time.Hour
)

// Verify verifies all chains of digests among the objects, and the log files
// they name. The error is of the listing or the keys; what is wrong with files
// is in the report. Memory is that of the names of all files and the digests of
// one account and region at a time.
func Verify(ctx context.Context, objects Objects, keys Keys, opt Options) (*Report, error) {
	list, err := objects.List(ctx)
	if err != nil {
		return nil, err
	}
	if opt.Workers < 1 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	v := &verifier{Options: opt, objects: objects, keys: keys, logs: map[string][]file{}}
	groups := v.sort(list)
	report := &Report{}
	for _, g := range groups {
		part, err := v.group(ctx, g)
		if err != nil {
			return nil, err
		}
		report.add(part)
	}
	report.sort()
	return report, nil
}

// file is an object and what its name says.
type file struct {
	Object
	place
}

// files are those of one account and region.
type files struct{ digests, logs []file }

type verifier struct {
	Options
	objects Objects
	keys    Keys
	logs    map[string][]file // by the short name
}

// sort finds the files of trails and puts them by account and region, in order.
func (v *verifier) sort(list []Object) []*files {
	byGroup := map[string]*files{}
	var bytes int64
	for _, o := range list {
		p, ok := placeOf(o.Key)
		if !ok {
			continue
		}
		f := file{o, p}
		g := byGroup[p.group()]
		if g == nil {
			g = &files{}
			byGroup[p.group()] = g
		}
		if p.kind == kindDigest {
			if v.wanted(p.stamp) {
				g.digests = append(g.digests, f)
				bytes += o.Size
			}
			continue
		}
		v.logs[p.short] = append(v.logs[p.short], f)
		if p.kind == kindLog && v.within(p) {
			g.logs = append(g.logs, f)
			bytes += o.Size
		}
	}
	names := make([]string, 0, len(byGroup))
	for name := range byGroup {
		names = append(names, name)
	}
	slices.Sort(names)
	out := make([]*files, 0, len(names))
	for _, name := range names {
		out = append(out, byGroup[name])
	}
	if v.Begin != nil {
		v.Begin(bytes)
	}
	return out
}

// wanted reports whether a digest that ends at a time, as its name says, has to be read.
func (v *verifier) wanted(end time.Time) bool {
	if end.IsZero() {
		return true
	}
	return (v.From.IsZero() || end.After(v.From)) && (v.To.IsZero() || !end.After(v.To.Add(after)))
}

// within reports whether a log file is of the range asked for, as far as its name says.
func (v *verifier) within(p place) bool {
	from, to := p.stamp, p.stamp.Add(1)
	switch {
	case !p.day.IsZero():
		from, to = p.day, p.day.Add(24*time.Hour)
	case p.stamp.IsZero():
		return true
	}
	return (v.From.IsZero() || to.After(v.From)) && (v.To.IsZero() || from.Before(v.To))
}

// inRange reports whether a node is to be verified, not only read.
func (v *verifier) inRange(n *node) bool {
	start, end := n.period()
	if end.IsZero() {
		return true
	}
	return (v.From.IsZero() || end.After(v.From)) && (v.To.IsZero() || start.Before(v.To))
}

// group verifies one account and region.
func (v *verifier) group(ctx context.Context, g *files) (*Report, error) {
	if len(g.digests) == 0 && len(g.logs) == 0 {
		return &Report{}, nil
	}
	var first file
	if len(g.digests) > 0 {
		first = g.digests[0]
	} else {
		first = g.logs[0]
	}
	w := &walk{verifier: v, byName: map[string][]*node{}, next: map[string][]*node{}, report: &Report{}}
	w.chain = Chain{Org: first.org, Account: first.account, Region: first.region}
	nodes, err := w.read(ctx, g.digests)
	if err != nil {
		return nil, err
	}
	w.link(nodes)
	if err := w.loadKeys(ctx); err != nil {
		return nil, err
	}
	for _, n := range w.nodes {
		w.judge(n)
	}
	w.links()
	if err := w.verifyLogs(ctx); err != nil {
		return nil, err
	}
	w.uncovered(g.logs)
	w.report.Chains = []Chain{w.chain}
	return w.report, nil
}

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
	mu     sync.Mutex // guards report while files are read
	report *Report
}

func (w *walk) problem(p Problem) {
	p.Account, p.Region = w.chain.Account, w.chain.Region
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Problems = append(w.report.Problems, p)
}

func (w *walk) note(file, format string, args ...any) {
	w.report.Notes = append(w.report.Notes, Note{Account: w.chain.Account, Region: w.chain.Region, File: file, Text: fmt.Sprintf(format, args...)})
}

func (w *walk) failed(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Errors = append(w.report.Errors, fmt.Errorf("%s: %w", name, err))
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
			w.failed(n.Name, err)
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
		w.problem(Problem{Kind: SignatureAltered, File: n.meta.Name, Object: n.known + sidecar, Digest: n.Name, Time: n.order(), Detail: err.Error()})
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

// loadKeys asks for the keys of the time of all digests.
func (w *walk) loadKeys(ctx context.Context) error {
	var from, to time.Time
	for _, n := range w.nodes {
		if n.d == nil {
			continue
		}
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
	w.problem(p)
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
		w.problem(Problem{Kind: SignatureAltered, File: name, Object: object, Digest: n.Name, Time: n.stamp,
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
		w.problem(Problem{Kind: DigestUnsigned, File: n.Name, Object: n.known, Time: n.order(),
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
	w.problem(p)
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
		w.problem(Problem{Kind: DigestMissing, File: older.Name, Digest: n.Name, Time: start, Object: older.known,
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
	w.problem(Problem{Kind: DigestMissing, File: address, Object: shownKey(prev.Object), Digest: n.Name, Time: end, Detail: detail, Expected: prev.Hash})
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
	w.problem(Problem{Kind: TimeUncovered, File: newest.Name, Object: newest.known, Time: w.chain.To,
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
