package main

import (
	"context"
	"fmt"
	"time"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/traffic"
)

// feed is the demo's source: attacks, one scene after the other, in ordinary traffic.
type feed struct {
	scenes []traffic.Scene
	live   bool
	gen    *traffic.Generator
	batch  int

	// onScene and onEnd hear when a scene begins and when the last has ended.
	onScene func(traffic.Scene)
	onEnd   func()

	ordinary int64
	// techniques maps the event ids of attacks to their scene's index.
	techniques map[string]int
	misses     int64
}

const (
	// betweenScenes is the live feed's pause between two attacks.
	betweenScenes = 5 * time.Second
	// ordinaryEvery is how often ordinary records come in a live feed, ordinaryPer how many.
	ordinaryEvery = 250 * time.Millisecond
	ordinaryPer   = 10
	// ordinaryOnce is how many ordinary records stand before each scene of a feed that is not live.
	ordinaryOnce = 1000
	// changing is the share of ordinary records that change something.
	changing = 0.02
)

func newFeed(scenes []traffic.Scene, live bool) (*feed, error) {
	gen, err := traffic.New(uint64(time.Now().UnixNano()), changing)
	return &feed{scenes: scenes, live: live, gen: gen, techniques: map[string]int{}}, err
}

// Run plays the scenes; a live feed goes on with ordinary traffic until ctx is done.
func (f *feed) Run(ctx context.Context, sink ingest.Sink) error {
	for i := range f.scenes {
		if err := f.pause(ctx, sink, i); err != nil {
			return err
		}
		if f.onScene != nil {
			f.onScene(f.scenes[i])
		}
		if err := f.play(ctx, sink, i); err != nil {
			return err
		}
	}
	if f.onEnd != nil {
		f.onEnd()
	}
	for f.live {
		if err := f.pause(ctx, sink, 1); err != nil {
			return err
		}
	}
	return nil
}

// play delivers one scene's records as if they happened now.
func (f *feed) play(ctx context.Context, sink ingest.Sink, i int) error {
	now := time.Now().UTC()
	var events []event.Event
	for k, r := range f.scenes[i].Records {
		e, err := r.At(now.Add(time.Duration(k) * time.Millisecond))
		if err != nil {
			return fmt.Errorf("play %s: %w", f.scenes[i].Name, err)
		}
		if f.scenes[i].Quiet {
			f.misses++
		}
		f.techniques[e.ID()] = i
		events = append(events, e)
	}
	return f.deliver(ctx, sink, events)
}

// pause fills the time before a scene with ordinary records.
func (f *feed) pause(ctx context.Context, sink ingest.Sink, scene int) error {
	if !f.live {
		for range ordinaryOnce / 100 {
			if err := f.deliverOrdinary(ctx, sink, 100); err != nil {
				return err
			}
		}
		return nil
	}
	wait := betweenScenes
	if scene == 0 {
		wait = time.Second // the first finding should not be waited for
	}
	tick := time.NewTicker(ordinaryEvery)
	defer tick.Stop()
	for end := time.Now().Add(wait); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := f.deliverOrdinary(ctx, sink, ordinaryPer); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *feed) deliverOrdinary(ctx context.Context, sink ingest.Sink, n int) error {
	events := make([]event.Event, n)
	now := time.Now().UTC()
	for i := range events {
		e, err := event.Decode(event.CloudTrail, f.gen.Append(nil, now))
		if err != nil {
			return fmt.Errorf("make ordinary traffic: %w", err)
		}
		events[i] = e
	}
	f.ordinary += int64(n)
	return f.deliver(ctx, sink, events)
}

func (f *feed) deliver(ctx context.Context, sink ingest.Sink, events []event.Event) error {
	now := time.Now().UTC()
	for i := range events {
		events[i].Ingested = now
		events[i].Origin = event.Origin{Source: "demo", Object: "demo", Line: int64(i + 1)}
	}
	f.batch++
	return sink.Emit(ctx, ingest.Batch{ID: event.Hash("demo", fmt.Sprint(now.UnixNano()), fmt.Sprint(f.batch)), Events: events})
}
