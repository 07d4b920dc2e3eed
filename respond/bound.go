package respond

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"riposte/event"
)

// Everything in a finding was written by whoever made the event, and an incident
// is one value in a store that takes 8 MB. So an incident is bounded by bytes: of
// its findings it keeps the worst, of those the worst keep their evidence, and
// what it leaves out it names. The stream of findings has all of it.
//
// What is kept depends on the set of findings only, not on the order in which
// they came.
const (
	// MaxFindings is how many findings an incident keeps; the rest are counted.
	MaxFindings = 200
	// MaxRuns is how many runs an incident names.
	MaxRuns = 1000
	// maxFinding bounds one finding without its evidence, maxOwnEvidence the
	// evidence of one, maxEvidence that of all.
	maxFinding     = 10 << 10
	maxOwnEvidence = 128 << 10
	maxEvidence    = 256 << 10
	// maxOthers is how many findings beyond MaxFindings are told from one
	// another; a repeat beyond that is counted again.
	maxOthers   = 20_000
	maxAbsorbed = 1200
	maxEntities = 200
	maxRules    = 300
)

// limits are what one finding may come to: bytes of a text as JSON, elements of a list.
type limits struct{ text, word, list int }

var (
	roomy = limits{text: 600, word: 600, list: 50}
	tight = limits{text: 120, word: 64, list: 8}
)

// shrink returns the finding as an incident keeps it; less says that evidence was left out.
func shrink(f *event.Finding) (out event.Finding, less bool) {
	out = roomy.finding(f)
	if weight(&out) > maxFinding {
		out = tight.finding(f)
	}
	out.Evidence, less = shrinkEvidence(f.Evidence)
	return out, less
}

func (l limits) finding(f *event.Finding) event.Finding {
	out := *f
	out.Rule, out.Version, out.Title, out.Key = cut(f.Rule, l.word), cut(f.Version, l.word), cut(f.Title, l.text), cut(f.Key, l.text)
	out.Account, out.Region, out.File = cut(f.Account, l.word), cut(f.Region, l.word), cut(f.File, l.text)
	out.Actor = l.actor(f.Actor)
	if f.Actor.Root != nil {
		root := l.actor(*f.Actor.Root)
		out.Actor.Root = &root
	}
	out.Events, out.Tags = l.texts(f.Events), l.texts(f.Tags)
	out.Entities = slices.Clone(f.Entities[:min(l.list, len(f.Entities))])
	for i, e := range out.Entities {
		out.Entities[i] = event.Entity{Kind: cut(e.Kind, l.word), ID: cut(e.ID, l.text)}
	}
	out.Evidence = event.Evidence{}
	return out
}

func (l limits) actor(a event.Actor) event.Actor {
	for _, s := range []*string{&a.Type, &a.ARN, &a.Name, &a.Account, &a.PrincipalID, &a.Session, &a.AccessKey, &a.SourceIdentity, &a.IP, &a.UserAgent} {
		*s = cut(*s, l.text)
	}
	a.Root = nil
	return a
}

func (l limits) texts(list []string) []string {
	out := slices.Clone(list[:min(l.list, len(list))])
	for i := range out {
		out[i] = cut(out[i], l.word)
	}
	return out
}

// shrinkEvidence keeps the last records, which decided, and the explanation.
func shrinkEvidence(e event.Evidence) (out event.Evidence, less bool) {
	room := maxOwnEvidence
	if e.Explain != nil {
		if w := truthWeight(e.Explain); w <= room/4 {
			out.Explain, room = e.Explain, room-w
		} else {
			less = true
		}
	}
	first := len(e.Records)
	for first > 0 && recordWeight(&e.Records[first-1]) <= room {
		first--
		room -= recordWeight(&e.Records[first])
	}
	if first < len(e.Records) {
		out.Records = slices.Clone(e.Records[first:])
	}
	return out, less || first > 0
}

// cut shortens a text to n bytes of JSON, at a character.
func cut(s string, n int) string {
	s = s[:min(len(s), 8*n)] // more than n whatever it holds
	s = strings.ToValidUTF8(s, "\uFFFD")
	if textWeight(s) <= n {
		return s
	}
	room := n - len("…")
	for i, r := range s {
		if room -= runeWeight(r); room < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// textWeight is the length of a text as JSON has it, without the quotes.
func textWeight(s string) int {
	n := 0
	for _, r := range s {
		n += runeWeight(r)
	}
	return n
}

func runeWeight(r rune) int {
	switch {
	case r < 0x20, r == '<', r == '>', r == '&', r == 0x2028, r == 0x2029, r == utf8.RuneError:
		return 6
	case r == '"', r == '\\':
		return 2
	}
	return utf8.RuneLen(r)
}

// weight bounds a finding's JSON without its evidence.
func weight(f *event.Finding) int {
	n := 500 + actorWeight(&f.Actor)
	for _, s := range []string{f.ID, f.Rule, f.Version, f.Title, f.Key, f.Account, f.Region, f.File} {
		n += textWeight(s)
	}
	for _, list := range [][]string{f.Events, f.Tags} {
		for _, s := range list {
			n += textWeight(s) + 3
		}
	}
	for _, e := range f.Entities {
		n += textWeight(e.Kind) + textWeight(e.ID) + 24
	}
	return n
}

func actorWeight(a *event.Actor) int {
	n := 250
	for _, s := range []string{a.Type, a.ARN, a.Name, a.Account, a.PrincipalID, a.Session, a.AccessKey, a.SourceIdentity, a.IP, a.UserAgent} {
		n += textWeight(s)
	}
	if a.Root != nil {
		n += actorWeight(a.Root)
	}
	return n
}

func evidenceWeight(e *event.Evidence) int {
	n := 0
	if e.Explain != nil {
		n = truthWeight(e.Explain)
	}
	for i := range e.Records {
		n += recordWeight(&e.Records[i])
	}
	return n
}

func recordWeight(r *event.Record) int {
	return 200 + textWeight(r.ID) + textWeight(r.Origin.Source) + textWeight(r.Origin.Object) + rawWeight(r.Raw)
}

func truthWeight(t *event.Truth) int {
	n := 60 + textWeight(t.Expr) + textWeight(t.Error) + rawWeight(t.Value)
	for i := range t.Steps {
		n += truthWeight(&t.Steps[i])
	}
	return n
}

// rawWeight bounds what JSON within JSON comes to.
func rawWeight(raw []byte) int {
	n := len(raw)
	for _, b := range []byte("<>&\xe2") { // the last begins U+2028
		n += 5 * bytes.Count(raw, []byte{b})
	}
	return n
}

// rank orders findings by how much they matter: the worst first, of those the earliest.
func rank(a, b event.Finding) int {
	return cmp.Or(-cmp.Compare(a.Severity, b.Severity), a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
}

// bound keeps what the incident has room for and names the rest.
func (in *Incident) bound() {
	slices.SortFunc(in.Findings, rank)
	if len(in.Findings) > MaxFindings {
		for _, f := range in.Findings[MaxFindings:] {
			in.leave(f.ID)
			in.EvidenceLeftOut = slices.DeleteFunc(in.EvidenceLeftOut, func(id string) bool { return id == f.ID })
		}
		in.Findings = in.Findings[:MaxFindings]
	}
	sum := 0
	for i := range in.Findings {
		f := &in.Findings[i]
		w := evidenceWeight(&f.Evidence)
		if w == 0 && slices.Contains(in.EvidenceLeftOut, f.ID) {
			w = maxEvidence // it was too much before; what ranks below it is too
		}
		if sum += w; w > 0 && sum > maxEvidence {
			f.Evidence = event.Evidence{}
			in.without(f.ID)
		}
	}
}

// leave counts a finding that is not kept.
func (in *Incident) leave(id string) {
	short := shortID(id)
	if i, found := slices.BinarySearch(in.Others, short); !found && len(in.Others) < maxOthers {
		in.Others = slices.Insert(in.Others, i, short)
	}
	in.More++
}

// without notes that a kept finding has less evidence than the stream.
func (in *Incident) without(id string) {
	if i, found := slices.BinarySearch(in.EvidenceLeftOut, id); !found {
		in.EvidenceLeftOut = slices.Insert(in.EvidenceLeftOut, i, id)
	}
}

// has reports whether a finding is part of the incident, kept or counted.
func (in *Incident) has(id string) bool {
	if slices.ContainsFunc(in.Findings, func(g event.Finding) bool { return g.ID == id }) {
		return true
	}
	_, found := slices.BinarySearch(in.Others, shortID(id))
	return found
}

func shortID(id string) string { return event.Hash(id)[:16] }
