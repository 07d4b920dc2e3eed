package archive

import "strings"

// folder is one that is being listed.
type folder struct {
	prefix string
	place  place
	deep   bool // by its folders, not by all that is below
	first  <-chan page
}

// days reports whether a folder's days follow one another in the order of keys.
func (f *folder) days() bool {
	return !f.deep && f.place.level == ofRegion && f.place.padded() && strings.HasSuffix(f.prefix, "/")
}

// begin asks for the first page of a folder.
func (w *walk) begin(prefix string, p place) *folder {
	f := &folder{prefix: prefix, place: p, deep: w.descends(p)}
	f.first = w.ask(f, w.start(f), "")
	return f
}

// descends reports whether to look at a folder's folders: as long as their names
// may exclude what is below. Days that sort are found by their names.
func (w *walk) descends(p place) bool {
	q := &w.Query
	switch {
	case !q.bounded() || p.level == unlike:
		return false
	case p.level < ofRegion:
		return true
	}
	return q.dated() && !p.padded() && p.level < ofDay
}

// start is the key after which what is wanted of a folder can be. In a region's
// folder AWS writes nothing that sorts before its days.
func (w *walk) start(f *folder) string {
	after := ""
	if f.days() && !w.Query.Since.IsZero() {
		after = f.prefix + f.place.day(w.Query.Since.Add(-early))
	}
	return max(after, w.After)
}

// end is the key before which what is wanted of a folder's days is; "" is no end.
func (w *walk) end(f *folder) string {
	if !f.days() || w.Query.Until.IsZero() {
		return ""
	}
	return f.prefix + f.place.day(w.Query.Until.Add(w.Query.lateness(f.place.service))) + "0" // the sign after the slash
}
