package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"riposte/event"
	"riposte/internal/expr"
)

// RunID derives the id of a playbook's run on a finding.
func RunID(pb *Playbook, f *event.Finding) string { return event.Hash("run", pb.Version, f.ID) }

// planner makes the plans of one run.
type planner struct {
	actions  map[string]Action
	env      *expr.Env
	log      *slog.Logger // nil is silent
	recorder Recorder     // nil is nobody
}

const (
	// stepTime is how long one step's plan may take, retries included.
	stepTime = time.Minute
	// maxPlan bounds a step's result in the journal and the run, maxError its error.
	maxPlan  = 512 << 10
	maxError = 2000
)

// plan makes the plan of one step. What happened in earlier steps is in steps. A
// step that cannot be planned, for whatever reason, is an error of that step: it
// keeps neither the other steps nor the finding from going on.
func (p *planner) plan(ctx context.Context, run *Run, s *step, f *event.Finding, incident *Incident) (out StepRun) {
	out = StepRun{ID: s.id, Action: s.action}
	defer func() {
		if v := recover(); v != nil {
			out = StepRun{ID: s.id, Action: s.action, Error: fmt.Sprintf("planning broke off: %v", v)}
			if p.log != nil {
				p.log.ErrorContext(ctx, "planning broke off", "playbook", run.Playbook, "action", s.action, "finding", f.ID, "err", v, "stack", string(debug.Stack()))
			}
		}
		if out.Plan != nil {
			if b, err := json.Marshal(out.Plan); err != nil || len(b) > maxPlan {
				out.Error = fmt.Sprintf("the plan comes to %d bytes and at most %d are kept", len(b), maxPlan)
				if err != nil {
					out.Error = fmt.Sprintf("write the plan: %v", err)
				}
				out.Plan = nil
			}
		}
		out.Error = cut(out.Error, maxError)
	}()
	in := p.env.NewInput()
	in.SetFinding(f)
	in.Set("incident", jsonObject(struct {
		ID       string         `json:"id"`
		Severity event.Severity `json:"severity"`
		Findings int            `json:"findings"`
		Rules    []string       `json:"rules"`
	}{incident.ID, incident.Severity, len(incident.Findings) + incident.More, incident.Rules}))
	decided := map[string]any{}
	for _, done := range run.Steps {
		decided[done.ID] = map[string]any{"decision": done.decision()}
	}
	in.Set("steps", decided)
	if s.when != nil {
		ok, err := s.when.Bool(in)
		if err != nil {
			out.Error = fmt.Sprintf("when: %v", err)
			return out
		}
		if !ok {
			out.Skipped = "its condition does not hold"
			return out
		}
	}
	req := &Request{Run: run.ID, Step: s.id, Account: f.Account, Region: f.Region, Params: map[string]any{}}
	for _, w := range s.with {
		v, err := w.value.Value(in)
		if err != nil {
			out.Error = fmt.Sprintf("with %s: %v", w.name, err)
			return out
		}
		req.Params[w.name] = v
	}
	planCtx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	plan, err := p.actions[s.action].Plan(planCtx, req)
	switch {
	case err != nil && planCtx.Err() == context.DeadlineExceeded && ctx.Err() == nil:
		out.Error = fmt.Sprintf("no plan within %s: %v", stepTime, err)
		return out
	case err != nil:
		out.Error = err.Error()
		return out
	case plan == nil:
		out.Error = "the action made no plan"
		return out
	}
	plan.Action, plan.Account = s.action, f.Account
	plan.Key = event.Hash("plan", run.ID, s.id, plan.Target.ID)
	p.recall(planCtx, plan, f.Time)
	out.Plan = plan
	return out
}

// decision is what a step came to: its plan's decision, "skipped" or "error".
func (s *StepRun) decision() string {
	switch {
	case s.Skipped != "":
		return "skipped"
	case s.Error != "" || s.Plan == nil:
		return "error"
	}
	return s.Plan.Decision
}

// Decision is what the step came to: contain, already-contained, refuse, skipped or error.
func (s *StepRun) Decision() string { return s.decision() }

func jsonObject(v any) map[string]any {
	b, err := json.Marshal(v)
	if err != nil {
		return map[string]any{}
	}
	parsed, err := event.ParseJSON(b)
	m, ok := parsed.(map[string]any)
	if err != nil || !ok {
		return map[string]any{}
	}
	return m
}

// Simulate plans a playbook for one finding without journal or incident.
func (p *Playbooks) Simulate(ctx context.Context, pb *Playbook, f *event.Finding, actions map[string]Action) Run {
	run := Run{ID: RunID(pb, f), Playbook: pb.ID, PlaybookTitle: pb.Title, PlaybookVersion: pb.Version, Finding: f.ID, Mode: DryRun, Status: "planned"}
	pl := planner{actions: actions, env: p.env}
	incident := &Incident{ID: "simulated", Severity: f.Severity, Rules: []string{f.Rule}, Findings: []event.Finding{*f}}
	for i := range pb.steps {
		run.Steps = append(run.Steps, pl.plan(ctx, &run, &pb.steps[i], f, incident))
	}
	return run
}

// PlaybookResult is the outcome of one test of one playbook.
type PlaybookResult struct {
	Playbook string `json:"playbook"`
	Test     string `json:"test"`
	Passed   bool   `json:"passed"`
	Reason   string `json:"reason,omitempty"`
	Run      *Run   `json:"run,omitempty"`
}

// Test runs the tests inside the playbooks with the given actions.
func (p *Playbooks) Test(ctx context.Context, actions map[string]Action) []PlaybookResult {
	var out []PlaybookResult
	for _, pb := range p.list {
		for _, t := range pb.Tests {
			out = append(out, p.test(ctx, pb, t, actions))
		}
	}
	return out
}

func (p *Playbooks) test(ctx context.Context, pb *Playbook, t PlaybookTest, actions map[string]Action) PlaybookResult {
	r := PlaybookResult{Playbook: pb.ID, Test: t.Name}
	fail := func(format string, args ...any) PlaybookResult {
		r.Reason = fmt.Sprintf("%s:%d: ", t.place.File, t.place.Line) + fmt.Sprintf(format, args...)
		return r
	}
	f, err := t.finding()
	if err != nil {
		return fail("the finding: %v", err)
	}
	in := p.env.NewInput()
	in.SetFinding(&f)
	matches, err := pb.match.Bool(in)
	if err != nil {
		return fail("match: %v", err)
	}
	if matches != t.Matches {
		return fail("matches is %v, want %v", matches, t.Matches)
	}
	if matches {
		run := p.Simulate(ctx, pb, &f, actions)
		r.Run = &run
		for _, s := range run.Steps {
			if want, ok := t.Steps[s.ID]; ok && s.decision() != want {
				why := s.Error + s.Skipped
				if s.Plan != nil {
					why = s.Plan.Reason
				}
				return fail("step %s decides %s (%s), want %s", s.ID, s.decision(), why, want)
			}
		}
	}
	r.Passed = true
	return r
}

func (t *PlaybookTest) finding() (event.Finding, error) {
	var f event.Finding
	b, err := json.Marshal(t.Finding)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, err
	}
	if t.Event != nil {
		raw, err := json.Marshal(t.Event)
		if err != nil {
			return f, err
		}
		f.Evidence.Records = append(f.Evidence.Records, event.Record{Kind: event.CloudTrail, Raw: raw})
	}
	if f.ID == "" {
		f.ID = event.Hash("test", t.Name)
	}
	return f, nil
}
