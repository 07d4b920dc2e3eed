package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/bus"
	"riposte/internal/expr"
	"riposte/internal/store"
	"riposte/inventory"
	"riposte/respond"
)

const (
	// inventoryFresh is how long a process believes what it read of a resource:
	// others write too.
	inventoryFresh = 5 * time.Second
	// inventoryHead is what a record has beside the contents of its versions.
	inventoryHead = 96 << 10
	// inventoryWriters put the items of one batch side by side.
	inventoryWriters = 8
)

// openInventory opens the inventory over its table. What the server takes in one
// message bounds a record too.
func openInventory(s *state, b *bus.Bus, c *Config, log *slog.Logger) (*inventory.Inventory, error) {
	bounds := c.Inventory
	if most := int(b.JetStream().Conn().MaxPayload()) - inventoryHead; most > 0 {
		bounds.ResourceBytes = min(bounds.ResourceBytes, most)
		bounds.ItemBytes = min(bounds.ItemBytes, bounds.ResourceBytes)
	}
	return inventory.New(inventory.Options{
		Config: bounds, Table: s.inventory, NotFound: store.ErrNotFound, Conflict: store.ErrConflict, Fresh: inventoryFresh, Log: log,
	})
}

// record puts the batch's Config items into the inventory, before rules ask it.
// nil says that they are durable.
func (p *pipeline) record(ctx context.Context, events []event.Event) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inventoryWriters)
	for i := range events {
		if e := &events[i]; e.Kind == event.ConfigItem {
			g.Go(func() error { return p.inventory.Put(ctx, e) })
		}
	}
	return g.Wait()
}

// recorded tells responders what the inventory knows of a target.
type recorded struct{ inventory *inventory.Inventory }

// Recorded implements respond.Recorder.
func (r recorded) Recorded(ctx context.Context, arn string, before time.Time) (*event.Resource, error) {
	// The event's own moment may be that of the version it made.
	return r.inventory.Session(ctx).Resource("", "", "", arn, before.Add(-time.Nanosecond))
}

var _ respond.Recorder = recorded{}

// testInventory is what tests inside rules know of resources.
func testInventory(ctx context.Context) detect.Inventory {
	return func(items []event.Event) (expr.Resources, error) {
		return inventory.Of(ctx, inventory.DefaultConfig(), items)
	}
}

// measureInventory serves what the inventory did as metrics.
func (p *pipeline) measureInventory() error {
	err := p.tel.Gauge("riposte.inventory.versions", "versions of resources that this process stored, left out for later ones, and kept without their configuration, since it began", "outcome",
		func(_ context.Context, observe func(int64, string)) {
			n := p.inventory.Counts()
			observe(n.Stored, "stored")
			observe(n.Evicted, "evicted")
			observe(n.Stripped, "stripped")
		})
	if err != nil {
		return fmt.Errorf("measure the inventory: %w", err)
	}
	return nil
}
