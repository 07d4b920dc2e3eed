package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Telemetry is what an account, or a region or VPC of it, delivers of one log.
type Telemetry struct {
	// Level is log, source, account, region or vpc.
	Level string `json:"level"`
	Log   string `json:"log"`
	// Account, Region and VPC are where it comes from, Source by which road, where
	// the level has one.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	VPC     string `json:"vpc,omitempty"`
	Source  string `json:"source,omitempty"`
	// State is missing, silent, late, losing, new, sparse, ok, archived or ignored.
	State string `json:"state"`
	// Last is its latest event, Lag how long after it that was read, Delivered how
	// long after it AWS delivered it; 0 is not known.
	Last      time.Time     `json:"last,omitzero"`
	Lag       time.Duration `json:"lag"`
	Delivered time.Duration `json:"delivered,omitempty"`
	// Gap is its longest silence in a week, Patience after which it is missed; 0 is
	// never.
	Gap      time.Duration `json:"gap"`
	Patience time.Duration `json:"patience"`
	// Events and Lost are of its last 24 hours; lost are SKIPDATA of flow logs.
	Events uint64 `json:"events"`
	Lost   uint64 `json:"lost,omitempty"`
	// Future counts events from the future.
	Future  uint64   `json:"future,omitempty"`
	Sources []string `json:"sources,omitempty"`
	// Speaking is what else is well there. Within is whether it is only in the
	// trouble of a larger part.
	Speaking []string `json:"speaking,omitempty"`
	Within   bool     `json:"within,omitempty"`
}

// coverageStates are the states as they are listed, the worst first, with what
// they mean.
var coverageStates = []struct{ name, text string }{
	{"missing", "expected, and never seen"},
	{"silent", "used to speak, and has not for too long"},
	{"late", "comes too long after it happened"},
	{"losing", "more than 1 % of its records were lost"},
	{"new", "known for too short a time to be missed"},
	{"sparse", "speaks too rarely to be missed"},
	{"ok", "as usual"},
	{"archived", "was old already when it came"},
	{"ignored", "nobody wants to hear of it"},
}

// coveragePage is the page of coverage.
type coveragePage struct {
	Query, State string
	All          bool
	Rows         []Telemetry
	Total        int // of all parts
	Bad          int // that are missing or silent, of their own
	States       []coverageChoice
}

type coverageChoice struct {
	Name, Text, URL string
	Count           int
	Chosen          bool
}

// maxTelemetry is how many rows the page lists; a filter finds the others.
const maxTelemetry = 500

func (s *Server) coverage(l look) (any, error) {
	all, err := s.reader.Coverage(l.Context())
	if err != nil {
		return nil, err
	}
	return listCoverage(all, l.URL.Query()), nil
}

func listCoverage(all []Telemetry, q url.Values) *coveragePage {
	out := &coveragePage{Query: strings.TrimSpace(q.Get("q")), State: q.Get("state"), All: q.Get("all") != "", Total: len(all)}
	counts := map[string]int{}
	for _, t := range all {
		if (t.State == "missing" || t.State == "silent") && !t.Within {
			out.Bad++
		}
		if !t.found(out.Query) || !out.All && out.State == "" && !t.telling() {
			if t.found(out.Query) {
				counts[t.State]++
			}
			continue
		}
		counts[t.State]++
		if out.State == "" || out.State == t.State {
			out.Rows = append(out.Rows, t)
		}
	}
	order := func(t Telemetry) int {
		for i, s := range coverageStates {
			if s.name == t.State {
				return i
			}
		}
		return len(coverageStates)
	}
	slices.SortStableFunc(out.Rows, func(a, b Telemetry) int { return order(a) - order(b) })
	for _, s := range coverageStates {
		if counts[s.name] > 0 || s.name == out.State {
			out.States = append(out.States, coverageChoice{Name: s.name, Text: s.text, Count: counts[s.name], Chosen: s.name == out.State, URL: out.address(s.name)})
		}
	}
	return out
}

// telling reports whether a part is shown without being asked for: an account, or
// what is in trouble of its own.
func (t *Telemetry) telling() bool {
	switch t.State {
	case "archived", "ignored":
		return false
	case "missing", "silent", "late", "losing":
		return !t.Within || t.Level == "account"
	}
	return t.Level == "account"
}

func (t *Telemetry) found(query string) bool {
	text := strings.ToLower(strings.Join([]string{t.Log, t.Account, t.Region, t.VPC, t.State, strings.Join(t.Sources, " ")}, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// address is the page with a state chosen, or, when it is already, without.
func (p *coveragePage) address(state string) string {
	q := url.Values{}
	if p.Query != "" {
		q.Set("q", p.Query)
	}
	if p.All {
		q.Set("all", "1")
	}
	if state != p.State {
		q.Set("state", state)
	}
	return strings.TrimSuffix("/coverage?"+q.Encode(), "?")
}

// AllURL is the page with every region and VPC, or again without.
func (p *coveragePage) AllURL() string {
	o := *p
	o.All = !p.All
	o.State = ""
	return o.address("")
}

// Shown are the rows that are listed.
func (p *coveragePage) Shown() []Telemetry { return p.Rows[:min(len(p.Rows), maxTelemetry)] }

// Where is the account, or what the part is of instead.
func (t Telemetry) Where() string {
	switch {
	case t.Level == "log":
		return "all accounts"
	case t.Level == "source":
		return "through " + t.Source
	case t.Account == "":
		return "no account"
	}
	return t.Account
}

// Share is how much of its records was lost, in percent; "" when none was.
func (t Telemetry) Share() string {
	if t.Lost == 0 {
		return ""
	}
	return rate(float64(t.Lost) * 100 / float64(max(t.Events, 1)))
}

// Tone is the class of a state.
func (t Telemetry) Tone() string { return tone(t.State) }

// Tone is the class of a state.
func (c coverageChoice) Tone() string { return tone(c.Name) }

func tone(state string) string {
	switch state {
	case "missing", "silent":
		return "critical"
	case "late", "losing":
		return "medium"
	case "ok":
		return "good"
	}
	return "info"
}

func (s *Server) apiCoverage(w http.ResponseWriter, r *http.Request) {
	all, err := s.reader.Coverage(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q := r.URL.Query()
	if !q.Has("all") {
		q.Set("all", "1")
	}
	rows := listCoverage(all, q).Rows
	if rows == nil {
		rows = []Telemetry{}
	}
	s.json(w, r, http.StatusOK, map[string]any{"coverage": rows})
}
