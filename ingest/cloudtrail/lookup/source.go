// Package lookup asks CloudTrail's LookupEvents for the management events of
// accounts that have no trail, and for Insights events where that is wanted.
//
// Each account and region is asked again and again for what is new. CloudTrail
// shows events minutes late and in no order, so that each time a span of the past
// (the overlap) is read again, and what was delivered before is passed over: the
// ids of what lies within it are kept. What is older is read once, a slice of time
// after the other, beside what is new; a crash costs the reading of a page.
//
// An event is delivered as a batch of its own, named after its id. Pages are not
// the same twice, since late events shift them; batches of pages would not be
// either, and one would hide another.
//
// One process looks up an account and region: the position, kept through
// ingest.Cursors, is one, and so is AWS's limit of two requests a second. That is
// about 100 events a second; an account that has more needs a trail.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/accounts"
	"riposte/internal/awsaccess"
)

// policy is where the permission is that this source needs in each account.
const policy = "deploy/iam/lookup.json"

// Source looks up the events of all its accounts and regions.
type Source struct {
	ingest.Troubles
	cfg       Config
	log       *slog.Logger
	directory *accounts.Directory
	limits    *Limits
	cursors   ingest.Cursors
	// turns are taken to ask for a page: as many as there are workers.
	turns chan *ingest.Reader

	// What tests shorten or move.
	now   func() time.Time
	pause func() backoff.BackOff // after what failed
	again time.Duration          // until accounts and regions are found again
}

// New makes a source. Share limits among all that call LookupEvents; cursors may
// be nil, and then a restart begins anew. log may be nil.
func New(ctx context.Context, c Config, limits *Limits, cursors ingest.Cursors, log *slog.Logger, opts ...func(*config.LoadOptions) error) (*Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	directory, err := accounts.New(ctx, c.Config, awsaccess.Options{Connections: c.Workers, Silence: time.Minute, Load: opts})
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg: c, log: log.With("source", "lookup"), directory: directory, limits: limits, cursors: cursors,
		turns: make(chan *ingest.Reader, c.Workers), now: time.Now, pause: patient, again: accounts.Fresh,
	}
	for range c.Workers {
		s.turns <- ingest.NewReader()
	}
	return s, nil
}

// patient grows from a second to five minutes: what AWS refuses now it may refuse
// for hours.
func patient() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = time.Second, 5*time.Minute
	return b
}

// categories are what is looked up in each place.
func (s *Source) categories() []string {
	if s.cfg.Insights {
		return []string{management, insight}
	}
	return []string{management}
}

// Run looks up until ctx is done, or, with Until, until all up to there is
// delivered. Accounts that join the organization are taken in, and those that
// leave it left, within the hour. What fails in one place is said and tried
// again; only the sink's and the store's refusals end the source.
func (s *Source) Run(ctx context.Context, sink ingest.Sink) error {
	running := map[string]context.CancelFunc{}
	g, ctx := errgroup.WithContext(ctx)
	warned := false
	for pause := s.pause(); ; {
		places, err := s.directory.Places(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			s.Fail("accounts", s.now(), err)
			s.log.ErrorContext(ctx, "accounts or regions not found: what is known is looked up", "known", len(places), "err", err)
		}
		if !warned && len(places) > 0 {
			warned = true
			s.greet(ctx, places)
		}
		s.follow(ctx, g, sink, places, running, err == nil)
		if s.cfg.Ends() && err == nil {
			break // who joins later is of no concern
		}
		wait := s.again
		if err != nil {
			wait = min(wait, pause.NextBackOff())
		} else {
			pause.Reset()
			s.Gone("accounts") // they speak for themselves
		}
		if awsaccess.Sleep(ctx, wait) != nil {
			break
		}
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// greet says what is looked up, and what is missed.
func (s *Source) greet(ctx context.Context, places []accounts.Place) {
	s.log.InfoContext(ctx, "looking up", "places", len(places), "every", s.cfg.Every.String(), "role", s.cfg.Role)
	home := map[string]string{"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}[event.Partition(places[0].Region)]
	if home != "" && !slices.ContainsFunc(places, func(p accounts.Place) bool { return p.Region == home }) {
		s.log.WarnContext(ctx, "the home region of global services is not looked up: nothing that IAM, STS's global endpoint, Organizations or the root user do is seen", "region", home)
	}
}

// follow starts to look up places that are new, and ends it for those that are
// gone, if all are known.
func (s *Source) follow(ctx context.Context, g *errgroup.Group, sink ingest.Sink, places []accounts.Place, running map[string]context.CancelFunc, all bool) {
	here := map[string]bool{}
	for _, p := range places {
		here[p.String()] = true
		if running[p.String()] != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		running[p.String()] = cancel
		for _, category := range s.categories() {
			g.Go(func() error {
				err := s.place(own, p, category, sink)
				if own.Err() != nil && ctx.Err() == nil {
					return nil // the account left
				}
				return err
			})
		}
	}
	for name, cancel := range running {
		if all && !here[name] {
			s.log.InfoContext(ctx, "no longer looked up", "place", name)
			cancel()
			delete(running, name)
		}
	}
}

// place looks up one category of one place, until ctx is done or all is delivered.
func (s *Source) place(ctx context.Context, p accounts.Place, category string, sink ingest.Sink) error {
	log := s.log.With("account", p.Account.ID, "region", p.Region)
	if category != management {
		log = log.With("category", category)
	}
	part := p.String() + "/" + category
	defer s.Gone(part)
	books, err := openBook(ctx, s.cursors, "lookup/"+p.String()+"/"+category)
	if err != nil {
		return err
	}
	l := &poller{Source: s, place: p, category: category, log: log, sink: sink, book: books}
	for pause := s.pause(); ; {
		err := l.connect(ctx)
		if err == nil {
			if err = l.run(ctx, pause); err == nil {
				return nil
			}
		}
		var final *finalError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &final):
			return final.err
		}
		s.Fail(part, s.now(), err)
		wait := pause.NextBackOff()
		log.ErrorContext(ctx, "events cannot be looked up", "again_in", wait.Round(time.Second).String(), "err", err)
		if err := awsaccess.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// finalError ends the source: the sink or the store refuses.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }

// connect makes the client, once the credentials are known to be of the account.
func (l *poller) connect(ctx context.Context) error {
	if l.client != nil {
		return nil
	}
	if err := l.directory.Check(ctx, l.place.Account.ID); err != nil {
		return err
	}
	cfg, err := l.directory.For(l.place.Account.ID, l.place.Region)
	if err != nil {
		return err
	}
	l.client = cloudtrail.NewFromConfig(cfg, l.limits.Apply(l.place))
	return nil
}

// explain says what a refusal of AWS's means in this place.
func (l *poller) explain(err error) error {
	where := fmt.Sprintf("look up events of account %s in %s", l.place.Account.ID, l.place.Region)
	access := l.directory.Access(l.place.Account.ID)
	switch {
	case awsaccess.Is(err, "OptInRequired", "UnrecognizedClientException", "InvalidClientTokenId", "RegionDisabledException") && !awsaccess.Assuming(err):
		return fmt.Errorf("%s: AWS does not know the credentials there: the region may not be enabled in the account; name regions, or enable it: %w", where, err)
	case awsaccess.Is(err, "ThrottlingException", "Throttling", "TooManyRequestsException"):
		return fmt.Errorf("%s: throttled again and again: something else uses up the %d requests a second that the account has in the region: %w", where, perSecond, err)
	case awsaccess.Is(err, "ExpiredToken", "ExpiredTokenException", "RequestExpired"):
		return fmt.Errorf("%s: the credentials have expired and no newer ones are found: sign in again, or give riposte a role: %w", where, err)
	}
	return fmt.Errorf("%s: %w", where, access.Explain(err, "cloudtrail:LookupEvents", "* in account "+l.place.Account.ID, policy))
}
