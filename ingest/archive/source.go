package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/sync/errgroup"

	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// sourceName is what events and metrics call this source.
const sourceName = "backfill"

const (
	// tail is how many objects may be on their way, and so be delivered again after
	// a crash. Their batches have the same ids.
	tail = 1000
	// saveObjects and saveEvery are how often the cursor moves.
	saveObjects = 100
	saveEvery   = time.Second
	// refusals of one object for want of a permission, before it is set aside.
	refusals = 5
)

// Source delivers a bucket's objects once, and ends.
type Source struct {
	cfg     Config
	opt     Options
	listing Listing
}

// Options are what a source needs from outside; all of it may be nil.
type Options struct {
	Log     *slog.Logger
	Meter   s3object.Meter
	Cursors ingest.Cursors
	// Progress hears of each object that is done, and of each that is listed.
	Progress func(Progress)
	// Load are the SDK's options, after ours.
	Load []func(*config.LoadOptions) error
}

// Open makes the store that a bucket is read from.
func Open(ctx context.Context, c Config, log *slog.Logger, meter s3object.Meter, load ...func(*config.LoadOptions) error) (*s3object.Store, error) {
	c = c.withDefaults()
	format, err := c.flowFormat()
	if err != nil {
		return nil, err
	}
	access, err := awsaccess.New(ctx, c.Config, awsaccess.Options{Adaptive: true, Connections: 2*c.Workers + ahead, Silence: s3object.Stall, Load: load})
	if err != nil {
		return nil, err
	}
	cfg, err := access.For("", "")
	if err != nil {
		return nil, err
	}
	return s3object.New(access, cfg, s3object.Options{
		Source: sourceName, Limit: c.MaxObjectBytes, LimitKey: "max_object_bytes", Policy: "deploy/iam/backfill.json", Log: log, Meter: meter, FlowFormat: format, Mapping: c.Mapping,
	}), nil
}

// New makes a source.
func New(ctx context.Context, c Config, o Options) (*Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("source", c.From)
	store, err := Open(ctx, c, o.Log, o.Meter, o.Load...)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: c, opt: o, listing: Listing{Store: store, Query: c.query()}}
	s.listing.Bucket, s.listing.Prefix, err = ParseAddress(c.From)
	return s, err
}

// cursor is how far a backfill came: all that sorts up to After is done.
type cursor struct {
	After   string `json:"after"`
	Done    bool   `json:"done"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

// Run delivers what is left, and ends. It fails when the bucket is not there or
// may not be listed.
func (s *Source) Run(ctx context.Context, sink ingest.Sink) error {
	at, err := s.load(ctx)
	if err != nil {
		return err
	}
	if at.Done {
		s.opt.Log.InfoContext(ctx, "backfilled before", "objects", at.Objects, "bytes", at.Bytes)
		return nil
	}
	s.opt.Log.InfoContext(ctx, "backfilling", "after", at.After, "objects", at.Objects)
	m := newMarks(at, s.opt.Progress)
	g, gctx := errgroup.WithContext(ctx)
	jobs := make(chan job)
	g.Go(func() error {
		defer close(jobs)
		return s.list(gctx, m, jobs)
	})
	var workers sync.WaitGroup
	for range s.cfg.Workers {
		workers.Add(1)
		g.Go(func() error {
			defer workers.Done()
			return s.work(gctx, m, jobs, sink)
		})
	}
	ended := make(chan struct{})
	go func() { workers.Wait(); close(ended) }() // the workers end with the group
	g.Go(func() error { return s.keep(gctx, m, ended) })
	err = g.Wait()
	if ctx.Err() != nil {
		return s.save(context.WithoutCancel(ctx), m.cursor(false))
	}
	if err != nil {
		return errors.Join(err, s.save(ctx, m.cursor(false)))
	}
	at = m.cursor(true)
	s.opt.Log.InfoContext(ctx, "backfilled", "objects", at.Objects, "bytes", at.Bytes, "foreign", m.progress().Foreign)
	return s.save(ctx, at)
}

func (s *Source) load(ctx context.Context) (at cursor, err error) {
	if s.opt.Cursors == nil {
		return at, nil
	}
	saved, err := s.opt.Cursors.Load(ctx, s.cfg.name())
	if err != nil {
		return at, fmt.Errorf("load the cursor of %s: %w", s.cfg.From, err)
	}
	if saved != nil {
		if err := json.Unmarshal(saved, &at); err != nil {
			return at, fmt.Errorf("read the cursor of %s: %w", s.cfg.From, err)
		}
	}
	return at, nil
}

func (s *Source) save(ctx context.Context, at cursor) error {
	if s.opt.Cursors == nil {
		return nil
	}
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.opt.Cursors.Save(ctx, s.cfg.name(), b); err != nil {
		return fmt.Errorf("save the cursor of %s: %w", s.cfg.From, err)
	}
	return nil
}

// keep saves the cursor as it moves, until the workers have ended.
func (s *Source) keep(ctx context.Context, m *marks, ended <-chan struct{}) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-m.moved:
		}
		if at, changed := m.news(); changed {
			if err := s.save(ctx, at); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// job is an object with its place in the listing.
type job struct {
	Entry
	n int64
}

// list gives out the objects, and goes on where it was when S3 is away for a while.
func (s *Source) list(ctx context.Context, m *marks, jobs chan<- job) error {
	l := s.listing
	l.After = m.cursor(false).After
	for pause := l.Store.Pause(); ; {
		err := func() error {
			for e, err := range l.Objects(ctx) {
				if err != nil {
					return err
				}
				n, err := m.begin(ctx, e)
				if err != nil {
					return err
				}
				select {
				case jobs <- job{e, n}:
				case <-ctx.Done():
					return ctx.Err()
				}
				l.After = e.Key
				pause.Reset()
			}
			return nil
		}()
		if err == nil {
			m.listed()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if awsaccess.Denied(err) || awsaccess.Is(err, "NoSuchBucket") || errors.Is(err, errOrder) {
			return err
		}
		s.opt.Log.WarnContext(ctx, "the bucket cannot be listed now", "err", err)
		if err := awsaccess.Sleep(ctx, pause.NextBackOff()); err != nil {
			return err
		}
	}
}

// First returns the first object that is wanted, "" when there is none.
func (s *Source) First(ctx context.Context) (string, error) {
	for e, err := range s.listing.Objects(ctx) {
		return e.Key, err
	}
	return "", nil
}
