// Package bus carries events, findings and incident changes between the roles of
// riposte over NATS JetStream: an embedded server with its files in a folder of
// its own, or an outside cluster. Every bus passes bustest.
//
// What it guarantees. Publish returns nil only when the stream has acknowledged;
// while it cannot, it retries with back-off until its context ends, and never
// drops. A message is delivered at least once; a handler's return value decides
// what becomes of it: nil is acknowledged, an error is delivered again with
// back-off while others go on, Permanent(err) goes to the dead letters with
// reason, place and payload, and so does what makes a handler panic three times.
// A finding is stored once under its id for as long as the stream keeps it.
// Consumers outlive the server: while it is away they wait.
//
// Streams that hold work refuse new messages when they are full instead of
// dropping old ones, so publishers wait; what every consumer has acknowledged is
// removed when a stream is half full, of events also when they are 250,000
// batches. So nothing is lost that nobody handled,
// and the newest half of what was handled stays for replay and for people.
//
// Durability on power loss is the server's: it writes through to disk every
// sync_interval, or before each acknowledgement with sync_always. Killing the
// process loses nothing either way; what it had in hand is delivered again after
// ten seconds.
package bus
