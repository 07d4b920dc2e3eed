package lookup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/awsaccess"
)

// restarts of one chain of pages whose token has expired.
const restarts = 3

// read delivers the events of a time, both ends included, that were not delivered
// before. It returns how many pages there were.
func (l *poller) read(ctx context.Context, from, to time.Time) (pages int, err error) {
	in := &cloudtrail.LookupEventsInput{StartTime: &from, EndTime: &to, MaxResults: aws.Int32(50)}
	if l.category == insight {
		in.EventCategory = types.EventCategoryInsight
	}
	for began := 0; ; pages++ {
		token := aws.ToString(in.NextToken)
		err := l.page(ctx, in)
		switch {
		case err == nil && in.NextToken == nil:
			return pages + 1, nil
		case err == nil && aws.ToString(in.NextToken) == token:
			return pages, fmt.Errorf("look up events of account %s in %s: AWS gives the same page token again", l.place.Account.ID, l.place.Region)
		case awsaccess.Is(err, "InvalidNextTokenException", "InvalidNextToken") && token != "" && began < restarts:
			began++
			in.NextToken = nil // from the newest again; what was delivered is known
		case err != nil:
			return pages, err
		}
	}
}

// page reads one page, delivers what is new of it, and leaves the token of the
// next one in the request. It takes a worker's turn, once AWS's limit lets it.
func (l *poller) page(ctx context.Context, in *cloudtrail.LookupEventsInput) error {
	ctx, err := l.limits.Await(ctx, l.place)
	if err != nil {
		return err
	}
	var reader *ingest.Reader
	select {
	case reader = <-l.turns:
		defer func() { l.turns <- reader }()
	case <-ctx.Done():
		return ctx.Err()
	}
	out, err := l.client.LookupEvents(ctx, in)
	if err != nil {
		return l.explain(err)
	}
	before := len(l.book.seen)
	for i := range out.Events {
		if err := l.deliver(ctx, reader, &out.Events[i], *in.EndTime); err != nil {
			return &finalError{err}
		}
	}
	in.NextToken = out.NextToken
	if len(l.book.seen) == before {
		return nil
	}
	return l.save(l.book.savePage(ctx))
}

// deliver hands on one event, unless it was delivered before.
func (l *poller) deliver(ctx context.Context, reader *ingest.Reader, e *types.Event, otherwise time.Time) error {
	id, raw, at := aws.ToString(e.EventId), aws.ToString(e.CloudTrailEvent), otherwise
	if id == "" {
		id = "sha256-" + event.Hash(raw)
	}
	if e.EventTime != nil {
		at = e.EventTime.UTC()
	}
	m := mark(id)
	if _, ok := l.book.seen[m]; ok {
		return nil
	}
	o := ingest.Object{
		Source: "lookup", Name: l.place.String() + "/" + id, Identity: event.Hash("lookup", l.place.Account.ID, l.place.Region, l.category, id), Ingested: l.now().UTC(),
	}
	stats, err := reader.Read(ctx, o, strings.NewReader(raw), l.sink)
	var refused *ingest.DeliveryError
	if errors.As(err, &refused) || ctx.Err() != nil {
		return err
	}
	if stats.Events+stats.Broken == 0 && l.sink.Broken != nil {
		reason := "CloudTrailEvent holds no record"
		if err != nil {
			reason += ": " + err.Error()
		}
		b := ingest.Broken{Origin: event.Origin{Source: o.Source, Object: o.Name}, Kind: event.CloudTrail, Reason: reason, Raw: []byte(raw[:min(len(raw), 64<<10)])}
		if err := l.sink.Broken(ctx, b); err != nil {
			return err
		}
	}
	l.book.delivered(m, at)
	return nil
}
