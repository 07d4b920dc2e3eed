package digest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pass reads and judges some digests and hashes the log files that they name and
// that were not yet.
func (s *step) pass(ctx context.Context, from time.Time, files []file) (*walk, error) {
	w := s.walk(from)
	for i := range files {
		f := &files[i]
		if _, known := s.p.Digests[f.Name]; !known && f.part == judged {
			seen := f.Written
			if seen.IsZero() || seen.After(s.now) {
				seen = s.now
			}
			s.p.Digests[f.Name] = Followed{Seen: seen}
		}
	}
	if err := w.digests(ctx, files); err != nil {
		return nil, err
	}
	w.only = func(c *claim) bool {
		f := s.p.Digests[c.by.Name]
		if f.Hashed && !slices.Contains(f.Waiting, c.Object) {
			return false
		}
		short := shortOf(c.Object)
		p, _ := placeOf(c.Object)
		object := Object{Name: "s3://" + c.Bucket + "/" + c.Object, Bucket: c.Bucket, Key: c.Object}
		if s.Bucket != "" && c.Bucket != s.Bucket {
			return true // it is looked for where we may look, and is not there
		}
		if p.known == "" {
			p.known = c.Object
		}
		w.logs[short] = []file{{Object: object, place: p}}
		return true
	}
	if err := w.verifyLogs(ctx); err != nil {
		return nil, err
	}
	return w, s.settle(w)
}

// settle decides what of the problems is to be told now, and what may come right.
func (s *step) settle(w *walk) error {
	unread := map[string][]*ReadError{}
	for _, err := range w.report.Errors {
		var r *ReadError
		if errors.As(err, &r) {
			unread[r.by] = append(unread[r.by], r)
		}
	}
	byDigest := map[string][]Problem{}
	var others []Problem
	for _, p := range w.report.Problems {
		if p.by == "" {
			others = append(others, p)
			continue
		}
		byDigest[p.by] = append(byDigest[p.by], p)
	}
	w.report.Problems = others
	for _, n := range w.nodes {
		if n.part != judged {
			continue
		}
		problems, err := s.settleOne(n, byDigest[n.Name], unread[n.Name])
		if err != nil {
			return err
		}
		w.report.Problems = append(w.report.Problems, problems...)
	}
	return nil
}

// settleOne settles one digest, and the log files that it names.
func (s *step) settleOne(n *node, problems []Problem, unread []*ReadError) (tell []Problem, err error) {
	f := s.p.Digests[n.Name]
	f.Told = slices.Clone(f.Told)
	young := s.now.Before(f.Seen.Add(s.Grace))
	self := slices.ContainsFunc(unread, func(r *ReadError) bool { return r.File == n.Name })
	switch {
	case len(unread) == 0:
		f.Unread = time.Time{}
	case f.Unread.IsZero():
		f.Unread = s.now
	}
	if !self { // else nothing new is known
		f.Waiting, f.End = nil, time.Time{}
		if n.d != nil && n.state != altered {
			f.Hashed, f.End = true, n.d.End
		}
	}
	f.Open = false
	for _, p := range problems {
		switch {
		case p.Kind == LogMissing && young && len(f.Waiting) < maxWaiting:
			f.Waiting = append(f.Waiting, keyOf(p.File))
			continue
		case p.Kind == DigestMissing && young:
			f.Open = true
			continue
		case p.Kind != LogMissing && p.Kind != LogAltered && !f.tell(&p):
			continue
		}
		tell = append(tell, p)
	}
	switch {
	case len(unread) > 0 && s.now.Before(f.Unread.Add(s.Grace)):
		if len(f.Waiting)+len(unread) > maxWaiting {
			return nil, fmt.Errorf("%d files that %s names cannot be read, of which one is %w", len(unread), n.Name, unread[0])
		}
		for _, r := range unread {
			if r.File != n.Name {
				f.Waiting = append(f.Waiting, keyOf(r.File))
			}
		}
		f.Open = f.Open || self
	case len(unread) > 0:
		p := unreadable(n, unread)
		p.Account, p.Region, p.Bucket, p.Trail = s.Account, s.Watch.Region, s.Bucket, n.trail
		if f.tell(&p) {
			tell = append(tell, p)
		}
	}
	s.p.Digests[n.Name] = f
	return tell, nil
}

// tell reports whether a problem is not told yet, and notes that it is now.
func (f *Followed) tell(p *Problem) bool {
	id := p.Finding().ID
	if slices.Contains(f.Told, id) {
		return false
	}
	f.Told = append(f.Told, id)
	return true
}

// unreadable is one problem for all files of a digest: they have one cause.
func unreadable(n *node, unread []*ReadError) Problem {
	first := slices.MinFunc(unread, func(a, b *ReadError) int { return cmp.Compare(a.File, b.File) })
	p := Problem{Kind: FileUnreadable, File: first.File, Object: n.known, Digest: n.Name, Time: n.order(), Detail: first.Err.Error()}
	if len(unread) > 1 {
		p.Detail = fmt.Sprintf("it and %d more that this digest names: %s", len(unread)-1, p.Detail)
	}
	return p
}

// keyOf is the key in an address.
func keyOf(address string) string {
	_, key, _ := strings.Cut(strings.TrimPrefix(address, "s3://"), "/")
	return key
}

// compare reports the log files that no digest names, as far as can be told now.
func (s *step) compare(ctx context.Context, w *walk) error {
	if s.p.Compared.IsZero() {
		s.p.Compared = s.p.From
	}
	to := s.horizon(s.Grace)
	if !to.After(s.p.Compared) {
		return nil
	}
	from := to // before the first digest there is nothing to compare with
	for _, n := range w.nodes {
		if start, _ := n.period(); n.state != altered && !n.backfill && !start.IsZero() && start.Before(from) {
			from = start
		}
	}
	if s.p.Compared.After(from) {
		from = s.p.Compared
	}
	if s.p.Strays.IsZero() {
		s.p.Strays = from.UTC().Truncate(24 * time.Hour)
	}
	var logs []file
	for day := from.UTC().Truncate(24 * time.Hour); !day.After(to.Add(slack)); day = day.Add(24 * time.Hour) {
		err := s.Files.Logs(ctx, day, from.Truncate(time.Minute), func(o Object) bool {
			p, ok := placeOf(o.Key)
			if !ok || p.kind != kindLog || p.stamp.IsZero() {
				return true
			}
			if p.stamp.After(from) && !p.stamp.After(to) {
				logs = append(logs, file{Object: o, place: p})
			}
			return !p.stamp.After(to.Add(24 * time.Hour))
		})
		if err != nil {
			return err
		}
	}
	w.uncovered(logs)
	s.p.Compared = to
	return nil
}

// strays looks once a day for log files that are not named as CloudTrail does.
func (s *step) strays(ctx context.Context) error {
	if len(s.p.Streams) == 0 {
		return s.none(ctx)
	}
	to := s.p.Compared
	if s.p.Strays.IsZero() {
		return nil
	}
	w := s.walk(time.Time{})
	for day := s.p.Strays; !day.Add(24 * time.Hour).After(to); day = day.Add(24 * time.Hour) {
		err := s.Files.Logs(ctx, day, time.Time{}, func(o Object) bool {
			if p, ok := placeOf(o.Key); ok && p.kind == kindLog && p.stamp.IsZero() {
				w.stray(&file{Object: o, place: p}, to)
			}
			return true
		})
		if err != nil {
			return err
		}
		s.p.Strays = day.Add(24 * time.Hour)
	}
	s.take(w)
	return nil
}

// none looks for log files of an account and region that never had a digest.
func (s *step) none(ctx context.Context) error {
	if s.p.Uncovered || s.p.Since.IsZero() {
		return nil
	}
	w := s.walk(time.Time{})
	since := s.now.Add(-48 * time.Hour)
	if s.p.Since.After(since) {
		since = s.p.Since
	}
	for day := since.UTC().Truncate(24 * time.Hour); !day.After(s.now); day = day.Add(24 * time.Hour) {
		err := s.Files.Logs(ctx, day, since.Truncate(time.Minute), func(o Object) bool {
			p, ok := placeOf(o.Key)
			if !ok || p.kind != kindLog || p.stamp.IsZero() || !p.stamp.After(since) {
				return true
			}
			if !s.now.Before(p.stamp.Add(s.Silence + s.Grace)) {
				w.problem(nil, Problem{Kind: LogUncovered, File: o.Name, Object: p.known, Time: p.stamp,
					Detail: "there are log files of this account and region, of which this is one, and no digests"})
				s.p.Uncovered = true
			}
			return false
		})
		if err != nil || s.p.Uncovered {
			s.take(w)
			return err
		}
	}
	return nil
}
