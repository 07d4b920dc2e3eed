package coverage

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"
)

const (
	// slot is how finely silence is measured, in seconds.
	slot = 5 * 60
	// window is how many slots a week has.
	window = 7 * 24 * 3600 / slot
	// ring is the next power of two, so that a slot's place is a mask.
	ring = 2048
	// latest is the last slot of the year 9999, beyond which no time is written.
	latest = 253402300800 / slot
	hours  = 7 * 24
	// day is of how many hours it is kept what flow logs lack.
	day = 24
)

// week is in which five minutes of the last seven days a stream spoke, and how
// many events each hour had. It ends with the newest event, not with now: so it
// depends on the events alone.
type week struct {
	last    int64 // the newest slot, counted from 1970; 0 is none
	active  [ring / 64]uint64
	events  [hours]uint32
	skipped *[day]uint32 // SKIPDATA of flow logs; nil while there is none
	empty   *[day]uint32 // NODATA
}

func (w *week) has(s int64) bool { return w.active[s&(ring-1)/64]&(1<<(s&63)) != 0 }

// hour is the hour of a slot, counted from 1970.
func hour(s int64) int64 { return s * slot / 3600 }

// holds reports whether the hour is one of the last n.
func (w *week) holds(h, n int64) bool {
	return w.last != 0 && h <= hour(w.last) && h > hour(w.last)-n
}

// mark notes that there were events at a time, Unix seconds; it reports whether
// that is within the week.
func (w *week) mark(unix int64) bool {
	s := unix / slot
	if s > w.last {
		w.advance(s)
	}
	if s <= w.last-window {
		return false
	}
	w.active[s&(ring-1)/64] |= 1 << (s & 63)
	return true
}

// advance makes s the newest slot, and forgets what is a week older.
func (w *week) advance(s int64) {
	for i := max(w.last+1, s-ring+1); i <= s; i++ {
		w.active[i&(ring-1)/64] &^= 1 << (i & 63)
	}
	for h := max(hour(w.last)+1, hour(s)-hours+1); h <= hour(s); h++ {
		w.events[h%hours] = 0
		if w.skipped != nil {
			w.skipped[h%day] = 0
		}
		if w.empty != nil {
			w.empty[h%day] = 0
		}
	}
	w.last = s
}

// count adds events to the hour of a time that mark took.
func (w *week) count(unix int64, events, skipped, empty uint32) {
	h := unix / 3600
	if !w.holds(h, hours) {
		return
	}
	w.events[h%hours] += events
	if !w.holds(h, day) {
		return
	}
	if skipped > 0 {
		if w.skipped == nil {
			w.skipped = new([day]uint32)
		}
		w.skipped[h%day] += skipped
	}
	if empty > 0 {
		if w.empty == nil {
			w.empty = new([day]uint32)
		}
		w.empty[h%day] += empty
	}
}

// merge adds another's week.
func (w *week) merge(o *week) {
	if o.last == 0 {
		return
	}
	if o.last > w.last {
		w.advance(o.last)
	}
	for s := max(o.last-window, w.last-window) + 1; s <= o.last; s++ {
		if o.has(s) {
			w.active[s&(ring-1)/64] |= 1 << (s & 63)
		}
	}
	for h := max(hour(o.last), hour(w.last)) - hours + 1; h <= hour(o.last); h++ {
		if !o.holds(h, hours) {
			continue
		}
		skipped, empty := uint32(0), uint32(0)
		if o.skipped != nil && o.holds(h, day) {
			skipped = o.skipped[h%day]
		}
		if o.empty != nil && o.holds(h, day) {
			empty = o.empty[h%day]
		}
		w.count(h*3600, o.events[h%hours], skipped, empty)
	}
}

// reset empties it for reuse.
func (w *week) reset() {
	skipped, empty := w.skipped, w.empty
	*w = week{skipped: skipped, empty: empty}
	if skipped != nil {
		clear(skipped[:])
	}
	if empty != nil {
		clear(empty[:])
	}
}

// sum is how many events, SKIPDATA and NODATA among them, the newest 24 hours had.
func (w *week) sum() (events, skipped, empty uint64) {
	for h := hour(w.last) - day + 1; w.last != 0 && h <= hour(w.last); h++ {
		events += uint64(w.events[h%hours])
		if w.skipped != nil {
			skipped += uint64(w.skipped[h%day])
		}
		if w.empty != nil {
			empty += uint64(w.empty[h%day])
		}
	}
	return events, skipped, empty
}

// Rhythm is how a stream speaks, learned from a week of it.
type Rhythm struct {
	// Gap is the longest silence between two events.
	Gap time.Duration `json:"gap"`
	// Span is from the first event of the week to the last.
	Span time.Duration `json:"span"`
	// Whole is whether there are events from before the week, so that its silences
	// are all that it has.
	Whole bool `json:"whole"`
	// Hours is in how many hours there were events.
	Hours int `json:"hours"`
}

// rhythm learns from the week; first is the earliest event ever, known gaps are
// the silences, by their beginning, that were told of and teach nothing.
func (w *week) rhythm(first int64, told map[int64]bool) Rhythm {
	if w.last == 0 {
		return Rhythm{}
	}
	start := w.last - window + 1
	r := Rhythm{Whole: first != 0 && first/slot < start}
	before, began, lastHour := int64(0), int64(0), int64(-1)
	if r.Whole {
		before = start
	}
	for s := start; s <= w.last; s++ {
		if !w.has(s) {
			continue
		}
		if began == 0 {
			began = s
		}
		if gap := time.Duration(s-before) * slot * time.Second; before != 0 && s > before+1 && !told[before] {
			r.Gap = max(r.Gap, gap)
		}
		if h := hour(s); h != lastHour {
			lastHour = h
			r.Hours++
		}
		before = s
	}
	r.Span = time.Duration(w.last-began) * slot * time.Second
	if r.Whole {
		r.Span = 7 * 24 * time.Hour
	}
	return r
}

// wire is a week as it is stored: the bits of its slots and the counts of its
// hours, oldest first.
type wire struct {
	Last    int64  `json:"last"`
	Active  []byte `json:"active,omitempty"`
	Events  []byte `json:"events,omitempty"`
	Skipped []byte `json:"skipped,omitempty"`
	Empty   []byte `json:"empty,omitempty"`
}

// MarshalJSON writes the week.
func (w *week) MarshalJSON() ([]byte, error) {
	o := wire{Last: w.last}
	if w.last != 0 {
		o.Active = make([]byte, window/8)
		for i := range int64(window) {
			if w.has(w.last - window + 1 + i) {
				o.Active[i/8] |= 1 << (i % 8)
			}
		}
		o.Events = w.pack(w.events[:])
		if w.skipped != nil {
			o.Skipped = w.pack(w.skipped[:])
		}
		if w.empty != nil {
			o.Empty = w.pack(w.empty[:])
		}
	}
	return json.Marshal(o)
}

// pack writes the counts of hours, oldest first.
func (w *week) pack(counts []uint32) []byte {
	var b []byte
	n := int64(len(counts))
	for h := hour(w.last) - n + 1; h <= hour(w.last); h++ {
		b = binary.AppendUvarint(b, uint64(counts[h%n]))
	}
	return b
}

func (w *week) unpack(b []byte, counts []uint32) error {
	n := int64(len(counts))
	for h := hour(w.last) - n + 1; h <= hour(w.last); h++ {
		count, size := binary.Uvarint(b)
		if size <= 0 || count > 1<<32-1 {
			return errors.New("the counts of a week are cut short")
		}
		counts[h%n], b = uint32(count), b[size:]
	}
	return nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (w *week) UnmarshalJSON(b []byte) error {
	var o wire
	if err := json.Unmarshal(b, &o); err != nil {
		return err
	}
	*w = week{last: o.Last}
	if o.Last == 0 {
		return nil
	}
	if len(o.Active) != window/8 || o.Last < window || o.Last > latest {
		return fmt.Errorf("a week that ends with slot %d has %d bytes of slots: want %d", o.Last, len(o.Active), window/8)
	}
	for i, x := range o.Active {
		for ; x != 0; x &= x - 1 {
			s := o.Last - window + 1 + int64(8*i+bits.TrailingZeros8(x))
			w.active[s&(ring-1)/64] |= 1 << (s & 63)
		}
	}
	if len(o.Skipped) > 0 {
		w.skipped = new([day]uint32)
		if err := w.unpack(o.Skipped, w.skipped[:]); err != nil {
			return err
		}
	}
	if len(o.Empty) > 0 {
		w.empty = new([day]uint32)
		if err := w.unpack(o.Empty, w.empty[:]); err != nil {
			return err
		}
	}
	return w.unpack(o.Events, w.events[:])
}
