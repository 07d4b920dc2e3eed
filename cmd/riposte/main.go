// Command riposte is detection and response for AWS in one binary: telemetry in,
// findings, incidents and reversible containment out. The same binary runs all
// of it on a laptop with an embedded NATS server, or one role per process on a
// JetStream cluster.
//
// This package is the one place where the rooms of the project meet: one file
// per subcommand, pipeline.go joins bus, engine and responder, and tables.go
// names the sources and actions that a configuration may use.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is main without the exit, so that scripts in tests can call the real program.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}
