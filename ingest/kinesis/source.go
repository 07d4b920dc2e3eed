// Package kinesis reads a Kinesis data stream: what subscriptions of CloudWatch
// Logs put into it (flow logs, CloudTrail), what EventBridge puts there, or any
// records that ingest knows, compressed or not.
//
// One process reads all shards of a stream. A shard is read from where its
// position stands, which is moved when every record of a read is durable, and
// not before; a read that was interrupted is made again, and its records make the
// same batches, which are named after shard and sequence number. There is no
// lease between processes: a second one would deliver the same batches with the
// same ids, for nothing.
//
// When shards are split or merged, the shards that follow are begun when those
// before them are at their end, so that the records of a partition key stay in
// order. A slow sink slows reading; memory is bounded by the shards that are read
// at a time.
package kinesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/awsaccess"
)

// policy is where the permissions are that this source needs.
const policy = "deploy/iam/kinesis.json"

// Source reads one stream.
type Source struct {
	ingest.Troubles
	cfg     Config
	format  *event.FlowFormat
	log     *slog.Logger
	access  *awsaccess.Access
	client  *kinesis.Client
	cursors ingest.Cursors
	// turns are taken to read from a shard.
	turns chan *ingest.Reader

	mu     sync.Mutex
	behind map[string]time.Duration

	// What tests shorten.
	now     func() time.Time
	pause   func() backoff.BackOff // after what failed
	relist  time.Duration          // until the shards are listed again
	fastest time.Duration          // between two reads of a shard
}

// New makes a source. cursors may be nil, and then a restart begins anew; log may
// be nil.
func New(ctx context.Context, c Config, cursors ingest.Cursors, log *slog.Logger, opts ...func(*config.LoadOptions) error) (*Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	access, err := awsaccess.New(ctx, c.Config, awsaccess.Options{Connections: c.Shards, Silence: time.Minute, Load: opts})
	if err != nil {
		return nil, err
	}
	cfg, err := access.For("", c.Region)
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg: c, log: log.With("source", c.Stream), access: access, client: kinesis.NewFromConfig(cfg), cursors: cursors,
		turns: make(chan *ingest.Reader, c.Shards), behind: map[string]time.Duration{},
		now: time.Now, pause: exponential, relist: time.Minute, fastest: fastest,
	}
	if s.format, err = c.flowFormat(); err != nil {
		return nil, err
	}
	for range c.Shards {
		s.turns <- ingest.NewReader()
	}
	return s, nil
}

func exponential() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = time.Second, time.Minute
	return b
}

// Name is the stream's, without where it is.
func (s *Source) Name() string { return s.cfg.Stream[strings.LastIndexByte(s.cfg.Stream, '/')+1:] }

// Behind is how far each shard that is read is behind the tip of the stream.
func (s *Source) Behind() map[string]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.behind)
}

// begun is what is kept of a stream: from when it is read where a shard has no
// position of its own. The zero time is all of it.
type begun struct {
	Since time.Time `json:"since"`
}

// Run reads until ctx is done. It fails at once when the stream does not exist or
// may not be looked at; whatever else goes wrong passes, or ends the source when
// the sink or the store refuses.
func (s *Source) Run(ctx context.Context, sink ingest.Sink) error {
	since, err := s.begin(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	f := &follower{Source: s, sink: sink, since: since, states: map[string]state{}, ended: make(chan string)}
	if err := f.follow(ctx, g); err != nil && ctx.Err() == nil {
		// Shards that are being read end with the group.
		g.Go(func() error { return err })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// begin decides once for all from when the stream is read.
func (s *Source) begin(ctx context.Context) (time.Time, error) {
	var b begun
	found, err := s.load(ctx, s.key(), &b)
	if err != nil || found {
		return b.Since, err
	}
	if b.Since, err = s.cfg.start(s.now().UTC()); err != nil {
		return b.Since, err
	}
	return b.Since, s.save(ctx, s.key(), b)
}

// key is where the stream's own state is kept.
func (s *Source) key() string {
	if streamARN.MatchString(s.cfg.Stream) {
		return "kinesis/" + s.cfg.Stream
	}
	return "kinesis/" + s.cfg.Region + "/" + s.cfg.Stream
}

func (s *Source) load(ctx context.Context, key string, into any) (bool, error) {
	if s.cursors == nil {
		return false, nil
	}
	raw, err := s.cursors.Load(ctx, key)
	if err != nil {
		return false, fmt.Errorf("load the cursor %s: %w", key, err)
	}
	if raw == nil {
		return false, nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return false, fmt.Errorf("read the cursor %s: %w", key, err)
	}
	return true, nil
}

func (s *Source) save(ctx context.Context, key string, value any) error {
	if s.cursors == nil {
		return nil
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := s.cursors.Save(ctx, key, raw); err != nil {
		return fmt.Errorf("save the cursor %s: %w", key, err)
	}
	return nil
}

// name and arn are how AWS is told which stream is meant: one of them is nil.
func (s *Source) name() *string {
	if streamARN.MatchString(s.cfg.Stream) {
		return nil
	}
	return &s.cfg.Stream
}

func (s *Source) arn() *string {
	if s.name() != nil {
		return nil
	}
	return &s.cfg.Stream
}

// shards lists all shards of the stream that still hold something.
func (s *Source) shards(ctx context.Context) (out []types.Shard, err error) {
	in := &kinesis.ListShardsInput{StreamName: s.name(), StreamARN: s.arn()}
	for {
		page, err := s.client.ListShards(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list the shards: %w", s.explain(err, "kinesis:ListShards"))
		}
		out = append(out, page.Shards...)
		if page.NextToken == nil {
			return out, nil
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken} // it stands for the stream; naming both is an error
	}
}

// explain says what a refusal of AWS's means.
func (s *Source) explain(err error, action string) error {
	switch {
	case awsaccess.Is(err, "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"):
		return fmt.Errorf("the stream is encrypted, and its key cannot be used: allow kms:Decrypt on it in the role's policy and in the key's own, and see that it is enabled: %w", err)
	case awsaccess.Is(err, "ProvisionedThroughputExceededException"):
		return fmt.Errorf("more is read from the shard than AWS allows, five reads and 2 MB a second for all readers: %w", err)
	}
	return s.access.Explain(err, action, s.cfg.Stream, policy)
}

// gone reports whether there is no such stream or shard.
func gone(err error) bool { return awsaccess.Is(err, "ResourceNotFoundException") }

func text(s *string) string { return aws.ToString(s) }
