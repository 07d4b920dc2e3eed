// Package detect finds what is wrong in events: it loads rules written in YAML
// with CEL conditions, indexes the conditions that each rule cannot do without,
// and evaluates over an event only the rules whose conditions hold.
//
// It guarantees that the index changes nothing but the speed: an Engine's
// findings are those of evaluating every rule, which a differential test proves
// over generated rules and events. It has no clock and does no I/O while it
// evaluates: time is in the events. A rule that does not compile stops a load
// and never replaces a set that runs; an evaluation that ends in an error is
// counted for its rule and never taken for a no.
package detect
