package lookup

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/time/rate"

	"riposte/ingest/accounts"
)

// perSecond is how many requests of LookupEvents AWS answers, for an account and
// region, whoever makes them.
const perSecond = 2

// Limits keep everything in a process that calls LookupEvents below what AWS
// allows together. Share one among all that call it.
type Limits struct {
	mu   sync.Mutex
	each rate.Limit
	made map[string]*rate.Limiter
}

// NewLimits makes limits as AWS has them.
func NewLimits() *Limits { return &Limits{each: perSecond, made: map[string]*rate.Limiter{}} }

// of is the limiter of a place. It lets no burst through: AWS's bucket may have
// been emptied by somebody else.
func (l *Limits) of(p accounts.Place) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.made[p.String()]
	if r == nil {
		r = rate.NewLimiter(l.each, 1)
		l.made[p.String()] = r
	}
	return r
}

// paid is in the context of a call whose first request has waited already.
type paid struct{}

// Await waits for the turn of a request, and returns the context for the call that
// makes it. Whoever takes something scarce for the call takes it afterwards.
func (l *Limits) Await(ctx context.Context, p accounts.Place) (context.Context, error) {
	if err := l.of(p).Wait(ctx); err != nil {
		return ctx, err
	}
	return context.WithValue(ctx, paid{}, new(atomic.Bool)), nil
}

// Apply makes every request of a client wait for its turn, the SDK's own retries
// among them, unless it was awaited.
func (l *Limits) Apply(p accounts.Place) func(*cloudtrail.Options) {
	limiter := l.of(p)
	wait := middleware.FinalizeMiddlewareFunc("LookupEventsLimit", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if used, ok := ctx.Value(paid{}).(*atomic.Bool); ok && used.CompareAndSwap(false, true) {
			return next.HandleFinalize(ctx, in)
		}
		if err := limiter.Wait(ctx); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, err
		}
		return next.HandleFinalize(ctx, in)
	})
	return func(o *cloudtrail.Options) {
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error { return s.Finalize.Insert(wait, "Retry", middleware.After) })
	}
}
