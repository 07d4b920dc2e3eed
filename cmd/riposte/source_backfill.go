package main

import (
	"context"
	"sync"
	"time"

	"riposte/ingest"
	"riposte/ingest/archive"
	"riposte/ingest/s3sqs"
)

// sayEvery is how often a backfill says how far it is.
const sayEvery = 30 * time.Second

func (p *pipeline) backfill(ctx context.Context, c *archive.Config) (ingest.Source, error) {
	var said time.Time
	var mu sync.Mutex
	return archive.New(ctx, *c, archive.Options{
		Log: p.log, Meter: p.tel.Source("backfill"), Cursors: fileCursors{p.state.cursors},
		Progress: func(at archive.Progress) {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(said) < sayEvery {
				return
			}
			said = time.Now()
			args := []any{"source", c.From, "done", at.Done, "listed", at.Listed, "bytes", at.DoneBytes, "listed_bytes", at.ListedBytes, "listing", at.Listing}
			if left, ok := at.Left(); ok && !at.Listing {
				args = append(args, "left", left.Round(time.Second).String())
			}
			p.log.Info("backfill", args...)
		},
	})
}

// s3 makes the source of a queue, whose depth is measured.
func (p *pipeline) s3(ctx context.Context, c *s3sqs.Config) (ingest.Source, error) {
	s, err := s3sqs.New(ctx, *c, p.log, p.tel.Source("s3"))
	if err != nil {
		return nil, err
	}
	s.Skipped = p.arrived
	p.queues = append(p.queues, s)
	return s, nil
}

// askQueues bounds what a scrape waits for SQS.
const askQueues = 3 * time.Second

// measureQueues reports the depth of each queue at each scrape.
func (p *pipeline) measureQueues() error {
	if len(p.queues) == 0 {
		return nil
	}
	return p.tel.QueueDepths(func(ctx context.Context, observe func(queue, state string, n int64)) {
		ctx, cancel := context.WithTimeout(ctx, askQueues)
		defer cancel()
		for _, s := range p.queues {
			q, err := s.Queue(ctx)
			if err != nil {
				p.log.WarnContext(ctx, "queue not measured", "source", s.Name(), "err", err)
				continue
			}
			observe(s.Name(), "visible", q.Visible)
			observe(s.Name(), "in_flight", q.InFlight)
			observe(s.Name(), "delayed", q.Delayed)
			if q.Dead == "" {
				continue
			}
			if dead, err := s.DeadLetters(ctx, q.Dead); err == nil {
				observe(s.Name(), "dead", dead.Visible+dead.InFlight+dead.Delayed)
			}
		}
	}, func(observe func(queue string, seconds float64)) {
		for _, s := range p.queues {
			observe(s.Name(), s.OldestAge().Seconds())
		}
	})
}
