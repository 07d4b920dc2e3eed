package coverage

import (
	"encoding/json"
	"fmt"
	"slices"
)

// A shard is the streams of one log and account as one value of the store, small
// enough for a message of 256 KiB.
type shard struct {
	Streams []*Stream `json:"streams"`
	// LeftOut are streams that there was no room for, as often as they were seen.
	LeftOut uint64 `json:"leftOut,omitempty"`
}

// maxShard is how many streams a shard holds; each takes 1 KB, and 2.3 KB at the most.
const maxShard = 100

// ShardOf is the key of the store's value that a stream belongs to.
func ShardOf(k Key) string { return "streams/" + k.Log + "/" + k.Account }

// IsShard reports whether a key of the store is one of streams.
func IsShard(key string) bool { return len(key) > 8 && key[:8] == "streams/" }

// BookKey is under which the Book is kept.
const BookKey = "book"

// MergeShard adds streams of one shard to its stored value, nil when there is none.
func MergeShard(old []byte, news []*Stream) ([]byte, error) {
	var s shard
	if old != nil {
		if err := json.Unmarshal(old, &s); err != nil {
			return nil, fmt.Errorf("read what is known of telemetry: %w", err)
		}
	}
	for _, n := range news {
		i := slices.IndexFunc(s.Streams, func(o *Stream) bool { return o.Key == n.Key })
		switch {
		case i >= 0:
			s.Streams[i].Merge(n)
		case len(s.Streams) >= maxShard:
			s.LeftOut++
		default:
			s.Streams = append(s.Streams, n.clone())
		}
	}
	slices.SortFunc(s.Streams, func(a, b *Stream) int { return a.Key.compare(b.Key) })
	return json.Marshal(s)
}

// ReadShard returns the streams of a stored value, and how many were left out.
func ReadShard(b []byte) ([]*Stream, uint64, error) {
	var s shard
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, 0, fmt.Errorf("read what is known of telemetry: %w", err)
	}
	return s.Streams, s.LeftOut, nil
}
