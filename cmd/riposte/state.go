package main

import (
	"context"
	"errors"
	"fmt"

	"riposte/internal/bus"
	"riposte/internal/store"
)

// state is the durable state beside the streams.
type state struct {
	// incidents and runs are what people look at; books index an account's
	// incidents by cause; cursors are how far each file was read; counts are what
	// each rule has done; inventory is what Config told of resources;
	// coverage is which telemetry comes from where.
	incidents, books, runs, cursors, counts, inventory, coverage store.Table
	// journal holds every run's intents and results.
	journal store.Log
}

func openState(ctx context.Context, b *bus.Bus, replicas int) (*state, error) {
	var s state
	o := store.Options{Replicas: replicas}
	for _, t := range []struct {
		name  string
		table *store.Table
	}{
		{"incidents", &s.incidents}, {"books", &s.books}, {"runs", &s.runs}, {"cursors", &s.cursors}, {"counts", &s.counts}, {"inventory", &s.inventory}, {"coverage", &s.coverage},
	} {
		table, err := store.NewTable(ctx, b.JetStream(), t.name, o)
		if err != nil {
			return nil, err
		}
		*t.table = table
	}
	journal, err := store.NewLog(ctx, b.JetStream(), "journal", o)
	if err != nil {
		return nil, err
	}
	s.journal = journal
	return &s, nil
}

// fileCursors keep the position in each file for ingest. One process reads a
// file, so the last write wins.
type fileCursors struct{ table store.Table }

// Load returns what Save kept, or nil.
func (c fileCursors) Load(ctx context.Context, key string) ([]byte, error) {
	v, _, err := c.table.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// Save keeps value under key.
func (c fileCursors) Save(ctx context.Context, key string, value []byte) error {
	return upsert(ctx, c.table, key, func([]byte) ([]byte, error) { return value, nil })
}

// upsert changes a value by compare and swap until nobody else wrote in between;
// change gets nil when there is none.
func upsert(ctx context.Context, t store.Table, key string, change func(old []byte) ([]byte, error)) error {
	for {
		old, rev, err := t.Get(ctx, key)
		missing := errors.Is(err, store.ErrNotFound)
		if err != nil && !missing {
			return fmt.Errorf("read %s: %w", key, err)
		}
		value, err := change(old)
		if err != nil {
			return err
		}
		if missing {
			_, err = t.Create(ctx, key, value)
		} else {
			_, err = t.Update(ctx, key, value, rev)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
