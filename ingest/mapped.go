package ingest

import "riposte/event"

// Mapped is the part of a source's configuration that says that its JSON records
// are of a log that is not AWS's.
type Mapped struct {
	// Log names the log, such as github-audit; empty recognises AWS's telemetry.
	Log string `yaml:"log"`
	// Mapping is that log's; who opens the source finds it by the name.
	Mapping *event.Mapping `yaml:"-"`
}

// Wanted returns the name that a mapping is wanted for, and where it goes.
func (m *Mapped) Wanted() (log string, mapping **event.Mapping) { return m.Log, &m.Mapping }
