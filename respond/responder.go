package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
	// Recorder tells what targets were before; nil is nobody.
	Recorder Recorder
	// Changed hears of every incident that changed, at least once after each
	// change, and again when a finding is handled again; nil is nobody.
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
	memory  memory
}

// New checks the configuration.
func New(c Config) (*Responder, error) {
	if c.Mode != DryRun {
		return nil, fmt.Errorf("mode %q: this version plans containment and does not carry it out, because the durable engine that claims, verifies and takes back is not part of it: want %s", c.Mode, DryRun)
	}
	var missing []error
	for name, given := range map[string]bool{
		"Playbooks": c.Playbooks != nil, "Incidents": c.Incidents != nil, "Books": c.Books != nil, "Runs": c.Runs != nil,
		"Journal": c.Journal != nil, "NotFound": c.NotFound != nil, "Conflict": c.Conflict != nil, "Window": c.Window > 0,
	} {
		if !given {
			missing = append(missing, fmt.Errorf("a responder wants %s", name))
		}
	}
	if len(missing) > 0 {
		slices.SortFunc(missing, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(missing...)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Responder{Config: c, planner: planner{actions: c.Actions, env: c.Playbooks.env, log: c.Log, recorder: c.Recorder}}, nil
}

// HandleFinding folds a finding into its incident and plans the playbooks that
// match it. Handling it again changes nothing and finishes what was cut short.
func (r *Responder) HandleFinding(ctx context.Context, f *event.Finding) error {
	id, absorbed, err := r.place(ctx, f)
	if err != nil {
		return fmt.Errorf("find the incident of %s: %w", f.ID, err)
	}
	in, err := r.fold(ctx, id, absorbed, f)
	if err != nil {
		return fmt.Errorf("fold %s into incident %s: %w", f.ID, id, err)
	}
	// Also when nothing changed: an earlier try may have ended between the change
	// and its announcement.
	if err := r.changed(ctx, in); err != nil {
		return fmt.Errorf("announce incident %s: %w", in.ID, err)
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
	err = swap(ctx, r, r.Books, "book", "account "+f.Account, func(b *book) bool {
		var changed bool
		id, absorbed, changed = b.place(causes(f), f.Time, r.Window, newID)
		return changed
	})
	return id, absorbed, err
}

// fold adds the finding, and the incidents that it joined, to the incident. An
// incident that was absorbed takes nothing more, so what is added to it before it
// is closed is absorbed with it, and what comes later follows it home.
func (r *Responder) fold(ctx context.Context, id string, absorbed []string, f *event.Finding) (*Incident, error) {
	for try := 0; ; try++ {
		home, err := link{ID: id}, error(nil)
		if try > 0 || len(absorbed) > 0 { // else it is most likely where the book says
			home, err = r.follow(ctx, id)
		}
		if err != nil {
			return nil, err
		}
		var others []Incident
		for _, o := range absorbed {
			if o == home.ID || slices.Contains(home.Absorbed, o) {
				continue
			}
			other, err := r.close(ctx, o, home.ID)
			if err != nil {
				return nil, err
			}
			others = append(others, other)
		}
		var out Incident
		err = swap(ctx, r, r.Incidents, "incident", home.ID, func(in *Incident) bool {
			if out = in.copy(); in.Merged != "" {
				return false
			}
			changed := in.ID == ""
			if changed {
				in.ID, in.Status = home.ID, "open"
			}
			for i := range others {
				if !slices.Contains(in.Absorbed, others[i].ID) {
					in.absorb(&others[i])
					changed = true
				}
			}
			if changed = in.add(f) || changed; changed {
				out = in.copy()
			}
			return changed
		})
		if err != nil || out.Merged == "" {
			return &out, err
		}
	}
}

// link is the part of an incident that says how it hangs together with others.
type link struct {
	ID, Merged string
	Absorbed   []string
}

// follow returns the incident that id became part of in the end, which may not
// exist yet.
func (r *Responder) follow(ctx context.Context, id string) (link, error) {
	seen := map[string]bool{}
	for {
		var in link
		if err := swap(ctx, r, r.Incidents, "incident", id, func(stored *Incident) bool {
			in = link{stored.ID, stored.Merged, slices.Clone(stored.Absorbed)}
			return false
		}); err != nil {
			return in, err
		}
		if in.Merged == "" {
			in.ID = id
			return in, nil
		}
		if seen[id] {
			return in, fmt.Errorf("incident %s is part of itself", id)
		}
		seen[id] = true
		id = in.Merged
	}
}

// close makes an incident part of another and announces it. One that nobody has
// written yet is closed too: whoever was about to write it follows.
func (r *Responder) close(ctx context.Context, id, into string) (Incident, error) {
	var out Incident
	err := swap(ctx, r, r.Incidents, "incident", id, func(in *Incident) bool {
		changed := in.Merged == ""
		if changed {
			in.ID, in.Merged, in.Status = id, into, "closed"
			in.Severity = max(in.Severity, event.Info)
		}
		out = in.copy()
		return changed
	})
	if err != nil {
		return out, fmt.Errorf("close incident %s: %w", id, err)
	}
	if len(out.Findings) > 0 {
		if err := r.changed(ctx, &out); err != nil {
			return out, fmt.Errorf("announce incident %s: %w", id, err)
		}
	}
	return out, nil
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
	done, intended, err := run.replay(entries)
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
		if intended != s.id {
			if err := add(entry{Kind: "intent", Step: s.id, Action: s.action}); err != nil {
				return err
			}
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
	err := swap(ctx, r, r.Runs, "", run.ID, func(stored *Run) bool {
		if stored.Status == run.Status && len(stored.Steps) == len(run.Steps) {
			return false
		}
		*stored = *run
		return true
	})
	if err != nil {
		return fmt.Errorf("save the run: %w", err)
	}
	for id := run.Incident; ; {
		var in Incident
		named := false
		err := swap(ctx, r, r.Incidents, "incident", id, func(stored *Incident) bool {
			named = stored.Merged == "" && stored.ID != "" && stored.name(run.ID)
			in = stored.copy()
			return named
		})
		switch {
		case err != nil:
			return fmt.Errorf("name the run in its incident: %w", err)
		case in.Merged != "":
			home, err := r.follow(ctx, in.Merged)
			if err != nil {
				return fmt.Errorf("name the run in its incident: %w", err)
			}
			id = home.ID
		case named:
			if err := r.changed(ctx, &in); err != nil {
				return fmt.Errorf("announce incident %s: %w", in.ID, err)
			}
			return nil
		default:
			return nil
		}
	}
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

// replay folds a journal into the run: done when it ended, intended is the step
// whose plan was begun and not finished.
func (run *Run) replay(entries [][]byte) (done bool, intended string, err error) {
	for i, b := range entries {
		var e entry
		if err := json.Unmarshal(b, &e); err != nil {
			return false, "", fmt.Errorf("journal of run %s, entry %d: %w", run.ID, i+1, err)
		}
		if e.Kind == "planned" && e.Result == nil {
			return false, "", fmt.Errorf("journal of run %s, entry %d: a step without a result", run.ID, i+1)
		}
		run.apply(&e)
		done, intended = e.Kind == "ended", ""
		if e.Kind == "intent" {
			intended = e.Step
		}
	}
	return done, intended, nil
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
