package digest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Region lists the files of one account and region, as far as asked.
type Region interface {
	Opener
	// Digests names the digest files in the folders of a day and of all days after.
	Digests(ctx context.Context, day time.Time) ([]Object, error)
	// Logs visits the log files in the folder of a day by name, from the first
	// whose name is of a time or later; a zero time is all of them, and those that
	// came that day and lie in no folder of a day. visit returns false to end.
	Logs(ctx context.Context, day, from time.Time, visit func(Object) bool) error
}

// Watch verifies one account and region again and again, as files arrive. It has
// no clock: what it finds depends on the files, the Progress and the time given.
//
// It finds what Verify finds over all files, with the same identities, but for
// what depends on when one looks:
//   - what is not there may be late, by Grace: then it is missing;
//   - a newest digest whose own signature is wrong is altered, although the next
//     one may prove its content, and what is wrong then is the signature alone;
//   - what is changed or deleted after it was verified is seen only while it is
//     still followed, some hours, or when it was written anew in the last days.
type Watch struct {
	Org, Account, Region string
	Files                Region
	Keys                 Keys
	// Bucket is where the files are.
	Bucket  string
	Workers int
	// Grace is how late a file may be that a digest names, and the digest that
	// should name a log file.
	Grace time.Duration
	// Silence is how long a chain may go without a new digest.
	Silence time.Duration
}

const (
	// stretch is how much is verified in one go when there is much to do.
	stretch = 24 * time.Hour
	// keep is how long digests are followed that are settled: later ones say
	// something of them.
	keep = 3 * time.Hour
	// lookback is how old the folders are in which backfill digests are looked for.
	lookback = 7 * 24 * time.Hour
	// skew is how far S3's clock may be from ours.
	skew = 15 * time.Minute
	// maxWaiting bounds the log files that are waited for; the others are missing at once.
	maxWaiting = 1000
	// maxFresh bounds how many digests of a stretch are read.
	maxFresh = 2000
)

// step is one call of Advance.
type step struct {
	*Watch
	was, p Progress
	now    time.Time
	first  bool
	all    map[string]file // the digests that are listed
	out    *Report
}

// Advance verifies what is new since p, and returns how far it is now, with what
// was found. Only what is kept of the result counts as found: given the same p
// again, the same is found. more says that there is more to do at once.
func (wt *Watch) Advance(ctx context.Context, p Progress, now time.Time) (next Progress, out *Report, more bool, err error) {
	s := &step{Watch: wt, was: p, p: p.clone(), now: now, first: p.Listed.IsZero(), all: map[string]file{}, out: &Report{}}
	if err := s.list(ctx); err != nil {
		return p, nil, false, err
	}
	to, more := s.stretch()
	if s.due(to) {
		if err := s.window(ctx, to); err != nil {
			return p, nil, false, err
		}
	}
	if err := s.stragglers(ctx); err != nil {
		return p, nil, false, err
	}
	more = more && s.tracked() // a folder that somebody filled does not hold us up
	if !more {
		if err := s.strays(ctx); err != nil {
			return p, nil, false, err
		}
		w := s.walk(time.Time{})
		s.p.overdue(w, s.Silence, now, s.unread)
		s.take(w)
		s.p.Listed = now
	}
	s.trim(to)
	s.out.sort()
	return s.p, s.out, more, nil
}

func (s *step) walk(from time.Time) *walk {
	v := &verifier{Options: Options{From: from, Bucket: s.Bucket, Workers: max(s.Workers, 1)}, objects: s.Files, keys: s.Keys, logs: map[string][]file{}}
	w := v.walk(Chain{Org: s.Org, Account: s.Account, Region: s.Watch.Region})
	w.bucket = s.Bucket
	return w
}

// take adds what a walk found; what it notes of a digest is told when that is new.
func (s *step) take(w *walk) {
	for _, n := range w.report.Notes {
		if _, known := s.was.Digests[n.File]; !known {
			s.out.Notes = append(s.out.Notes, n)
		}
	}
	w.report.Notes = nil
	s.out.add(w.report)
	s.out.Chains = append(s.out.Chains, w.chain)
}

// list finds the digests that are there.
func (s *step) list(ctx context.Context) error {
	day := s.now.Add(-lookback)
	if s.p.From.Before(day) {
		day = s.p.From
	}
	if day.Before(s.p.Since) {
		day = s.p.Since
	}
	list, err := s.Files.Digests(ctx, day)
	if err != nil {
		return err
	}
	for _, o := range list {
		p, ok := placeOf(o.Key)
		if ok && p.kind == kindDigest && p.account == s.Account && p.region == s.Watch.Region && p.org == s.Org {
			s.all[o.Name] = file{Object: o, place: p}
		}
	}
	for name := range s.p.Digests {
		if _, there := s.all[name]; !there {
			delete(s.p.Digests, name)
		}
	}
	return nil
}

// window verifies what is new among the digests that follow on each other, and
// judges the others again in its light.
func (s *step) window(ctx context.Context, to time.Time) error {
	var files []file
	for _, f := range s.all {
		if !s.inWindow(&f) || f.stamp.After(to.Add(after)) {
			continue
		}
		f.part = judged
		if f.stamp.After(to) {
			f.part = witness
		}
		files = append(files, f)
	}
	files = s.bounded(files)
	w, err := s.pass(ctx, s.p.From, files)
	if err != nil {
		return err
	}
	s.p.heard(w)
	if err := s.compare(ctx, w); err != nil {
		return err
	}
	s.take(w)
	return nil
}

// bounded puts digests in order, and leaves some out where somebody has filled
// the folder with files: those of chains that are known come first.
func (s *step) bounded(files []file) []file {
	slices.SortFunc(files, func(a, b file) int { return s.rank(&a, &b) })
	if len(files) <= maxFresh {
		return files
	}
	s.out.Errors = append(s.out.Errors, fmt.Errorf("%s: %d digest files of one day where some 24 are due: only %d are verified", s.all[files[0].Name].Name, len(files), maxFresh))
	return files[:maxFresh]
}

func (s *step) rank(a, b *file) int {
	_, x := s.p.Streams[a.stream]
	_, y := s.p.Streams[b.stream]
	switch {
	case x != y && x:
		return -1
	case x != y:
		return 1
	}
	if c := a.stamp.Compare(b.stamp); c != 0 {
		return c
	}
	return cmp.Compare(a.Key, b.Key)
}

// stragglers verifies digests of a time that is settled, each with those around it.
func (s *step) stragglers(ctx context.Context) error {
	var late []file
	for name, f := range s.all {
		known := s.p.Digests[name]
		if !s.inWindow(&f) && (s.fresh(&f) || known.unsettled()) {
			late = append(late, f)
		}
	}
	for _, l := range s.bounded(late) {
		from := l.stamp.Add(-time.Hour)
		var files []file
		for _, f := range s.all {
			if f.stamp.After(from) && !f.stamp.After(l.stamp.Add(2*time.Hour)) {
				f.part = witness
				if f.Name == l.Name {
					f.part = judged
				}
				files = append(files, f)
			}
		}
		w, err := s.pass(ctx, from, s.bounded(files))
		if err != nil {
			return err
		}
		s.take(w)
	}
	return nil
}
