package console

import (
	"net/url"
	"slices"
	"strings"

	"riposte/event"
	"riposte/respond"
)

// maxRows is how many incidents a page lists; a filter finds the others.
const maxRows = 200

// incidentList is the page of incidents.
type incidentList struct {
	filter
	Levels []level
	Rows   []row
	// Total counts all incidents, Matching those that the filter keeps.
	Total, Matching int
	// Latest is the one that changed last, for those who listen to the page.
	Latest *respond.Summary
}

type row struct {
	respond.Summary
	// Fresh is "a" or "b" on a row that has just changed: the letter changes
	// with every change, so that the same row is marked twice.
	Fresh string
}

// level is a severity to filter by.
type level struct {
	event.Severity
	Count  int
	Chosen bool
	URL    string // of the page with the choice turned round
}

// filter is what the reader wants to see.
type filter struct {
	Query      string
	Severities []string
}

func newFilter(q url.Values) filter {
	f := filter{Query: strings.TrimSpace(q.Get("q"))}
	for _, s := range q["severity"] {
		if _, err := event.ParseSeverity(s); err == nil && !slices.Contains(f.Severities, s) {
			f.Severities = append(f.Severities, s)
		}
	}
	return f
}

// Active reports whether the filter leaves anything out.
func (f filter) Active() bool { return f.Query != "" || len(f.Severities) > 0 }

func (f filter) has(s event.Severity) bool { return slices.Contains(f.Severities, s.String()) }

func (f filter) keeps(in *respond.Summary) bool {
	return (len(f.Severities) == 0 || f.has(in.Severity)) && f.found(in)
}

// found reports whether every word of the query is somewhere in the incident.
func (f filter) found(in *respond.Summary) bool {
	text := []string{in.ID, in.Title, in.Severity.String(), in.Account, in.Region, in.Status}
	for a := &in.Actor; a != nil; a = a.Root {
		text = append(text, a.ARN, a.Name, a.Account, a.PrincipalID, a.Session, a.AccessKey, a.SourceIdentity, a.IP, a.UserAgent)
	}
	all := strings.ToLower(strings.Join(text, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(f.Query)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

// turned is the page's address with the severity chosen or not chosen any more.
func (f filter) turned(s string) string {
	q := url.Values{}
	if f.Query != "" {
		q.Set("q", f.Query)
	}
	for _, have := range f.Severities {
		if have != s {
			q.Add("severity", have)
		}
	}
	if !slices.Contains(f.Severities, s) {
		q.Add("severity", s)
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

func (s *Server) incidents(l look) (any, error) {
	all, err := s.reader.Incidents(l.Context())
	if err != nil {
		return nil, err
	}
	out := listIncidents(all, newFilter(l.URL.Query()))
	for i := range out.Rows {
		if r := &out.Rows[i]; l.changed[r.ID] {
			r.Fresh = string(rune('a' + l.turn%2))
			if out.Latest == nil {
				out.Latest = &r.Summary
			}
		}
	}
	return out, nil
}

func listIncidents(all []respond.Summary, f filter) *incidentList {
	out := &incidentList{filter: f, Total: len(all)}
	counts := map[event.Severity]int{}
	for i := range all {
		in := &all[i]
		if f.found(in) {
			counts[in.Severity]++
		}
		if !f.keeps(in) {
			continue
		}
		if out.Matching++; len(out.Rows) < maxRows {
			out.Rows = append(out.Rows, row{Summary: *in})
		}
	}
	for s := event.Critical; s >= event.Info; s-- {
		out.Levels = append(out.Levels, level{Severity: s, Count: counts[s], Chosen: f.has(s), URL: f.turned(s.String())})
	}
	return out
}
