package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"riposte/event"
)

// DryRun is the only mode of this version.
const DryRun = "dry-run"

// Config of a responder.
type Config struct {
	// Mode is DryRun.
	Mode string
	// Window joins findings with the same cause, in event time.
	Window time.Duration
	// Playbooks and Actions are what is planned with.
	Playbooks *Playbooks
	Actions   map[string]Action
	// Incidents, Books and Runs are tables of their own; Journal is the log of runs.
	Incidents, Books, Runs Table
	Journal                Journal
	// NotFound and Conflict are the errors of the tables that mean so.
	NotFound, Conflict error
	// Changed hears of every incident that changed; nil is nobody.
	Changed func(ctx context.Context, in *Incident) error
	// Planned hears of every plan; nil is nobody.
	Planned func(ctx context.Context, s *StepRun)
	Log     *slog.Logger
	Now     func() time.Time
}

// Responder folds findings into incidents and plans containment. It is safe for
// concurrent use, also by several processes over the same tables.
type Responder struct {
	Config
	planner planner
}

// New checks the configuration.
func New(c Config) (*Responder, error) {
	if c.Mode != DryRun {
		return nil, fmt.Errorf("mode %q: this version plans containment and does not carry it out, because the durable engine that claims, verifies and takes back is not part of it: want %s", c.Mode, DryRun)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Responder{Config: c, planner: planner{actions: c.Actions, env: c.Playbooks.env}}, nil
}

// HandleFinding folds a finding into its incident and plans the playbooks that
// match it. Handling it again changes nothing and finishes what was cut short.
func (r *Responder) HandleFinding(ctx context.Context, f *event.Finding) error {
	id, absorbed, err := r.place(ctx, f)
	if err != nil {
		return fmt.Errorf("find the incident of %s: %w", f.ID, err)
	}
	in, changed, err := r.fold(ctx, id, absorbed, f)
	if err != nil {
		return fmt.Errorf("fold %s into incident %s: %w", f.ID, id, err)
	}
	if changed {
		if err := r.changed(ctx, in); err != nil {
			return err
		}
	}
	matched, errs := r.Playbooks.Matching(f)
	for _, err := range errs {
		r.Log.WarnContext(ctx, "playbook has no verdict", "finding", f.ID, "err", err)
	}
	for _, pb := range matched {
		if err := r.run(ctx, pb, f, in); err != nil {
			return fmt.Errorf("run %s on %s: %w", pb.ID, f.ID, err)
		}
	}
	return nil
}

func (r *Responder) changed(ctx context.Context, in *Incident) error {
	if r.Changed == nil {
		return nil
	}
	return r.Changed(ctx, in)
}

// place finds the finding's incident in its account's book.
func (r *Responder) place(ctx context.Context, f *event.Finding) (id string, absorbed []string, err error) {
	newID := event.Hash("incident", f.Account, f.ID)
	err = swap(ctx, r, r.Books, "account "+f.Account, func(b *book) bool {
		var changed bool
		id, absorbed, changed = b.place(causes(f), f.Time, r.Window, newID)
		return changed
	})
	return id, absorbed, err
}

// fold adds the finding, and the incidents that it joined, to the incident.
func (r *Responder) fold(ctx context.Context, id string, absorbed []string, f *event.Finding) (*Incident, bool, error) {
	var others []Incident
	for _, o := range absorbed {
		var other Incident
		err := swap(ctx, r, r.Incidents, o, func(in *Incident) bool {
			other = *in
			if in.ID == "" || in.Merged == id {
				return false
			}
			in.Merged, in.Status = id, "closed"
			return true
		})
		if err != nil {
			return nil, false, err
		}
		if other.ID != "" {
			others = append(others, other)
			if err := r.changed(ctx, &other); err != nil {
				return nil, false, err
			}
		}
	}
	var out Incident
	changed := false
	err := swap(ctx, r, r.Incidents, id, func(in *Incident) bool {
		if in.ID == "" {
			in.ID, in.Status = id, "open"
		}
		before := len(in.Findings) + in.More
		for i := range others {
			in.absorb(&others[i])
		}
		changed = in.add(*f) || len(in.Findings)+in.More != before
		out = *in
		return changed
	})
	return &out, changed, err
}

// run plans one playbook on one finding, going on where an earlier try stopped.
func (r *Responder) run(ctx context.Context, pb *Playbook, f *event.Finding, in *Incident) error {
	run := Run{
		ID: RunID(pb, f), Playbook: pb.ID, PlaybookTitle: pb.Title, PlaybookVersion: pb.Version,
		Incident: in.ID, Finding: f.ID, Mode: r.Mode, Status: "planning",
	}
	entries, last, err := r.Journal.Read(ctx, run.ID)
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	done, err := run.replay(entries)
	if err != nil {
		return err
	}
	add := func(e entry) error {
		e.Time = r.Now().UTC()
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if last, err = r.Journal.Append(ctx, run.ID, last, b); err != nil {
			return fmt.Errorf("journal %s: %w", e.Kind, err)
		}
		run.apply(&e)
		return nil
	}
	if len(entries) == 0 {
		if err := add(entry{Kind: "started", Playbook: pb.ID, Version: pb.Version, Finding: f.ID, Incident: in.ID}); err != nil {
			return err
		}
	}
	for i := len(run.Steps); i < len(pb.steps) && !done; i++ {
		s := &pb.steps[i]
		if err := add(entry{Kind: "intent", Step: s.id, Action: s.action}); err != nil {
			return err
		}
		result := r.planner.plan(ctx, &run, s, f, in)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := add(entry{Kind: "planned", Step: s.id, Result: &result}); err != nil {
			return err
		}
		if r.Planned != nil {
			r.Planned(ctx, &result)
		}
	}
	if !done {
		if err := add(entry{Kind: "ended"}); err != nil {
			return err
		}
	}
	return r.save(ctx, &run)
}

// save keeps the run where people look and names it in its incident.
func (r *Responder) save(ctx context.Context, run *Run) error {
	err := swap(ctx, r, r.Runs, run.ID, func(stored *Run) bool {
		if stored.Status == run.Status && len(stored.Steps) == len(run.Steps) {
			return false
		}
		*stored = *run
		return true
	})
	if err != nil {
		return fmt.Errorf("save the run: %w", err)
	}
	var in Incident
	named := false
	for id := run.Incident; ; id = in.Merged {
		err = swap(ctx, r, r.Incidents, id, func(stored *Incident) bool {
			in, named = *stored, false
			if stored.Merged != "" || slices.Contains(stored.Runs, run.ID) {
				return false
			}
			stored.Runs = append(stored.Runs, run.ID)
			in, named = *stored, true
			return true
		})
		if err != nil {
			return fmt.Errorf("name the run in its incident: %w", err)
		}
		if in.Merged == "" {
			break
		}
	}
	if named {
		return r.changed(ctx, &in)
	}
	return nil
}

// entry is one line of a run's journal.
type entry struct {
	Kind     string    `json:"kind"` // started, intent, planned, ended
	Time     time.Time `json:"time"`
	Playbook string    `json:"playbook,omitempty"`
	Version  string    `json:"version,omitempty"`
	Finding  string    `json:"finding,omitempty"`
	Incident string    `json:"incident,omitempty"`
	Step     string    `json:"step,omitempty"`
	Action   string    `json:"action,omitempty"`
	Result   *StepRun  `json:"result,omitempty"`
}

// replay folds a journal into the run; done when it ended.
func (run *Run) replay(entries [][]byte) (done bool, err error) {
	for i, b := range entries {
		var e entry
		if err := json.Unmarshal(b, &e); err != nil {
			return false, fmt.Errorf("journal of run %s, entry %d: %w", run.ID, i+1, err)
		}
		run.apply(&e)
		done = e.Kind == "ended"
	}
	return done, nil
}

func (run *Run) apply(e *entry) {
	switch e.Kind {
	case "started":
		run.Started = e.Time
		run.Incident = e.Incident
	case "planned":
		run.Steps = append(run.Steps, *e.Result)
	case "ended":
		run.Ended, run.Status = e.Time, "planned"
		if slices.ContainsFunc(run.Steps, func(s StepRun) bool { return s.Error != "" }) {
			run.Status = "failed"
		}
	}
}

// swap changes a value by compare and swap until nobody else wrote in between.
// change gets the zero value when there is none, and says whether to write.
func swap[V any](ctx context.Context, r *Responder, t Table, key string, change func(*V) bool) error {
	for {
		var v V
		raw, rev, err := t.Get(ctx, key)
		missing := errors.Is(err, r.NotFound)
		if err != nil && !missing {
			return err
		}
		if !missing {
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("read %s: %w", key, err)
			}
		}
		if !change(&v) {
			return nil
		}
		if raw, err = json.Marshal(v); err != nil {
			return fmt.Errorf("write %s: %w", key, err)
		}
		if missing {
			_, err = t.Create(ctx, key, raw)
		} else {
			_, err = t.Update(ctx, key, raw, rev)
		}
		if err == nil || !errors.Is(err, r.Conflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
