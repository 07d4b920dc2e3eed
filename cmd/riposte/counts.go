package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"riposte/detect"
	"riposte/internal/store"
)

// ruleTotal is what one rule has done, over all workers and restarts.
type ruleTotal struct {
	Evaluated int64     `json:"evaluated"`
	Hits      int64     `json:"hits"`
	Errors    int64     `json:"errors"`
	LastError string    `json:"lastError,omitempty"`
	LastHit   time.Time `json:"lastHit,omitzero"`
}

// ruleCounts adds what this process's rules did to the totals that every process
// shares. Totals are statistics: a crash loses the last few seconds of them.
type ruleCounts struct {
	table store.Table
	rules *detect.Live
	sent  map[string]detect.RuleCount
}

const (
	countsKey   = "rules"
	countsEvery = 3 * time.Second
)

// run adds every few seconds, and once more when ctx is done.
func (c *ruleCounts) run(ctx context.Context) error {
	tick := time.NewTicker(countsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := c.flush(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return c.flush(ctx)
		}
	}
}

func (c *ruleCounts) flush(ctx context.Context) error {
	if c.sent == nil {
		c.sent = map[string]detect.RuleCount{}
	}
	now := c.rules.Current().Counters()
	added := map[string]ruleTotal{}
	for _, n := range now {
		old := c.sent[n.Rule]
		if n.Evaluated < old.Evaluated {
			old = detect.RuleCount{} // the rule changed and counts from zero
		}
		if n.Evaluated == old.Evaluated {
			continue
		}
		d := ruleTotal{Evaluated: n.Evaluated - old.Evaluated, Hits: n.Hits - old.Hits, Errors: n.Errors - old.Errors, LastError: n.LastError}
		if d.Hits > 0 {
			d.LastHit = time.Now().UTC()
		}
		added[n.Rule] = d
	}
	if len(added) == 0 {
		return nil
	}
	err := upsert(ctx, c.table, countsKey, func(old []byte) ([]byte, error) {
		totals, err := parseTotals(old)
		if err != nil {
			return nil, err
		}
		for rule, d := range added {
			t := totals[rule]
			t.Evaluated, t.Hits, t.Errors = t.Evaluated+d.Evaluated, t.Hits+d.Hits, t.Errors+d.Errors
			if d.LastError != "" {
				t.LastError = d.LastError
			}
			if d.LastHit.After(t.LastHit) {
				t.LastHit = d.LastHit
			}
			totals[rule] = t
		}
		return json.Marshal(totals)
	})
	if err != nil {
		return fmt.Errorf("add to the rule counts: %w", err)
	}
	for _, n := range now {
		c.sent[n.Rule] = n
	}
	return nil
}

func parseTotals(b []byte) (map[string]ruleTotal, error) {
	totals := map[string]ruleTotal{}
	if b == nil {
		return totals, nil
	}
	if err := json.Unmarshal(b, &totals); err != nil {
		return nil, fmt.Errorf("read the rule counts: %w", err)
	}
	return totals, nil
}

// readTotals returns the totals of every rule that has any.
func readTotals(ctx context.Context, t store.Table) (map[string]ruleTotal, error) {
	b, _, err := t.Get(ctx, countsKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the rule counts: %w", err)
	}
	return parseTotals(b)
}
