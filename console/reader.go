package console

import (
	"context"
	"errors"
	"time"

	"riposte/event"
	"riposte/respond"
)

// ErrNotFound says that there is no such incident.
var ErrNotFound = errors.New("not found")

// Reader is the running system as the console shows it. It only reads.
type Reader interface {
	// Incidents are those that are not part of another, the latest updated first.
	Incidents(ctx context.Context) ([]respond.Summary, error)
	// Incident returns one with the runs of playbooks on its findings, or ErrNotFound.
	Incident(ctx context.Context, id string) (respond.Incident, []respond.Run, error)
	// Rules are the rules that run now, by id.
	Rules(ctx context.Context) ([]Rule, error)
	// Health is the state of the pipeline now.
	Health(ctx context.Context) (Health, error)
	// Coverage is which telemetry comes from where, by account.
	Coverage(ctx context.Context) ([]Telemetry, error)
	// Subscribe yields the ids of incidents that change from now on, until ctx is
	// done, when the channel is closed. A slow reader misses ids, never the last one.
	Subscribe(ctx context.Context) <-chan string
}

// Rule is a rule with what it has done so far.
type Rule struct {
	ID          string         `json:"id"`
	Title       string         `json:"title"`
	Description string         `json:"description,omitempty"`
	Severity    event.Severity `json:"severity"`
	Source      string         `json:"source"` // cloudtrail, flow, config, guardduty, ...
	When        string         `json:"when"`
	Attack      []string       `json:"attack,omitempty"`
	File        string         `json:"file"`
	// Evaluated is how often its condition ran, Hits how often it held, Errors how
	// often it had no verdict. They count over restarts and over all workers.
	Evaluated int64     `json:"evaluated"`
	Hits      int64     `json:"hits"`
	Errors    int64     `json:"errors"`
	LastError string    `json:"lastError,omitempty"`
	LastHit   time.Time `json:"lastHit,omitzero"`
}

// Health is the state of the pipeline.
type Health struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Roles   []string  `json:"roles"`
	Mode    string    `json:"mode"` // of the responder: dry-run
	Stages  []Stage   `json:"stages"`
	Streams []Stream  `json:"streams"`
	// P50 and P99 are from reading an event to its finding being acknowledged, in
	// this process; 0 when there was none.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	// DeadLetters is how many wait, Letters the latest of them.
	DeadLetters uint64   `json:"deadLetters"`
	Letters     []Letter `json:"letters,omitempty"`
	// RulesError is why the last reload of the rules failed, "" when it did not.
	RulesError string `json:"rulesError,omitempty"`
}

// Stage is one step of the pipeline in this process: read, evaluated, findings, handled.
type Stage struct {
	Name  string  `json:"name"`
	Total int64   `json:"total"`
	Rate  float64 `json:"rate"` // a second, over the last ten
}

// Stream is one stream of the bus.
type Stream struct {
	Name      string     `json:"name"`
	Messages  uint64     `json:"messages"`
	Bytes     uint64     `json:"bytes"`
	MaxBytes  int64      `json:"maxBytes"`
	Last      time.Time  `json:"last,omitzero"`
	Consumers []Consumer `json:"consumers,omitempty"`
}

// Consumer is how far behind one reader of a stream is.
type Consumer struct {
	Name string `json:"name"`
	// Pending is not yet delivered, Unacked delivered and not yet handled.
	Pending     uint64 `json:"pending"`
	Unacked     int    `json:"unacked"`
	Redelivered int    `json:"redelivered"`
}

// Letter is a dead letter: what could not be read or handled.
type Letter struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Place  string    `json:"place"`
	Reason string    `json:"reason"`
	Kind   string    `json:"kind,omitempty"`
}
