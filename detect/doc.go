// Package detect finds what is wrong in events: it loads rules written in YAML
// with CEL conditions, indexes the conditions that each rule cannot do without,
// and evaluates over an event only the rules whose conditions hold.
//
// It guarantees that the index changes nothing but the speed: an Engine's
// findings, and the hits and errors that it counts, are those of evaluating every
// rule, because a rule that the index leaves out would have been evaluated to
// false. A differential test proves it over generated rules and events. It has no clock and does no I/O while it
// evaluates: time is in the events. A rule that does not compile stops a load
// and never replaces a set that runs; an evaluation that ends in an error is
// counted for its rule and never taken for a no.
package detect
