package main

import (
	"context"
	"time"

	"riposte/ingest"
	"riposte/ingest/cloudtrail/integrity"
	"riposte/internal/awsaccess"
)

// trail opens a bucket whose digests are verified as they arrive.
func (p *pipeline) trail(ctx context.Context, c *integrity.Config) (ingest.Source, error) {
	s, err := integrity.New(ctx, *c, fileCursors{p.state.cursors}, p.log, awsaccess.Options{})
	if err != nil {
		return nil, err
	}
	s.Proven = func(account, region, trail string, until time.Time) {
		p.lookout.tracker.Alive(account, region, trail, until.Unix())
	}
	p.trails = append(p.trails, s)
	return s, nil
}

// arrived tells the trails of an object that another source was told of and does
// not read: a digest is then looked at without waiting.
func (p *pipeline) arrived(bucket, key string) {
	for _, s := range p.trails {
		s.Arrived(bucket, key)
	}
}
