package main

import (
	"context"
	"fmt"

	"riposte/ingest"
	"riposte/ingest/kinesis"
)

// kinesis opens a data stream and measures how far its shards are behind.
func (p *pipeline) kinesis(ctx context.Context, c *kinesis.Config) (ingest.Source, error) {
	s, err := kinesis.New(ctx, *c, fileCursors{p.state.cursors}, p.log)
	if err != nil {
		return nil, err
	}
	p.streams = append(p.streams, s)
	if len(p.streams) > 1 {
		return s, nil // the gauge looks at all of them
	}
	err = p.tel.Gauge("riposte.kinesis.behind", "milliseconds that a shard is behind the tip of its stream", "shard", func(_ context.Context, observe func(int64, string)) {
		for _, s := range p.streams {
			for shard, behind := range s.Behind() {
				observe(behind.Milliseconds(), s.Name()+"/"+shard)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("measure the stream: %w", err)
	}
	return s, nil
}
