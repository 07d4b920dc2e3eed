package kinesis

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"riposte/ingest"
	"riposte/internal/awsaccess"
)

// state is how far the reading of a shard has come.
type state int

const (
	waiting state = iota // for the shards before it
	reading
	done
)

// follower begins each shard when it is its turn.
type follower struct {
	*Source
	sink   ingest.Sink
	since  time.Time
	states map[string]state
	// ended hears of shards that are at their end.
	ended chan string
}

// follow lists the shards again and again, and whenever one has ended, and reads
// those whose turn it is. It returns when ctx is done, or at the first listing
// that can never succeed.
func (f *follower) follow(ctx context.Context, g *errgroup.Group) error {
	first := true
	for pause := f.pause(); ; {
		shards, err := f.shards(ctx)
		wait := f.relist
		switch {
		case err == nil:
			pause.Reset()
			f.Gone("shards") // the shards speak for themselves
			if first {
				first = false
				f.log.InfoContext(ctx, "reading", "shards", len(shards), "role", f.cfg.Role)
			}
			if err := f.begin(ctx, g, shards); err != nil {
				return err
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case first && gone(err):
			return fmt.Errorf("the stream %s does not exist in %s: check kinesis.stream, kinesis.region and the account of kinesis.role: %w", f.cfg.Stream, f.cfg.Region, err)
		case first && awsaccess.Denied(err):
			return err
		default:
			wait = min(wait, pause.NextBackOff())
			f.Fail("shards", f.now(), err)
			f.log.ErrorContext(ctx, "shards cannot be listed", "err", err)
		}
		timer := time.NewTimer(wait)
		select {
		case id := <-f.ended:
			f.states[id] = done
			f.drainEnded()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// drainEnded takes the news of others that ended meanwhile, so that the shards
// are listed once for all of them.
func (f *follower) drainEnded() {
	for {
		select {
		case id := <-f.ended:
			f.states[id] = done
		default:
			return
		}
	}
}

// begin reads the shards whose turn it is: all those before them are at their
// end, or are no longer there.
func (f *follower) begin(ctx context.Context, g *errgroup.Group, shards []types.Shard) error {
	here := map[string]bool{}
	for _, sh := range shards {
		here[text(sh.ShardId)] = true
	}
	for id, s := range f.states {
		if !here[id] && s == done {
			delete(f.states, id)
		}
	}
	for changed := true; changed; { // an end that was kept lets others begin
		changed = false
		for _, sh := range shards {
			id := text(sh.ShardId)
			if f.states[id] != waiting || !f.turn(sh, here) {
				continue
			}
			r := &shard{Source: f.Source, id: id, since: f.since, sink: f.sink}
			found, err := f.load(ctx, r.key(), &r.at)
			if err != nil {
				return err
			}
			changed = true
			if found && r.at.Done {
				f.states[id] = done
				continue
			}
			f.states[id] = reading
			g.Go(func() error {
				if err := r.run(ctx); err != nil {
					return err
				}
				select {
				case f.ended <- id:
				case <-ctx.Done():
				}
				return nil
			})
		}
	}
	return nil
}

// turn reports whether the shards before this one are read.
func (f *follower) turn(sh types.Shard, here map[string]bool) bool {
	for _, parent := range []string{text(sh.ParentShardId), text(sh.AdjacentParentShardId)} {
		if parent != "" && here[parent] && f.states[parent] != done {
			return false
		}
	}
	return true
}
