package digest

import "time"

// inWindow reports whether a digest is of the time that is not settled.
func (s *step) inWindow(f *file) bool { return f.stamp.IsZero() || f.stamp.After(s.p.From) }

// fresh reports whether a digest has not been looked at. One of a time that is
// settled is fresh when it is a backfill digest, or was written since.
func (s *step) fresh(f *file) bool {
	if _, known := s.p.Digests[f.Name]; known || !f.stamp.IsZero() && !f.stamp.After(s.p.Since) {
		return false
	}
	return s.inWindow(f) || f.backfill || !s.first && f.Written.After(s.p.Listed.Add(-skew))
}

// stretch picks up to when digests are verified now, and whether there are more.
// It contains those that are followed, and one that is fresh, if there is any.
func (s *step) stretch() (to time.Time, more bool) {
	var first, last time.Time
	for _, f := range s.all {
		if f.stamp.IsZero() || !s.inWindow(&f) || !s.fresh(&f) {
			continue
		}
		if first.IsZero() || f.stamp.Before(first) {
			first = f.stamp
		}
		if f.stamp.After(last) {
			last = f.stamp
		}
	}
	to = first
	for _, f := range s.p.Digests {
		if f.End.After(to) {
			to = f.End
		}
	}
	if s.p.From.After(to) {
		to = s.p.From
	}
	to = to.Add(stretch)
	return to, last.After(to)
}

// due reports whether there is a digest to look at, or the log files of a time
// are to be compared.
func (s *step) due(to time.Time) bool {
	for _, f := range s.all {
		if s.inWindow(&f) && s.fresh(&f) && !f.stamp.After(to) {
			return true
		}
	}
	for name, f := range s.p.Digests {
		if at := s.all[name]; f.unsettled() && s.inWindow(&at) && !at.stamp.After(to) {
			return true
		}
	}
	return s.horizon(s.Grace + time.Hour/2).After(s.p.Compared) // as a rule a new digest comes first
}

// horizon is up to when log files can be compared with the digests: those of that
// time are there, and for some time, so that what they lack is not just late.
func (s *step) horizon(wait time.Duration) time.Time {
	var h time.Time
	for name, f := range s.p.Digests {
		at := s.all[name]
		if !s.inWindow(&at) {
			continue
		}
		if f.Open {
			return s.p.Compared
		}
		if end := f.End.Add(-slack); !f.End.IsZero() && !s.now.Before(f.Seen.Add(wait)) && end.After(h) {
			h = end
		}
	}
	return h
}

// tracked reports whether a digest was looked at for the first time.
func (s *step) tracked() bool {
	for name := range s.p.Digests {
		if _, known := s.was.Digests[name]; !known {
			return true
		}
	}
	return false
}

// unread reports whether a chain has a newer digest that cannot be read yet.
func (s *step) unread(stream string, since time.Time) bool {
	for name, f := range s.p.Digests {
		if at := s.all[name]; f.Open && !f.Unread.IsZero() && at.stream == stream && at.stamp.After(since) {
			return true
		}
	}
	return false
}

// trim forgets the digests that are settled and that no later one is about.
func (s *step) trim(to time.Time) {
	if len(s.p.Streams) == 0 {
		return
	}
	limit := s.p.Compared.Add(-keep)
	for _, st := range s.p.Streams {
		if end := st.End.Add(-keep); end.Before(limit) && !st.Overdue && !st.Ended {
			limit = end
		}
	}
	for name, f := range s.all {
		known, followed := s.p.Digests[name]
		if s.inWindow(&f) && !f.stamp.IsZero() && !f.stamp.After(to) && (!followed || known.unsettled()) && f.stamp.Add(-2*time.Hour).Before(limit) {
			limit = f.stamp.Add(-2 * time.Hour)
		}
	}
	var from time.Time // the end of a digest, so that none begins before it
	for name, f := range s.p.Digests {
		at := s.all[name]
		if s.inWindow(&at) && !f.End.IsZero() && !f.End.After(limit) && f.End.After(from) {
			from = f.End
		}
	}
	if from.After(s.p.From) {
		s.p.From = from
	}
	for name, f := range s.p.Digests {
		at := s.all[name]
		if !s.inWindow(&at) && !f.unsettled() && !at.backfill && s.now.Sub(f.Seen) > time.Hour {
			delete(s.p.Digests, name)
		}
	}
}
