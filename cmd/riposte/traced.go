package main

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"riposte/respond"
)

// traced puts every plan of an action into the trace that began with its event.
func traced(actions map[string]respond.Action, tracer trace.Tracer) map[string]respond.Action {
	out := make(map[string]respond.Action, len(actions))
	for name, a := range actions {
		t := tracedAction{Action: a, name: name, tracer: tracer}
		if u, ok := a.(respond.Undoer); ok {
			out[name] = struct {
				tracedAction
				respond.Undoer
			}{t, u}
			continue
		}
		out[name] = t
	}
	return out
}

type tracedAction struct {
	respond.Action
	name   string
	tracer trace.Tracer
}

// Plan plans within a span.
func (a tracedAction) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	ctx, span := a.tracer.Start(ctx, "plan", trace.WithAttributes(attribute.String("action", a.name)))
	defer span.End()
	p, err := a.Action.Plan(ctx, r)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return p, err
	}
	span.SetAttributes(attribute.String("decision", p.Decision))
	return p, nil
}
