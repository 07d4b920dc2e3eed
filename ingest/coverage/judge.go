package coverage

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// State is what is to be said of a part.
type State string

// The states, worst first.
const (
	Missing  State = "missing"  // it is expected and has never spoken
	Silent   State = "silent"   // it used to speak, and has not for too long
	Late     State = "late"     // it speaks, too long after things happened
	Losing   State = "losing"   // flow logs say that more than one record in a hundred was lost
	New      State = "new"      // it speaks for too short a time to be missed
	Sparse   State = "sparse"   // it speaks too rarely to be missed
	OK       State = "ok"       // it speaks as it uses to
	Archived State = "archived" // what came was old already when it came
	Ignored  State = "ignored"  // nobody wants to hear of it
)

// States are all of them, worst first.
func States() []State {
	return []State{Missing, Silent, Late, Losing, New, Sparse, OK, Archived, Ignored}
}

// Level is what a part is a part of.
type Level string

// The levels.
const (
	OfLog     Level = "log"     // all of a log, wherever it comes from
	OfSource  Level = "source"  // what one of several sources brings of a log
	OfAccount Level = "account" // a log of an account
	OfRegion  Level = "region"  // of one of several regions of an account
	OfVPC     Level = "vpc"     // of one of several VPCs of a region
)

// Part is a part of the telemetry, and how it is.
type Part struct {
	Level Level `json:"level"`
	Key
	State State `json:"state"`
	// Since is from when on it is so, where that is bad: of what is silent, the
	// time of its last event.
	Since time.Time `json:"since,omitzero"`
	// Seen is when it was first read, First its earliest event, Last its latest;
	// Delivered and Arrived are of that one.
	Seen      time.Time `json:"seen,omitzero"`
	First     time.Time `json:"first,omitzero"`
	Last      time.Time `json:"last,omitzero"`
	Delivered time.Time `json:"delivered,omitzero"`
	Arrived   time.Time `json:"arrived,omitzero"`
	// Lag is from the latest event to its reading, DeliveryLag to its delivery.
	Lag         time.Duration `json:"lag"`
	DeliveryLag time.Duration `json:"deliveryLag,omitempty"`
	// Rhythm is how it uses to speak, Patience after which silence it is missed; 0
	// is never.
	Rhythm   Rhythm        `json:"rhythm"`
	Patience time.Duration `json:"patience"`
	// Events, NoData and SkipData are of its last 24 hours.
	Events   uint64 `json:"events"`
	NoData   uint64 `json:"noData,omitempty"`
	SkipData uint64 `json:"skipData,omitempty"`
	// Future counts events from the future ever, Ahead is by how much at the most.
	Future     uint64        `json:"future,omitempty"`
	Ahead      time.Duration `json:"ahead,omitempty"`
	FutureSeen time.Time     `json:"futureSeen,omitzero"`
	// Trail is the ARN of the trail, where digests name it; Alive is when they proved
	// last that it was logging.
	Trail string    `json:"trail,omitempty"`
	Alive time.Time `json:"alive,omitzero"`
	// Sources bring it.
	Sources []string `json:"sources,omitempty"`
	// Speaking are what else of the account, or of a region the other regions, is well.
	Speaking []string `json:"speaking,omitempty"`
	// Within is whether a larger part has the same trouble, which is told of that one.
	Within bool `json:"within,omitempty"`
	// Expected is whether the configuration names it.
	Expected bool `json:"expected,omitempty"`
}

// Where is the part in words: "cloudtrail of account 111122223333 in eu-west-1".
func (p *Part) Where() string {
	switch p.Level {
	case OfLog:
		return p.Log + " of all accounts"
	case OfSource:
		return p.Log + " through the source " + p.Source
	}
	text := p.Log
	if p.VPC != "" {
		text += " of " + p.VPC
	}
	if p.Account != "" {
		text += " of account " + p.Account
	}
	if p.Region != "" {
		text += " in " + p.Region
	}
	return text
}

// Expected is what the configuration expects, with the accounts that were found.
type Expected struct {
	Config
	Accounts []string
}

// Judge says how every part of the streams is at a time. told are the silences
// that were told of, by part, from which nothing is learned.
func Judge(streams []*Stream, want Expected, told Silences, now time.Time) []Part {
	j := &judge{want: want, told: told, now: now.Unix()}
	nodes := j.build(streams)
	for _, n := range nodes {
		j.whole(n)
	}
	j.missing(streams)
	j.speaking()
	slices.SortFunc(j.parts, func(a, b Part) int {
		return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Log, b.Log), cmp.Compare(depth[a.Level], depth[b.Level]), a.Key.compare(b.Key))
	})
	return j.parts
}

var depth = map[Level]int{OfLog: 0, OfSource: 1, OfAccount: 2, OfRegion: 3, OfVPC: 4}

// Silences are beginnings of silences that were told of, as slots, by ID of the part.
type Silences map[string]map[int64]bool

// ID names the part.
func (p *Part) ID() string { return partID(p.Level, p.Key) }

func partID(l Level, k Key) string {
	return strings.Join([]string{string(l), k.Log, k.Account, k.Region, k.VPC, k.Source}, "/")
}

type judge struct {
	want  Expected
	told  Silences
	now   int64
	parts []Part
}

// node is a part with what it is made of.
type node struct {
	level   Level
	sum     *Stream
	sources map[string]bool
	parts   map[string]*node
	roads   map[string]*node // of a log, by source
}

func newNode(l Level, k Key) *node {
	return &node{level: l, sum: &Stream{Key: k}, sources: map[string]bool{}, parts: map[string]*node{}, roads: map[string]*node{}}
}

func (n *node) add(s *Stream) {
	n.sum.Merge(s)
	n.sources[s.Source] = true
}

func (n *node) child(name string, l Level, k Key) *node {
	c := n.parts[name]
	if c == nil {
		c = newNode(l, k)
		n.parts[name] = c
	}
	return c
}

// build makes the tree of each log: accounts, their regions, their VPCs.
func (j *judge) build(streams []*Stream) []*node {
	logs := newNode("", Key{})
	for _, s := range streams {
		if s.Log == inventory || s.Source == digests {
			continue
		}
		root := logs.child(s.Log, OfLog, Key{Log: s.Log})
		account := root.child(s.Account, OfAccount, Key{Log: s.Log, Account: s.Account})
		region := account.child(s.Region, OfRegion, Key{Log: s.Log, Account: s.Account, Region: s.Region})
		if s.Live {
			root.add(s) // an archive says nothing about how the log speaks now
			if root.roads[s.Source] == nil {
				root.roads[s.Source] = newNode(OfSource, Key{Log: s.Log, Source: s.Source})
			}
			root.roads[s.Source].add(s)
		} else {
			root.sources[s.Source] = true
		}
		account.add(s)
		region.add(s)
		if s.VPC != "" {
			region.child(s.VPC, OfVPC, Key{Log: s.Log, Account: s.Account, Region: s.Region, VPC: s.VPC}).add(s)
		}
	}
	for _, s := range streams {
		if s.Source == digests {
			logs.parts[s.Log].prove(s)
		}
	}
	return sorted(logs.parts)
}

// prove adds a sign of life to the account and region that it is of.
func (n *node) prove(s *Stream) {
	for _, name := range []string{s.Account, s.Region} {
		if n == nil || n.parts[name] == nil {
			return
		}
		n = n.parts[name]
		n.sum.alive(s.Alive, s.Trail)
	}
}

func sorted(parts map[string]*node) []*node {
	var out []*node
	for _, c := range parts {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *node) int { return a.sum.Key.compare(b.sum.Key) })
	return out
}

// whole judges a log by the clock and its accounts by the log. The log of a
// single account is that account's.
func (j *judge) whole(root *node) {
	at := moment{newest: root.sum.Newest, arrived: root.sum.Arrived}
	if len(root.roads) > 1 {
		for _, n := range sorted(root.roads) {
			j.part(n, at)
		}
	}
	accounts := sorted(root.parts)
	if len(accounts) == 1 {
		n := accounts[0]
		j.below(n, j.part(n, moment{j.now, j.now, true}))
		return
	}
	log := *j.part(root, moment{j.now, j.now, true})
	for _, n := range accounts {
		j.below(n, j.part(n, at).inside(log))
	}
}

// inside is the part as one of a whole that is silent: then it is silent with it.
func (p *Part) inside(whole Part) *Part {
	if whole.State == p.State && (p.State == Late || p.State == Losing) {
		p.Within = true
	}
	if whole.State != Silent {
		return p
	}
	switch p.State {
	case OK, Late, Losing, Silent:
		p.State, p.Since, p.Within = Silent, p.Last, true
	}
	return p
}

// below judges regions by their account and VPCs by their region.
func (j *judge) below(n *node, whole *Part) {
	kids := sorted(n.parts)
	if len(kids) == 1 && n.level == OfAccount {
		j.below(kids[0], whole) // the account's only region is the account
		return
	}
	if len(kids) < 2 {
		return
	}
	state, at := *whole, moment{newest: n.sum.Newest, arrived: n.sum.Arrived}
	for _, k := range kids {
		j.below(k, j.part(k, at).inside(state))
	}
}

// moment is what silence is measured by: the latest event and reading of the
// whole, or the clock.
type moment struct {
	newest, arrived int64
	clock           bool
}

// part judges one part.
func (j *judge) part(n *node, by moment) *Part {
	s := n.sum
	p := Part{
		Level: n.level, Key: s.Key, Seen: clock(s.Seen), First: clock(s.First), Last: clock(s.Newest), Delivered: clock(s.Delivered), Arrived: clock(s.Arrived),
		Future: s.Future, Ahead: seconds(s.Ahead), FutureSeen: clock(s.FutureSeen), Trail: s.Trail, Alive: clock(s.Alive), Expected: j.expected(s.Key, n.level),
	}
	for name := range n.sources {
		p.Sources = append(p.Sources, name)
	}
	slices.Sort(p.Sources)
	if s.Arrived != 0 && s.Newest != 0 {
		p.Lag = max(0, seconds(s.Arrived-s.Newest))
	}
	if s.Delivered != 0 && s.Newest != 0 {
		p.DeliveryLag = max(0, seconds(s.Delivered-s.Newest))
	}
	p.Events, p.SkipData, p.NoData = s.Week.sum()
	p.Rhythm = s.Week.rhythm(s.First, j.told[p.ID()])
	p.State, p.Patience = j.state(&p, s, by)
	switch p.State {
	case Silent:
		p.Since = p.Last
	case Late, Losing:
		p.Since = p.Arrived
	}
	j.parts = append(j.parts, p)
	return &j.parts[len(j.parts)-1]
}

const (
	// learned is how much of a stream has to be known before it can be missed.
	learned = 24 * time.Hour
	// often is in how many hours of a week a stream speaks at the least that can be missed.
	often = 12
	// steady is the longest silence of a stream that knows no nights: of any other
	// a week has to be known, or three days of silence be waited for.
	steady  = time.Hour
	strange = 72 * time.Hour
	// rare is how long an expected account may be silent whose rhythm is not known.
	rare = 7 * 24 * time.Hour
	// proof is how long a digest, which comes every hour, is a sign of life.
	proof = 3 * 3600
	// loss is the share of records that may be lost, one in so many, and fewLost
	// how many are nothing to talk of.
	loss    = 100
	fewLost = 10
)

// state judges a part by the moment of its whole.
func (j *judge) state(p *Part, s *Stream, by moment) (State, time.Duration) {
	if slices.ContainsFunc(j.want.Ignore, func(i Place) bool { return i.holds(p.Key) }) {
		return Ignored, 0
	}
	if !s.Live {
		return Archived, 0
	}
	patience, unknown := j.patience(p)
	if p.Level == OfSource && seconds(s.Arrived-s.Seen) < learned {
		patience, unknown = 0, New // it may have been read once, to its end
	}
	if patience > 0 && seconds(by.newest-s.Newest) > patience && !j.speaks(s, by, patience) {
		return Silent, patience
	}
	if by.clock && unknown != "" && s.Newest < j.now-int64(rare/time.Second) && !p.Expected {
		return Archived, patience // it came once, long ago
	}
	switch {
	case p.Level != OfLog && p.Level != OfSource && p.SkipData >= fewLost && p.SkipData*loss > p.Events:
		return Losing, patience
	case p.Lag > j.want.late(p.Log):
		return Late, patience
	case unknown != "":
		return unknown, patience
	}
	return OK, patience
}

// patience is how long the part may be silent; 0 with New or Sparse where that is
// not known.
func (j *judge) patience(p *Part) (time.Duration, State) {
	r, base := p.Rhythm, j.want.silence(p.Log)
	usual := time.Duration(float64(r.Gap) * j.want.Factor)
	switch {
	case r.Hours < often || r.Span < learned:
		unknown := Sparse
		if r.Span < learned || !r.Whole && r.Hours < often {
			unknown = New
		}
		if p.Expected {
			return max(base, usual, rare), unknown
		}
		return 0, unknown
	case r.Gap <= steady || r.Whole:
		return max(base, usual), ""
	}
	return max(base, usual, strange), ""
}

// speaks reports whether a part whose latest event is old is not silent all the
// same: its events come late, or a digest proves that there was nothing to say.
func (j *judge) speaks(s *Stream, by moment, patience time.Duration) bool {
	recent := seconds(by.arrived-s.Arrived) <= patience
	if by.clock && recent {
		return true // what comes is old, and all that comes: we are catching up
	}
	if recent && seconds(s.Arrived-s.Seen) > patience {
		return true // it has been coming so for long
	}
	return s.Alive > s.Newest && by.newest-s.Alive <= proof && patience > time.Duration(j.want.Factor*float64(steady))
}

// expected reports whether the configuration names the part.
func (j *judge) expected(k Key, l Level) bool {
	if l == OfVPC {
		return slices.Contains(j.want.VPCs, k.VPC)
	}
	if !slices.Contains(j.want.Telemetry, k.Log) || !slices.Contains(j.want.Accounts, k.Account) {
		return false
	}
	return l == OfAccount || l == OfRegion && slices.Contains(j.want.Regions, k.Region)
}
