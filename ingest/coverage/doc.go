// Package coverage knows which telemetry comes from where, and when it stops.
//
// A Tracker sees every batch that was made durable and keeps, for each stream (a
// log of an account, region, VPC and source), when it spoke last and in which
// five minutes of a week it spoke. What several processes have seen is joined by
// Merge, in any order and any split, to the same; only the counts know about
// repetitions. Judge compares streams with what is usual for them and with what
// is expected, and a Book makes one finding of each worsening.
//
// Nothing here has a clock or does I/O: the time is in the events or given.
//
// A part is measured by its whole: an account by the latest event of all
// accounts, a region by that of its account, a VPC by that of its region. So
// while nothing comes at all, because a source is down or the bus is full, no
// account is silent; only the whole is measured by the clock.
package coverage
