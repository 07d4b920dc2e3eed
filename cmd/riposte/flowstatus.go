package main

import (
	"context"

	"riposte/event"
	"riposte/internal/telemetry"
)

// countFlows counts the flow log records of a durable batch by log-status: NODATA
// and SKIPDATA are gaps in sight, and no traffic.
func countFlows(ctx context.Context, tel *telemetry.Telemetry, source string, events []event.Event) {
	var counts [3]int
	for i := range events {
		if events[i].Kind == event.FlowLog {
			counts[events[i].FlowStatus()]++
		}
	}
	for status, n := range counts {
		tel.FlowRecords(ctx, source, event.FlowStatus(status).String(), n)
	}
}
