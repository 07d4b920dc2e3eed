package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Finding is a rule's claim about one or more events.
type Finding struct {
	// ID is derived: FindingID(rule version, group key, first event ids).
	ID string `json:"id"`
	// Rule is the rule's id, Version the hash of the rule's text that made the claim.
	Rule     string   `json:"rule"`
	Version  string   `json:"version"`
	Severity Severity `json:"severity"`
	// Time is when the last contributing event happened (event time, UTC).
	Time    time.Time `json:"time"`
	Title   string    `json:"title"`
	Account string    `json:"account,omitempty"`
	Region  string    `json:"region,omitempty"`
	// Key is the value of the rule's group key: findings of one rule with the
	// same key are about the same thing.
	Key      string   `json:"key,omitempty"`
	Actor    Actor    `json:"actor"`
	Entities []Entity `json:"entities,omitempty"`
	// Events are the source ids of the events that contributed, oldest first.
	Events []string `json:"events"`
	// Tags are the rule's ATT&CK techniques ("attack.t1562.008") and
	// compliance controls ("cis.aws.3.1"), and its own words.
	Tags []string `json:"tags,omitempty"`
	// File names where the events were read, when they came from files.
	File     string   `json:"file,omitempty"`
	Evidence Evidence `json:"evidence"`
}

// Evidence is what a person needs to believe or refute a Finding.
type Evidence struct {
	// Records are contributing events as AWS wrote them, with secrets redacted.
	Records []Record `json:"records,omitempty"`
	// Explain is the truth tree of the rule's condition over the last event.
	Explain *Truth `json:"explain,omitempty"`
}

// Record is one event inside Evidence.
type Record struct {
	ID   string    `json:"id"`
	Kind Kind      `json:"kind"`
	Time time.Time `json:"time"`
	// Delivered is when AWS handed it over, Ingested when riposte read it; zero
	// where that is not known.
	Delivered time.Time `json:"delivered,omitzero"`
	Ingested  time.Time `json:"ingested,omitzero"`
	Origin    Origin    `json:"origin,omitzero"`
	// Raw is the record as JSON. Flow records, which AWS writes as text, are
	// an object of the fields by name.
	Raw json.RawMessage `json:"raw"`
}

// Truth is one node of an explanation: a sub-expression, the value it had and
// the sub-expressions that decided it.
type Truth struct {
	// Expr is the sub-expression as text.
	Expr string `json:"expr"`
	// Value is what it evaluated to, as JSON; absent when it was not evaluated.
	Value json.RawMessage `json:"value,omitempty"`
	// Error says why it could not be evaluated.
	Error string  `json:"error,omitempty"`
	Steps []Truth `json:"steps,omitempty"`
}

// FindingID derives a finding's identity from the rule's version, the group key
// and the ids of the first events that complete it: 32 hex digits.
func FindingID(ruleVersion, key string, events ...string) string {
	return Hash(append([]string{"finding", ruleVersion, key}, events...)...)
}

// Hash derives an identity from parts, unambiguously: 128 bits of SHA-256 over
// the length-prefixed parts, as 32 lower-case hex digits.
func Hash(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		for i := range n {
			n[i] = byte(len(p) >> (8 * i))
		}
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
