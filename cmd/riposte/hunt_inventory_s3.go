package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"golang.org/x/sync/errgroup"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/archive"
	"riposte/ingest/s3object"
	"riposte/inventory"
)

// knownBefore is how long before --since Config's objects count: its snapshots
// come once a day.
const knownBefore = 48 * time.Hour

// gatherAll makes the inventory of all files and buckets of a hunt, nil when no
// rule asks for one.
func (r *huntRun) gatherAll(ctx context.Context) (*inventory.Inventory, error) {
	var refs []ingest.FileRef
	for _, p := range r.parts {
		refs = append(refs, p.refs...)
	}
	all, err := r.gather(ctx, refs, r.workers)
	if err != nil || all == nil {
		return nil, err
	}
	return r.gatherObjects(ctx, all, r.configObjects(ctx))
}

// configObjects are the objects that Config wrote.
func (r *huntRun) configObjects(ctx context.Context) iter.Seq2[quarry, error] {
	return func(yield func(quarry, error) bool) {
		for _, p := range r.parts {
			if p.listing == nil {
				continue
			}
			l := *p.listing
			if l.Query.Kinds = []event.Kind{event.ConfigItem}; !l.Query.Since.IsZero() {
				l.Query.Since = l.Query.Since.Add(-knownBefore)
			}
			for e, err := range l.Objects(ctx) {
				if err == nil && archive.KindOf(e.Key) != event.ConfigItem {
					continue // it follows no layout: nobody knows what it is
				}
				if !yield(quarry{object: &s3object.Object{Bucket: l.Bucket, Key: e.Key}, store: l.Store}, err) || err != nil {
					return
				}
			}
		}
	}
}

// gatherObjects puts the items of objects into an inventory; nil makes one. What
// cannot be read is told when it is hunted through.
func (r *huntRun) gatherObjects(ctx context.Context, all *inventory.Inventory, objects iter.Seq2[quarry, error]) (*inventory.Inventory, error) {
	if !r.rules.ReadsResources() {
		return nil, nil
	}
	if all == nil {
		var err error
		if all, err = inventory.InMemory(huntInventory()); err != nil {
			return nil, err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	next := make(chan quarry)
	g.Go(func() error {
		defer close(next)
		for q, err := range objects {
			if err != nil {
				return err
			}
			select {
			case next <- q:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	sink := ingest.Sink{Emit: func(ctx context.Context, b ingest.Batch) error { return putItems(ctx, all, b.Events) }}
	for range r.workers {
		g.Go(func() error {
			reader := newHuntReader()
			for q := range next {
				_, err := reader.read(ctx, r.grounds, q, sink, func(int64) {})
				var refused *ingest.DeliveryError
				if errors.As(err, &refused) {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return all, g.Wait()
}
