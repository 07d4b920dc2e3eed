package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/internal/expr"
	"riposte/inventory"
)

// sniffed is how much of a file is looked at to see whether it holds Config items.
const sniffed = 8 << 10

// itemWords are such that Config's files have one of them near their beginning.
var itemWords = [][]byte{[]byte("configurationItem"), []byte("configurationStateId")}

// huntInventory is longer than a daemon's: a hunt may look far back.
func huntInventory() inventory.Config {
	c := inventory.DefaultConfig()
	c.Versions, c.ResourceBytes = 100, 4<<20
	return c
}

// gather makes the inventory of a hunt from the Config items of the files, before
// anything is evaluated, so that what a rule learns does not depend on which file
// is read first. nil is no inventory: no rule asks for one.
func (r *huntRun) gather(ctx context.Context, refs []ingest.FileRef, workers int) (*inventory.Inventory, error) {
	if !r.rules.ReadsResources() {
		return nil, nil
	}
	all, err := inventory.InMemory(huntInventory())
	if err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(workers, len(refs)) {
		g.Go(func() error {
			reader := ingest.NewReader()
			for i := int(next.Add(1)) - 1; i < len(refs); i = int(next.Add(1)) - 1 {
				if refs[i].Path == "-" || !holdsItems(reader, refs[i].Path) {
					continue
				}
				if err := r.gatherFile(ctx, reader, refs[i], all); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return all, g.Wait()
}

// gatherFile puts the items of one file. What cannot be read of it is told when
// it is hunted through.
func (r *huntRun) gatherFile(ctx context.Context, reader *ingest.Reader, ref ingest.FileRef, all *inventory.Inventory) error {
	_, err := reader.ReadFile(ctx, r.files, ref, ingest.Sink{Emit: func(ctx context.Context, b ingest.Batch) error {
		return putItems(ctx, all, b.Events)
	}})
	var refused *ingest.DeliveryError
	if errors.As(err, &refused) {
		return err
	}
	return ctx.Err()
}

// holdsItems reports whether a file begins as those of Config do.
func holdsItems(reader *ingest.Reader, path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [sniffed]byte
	n, err := reader.Head(f, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return false
	}
	for _, w := range itemWords {
		if bytes.Contains(head[:n], w) {
			return true
		}
	}
	return false
}

// putItems puts the Config items among events into an inventory.
func putItems(ctx context.Context, all *inventory.Inventory, events []event.Event) error {
	for i := range events {
		if events[i].Kind != event.ConfigItem {
			continue
		}
		if err := all.Put(ctx, &events[i]); err != nil {
			return fmt.Errorf("keep %s: %w", events[i].ID(), err)
		}
	}
	return nil
}

// gatherFor is the inventory of the files for one command, nil when no rule asks.
func gatherFor(ctx context.Context, rules *detect.RuleSet, files ingest.Files, refs []ingest.FileRef) (expr.Resources, error) {
	run := &huntRun{rules: rules, grounds: &grounds{files: files}}
	all, err := run.gather(ctx, refs, 1)
	if err != nil || all == nil {
		return nil, err
	}
	return all.Session(ctx), nil
}
