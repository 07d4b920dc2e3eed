package console

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"riposte/event"
	"riposte/respond"
)

// incidentPage is one incident with what riposte would do about it.
type incidentPage struct {
	respond.Incident
	Runs []run
	// Next are the steps of all runs, the ones that would change something first.
	Next []step
	// Attack are the techniques of all findings, each once.
	Attack []string
	Claims []claim
}

// PageTitle names the page in the browser.
func (p *incidentPage) PageTitle() string { return p.Severity.String() + ": " + cut(120, p.Title) }

// Within is how long it took from the first finding to the last.
func (p *incidentPage) Within() string {
	if d := p.Updated.Sub(p.Opened); d >= time.Second {
		return "within " + span(d)
	}
	return ""
}

// Signs reports whether the actor is of a kind that signs in by itself, so that
// MFA, or none, says something.
func (p *incidentPage) Signs() bool { return p.Actor.Type == "IAMUser" || p.Actor.Type == "Root" }

// run is a playbook's run with the title of the finding it is about.
type run struct {
	respond.Run
	About string
	Steps []step
}

// step is a step of a run with its outcome in one word.
type step struct {
	respond.StepRun
	Run      string
	Decision string // contain, send, already-contained, refuse, skipped, error or planning
}

// Label says the decision to a person.
func (s step) Label() string {
	return map[string]string{
		respond.Contain: "would contain", respond.AlreadyContained: "already contained", respond.Refuse: "refuses",
		"send": "would send", "skipped": "skipped", "error": "error", "planning": "planning…",
	}[s.Decision]
}

// Restore says what the plan's restore class means.
func (s step) Restore() string {
	return map[string]string{
		respond.RestoreAuto:    "taken back by itself, after a time",
		respond.RestoreApprove: "taken back when a person agrees",
		respond.RestoreNever:   "not taken back: there is no undo, or it would open the hole again",
	}[s.Plan.Restore]
}

// claim is a finding on the timeline.
type claim struct {
	event.Finding
	// Other is the actor, where it is not the incident's.
	Other  *event.Actor
	Attack []string
}

func (s *Server) incident(l look) (any, error) {
	in, runs, err := s.reader.Incident(l.Context(), l.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if in.Merged != "" {
		return nil, moved(in.Merged)
	}
	return showIncident(in, runs), nil
}

func showIncident(in respond.Incident, runs []respond.Run) *incidentPage {
	p := &incidentPage{Incident: in}
	titles := map[string]string{}
	for _, f := range in.Findings {
		c := claim{Finding: f}
		titles[f.ID] = f.Title
		if f.Actor.Identity() != in.Actor.Identity() || f.Actor.IP != in.Actor.IP {
			c.Other = &c.Finding.Actor
		}
		for _, t := range f.Tags {
			if word := tag(t); word != t && !slices.Contains(p.Attack, word) {
				p.Attack = append(p.Attack, word)
			}
		}
		p.Claims = append(p.Claims, c)
	}
	slices.SortStableFunc(p.Claims, func(a, b claim) int { return a.Time.Compare(b.Time) })
	for _, r := range runs {
		v := run{Run: r, About: titles[r.Finding]}
		for _, st := range r.Steps {
			v.Steps = append(v.Steps, step{StepRun: st, Run: r.ID, Decision: outcome(&r, &st)})
		}
		p.Runs = append(p.Runs, v)
		p.Next = append(p.Next, v.Steps...)
	}
	slices.SortStableFunc(p.Next, func(a, b step) int { return weight[a.Decision] - weight[b.Decision] })
	return p
}

// weight orders steps by how much a person wants to know of them.
var weight = map[string]int{respond.Contain: 0, "error": 1, respond.Refuse: 2, respond.AlreadyContained: 3, "send": 4, "planning": 5, "skipped": 6}

func outcome(r *respond.Run, s *respond.StepRun) string {
	switch {
	case s.Error != "":
		return "error"
	case s.Skipped != "":
		return "skipped"
	case s.Plan == nil && r.Status == "planning":
		return "planning"
	case s.Plan == nil:
		return "skipped"
	case s.Plan.Decision == respond.Contain && tells(s.Plan):
		return "send"
	}
	return s.Plan.Decision
}

// tells reports whether the plan only tells somebody.
func tells(p *respond.Plan) bool {
	return len(p.Calls) > 0 && !slices.ContainsFunc(p.Calls, func(c respond.Call) bool { return c.Service != "http" })
}

// recordsPage is the records of one finding.
type recordsPage struct {
	Incident string
	event.Finding
	More int // records that are left out
}

// maxRecords is how many records of a finding a page shows.
const maxRecords = 50

// records answers with the records of a finding, which may be large and are
// fetched when somebody opens them.
func (s *Server) records(w http.ResponseWriter, r *http.Request) {
	in, _, err := s.reader.Incident(r.Context(), r.PathValue("id"))
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.fail(w, r, err)
		return
	}
	i := slices.IndexFunc(in.Findings, func(f event.Finding) bool { return f.ID == r.PathValue("finding") })
	if err != nil || i < 0 {
		s.refuse(w, r, http.StatusNotFound, "There is no such finding.")
		return
	}
	p := recordsPage{Incident: in.ID, Finding: in.Findings[i]}
	if n := len(p.Evidence.Records); n > maxRecords {
		p.More, p.Evidence.Records = n-maxRecords, p.Evidence.Records[n-maxRecords:]
	}
	if r.Header.Get("HX-Request") == "true" {
		s.render(w, r, http.StatusOK, "records", "records", p)
		return
	}
	s.render(w, r, http.StatusOK, "records", "layout", frame{File: "records", Title: "Records", Data: p})
}
