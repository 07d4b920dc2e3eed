package coverage

import (
	"strings"
	"sync"

	"riposte/event"
)

const (
	// maxStreams bounds the streams of one process, maxLogs those of them that are
	// of logs whose accounts anybody may name.
	maxStreams = 10_000
	maxLogs    = 1_000
	// forgotten is after how many seconds without an event a stream needs no
	// memory here; the store keeps it.
	forgotten = 24 * 3600
)

// Tracker sees batches and keeps what is new in each stream until Take takes it.
// It is safe for concurrent use.
type Tracker struct {
	mu      sync.Mutex
	streams map[Key]*entry
	logs    int // streams of other logs
	leftOut uint64
	future  map[string]uint64 // events from the future by source, since the last Take

	place place
	last  minute
	// current is the stream of the last event; its key is compared before the map
	// is asked.
	current *entry
}

// entry is a stream with what was not taken yet.
type entry struct {
	Stream
	dirty bool
	seen  int64 // when it had an event last, for forgetting
}

// place is what an object's name says of its flow log records.
type place struct{ object, account, region string }

// NewTracker returns a tracker that has seen nothing.
func NewTracker() *Tracker {
	return &Tracker{streams: map[Key]*entry{}, future: map[string]uint64{}}
}

// Observe takes note of a batch: events of one object, so that most are of the
// stream of the one before. It keeps nothing of their memory.
func (t *Tracker) Observe(events []event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var run run
	for i := range events {
		e := &events[i]
		if s := t.of(e); s != run.entry {
			run.end()
			run.entry = s
		}
		if run.entry == nil {
			t.leftOut++
			continue
		}
		t.take(&run, e)
		if e.Kind == event.ConfigItem && e.Text(event.ConfigResourceType) == "AWS::EC2::VPC" {
			run.end()
			run.entry = nil
			t.vpc(e)
		}
	}
	run.end()
}

// run is consecutive events of a stream within one hour.
type run struct {
	*entry
	hour                   int64
	events, skipped, empty uint32
}

// end adds the run to its stream.
func (r *run) end() {
	if r.entry != nil && r.events > 0 {
		r.Week.count(r.hour*3600, r.events, r.skipped, r.empty)
		r.Events += uint64(r.events)
		r.SkipData += uint64(r.skipped)
		r.NoData += uint64(r.empty)
	}
	r.events, r.skipped, r.empty = 0, 0, 0
}

// take notes one event.
func (t *Tracker) take(r *run, e *event.Event) {
	s := &r.entry.Stream
	r.dirty = true
	at, arrived, delivered := t.time(e), int64(0), int64(0)
	if !e.Ingested.IsZero() {
		arrived = e.Ingested.Unix()
	}
	if !e.Delivered.IsZero() {
		delivered = e.Delivered.Unix()
	}
	r.seen = max(r.seen, arrived)
	s.Seen, s.LastSeen = earliest(s.Seen, arrived), max(s.LastSeen, arrived)
	if arrived != 0 && at > arrived+ahead {
		s.Future++
		s.FutureSeen, s.Ahead = max(s.FutureSeen, arrived), max(s.Ahead, at-arrived)
		t.future[s.Source]++
	}
	if arrived != 0 && at > arrived {
		at = arrived
	}
	if at <= window*slot || at/slot > latest { // no time, or none of AWS's
		s.Events++
		return
	}
	s.First = earliest(s.First, at)
	if at >= s.Newest {
		s.newest(at, delivered, arrived)
	}
	if arrived-at <= fresh {
		s.Live = true
	}
	if h := at / 3600; h != r.hour || r.events == 0 {
		r.end()
		r.hour = h
	}
	s.Week.mark(at)
	r.events++
	if e.Kind == event.FlowLog {
		switch status := e.Bytes(event.FlowLogStatus); {
		case len(status) == 8 && string(status) == "SKIPDATA":
			r.skipped++
		case len(status) == 6 && string(status) == "NODATA":
			r.empty++
		}
	}
}

// minute is the last minute that was read from a record's text.
type minute struct {
	text [17]byte // its quote and "2006-01-02T15:04"
	unix int64
}

// time is when the event happened, Unix seconds. Records of an object share
// minutes, so that most are read by their seconds.
func (t *Tracker) time(e *event.Event) int64 {
	if e.Kind == event.CloudTrail {
		b := e.Bytes(event.EventTime)
		if len(b) == 22 && b[17] == ':' && b[20] == 'Z' && digit(b[18]) && digit(b[19]) {
			if string(b[:17]) != string(t.last.text[:]) {
				at := e.Time()
				if at.IsZero() {
					return 0
				}
				copy(t.last.text[:], b)
				t.last.unix = at.Unix() - at.Unix()%60
			}
			if s := int64(b[18]-'0')*10 + int64(b[19]-'0'); s < 60 {
				return t.last.unix + s
			}
		}
	}
	at := e.Time()
	if at.IsZero() {
		return 0
	}
	return at.Unix()
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// of finds the stream of an event; nil when there is no room for it.
func (t *Tracker) of(e *event.Event) *entry {
	k := Key{Log: e.Kind.String(), Source: e.Origin.Source}
	switch e.Kind {
	case event.FlowLog:
		t.flow(e, &k)
	case event.Log:
		if e.Mapping != nil {
			k.Log = e.Mapping.Log()
		}
		k.Account, k.Region = e.Account(), e.Region()
	default:
		k.Account, k.Region = e.Account(), e.Region()
	}
	if t.current != nil && t.current.Key == k {
		return t.current
	}
	s := t.find(k, e.Kind == event.Log)
	if s != nil && s.Key == k { // not one whose words were cut
		t.current = s
	}
	return s
}

// flow says where a flow log record is from: its columns, or the name of its object.
func (t *Tracker) flow(e *event.Event, k *Key) {
	k.Account, k.Region = e.Text(event.FlowAccountID), e.Text(event.FlowRegion)
	if k.VPC = e.Text(event.FlowVPCID); k.VPC == "" {
		k.VPC = e.Text(event.FlowTGWID)
	}
	if k.Account != "" && k.Account != "unknown" && k.Region != "" {
		return
	}
	if t.place.object != e.Origin.Object {
		// The event answers by its object where it has no such column.
		t.place = place{object: strings.Clone(e.Origin.Object)}
		if k.Account == "" || k.Account == "unknown" {
			t.place.account = strings.Clone(e.Account())
		}
		if k.Region == "" {
			t.place.region = strings.Clone(e.Region())
		}
	}
	if k.Account == "" || k.Account == "unknown" {
		k.Account = t.place.account
	}
	if k.Region == "" {
		k.Region = t.place.region
	}
}

// find looks a stream up, or makes it while there is room. Words that anybody may
// have written are cut to what such words have.
func (t *Tracker) find(k Key, other bool) *entry {
	if s := t.streams[k]; s != nil {
		return s
	}
	k = k.clean()
	if s := t.streams[k]; s != nil {
		return s
	}
	if len(t.streams) >= maxStreams || other && t.logs >= maxLogs {
		return nil
	}
	if other {
		t.logs++
	}
	s := &entry{Stream: Stream{Key: k}}
	t.streams[k] = s
	return s
}

// clean copies a key, its words cut to 64 bytes.
func (k Key) clean() Key {
	cut := func(s string) string { return strings.ToValidUTF8(strings.Clone(s[:min(len(s), 64)]), "?") }
	return Key{Log: cut(k.Log), Account: cut(k.Account), Region: cut(k.Region), VPC: cut(k.VPC), Source: cut(k.Source)}
}

// vpc notes that AWS Config knows of a VPC, or that it is gone.
func (t *Tracker) vpc(e *event.Event) {
	s := t.find(Key{Log: inventory, Account: e.Account(), Region: e.Region(), VPC: e.Text(event.ConfigResourceID), Source: e.Origin.Source}, true)
	if s == nil {
		t.leftOut++
		return
	}
	at := t.time(e)
	s.dirty = true
	s.First, s.Newest = earliest(s.First, at), max(s.Newest, at)
	if !e.Ingested.IsZero() {
		s.Seen, s.LastSeen = earliest(s.Seen, e.Ingested.Unix()), max(s.LastSeen, e.Ingested.Unix())
		s.seen = s.LastSeen
	}
	if strings.HasPrefix(e.Text(event.ConfigStatus), "ResourceDeleted") {
		s.Gone = max(s.Gone, at)
	}
}

// Alive notes that a trail was logging up to a time, Unix seconds, by its digests:
// what its account and region say nothing of did not happen.
func (t *Tracker) Alive(account, region, trail string, until int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(Key{Log: event.CloudTrail.String(), Account: account, Region: region, Source: digests}, false)
	if s == nil {
		return
	}
	s.dirty = true
	s.alive(until, trail[:min(len(trail), 256)])
}

// News is what a Tracker has seen since it was asked last.
type News struct {
	Streams []*Stream
	// Future are events from the future, by source.
	Future map[string]uint64
	// LeftOut are events whose streams there was no room for.
	LeftOut uint64
}

// Take gives out what is new; now, Unix seconds, decides what may be forgotten.
func (t *Tracker) Take(now int64) News {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := News{Future: t.future, LeftOut: t.leftOut}
	t.future, t.leftOut = map[string]uint64{}, 0
	for k, s := range t.streams {
		switch {
		case s.dirty:
			out.Streams = append(out.Streams, s.clone())
			s.reset()
			s.dirty = false
			s.seen = max(s.seen, now)
		case now-s.seen > forgotten:
			delete(t.streams, k)
			t.current = nil
		}
	}
	t.logs = 0
	for k := range t.streams {
		if k.other() {
			t.logs++
		}
	}
	return out
}

// Return gives back streams that could not be stored.
func (t *Tracker) Return(streams []*Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range streams {
		s := t.streams[o.Key]
		if s == nil {
			s = &entry{Stream: Stream{Key: o.Key}}
			t.streams[o.Key] = s
		}
		s.Merge(o)
		s.dirty, s.seen = true, max(s.seen, o.LastSeen)
	}
}

// other reports whether the key is of a log whose accounts anybody may name.
func (k Key) other() bool {
	_, err := event.ParseKind(k.Log)
	return err != nil
}
