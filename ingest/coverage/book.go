package coverage

import (
	"maps"
	"slices"
	"strings"
	"time"

	"riposte/event"
)

// Trouble is one worsening of one part, from when it is noticed to its end.
type Trouble struct {
	Part Part `json:"part"`
	// Noticed is when it was seen first, Told when a finding was made, Over when it
	// ended; zero is not yet.
	Noticed time.Time `json:"noticed"`
	Told    time.Time `json:"told,omitzero"`
	Over    time.Time `json:"over,omitzero"`
	Finding string    `json:"finding,omitempty"`
}

// Book is what was told of, so that it is told once. It is kept in the store.
type Book struct {
	Troubles map[string]Trouble `json:"troubles,omitempty"` // by state and part
	// Skews are findings of events from the future by their id, with their day.
	Skews map[string]string `json:"skews,omitempty"`
}

const (
	// lasting is how long something has to be late before it is told of.
	lasting = 15 * time.Minute
	// remembered is how long a trouble that is over teaches nothing about rhythms.
	remembered = 8 * 24 * time.Hour
	// maxTroubles bounds a book.
	maxTroubles = 2000
)

// Silences are those that were told of.
func (b *Book) Silences() Silences {
	out := Silences{}
	for _, t := range b.Troubles {
		if t.Part.State != Silent || t.Told.IsZero() {
			continue
		}
		id := t.Part.ID()
		if out[id] == nil {
			out[id] = map[int64]bool{}
		}
		out[id][t.Part.Since.Unix()/slot] = true
	}
	return out
}

// Turn compares the parts with what the book knows. It returns the book as it is
// then, with findings of what is worse than before, and what is over. hold says
// that nothing new may be found now: a silence may be our own. The findings are
// to be durable before the book is kept: made again, they are the same.
func (b *Book) Turn(parts []Part, want Config, now time.Time, hold bool) (next Book, findings []event.Finding, over []Trouble) {
	next = Book{Troubles: maps.Clone(b.Troubles), Skews: maps.Clone(b.Skews)}
	if next.Troubles == nil {
		next.Troubles = map[string]Trouble{}
	}
	if next.Skews == nil {
		next.Skews = map[string]string{}
	}
	bad := map[string]bool{}
	for i := range parts {
		p := &parts[i]
		if p.FutureSeen.After(now.Add(-24*time.Hour)) && p.Level == OfAccount {
			findings = append(findings, next.skew(p)...)
		}
		key := string(p.State) + " " + p.ID()
		bad[key] = true // also while a larger part has the same trouble
		if !p.troubled() {
			continue
		}
		if f, ok := next.note(key, p, want, now, hold); ok {
			findings = append(findings, f)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(next.Troubles)) {
		t := next.Troubles[key]
		if bad[key] || !t.Over.IsZero() {
			if !t.Over.IsZero() && now.Sub(t.Over) > remembered {
				delete(next.Troubles, key)
			}
			continue
		}
		if t.Told.IsZero() {
			delete(next.Troubles, key)
			continue
		}
		t.Over = now
		over = append(over, t)
		delete(next.Troubles, key)
		next.Troubles[key+" "+t.Finding] = t // under a name of its own: it may come again
	}
	day := now.Add(-48 * time.Hour).UTC().Format(time.DateOnly)
	maps.DeleteFunc(next.Skews, func(_, of string) bool { return of < day })
	return next, findings, over
}

// troubled reports whether there is something to tell of the part itself.
func (p *Part) troubled() bool {
	return (p.State == Silent || p.State == Missing || p.State == Late || p.State == Losing) && !p.Within
}

// note keeps a trouble, and makes its finding when it is time.
func (b *Book) note(key string, p *Part, want Config, now time.Time, hold bool) (event.Finding, bool) {
	t, known := b.Troubles[key]
	if !known {
		if hold || len(b.Troubles) >= maxTroubles {
			return event.Finding{}, false
		}
		t = Trouble{Part: *p, Noticed: now}
		if t.Part.Since.IsZero() {
			t.Part.Since = now.Truncate(time.Second)
		}
		b.Troubles[key] = t
	}
	if !t.Told.IsZero() || hold || now.Sub(t.Noticed) < wait(p, want) {
		return event.Finding{}, false
	}
	f := t.Part.finding(want)
	t.Told, t.Finding = now, f.ID
	b.Troubles[key] = t
	return f, true
}

// wait is how long a trouble lasts before it is told of. Silence has waited.
func wait(p *Part, want Config) time.Duration {
	switch p.State {
	case Late:
		return lasting
	case Missing:
		return max(want.Grace, want.silence(p.Log))
	}
	return 0
}

// skew makes the finding of events from the future: one a day, account and source.
func (b *Book) skew(p *Part) []event.Finding {
	day := p.FutureSeen.UTC().Format(time.DateOnly)
	f := p.skewed(day)
	if _, told := b.Skews[f.ID]; told || len(b.Skews) >= maxTroubles {
		return nil
	}
	b.Skews[f.ID] = day
	return []event.Finding{f}
}

// Tell is a trouble that is over, in a line.
func (t *Trouble) Tell() string {
	return strings.TrimSpace(t.Part.Where() + " was " + string(t.Part.State) + " and is no more")
}
