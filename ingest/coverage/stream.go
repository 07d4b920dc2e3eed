package coverage

import (
	"cmp"
	"strings"
	"time"
)

// Key names a stream of telemetry.
type Key struct {
	// Log is what is delivered: "cloudtrail", "flow", "config", another kind of
	// event, or the name of another log. "vpc" is no telemetry: it is a VPC that
	// AWS Config knows of.
	Log     string `json:"log"`
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// VPC is the VPC or Transit Gateway of flow logs whose format names it.
	VPC string `json:"vpc,omitempty"`
	// Source is what it is read by: s3, receiver, files.
	Source string `json:"source,omitempty"`
}

// compare orders keys.
func (k Key) compare(o Key) int {
	return cmp.Or(strings.Compare(k.Log, o.Log), strings.Compare(k.Account, o.Account), strings.Compare(k.Region, o.Region),
		strings.Compare(k.VPC, o.VPC), strings.Compare(k.Source, o.Source))
}

// digests is the Source of streams that hold no events, only signs of life.
const digests = "digests"

// inventory is the Log of a VPC that Config knows of.
const inventory = "vpc"

// Stream is what is known of a stream. Times are Unix seconds; 0 is none.
type Stream struct {
	Key
	// Events were delivered; NoData and SkipData are records of flow logs that say
	// that there was no traffic, and that records were lost.
	Events   uint64 `json:"events"`
	NoData   uint64 `json:"noData,omitempty"`
	SkipData uint64 `json:"skipData,omitempty"`
	// First is the earliest event, Seen and LastSeen are when the first and the
	// last were read.
	First    int64 `json:"first,omitempty"`
	Seen     int64 `json:"seen,omitempty"`
	LastSeen int64 `json:"lastSeen,omitempty"`
	// Newest is the time of the latest event, Delivered and Arrived are when AWS
	// handed it over and when it was read. An event from the future counts as of
	// when it was read.
	Newest    int64 `json:"newest,omitempty"`
	Delivered int64 `json:"delivered,omitempty"`
	Arrived   int64 `json:"arrived,omitempty"`
	// Live is whether an event ever came within a day: else this is an archive.
	Live bool `json:"live,omitempty"`
	// Future counts events from the future: more than five minutes ahead of when
	// they were read. Ahead is the most, FutureSeen when the last was read.
	Future     uint64 `json:"future,omitempty"`
	Ahead      int64  `json:"ahead,omitempty"`
	FutureSeen int64  `json:"futureSeen,omitempty"`
	// Alive is when something proved that the stream would speak if it had
	// anything to say: a digest file without log files.
	Alive int64 `json:"alive,omitempty"`
	// Trail is the ARN of the trail whose digests say so.
	Trail string `json:"trail,omitempty"`
	// Gone is when a VPC was deleted.
	Gone int64 `json:"gone,omitempty"`

	Week week `json:"week"`
}

const (
	// ahead is by how many seconds an event may be in the future.
	ahead = 5 * 60
	// fresh is how many seconds old an event of a live stream is at most.
	fresh = 24 * 3600
)

// Merge adds what another process, or an earlier run, knows of the same stream.
// All but the counts is the same in whatever order and however often.
func (s *Stream) Merge(o *Stream) {
	s.Events += o.Events
	s.NoData += o.NoData
	s.SkipData += o.SkipData
	s.Future += o.Future
	s.First, s.Seen = earliest(s.First, o.First), earliest(s.Seen, o.Seen)
	s.LastSeen, s.FutureSeen, s.Ahead = max(s.LastSeen, o.LastSeen), max(s.FutureSeen, o.FutureSeen), max(s.Ahead, o.Ahead)
	s.alive(o.Alive, o.Trail)
	s.Gone = max(s.Gone, o.Gone)
	s.Live = s.Live || o.Live
	s.newest(o.Newest, o.Delivered, o.Arrived)
	s.Week.merge(&o.Week)
}

// newest takes an event's times when it is the latest. Of two of the same time
// the one that was read first counts.
func (s *Stream) newest(at, delivered, arrived int64) {
	if at > s.Newest || at == s.Newest && (arrived < s.Arrived || arrived == s.Arrived && delivered < s.Delivered) {
		s.Newest, s.Delivered, s.Arrived = at, delivered, arrived
	}
}

// alive takes a sign of life when it is the latest.
func (s *Stream) alive(until int64, trail string) {
	if until > s.Alive || until == s.Alive && trail > s.Trail {
		s.Alive, s.Trail = until, trail
	}
}

// clone copies it, with its counts.
func (s *Stream) clone() *Stream {
	c := *s
	if c.Week.skipped != nil {
		n := *c.Week.skipped
		c.Week.skipped = &n
	}
	if c.Week.empty != nil {
		n := *c.Week.empty
		c.Week.empty = &n
	}
	return &c
}

// reset empties it for what comes next under its key.
func (s *Stream) reset() {
	s.Week.reset()
	*s = Stream{Key: s.Key, Week: s.Week}
}

func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func clock(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
