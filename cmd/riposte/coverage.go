package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/accounts"
	"riposte/ingest/coverage"
	"riposte/internal/awsaccess"
	"riposte/internal/store"
)

// CoverageConfig says which telemetry is expected, of which accounts.
type CoverageConfig struct {
	coverage.Config `yaml:",inline"`
	// Accounts are expected to deliver telemetry.
	Accounts []string `yaml:"accounts"`
	// Organization expects it of every active account of the organization, found
	// again every hour.
	Organization bool `yaml:"organization"`
	// OrganizationRole is assumed to list the accounts, in the management account or
	// a delegated administrator's; empty asks with the ambient credentials.
	OrganizationRole string `yaml:"organization_role"`
	// Exclude are accounts of which nothing is expected.
	Exclude []string `yaml:"exclude"`
}

// Validate says all that is wrong at once.
func (c CoverageConfig) Validate() error {
	errs := []error{c.Config.Validate()}
	if len(c.Accounts) > 0 || c.Organization {
		a := c.accounts()
		a.Role = "arn:aws:iam::{account}:role/unused" // accounts are listed, not entered
		errs = append(errs, a.Validate("coverage"))
	} else if c.OrganizationRole != "" || len(c.Exclude) > 0 {
		errs = append(errs, errors.New("coverage.organization_role and exclude are of an organization: want organization: true"))
	}
	return errors.Join(errs...)
}

func (c CoverageConfig) accounts() accounts.Config {
	return accounts.Config{Accounts: c.Accounts, Organization: c.Organization, OrganizationRole: c.OrganizationRole, Exclude: c.Exclude}
}

const (
	// saveEvery is how often what was seen of telemetry is stored; a crash loses as
	// much of it, and no event.
	saveEvery = 10 * time.Second
	// stuck is how long the bus may take nothing before silence may be our own.
	stuck = 30 * time.Second
	// failing is how long a source may have trouble before it is a finding.
	failing = 10 * time.Minute
	// expectedKey is under which what is expected is stored, for whoever looks.
	expectedKey = "expected"
)

// lookout keeps what is known of telemetry, and finds what is missing of it.
type lookout struct {
	*pipeline
	tracker *coverage.Tracker
	// tell makes findings durable.
	tell func(context.Context, []event.Finding) error
	// directory finds the accounts; nil when none are expected.
	directory *accounts.Directory
	known     []string // accounts, as they were found last

	waiting atomic.Int64 // batches that the bus has not taken yet
	taken   atomic.Int64 // when it took one last, Unix seconds

	failed map[string]time.Time // sources whose failing was told of, by since when

	mu    sync.Mutex
	parts []coverage.Part // as they were judged last, for metrics
}

func newLookout(ctx context.Context, p *pipeline) (*lookout, error) {
	l := &lookout{pipeline: p, tracker: coverage.NewTracker(), failed: map[string]time.Time{}}
	l.tell = l.publishNow
	if c := p.cfg.Coverage; len(c.Accounts) > 0 || c.Organization {
		var err error
		if l.directory, err = accounts.New(ctx, c.accounts(), awsaccess.Options{Connections: 1, Silence: time.Minute}); err != nil {
			return nil, fmt.Errorf("coverage: %w", err)
		}
	}
	return l, l.measure()
}

// watch is emit, seen: what became durable is taken note of.
func (l *lookout) watch(emit ingest.Emit) ingest.Emit {
	return func(ctx context.Context, b ingest.Batch) error {
		l.waiting.Add(1)
		defer l.waiting.Add(-1)
		if err := emit(ctx, b); err != nil {
			return err
		}
		l.taken.Store(time.Now().Unix())
		l.tracker.Observe(b.Events)
		return nil
	}
}

// run stores what was seen and judges it, until ctx is done.
func (l *lookout) run(ctx context.Context) error {
	save, judge := time.NewTicker(saveEvery), time.NewTicker(l.cfg.Coverage.Every)
	defer save.Stop()
	defer judge.Stop()
	complain := func(err error) {
		if err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "coverage not kept", "err", err)
		}
	}
	_, err := l.expect(ctx) // so that whoever looks knows it at once
	complain(err)
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return l.save(ctx)
		case <-save.C:
			complain(l.save(ctx))
		case <-judge.C:
			complain(l.save(ctx))
			complain(l.turn(ctx, time.Now().UTC()))
		}
	}
}

// save adds what was seen to what all processes know.
func (l *lookout) save(ctx context.Context) error {
	news := l.tracker.Take(time.Now().Unix())
	for source, n := range news.Future {
		l.tel.Future(ctx, source, int64(n))
	}
	if news.LeftOut > 0 {
		l.log.WarnContext(ctx, "telemetry of too many accounts to keep all in sight", "events", news.LeftOut)
	}
	shards := map[string][]*coverage.Stream{}
	for _, s := range news.Streams {
		key := coverage.ShardOf(s.Key)
		shards[key] = append(shards[key], s)
	}
	var errs []error
	for key, streams := range shards {
		err := upsert(ctx, l.state.coverage, key, func(old []byte) ([]byte, error) { return coverage.MergeShard(old, streams) })
		if err != nil {
			l.tracker.Return(streams)
			errs = append(errs, fmt.Errorf("keep what is known of telemetry: %w", err))
		}
	}
	return errors.Join(errs...)
}

// turn judges, makes findings of what is worse, and notes what is over. Findings
// are durable before it is noted that they were made: made again, they are the same.
func (l *lookout) turn(ctx context.Context, now time.Time) error {
	if err := l.failures(ctx, now); err != nil {
		return err
	}
	want, err := l.expect(ctx)
	if err != nil {
		return err
	}
	// What was begun is ended, so that a finding is not forgotten by a shutdown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var told []coverage.Trouble
	err = upsert(ctx, l.state.coverage, coverage.BookKey, func(old []byte) ([]byte, error) {
		book, err := parseBook(old)
		if err != nil {
			return nil, err
		}
		streams, err := readStreams(ctx, l.state.coverage)
		if err != nil {
			return nil, err
		}
		parts := coverage.Judge(streams, want, book.Silences(), now)
		l.mu.Lock()
		l.parts = parts
		l.mu.Unlock()
		next, findings, over := book.Turn(parts, want.Config, now, l.hold(now))
		if err := l.tell(ctx, findings); err != nil {
			return nil, err
		}
		told = over
		return json.Marshal(next)
	})
	if err != nil {
		return err
	}
	for i := range told {
		l.tel.Recovered(ctx, string(told[i].Part.State))
		l.log.InfoContext(ctx, "telemetry recovered", "what", told[i].Tell(), "account", told[i].Part.Account, "finding", told[i].Finding)
	}
	return nil
}

// publishNow makes findings durable that nothing was read for.
func (l *lookout) publishNow(ctx context.Context, findings []event.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	made := make([]time.Time, len(findings))
	for i := range made {
		made[i] = time.Now()
	}
	return l.publish(ctx, findings, made)
}

// hold reports whether silence may be our own: this process began just now, a
// source is failing, or the bus takes nothing.
func (l *lookout) hold(now time.Time) bool {
	return now.Sub(l.started) < l.cfg.Coverage.Grace || len(l.failed) > 0 ||
		l.waiting.Load() > 0 && now.Sub(time.Unix(l.taken.Load(), 0)) > stuck
}

// troubled is a source that can say since when it cannot read, and why.
type troubled interface {
	Trouble() (since time.Time, err error)
}

// failures makes findings of sources that have not read for long.
func (l *lookout) failures(ctx context.Context, now time.Time) error {
	for i, s := range l.sources {
		t, ok := s.(troubled)
		if !ok {
			continue
		}
		name := fmt.Sprint("source ", i)
		if i < len(l.sourceNames) {
			name = l.sourceNames[i]
		}
		since, err := t.Trouble()
		switch {
		case err == nil:
			if _, was := l.failed[name]; was {
				l.log.InfoContext(ctx, "source reads again", "source", name)
				delete(l.failed, name)
			}
		case now.Sub(since) >= failing && !l.failed[name].Equal(since):
			if err := l.tell(ctx, []event.Finding{coverage.SourceFailing(name, err.Error(), since)}); err != nil {
				return err
			}
			l.failed[name] = since
		}
	}
	return nil
}

// expect finds the accounts, and stores what is expected for whoever looks.
func (l *lookout) expect(ctx context.Context) (coverage.Expected, error) {
	if l.directory != nil {
		all, err := l.directory.Accounts(ctx)
		if err != nil {
			l.log.WarnContext(ctx, "accounts not listed, those known before are expected", "err", err)
		}
		if len(all) > 0 {
			l.known = l.known[:0]
			for _, a := range all {
				l.known = append(l.known, a.ID)
			}
		}
	}
	want := coverage.Expected{Config: l.cfg.Coverage.Config, Accounts: slices.Clone(l.known)}
	value, err := json.Marshal(want)
	if err != nil {
		return want, err
	}
	if old, _, err := l.state.coverage.Get(ctx, expectedKey); err == nil && string(old) == string(value) {
		return want, nil
	}
	return want, upsert(ctx, l.state.coverage, expectedKey, func([]byte) ([]byte, error) { return value, nil })
}

func parseBook(b []byte) (*coverage.Book, error) {
	var book coverage.Book
	if b == nil {
		return &book, nil
	}
	if err := json.Unmarshal(b, &book); err != nil {
		return nil, fmt.Errorf("read what was told of telemetry: %w", err)
	}
	return &book, nil
}

// readStreams reads what all processes know.
func readStreams(ctx context.Context, t store.Table) ([]*coverage.Stream, error) {
	keys, err := t.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list what is known of telemetry: %w", err)
	}
	var out []*coverage.Stream
	for _, key := range keys {
		if !coverage.IsShard(key) {
			continue
		}
		b, _, err := t.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what is known of telemetry: %w", err)
		}
		streams, _, err := coverage.ReadShard(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out = append(out, streams...)
	}
	return out, nil
}

// readCoverage judges what is stored at a time, as the daemon would. given is
// what is expected; nil takes what the daemon said.
func readCoverage(ctx context.Context, t store.Table, given *coverage.Expected, now time.Time) ([]coverage.Part, error) {
	streams, err := readStreams(ctx, t)
	if err != nil {
		return nil, err
	}
	want := coverage.Expected{Config: coverage.DefaultConfig()}
	switch b, _, err := t.Get(ctx, expectedKey); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("read which telemetry is expected: %w", err)
	default:
		if err := json.Unmarshal(b, &want); err != nil {
			return nil, fmt.Errorf("read which telemetry is expected: %w", err)
		}
	}
	if given != nil {
		found := want.Accounts // an organization's, which only the daemon lists
		want = *given
		if len(want.Accounts) == 0 {
			want.Accounts = found
		}
	}
	b, _, err := t.Get(ctx, coverage.BookKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read what was told of telemetry: %w", err)
	}
	book, err := parseBook(b)
	if err != nil {
		return nil, err
	}
	return coverage.Judge(streams, want, book.Silences(), now), nil
}
