// Package s3sqs reads the objects that a queue tells of: CloudTrail log files,
// flow logs, Config snapshots and history, as AWS writes them to S3 and says so
// through S3 event notifications, SNS, EventBridge or CloudTrail's own messages.
//
// A message is deleted when every record of every object that it names is
// durable, and not before. What fails for a passing reason (a throttle, a broken
// connection, a missing permission, a sink that refuses) leaves the message in
// the queue: it becomes visible again after a rest, and the queue's own redrive
// policy decides how often. What can never be read (a corrupt or oversized
// object, one that is gone, a message that nobody understands) goes to the
// sink's Broken with its place and reason, and the rest of the message goes on.
//
// Batches are named after bucket, key and version (or ETag): the same object,
// notified twice, by whatever road, makes the same batches with the same ids.
//
// Each receiver works on one object at a time and asks for more when it is done,
// so that a slow sink slows receiving; the visibility of what it holds is
// extended meanwhile. Objects stream: memory is bounded by the number of
// receivers, whatever the objects' size.
package s3sqs

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"riposte/ingest"
	"riposte/ingest/awsconfig"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

const (
	// sourceName is what events and metrics call this source.
	sourceName = "s3"
	// farewell bounds the calls that are made after the end: messages that are
	// given back or deleted.
	farewell = 10 * time.Second
)

// Source receives from one queue.
type Source struct {
	ingest.Troubles
	// Skipped, when set before Run, hears of the objects that are not read because
	// of their keys. It must not block.
	Skipped func(bucket, key string)

	cfg    Config
	log    *slog.Logger
	access *awsaccess.Access
	queue  *sqs.Client
	store  *s3object.Store
	meter  Meter
	items  *awsconfig.Fetcher
	ages   ages

	// How long things take, which tests shorten.
	extend time.Duration                    // between extensions of visibility
	rest   func(receives int) time.Duration // before a message that failed is seen again
	pause  func() backoff.BackOff           // between the tries of a call that fails
}

// New makes a source. The SDK's ambient configuration is loaded, with opts after
// its own; log and meter may be nil.
func New(ctx context.Context, c Config, log *slog.Logger, meter Meter, opts ...func(*config.LoadOptions) error) (*Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	access, err := awsaccess.New(ctx, c.Config, awsaccess.Options{
		Adaptive: true, Connections: 4 * c.Receivers, Silence: s3object.Stall, // longer than the longest poll
		Load: opts,
	})
	if err != nil {
		return nil, err
	}
	cfg, err := access.For("", "")
	if err != nil {
		return nil, err
	}
	format, err := c.flowFormat()
	if err != nil {
		return nil, err
	}
	log = log.With("source", c.Queue)
	s := &Source{
		cfg: c, log: log, access: access, queue: sqs.NewFromConfig(cfg), meter: meter,
		store: s3object.New(access, cfg, s3object.Options{
			Source: sourceName, Limit: c.MaxObjectBytes, LimitKey: "s3.max_object_bytes", Policy: policyFile, Mapping: c.Mapping, FlowFormat: format, Log: log, Meter: meter,
			SkipHint: "leave such keys out with s3.prefixes, s3.suffixes or s3.skip",
		}),
		extend: c.Visibility / 3, rest: rest, pause: s3object.Exponential,
	}
	s.items = awsconfig.New(access, s.store, awsconfig.Options{Log: log, Meter: meter})
	return s, nil
}

// rest grows with how often a message was received, from 15 seconds to 15 minutes.
func rest(receives int) time.Duration {
	return min(15*time.Minute, 15*time.Second<<min(max(receives-1, 0), 6))
}

// Run receives until ctx is done. It fails at once when the queue does not exist
// or may not be looked at; whatever else goes wrong passes or is set aside.
func (s *Source) Run(ctx context.Context, sink ingest.Sink) error {
	if err := s.look(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if sink.Expand == nil {
		sink.Expand = s.items.Expand
	}
	g, ctx := errgroup.WithContext(ctx)
	for range s.cfg.Receivers {
		g.Go(func() error {
			s.receive(ctx, &worker{Source: s, reader: s.store.NewReader(), bodies: ingest.NewReader(), sink: sink})
			return nil
		})
	}
	return g.Wait()
}

// look finds out before the start what would only show later: that the queue is
// not there, and that nothing takes what always fails.
func (s *Source) look(ctx context.Context) error {
	for pause := s.pause(); ; {
		q, err := s.Queue(ctx)
		switch {
		case err == nil:
			if q.Dead == "" {
				s.log.WarnContext(ctx, "the queue has no redrive policy: a message that always fails comes back until it expires")
			}
			s.log.InfoContext(ctx, "receiving", "receivers", s.cfg.Receivers, "role", s.cfg.Role)
			return nil
		case errors.Is(err, ErrNoQueue) || awsaccess.Denied(err):
			return err
		}
		s.Fail("queue", time.Now(), err)
		s.log.WarnContext(ctx, "the queue cannot be reached", "err", err)
		if err := awsaccess.Sleep(ctx, pause.NextBackOff()); err != nil {
			return err
		}
	}
}

// receive asks for messages and works on them, until ctx is done.
func (s *Source) receive(ctx context.Context, w *worker) {
	pause := s.pause()
	for ctx.Err() == nil {
		out, err := s.queue.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &s.cfg.Queue, MaxNumberOfMessages: 10,
			WaitTimeSeconds: int32(s.cfg.Wait / time.Second), VisibilityTimeout: int32(s.cfg.Visibility / time.Second),
			MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{
				sqstypes.MessageSystemAttributeNameApproximateReceiveCount, sqstypes.MessageSystemAttributeNameSentTimestamp,
			},
		})
		if err != nil {
			if ctx.Err() == nil {
				err = s.explain(err, "sqs:ReceiveMessage", s.cfg.Queue)
				s.Fail("queue", time.Now(), err)
				s.log.ErrorContext(ctx, "messages cannot be received", "err", err)
				_ = awsaccess.Sleep(ctx, pause.NextBackOff())
			}
			continue
		}
		pause.Reset()
		s.Well("queue")
		s.count(ctx, Receives, 1)
		s.count(ctx, Messages, int64(len(out.Messages)))
		s.ages.note(time.Now(), out.Messages)
		w.messages(ctx, out.Messages)
	}
}
