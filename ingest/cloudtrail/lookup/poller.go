package lookup

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/cenkalti/backoff/v5"

	"riposte/ingest"
	"riposte/ingest/accounts"
	"riposte/internal/awsaccess"
)

// The categories of events.
const (
	management = "management"
	insight    = "insight"
)

// How much of a backlog is read at a time: less where there is much.
const (
	firstSlice    = time.Hour
	shortestSlice = time.Minute
	longestSlice  = 24 * time.Hour
	fewPages      = 2
	manyPages     = 20
)

// poller looks up one category of one place.
type poller struct {
	*Source
	place    accounts.Place
	category string
	log      *slog.Logger
	sink     ingest.Sink
	book     *book
	client   *cloudtrail.Client
}

// run asks for what is new whenever it is time, and for what is old in between.
// It returns nil when all up to Until is delivered.
func (l *poller) run(ctx context.Context, pause backoff.BackOff) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	for {
		start := l.now()
		if err := l.recent(ctx); err != nil {
			return err
		}
		pause.Reset()
		l.Well(l.place.String() + "/" + l.category)
		// At least one slice each time, so that the old comes to its end however
		// much there is that is new.
		for len(l.book.at.Backlog) > 0 {
			if err := l.older(ctx); err != nil {
				return err
			}
			if l.now().Sub(start) >= l.cfg.Every {
				break
			}
		}
		if l.done() {
			return nil
		}
		if len(l.book.at.Backlog) > 0 {
			continue
		}
		if err := awsaccess.Sleep(ctx, l.cfg.Every-l.now().Sub(start)); err != nil {
			return err
		}
	}
}

// done reports whether all that was asked for is delivered.
func (l *poller) done() bool {
	until := l.cfg.until()
	return !until.IsZero() && len(l.book.at.Backlog) == 0 && !l.book.at.Settled.Before(until)
}

// begin decides what is new and what is old: at the first start, and after riposte
// was away for longer than is read again each time.
func (l *poller) begin(ctx context.Context) error {
	at := &l.book.at
	now := l.now().UTC().Truncate(time.Second)
	recent := now.Add(-l.cfg.Overlap)
	if !l.book.was {
		at.Settled = now.Add(-l.cfg.Since)
	}
	if gap := (span{at.Settled, recent}); recent.Sub(at.Settled) > l.cfg.Overlap && len(at.Backlog) < mostBacklog {
		at.Backlog = append(at.Backlog, gap)
		at.Settled = recent
		l.log.InfoContext(ctx, "catching up", "from", gap.From.Format(time.RFC3339), "to", gap.To.Format(time.RFC3339))
	}
	l.clip(now)
	l.book.was = true
	return l.save(l.book.save(ctx))
}

// clip leaves out what CloudTrail has forgotten and what nobody wants.
func (l *poller) clip(now time.Time) {
	var kept []span
	oldest, until := now.Add(-oldestKept), l.cfg.until()
	for _, s := range l.book.at.Backlog {
		if s.From.Before(oldest) {
			s.From = oldest
		}
		if !until.IsZero() && s.To.After(until.Add(time.Second)) {
			s.To = until.Add(time.Second)
		}
		if s.From.Before(s.To) {
			kept = append(kept, s)
		}
	}
	l.book.at.Backlog = kept
}

// oldestKept is a little less than CloudTrail keeps, so that a slice is not asked
// for that ends while it waits.
const oldestKept = kept - time.Hour

// recent reads from where all is settled to now, and settles what cannot come
// later any more.
func (l *poller) recent(ctx context.Context) error {
	now := l.now().UTC().Truncate(time.Second)
	to := now
	if until := l.cfg.until(); !until.IsZero() && until.Before(to) {
		to = until
	}
	if !l.book.at.Settled.After(to) {
		if _, err := l.read(ctx, l.book.at.Settled, to); err != nil {
			return err
		}
	}
	if settled := now.Add(-l.cfg.Overlap); settled.After(l.book.at.Settled) {
		l.book.at.Settled = settled
	}
	return l.remember(ctx)
}

// older reads the next slice of the backlog.
func (l *poller) older(ctx context.Context) error {
	at := &l.book.at
	s := &at.Backlog[0]
	if at.Slice == 0 {
		at.Slice = firstSlice
	}
	to := s.From.Add(at.Slice)
	if to.After(s.To) {
		to = s.To
	}
	pages, err := l.read(ctx, s.From, to.Add(-time.Second)) // AWS takes both ends in
	if err != nil {
		return err
	}
	switch {
	case pages <= fewPages:
		at.Slice = min(longestSlice, 2*at.Slice)
	case pages > manyPages:
		at.Slice = max(shortestSlice, (at.Slice / 2).Truncate(time.Second))
	}
	if s.From = to; !s.From.Before(s.To) {
		l.log.InfoContext(ctx, "caught up", "to", to.Format(time.RFC3339))
		at.Backlog = at.Backlog[1:]
	}
	return l.remember(ctx)
}

// remember stores the position with the memory beside it.
func (l *poller) remember(ctx context.Context) error {
	forgotten, err := l.book.saveAll(ctx)
	if forgotten > 0 {
		l.log.WarnContext(ctx, "more events than can be remembered: some may be delivered again; shorten lookup.overlap, or use a trail", "forgotten", forgotten, "remembered", mostSeen)
	}
	return l.save(err)
}

// save makes a failure of the store the source's.
func (l *poller) save(err error) error {
	if err != nil {
		return &finalError{err}
	}
	return nil
}
