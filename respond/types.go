package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"riposte/event"
)

// Incident is findings with one cause.
type Incident struct {
	// ID is derived from the account and the finding that opened it.
	ID       string         `json:"id"`
	Title    string         `json:"title"`
	Severity event.Severity `json:"severity"`
	// Status is "open" or "closed".
	Status  string      `json:"status"`
	Account string      `json:"account,omitempty"`
	Region  string      `json:"region,omitempty"`
	Actor   event.Actor `json:"actor"`
	// Entities are what the findings that are kept touched, each once.
	Entities []event.Entity `json:"entities,omitempty"`
	// Opened and Updated are event times: of the earliest and the latest finding.
	Opened  time.Time `json:"opened"`
	Updated time.Time `json:"updated"`
	// Findings are the worst MaxFindings, in order of event time, with their texts
	// and lists shortened where they are very long; More counts the rest, which
	// Others tell apart.
	Findings []event.Finding `json:"findings"`
	More     int             `json:"more,omitempty"`
	Others   []string        `json:"others,omitempty"`
	// EvidenceLeftOut are the ids of findings whose evidence is not, or not all,
	// kept here because the incident would become too large. The stream of
	// findings has it.
	EvidenceLeftOut []string `json:"evidenceLeftOut,omitempty"`
	// Rules are the rules of all its findings, each once.
	Rules []string `json:"rules"`
	// Runs are the ids of the playbook runs on its findings, up to MaxRuns;
	// RunsLeftOut says that there are more.
	Runs        []string `json:"runs,omitempty"`
	RunsLeftOut bool     `json:"runsLeftOut,omitempty"`
	// Causes are the keys under which later findings join.
	Causes []string `json:"causes"`
	// Merged names the incident that this one became part of, Absorbed those that
	// became part of this one.
	Merged   string   `json:"merged,omitempty"`
	Absorbed []string `json:"absorbed,omitempty"`
}

// Summary is an incident without its findings, for lists.
type Summary struct {
	ID       string         `json:"id"`
	Title    string         `json:"title"`
	Severity event.Severity `json:"severity"`
	Status   string         `json:"status"`
	Account  string         `json:"account,omitempty"`
	Region   string         `json:"region,omitempty"`
	Actor    event.Actor    `json:"actor"`
	Opened   time.Time      `json:"opened"`
	Updated  time.Time      `json:"updated"`
	// Findings, Rules, Entities and Runs count the incident's own.
	Findings int    `json:"findings"`
	Rules    int    `json:"rules"`
	Entities int    `json:"entities"`
	Runs     int    `json:"runs"`
	Merged   string `json:"merged,omitempty"`
}

// Summary returns the incident without its findings.
func (in *Incident) Summary() Summary {
	return Summary{
		ID: in.ID, Title: in.Title, Severity: in.Severity, Status: in.Status, Account: in.Account, Region: in.Region,
		Actor: in.Actor, Opened: in.Opened, Updated: in.Updated, Findings: len(in.Findings) + in.More,
		Rules: len(in.Rules), Entities: len(in.Entities), Runs: len(in.Runs), Merged: in.Merged,
	}
}

// Run is one playbook on one finding of an incident.
type Run struct {
	ID              string    `json:"id"`
	Playbook        string    `json:"playbook"`
	PlaybookTitle   string    `json:"playbookTitle"`
	PlaybookVersion string    `json:"playbookVersion"`
	Incident        string    `json:"incident"`
	Finding         string    `json:"finding"`
	Mode            string    `json:"mode"`   // dry-run
	Status          string    `json:"status"` // planning, planned, failed
	Started         time.Time `json:"started"`
	Ended           time.Time `json:"ended,omitzero"`
	Steps           []StepRun `json:"steps"`
}

// StepRun is one step of a run.
type StepRun struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	// Skipped says why the step did not apply.
	Skipped string `json:"skipped,omitempty"`
	Plan    *Plan  `json:"plan,omitempty"`
	// Error says why no plan could be made.
	Error string `json:"error,omitempty"`
}

// Request asks an action for a plan.
type Request struct {
	Run, Step       string
	Account, Region string
	// Params are the step's parameters, evaluated: string, int64, bool, list or map.
	Params map[string]any
}

// Text returns a text parameter, "" when it is not given.
func (r *Request) Text(name string) string {
	s, _ := r.Params[name].(string)
	return s
}

// Call is one API call, exactly as it would be made.
type Call struct {
	Service   string          `json:"service"`   // iam, ec2, s3, cloudtrail, http
	Operation string          `json:"operation"` // PutUserPolicy
	Input     json.RawMessage `json:"input"`
	Account   string          `json:"account,omitempty"`
	Region    string          `json:"region,omitempty"`
}

// Decisions of a plan.
const (
	Contain          = "contain"
	AlreadyContained = "already-contained"
	Refuse           = "refuse"
)

// Restore classes: who may take it back.
const (
	RestoreAuto    = "auto"    // by itself, after a time
	RestoreApprove = "approve" // when a person agrees
	RestoreNever   = "never"   // no undo, or undoing would open the hole again
)

// Plan is what a step would do, made by reading the target and changing nothing.
type Plan struct {
	// Key is derived from the run, the step and the target: applying a plan
	// twice under one key is applying it once.
	Key    string `json:"key"`
	Action string `json:"action"`
	// Target is what would change, by its ARN and, where AWS has one, its immutable id.
	Target   event.Entity `json:"target"`
	TargetID string       `json:"targetId,omitempty"`
	// Decision is contain, already-contained or refuse; Reason says why.
	Decision string `json:"decision"`
	Reason   string `json:"reason"`
	// Effect says what changes for whom.
	Effect string `json:"effect,omitempty"`
	// Reads are the calls that were made to plan, Calls those that would be made,
	// Undo those that would take it back.
	Reads []Call `json:"reads,omitempty"`
	Calls []Call `json:"calls,omitempty"`
	Undo  []Call `json:"undo,omitempty"`
	// Restore is auto, approve or never.
	Restore string `json:"restore,omitempty"`
	// Before is the target's state as it was read.
	Before json.RawMessage `json:"before,omitempty"`
	// Recorded is the target as AWS Config had recorded it before the event, where
	// that is known: what it was like before the attack.
	Recorded    *event.Resource `json:"recorded,omitempty"`
	Permissions []string        `json:"permissions,omitempty"`
	Warnings    []string        `json:"warnings,omitempty"`
	Account     string          `json:"account,omitempty"`
	Region      string          `json:"region,omitempty"`
}

// Receipt is what applying a plan did.
type Receipt struct {
	Plan Plan `json:"plan"`
	// After is the state that was written, for a three-way undo.
	After json.RawMessage `json:"after,omitempty"`
	// RequestIDs are AWS's ids of every call, to recognise our own echo in CloudTrail.
	RequestIDs []string `json:"requestIds,omitempty"`
}

// Outcome is what verification found.
type Outcome string

// Outcomes of Verify.
const (
	Effective    Outcome = "effective"
	NotEffective Outcome = "not-effective"
	Unknown      Outcome = "unknown"
)

// Param declares a parameter of an action.
type Param struct {
	Name     string
	Required bool
	Doc      string
}

// Action is a way to change the world, to the contract that Plan reads and
// decides, Apply is safe to repeat under one Plan.Key, and Verify reads until it
// knows.
type Action interface {
	// Params are what its steps may give.
	Params() []Param
	Plan(ctx context.Context, r *Request) (*Plan, error)
	Apply(ctx context.Context, p *Plan) (*Receipt, error)
	Verify(ctx context.Context, r *Receipt) (Outcome, error)
}

// Undoer is an action that can be taken back. Undo is three-way: it restores
// what was before only where the world is still as Apply left it, and returns a
// ConflictError that names what somebody else has changed since.
type Undoer interface {
	Undo(ctx context.Context, r *Receipt) error
}

// ConflictError says that undoing would overwrite a later change.
type ConflictError struct {
	Target string
	What   string
}

// Error names the target and what changed.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s was changed since: %s; it is left as it is", e.Target, e.What)
}

// Table is the compare-and-swap state that the responder needs.
type Table interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (newRevision uint64, err error)
}

// Journal is an append-only log a run.
type Journal interface {
	// Append adds an entry after the given sequence; 0 is the beginning.
	Append(ctx context.Context, run string, after uint64, entry []byte) (seq uint64, err error)
	Read(ctx context.Context, run string) (entries [][]byte, last uint64, err error)
}
