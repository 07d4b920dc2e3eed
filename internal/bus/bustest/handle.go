package bustest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"riposte/event"
	"riposte/internal/bus"
)

func nilAcknowledges(t *testing.T, be *Backend) {
	b := be.Bus
	format, err := event.ParseFlowFormat("version interface-id srcaddr my-column")
	if err != nil {
		t.Fatal(err)
	}
	var flow event.Event
	if err := flow.ScanFlow(format, []byte("5 eni-1 10.0.0.1 x")); err != nil {
		t.Fatal(err)
	}
	flow.Origin = event.Origin{Source: "stdin", Line: 3}
	config, err := event.Decode(event.ConfigItem, []byte(`{"resourceType":"AWS::S3::Bucket","resourceId":"b"}`))
	if err != nil {
		t.Fatal(err)
	}
	batch := []event.Event{record(t, "a"), flow, config}
	before := time.Now().Add(-time.Minute)
	if err := b.PublishEvents(t.Context(), "1", batch); err != nil {
		t.Fatal(err)
	}
	if err := b.PublishEvents(t.Context(), "none", nil); err != nil {
		t.Errorf("nothing to publish: %v", err)
	}
	var calls atomic.Int64
	stop := running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(_ context.Context, got *bus.Batch) error {
			calls.Add(1)
			if len(got.Events) != len(batch) || got.Seq != 1 || got.Delivered != 1 || got.Published.Before(before) {
				t.Errorf("got %d events, seq %d, delivered %d, published %s", len(got.Events), got.Seq, got.Delivered, got.Published)
				return nil
			}
			for i := range batch {
				want, e := &batch[i], &got.Events[i]
				if e.Kind != want.Kind || !bytes.Equal(e.Raw, want.Raw) || e.Origin != want.Origin || !e.Ingested.Equal(want.Ingested) || e.ID() != want.ID() {
					t.Errorf("event %d: %+v, want %+v", i, e, want)
				}
			}
			if x, _ := got.Events[1].Extra("my-column"); x != "x" {
				t.Errorf("the flow log's own column: %q", x)
			}
			return nil
		})
	})
	idle(t, b, "d")
	stop()
	if calls.Load() != 1 {
		t.Errorf("handled %d times", calls.Load())
	}
	h, err := b.Health(t.Context())
	if err != nil || h.DeadLetters != 0 || h.Streams[0].Messages != 1 || h.Streams[0].Consumers[0].Unacked != 0 {
		t.Errorf("health: %+v %v", h, err)
	}
	if ok, err := b.Idle(t.Context(), "d", "nobody"); ok || err != nil {
		t.Errorf("a consumer that does not exist is idle: %v %v", ok, err)
	}
}

func errorComesAgain(t *testing.T, be *Backend) {
	publish(t, be.Bus, append([]string{"bad"}, ids("good", 5)...)...)
	var good atomic.Int64
	var delivered []uint64
	stop := running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			if batch.Events[0].ID() != "bad" {
				good.Add(1)
				return nil
			}
			delivered = append(delivered, batch.Delivered)
			if good.Load() < 5 || batch.Delivered < 3 {
				return errors.New("not yet")
			}
			return nil
		})
	})
	idle(t, be.Bus, "d")
	stop()
	if good.Load() != 5 || len(delivered) < 3 {
		t.Errorf("%d others, deliveries %d", good.Load(), delivered)
	}
	for i, n := range delivered {
		if n != uint64(i+1) {
			t.Errorf("deliveries are numbered %d", delivered)
			break
		}
	}
	if l := letters(t, be.Bus); len(l) != 0 {
		t.Errorf("dead letters: %+v", l)
	}
}

func permanentIsSetAside(t *testing.T, be *Backend) {
	b := be.Bus
	publish(t, b, "poison", "fine")
	var calls seen
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			id := batch.Events[0].ID()
			calls.add(id)
			if id == "poison" {
				return bus.Permanent(errors.New("nobody can read this"))
			}
			return nil
		})
	})
	if _, err := b.PublishFinding(t.Context(), finding("f1")); err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error {
		return b.ConsumeFindings(ctx, "f", 1, func(context.Context, *event.Finding) error {
			return errors.Join(errors.New("and"), bus.Permanent(errors.New("no such playbook")))
		})
	})
	idle(t, b, "d", "f")
	once(t, "calls", calls.list(), []string{"poison", "fine"})
	list := letters(t, b)
	if len(list) != 2 {
		t.Fatalf("dead letters: %+v", list)
	}
	for _, l := range list {
		event := strings.HasPrefix(l.Subject, "events.")
		switch {
		case event && (l.Reason != "nobody can read this" || l.Place != "EVENTS #1" || len(l.Payload) == 0),
			!event && (!strings.Contains(l.Reason, "no such playbook") || l.Place != "FINDINGS #1" || !bytes.Contains(l.Payload, []byte(`"f1"`))),
			l.Seq == 0 || l.Time.IsZero() || l.Truncated:
			t.Errorf("letter %+v", l)
		}
	}
	if h, err := b.Health(t.Context()); err != nil || h.DeadLetters != 2 {
		t.Errorf("health: %d %v", h.DeadLetters, err)
	}
}

func panicIsTried(t *testing.T, be *Backend) {
	publish(t, be.Bus, "mine", "fine")
	var calls seen
	running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			id := batch.Events[0].ID()
			calls.add(id)
			if id == "mine" {
				panic("boom")
			}
			return nil
		})
	})
	idle(t, be.Bus, "d")
	publish(t, be.Bus, "later")
	idle(t, be.Bus, "d")
	once(t, "calls", calls.list(), []string{"mine", "mine", "mine", "fine", "later"})
	if l := letters(t, be.Bus); len(l) != 1 || !strings.Contains(l[0].Reason, "boom") || l[0].Place != "EVENTS #1" {
		t.Errorf("dead letters: %+v", l)
	}
}

func brokenRecords(t *testing.T, be *Backend) {
	b := be.Bus
	broken := func(raw string, line int64) event.Event {
		return event.Event{Kind: event.CloudTrail, Raw: []byte(raw), Origin: event.Origin{Source: "files", Object: "x.json", Line: line}}
	}
	format, err := event.ParseFlowFormat("version srcaddr")
	if err != nil {
		t.Fatal(err)
	}
	batch := []event.Event{
		record(t, "a"), broken(`{"eventID":`, 2), record(t, "b"), broken(`{} {}`, 4),
		{Kind: event.FlowLog, Format: format, Raw: []byte("5"), Origin: event.Origin{Object: "f.log", Line: 5}}, record(t, "c"),
	}
	if err := b.PublishEvents(t.Context(), "1", batch); err != nil {
		t.Fatal(err)
	}
	var got seen
	running(t, func(ctx context.Context) error {
		return b.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			if batch.Delivered < 3 {
				return errors.New("again") // and the letters are there once all the same
			}
			for i := range batch.Events {
				got.add(batch.Events[i].ID())
			}
			return nil
		})
	})
	idle(t, b, "d")
	once(t, "events", got.list(), []string{"a", "b", "c"})
	l := letters(t, b)
	if len(l) != 3 {
		t.Fatalf("%d dead letters, want 3: %+v", len(l), l)
	}
	if l[0].Place != "x.json:2" || l[0].Kind != "cloudtrail" || string(l[0].Payload) != `{"eventID":` || l[0].Reason == "" || l[0].Subject != "" {
		t.Errorf("letter %+v", l[0])
	}
	if l[1].Place != "x.json:4" || l[2].Place != "f.log:5" || l[2].Kind != "flow" || l[2].Format != "version srcaddr" {
		t.Errorf("letters %+v", l[1:])
	}
}

func sharedWork(t *testing.T, be *Backend) {
	want := ids("e", 40)
	publish(t, be.Bus, want...)
	var got seen
	var sides [2]atomic.Int64
	both := make(chan struct{})
	for side := range sides {
		running(t, func(ctx context.Context) error {
			return be.Bus.ConsumeEvents(ctx, "d", 2, func(ctx context.Context, batch *bus.Batch) error {
				got.add(batch.Events[0].ID())
				if sides[side].Add(1) == 1 && sides[1-side].Load() > 0 {
					close(both)
				}
				select { // nobody goes on before each has had one
				case <-both:
				case <-ctx.Done():
				}
				return nil
			})
		})
	}
	idle(t, be.Bus, "d")
	once(t, "events", got.list(), want)
}

func givesBack(t *testing.T, be *Backend) {
	publish(t, be.Bus, ids("e", 20)...)
	began := make(chan struct{}, 20)
	stop := running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeEvents(ctx, "d", 2, func(ctx context.Context, _ *bus.Batch) error {
			began <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
	})
	<-began
	<-began
	stop()
	var got seen
	running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeEvents(ctx, "d", 2, func(_ context.Context, batch *bus.Batch) error {
			got.add(batch.Events[0].ID())
			return nil
		})
	})
	idle(t, be.Bus, "d")
	once(t, "events", got.list(), ids("e", 20))
}

func oneWorkerKeepsOrder(t *testing.T, be *Backend) {
	want := ids("e", 60)
	publish(t, be.Bus, want...)
	var got seen
	running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeEvents(ctx, "d", 1, func(_ context.Context, batch *bus.Batch) error {
			got.add(batch.Events[0].ID())
			return nil
		})
	})
	findings := make([]*event.Finding, 60)
	for i, id := range ids("f", 60) {
		findings[i] = finding(id)
	}
	if _, err := be.Bus.PublishFindings(t.Context(), findings); err != nil {
		t.Fatal(err)
	}
	var found seen
	running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeFindings(ctx, "f", 0, func(_ context.Context, f *event.Finding) error {
			found.add(f.ID)
			return nil
		})
	})
	idle(t, be.Bus, "d", "f")
	if list := got.list(); strings.Join(list, " ") != strings.Join(want, " ") {
		t.Errorf("events came as %q", list)
	}
	if list := found.list(); strings.Join(list, " ") != strings.Join(ids("f", 60), " ") {
		t.Errorf("findings came as %q", list)
	}
}

func tracePasses(t *testing.T, be *Backend) {
	sent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), sent)
	if err := be.Bus.PublishEvents(ctx, "1", []event.Event{record(t, "a")}); err != nil {
		t.Fatal(err)
	}
	if _, err := be.Bus.PublishFinding(ctx, finding("f")); err != nil {
		t.Fatal(err)
	}
	check := func(ctx context.Context, what string) {
		if got := trace.SpanContextFromContext(ctx); got.TraceID() != sent.TraceID() || got.SpanID() != sent.SpanID() || !got.IsRemote() {
			t.Errorf("%s: trace %v", what, got)
		}
	}
	running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeEvents(ctx, "d", 1, func(ctx context.Context, _ *bus.Batch) error {
			check(ctx, "events")
			return nil
		})
	})
	running(t, func(ctx context.Context) error {
		return be.Bus.ConsumeFindings(ctx, "f", 1, func(ctx context.Context, _ *event.Finding) error {
			check(ctx, "findings")
			return nil
		})
	})
	idle(t, be.Bus, "d", "f")
}
