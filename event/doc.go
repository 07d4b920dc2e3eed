// Package event is riposte's vocabulary: what happened (Event), who did it
// (Actor), what it touched (Entity) and what a rule claims about it (Finding).
//
// An Event keeps the record exactly as AWS wrote it. Decoding makes one pass
// over the bytes and notes where the fields that rules read most often lie;
// everything else is parsed when it is first asked for. A decoded Event may
// alias the buffer it was decoded from: whoever keeps one longer than the call
// it was handed to keeps a Clone.
//
// Identities are derived from the data and never random, so the same record
// read twice, by two roads, in two processes, is the same event, and makes the
// same finding.
//
// The package imports only the standard library and everything else in riposte
// may import it.
package event
