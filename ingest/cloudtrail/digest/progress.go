package digest

import (
	"maps"
	"slices"
	"time"
)

// Progress is how far one account and region of a trail has been verified: what
// Watch.Advance needs to go on, after a restart too. The zero value is nothing.
type Progress struct {
	// Since is where it began; From is the end of the last digest before which
	// all is settled.
	Since time.Time `json:"since,omitzero"`
	From  time.Time `json:"from,omitzero"`
	// Compared is the time up to which log files were looked for that no digest
	// names.
	Compared time.Time `json:"compared,omitzero"`
	// Strays is the day up to which log files with other names were looked for.
	Strays time.Time `json:"strays,omitzero"`
	// Listed is when the digests were listed last.
	Listed time.Time `json:"listed,omitzero"`
	// Digests are those that are not settled, or that later ones may say
	// something of, by their file's name.
	Digests map[string]Followed `json:"digests,omitempty"`
	// Streams are the newest digests of each chain, by the chain's name.
	Streams map[string]Stream `json:"streams,omitempty"`
	// Uncovered is set when it was reported that there are log files and no digests.
	Uncovered bool `json:"uncovered,omitempty"`
}

// Followed is a digest that is followed.
type Followed struct {
	Seen time.Time `json:"seen"`         // when it was written, or first seen
	End  time.Time `json:"end,omitzero"` // of its time, when it is believed
	// Hashed is set when its log files were verified, but for those Waiting: their
	// objects are not there, or cannot be read, and are asked for again.
	Hashed  bool     `json:"hashed,omitempty"`
	Waiting []string `json:"waiting,omitempty"`
	// Unread is since when it, or a log file that it names, cannot be read.
	Unread time.Time `json:"unread,omitzero"`
	// Open is set while something is wrong that may come right by itself.
	Open bool `json:"open,omitempty"`
	// Told are the ids of the findings about it.
	Told []string `json:"told,omitempty"`
}

// Stream is what is known of a chain's newest digest.
type Stream struct {
	Name    string    `json:"name"`
	Object  string    `json:"object"`
	Trail   string    `json:"trail,omitempty"`
	Bucket  string    `json:"bucket,omitempty"`
	End     time.Time `json:"end"`
	Written time.Time `json:"written"`
	// Overdue is set when it was reported that no more come, Ended when none came
	// already when the chain was first seen.
	Overdue bool `json:"overdue,omitempty"`
	Ended   bool `json:"ended,omitempty"`
}

// clone makes a copy that can be changed; slices are replaced, never written into.
func (p Progress) clone() Progress {
	p.Digests, p.Streams = maps.Clone(p.Digests), maps.Clone(p.Streams)
	if p.Digests == nil {
		p.Digests = map[string]Followed{}
	}
	if p.Streams == nil {
		p.Streams = map[string]Stream{}
	}
	return p
}

// unsettled reports whether something has to be asked for again.
func (f *Followed) unsettled() bool { return f.Open || len(f.Waiting) > 0 }

// Unsettled reports whether files are waited for.
func (p *Progress) Unsettled() bool {
	for _, f := range p.Digests {
		if f.unsettled() {
			return true
		}
	}
	return false
}

// Newest is when the newest digest of any chain that goes on was written.
func (p *Progress) Newest() (t time.Time) {
	for _, s := range p.Streams {
		if !s.Ended && !s.Overdue && s.Written.After(t) {
			t = s.Written
		}
	}
	return t
}

// maxStreams bounds how many chains of one account and region are followed, and
// so what a cursor holds.
const maxStreams = 64

// heard notes the digests that are proven, and reports the chains that go on
// after they had stopped.
func (p *Progress) heard(w *walk) {
	for _, n := range slices.Backward(w.nodes) {
		if n.state != verified || n.backfill || n.moved || n.twin || n.part == witness {
			continue
		}
		was, known := p.Streams[n.stream]
		if known && !n.d.End.After(was.End) || !known && len(p.Streams) >= maxStreams {
			continue
		}
		s := Stream{Name: n.Name, Object: n.known, Trail: w.trail, Bucket: n.d.Bucket, End: n.d.End, Written: p.Digests[n.Name].Seen}
		if n.trail != "" {
			s.Trail = n.trail
		}
		p.Streams[n.stream] = s
		if was.Overdue {
			w.problem(n, Problem{Kind: DigestResumed, File: n.Name, Object: was.Object, Digest: n.Name, Time: n.d.End,
				Detail: resumed(n, was.End), Expected: was.End.Format(time.RFC3339)})
		}
	}
}

// resumed says whether the time between is covered.
func resumed(n *node, since time.Time) string {
	text := "since " + since.Format(time.RFC3339) + " there were none"
	switch {
	case n.d.Previous == nil:
		return text + "; a new chain starts at " + n.d.Start.Format(time.RFC3339) + ", and nobody vouches for the time between"
	case n.d.Start.After(since):
		return text + "; this one names others before it, which are verified as they come"
	}
	return text + "; the chain is whole"
}

// overdue reports the chains that had digests and have none for longer than
// silence. One that was silent for a day when it was first seen has ended before
// we came: a trail that was deleted, a region that is no longer used.
func (p *Progress) overdue(w *walk, silence time.Duration, now time.Time, unread func(stream string, since time.Time) bool) {
	for name, s := range p.Streams {
		quiet := now.Sub(s.Written)
		if s.Overdue || s.Ended || quiet <= silence || now.Sub(s.End) <= silence || unread(name, s.End) {
			continue
		}
		if p.Listed.IsZero() && quiet > 24*time.Hour {
			s.Ended = true
			p.Streams[name] = s
			continue
		}
		s.Overdue = true
		p.Streams[name] = s
		w.problem(nil, Problem{Kind: DigestOverdue, File: s.Name, Object: s.Object, Trail: s.Trail, Bucket: s.Bucket, Time: s.End.Add(silence),
			Detail: "this is the newest, it ends at " + s.End.Format(time.RFC3339) + ", and one is due every hour", Actual: s.End.Format(time.RFC3339)})
	}
}
