package digest

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"
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
	part part
}

// part is the part that a digest plays in a walk.
type part int

const (
	byTime  part = iota // it is verified when it is of the time asked for
	judged              // it is verified
	witness             // it is read for what it says of others
)

// files are those of one account and region.
type files struct{ digests, logs []file }

type verifier struct {
	Options
	objects Opener
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
		f := file{Object: o, place: p}
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
	if n.part != byTime || end.IsZero() {
		return n.part != witness
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
	w := v.walk(Chain{Org: first.org, Account: first.account, Region: first.region})
	if err := w.digests(ctx, g.digests); err != nil {
		return nil, err
	}
	if err := w.verifyLogs(ctx); err != nil {
		return nil, err
	}
	w.uncovered(g.logs)
	w.report.Chains = []Chain{w.chain}
	return w.report, nil
}

func (v *verifier) walk(c Chain) *walk {
	return &walk{verifier: v, byName: map[string][]*node{}, next: map[string][]*node{}, report: &Report{}, chain: c}
}

// digests reads and judges digests, and follows their links.
func (w *walk) digests(ctx context.Context, files []file) error {
	nodes, err := w.read(ctx, files)
	if err != nil {
		return err
	}
	w.link(nodes)
	w.bucket = w.Bucket
	for _, n := range w.nodes {
		w.trail = cmp.Or(w.trail, n.trail)
		if n.d != nil && n.d.Account == w.chain.Account {
			w.bucket = cmp.Or(w.bucket, n.d.Bucket)
		}
	}
	if err := w.loadKeys(ctx); err != nil {
		return err
	}
	for _, n := range w.nodes {
		w.judge(n)
	}
	w.links()
	return nil
}
