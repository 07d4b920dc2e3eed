// Package integrity verifies CloudTrail's digest files as they arrive in a
// bucket, all accounts and regions of it, and the log files that they name. What
// is altered, missing, unsigned or in no digest is a finding, with the identity
// that `riposte trail verify` gives it; so is an account and region whose digests
// stop coming.
//
// How far each account and region is verified is kept in a cursor, which moves
// only when the findings are durable. What S3 refuses or does not have yet is
// asked for again; docs/trail-integrity.md says for how long.
package integrity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"riposte/ingest"
	"riposte/ingest/cloudtrail/digest"
	"riposte/internal/awsaccess"
)

// Source verifies the trails of one bucket.
type Source struct {
	ingest.Troubles
	cfg     Config
	log     *slog.Logger
	access  *awsaccess.Access
	s3      *s3.Client
	bucket  *digest.Bucket // found by Run
	keys    *digest.Keyring
	cursors ingest.Cursors

	// Proven, when set before Run, hears up to when the digests of an account and
	// region prove that its trail, an ARN, was logging, though it may have had
	// nothing to log.
	Proven func(account, region, trail string, until time.Time)

	places     map[digest.Place]*account
	discovered time.Time

	mu      sync.Mutex
	arrived []string // keys, told by Arrived
	wake    chan struct{}
}

// account is one account and region.
type account struct {
	digest.Place
	progress digest.Progress
	loaded   bool
	next     time.Time // when it is looked at
	failures int
}

// New makes a source. log may be nil; opts are for tests.
func New(ctx context.Context, c Config, cursors ingest.Cursors, log *slog.Logger, opts awsaccess.Options) (*Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts.Adaptive, opts.Connections, opts.Silence = true, 2*c.Workers, time.Minute
	access, err := awsaccess.New(ctx, c.Config, opts)
	if err != nil {
		return nil, err
	}
	cfg, err := access.For("", "")
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: c, log: log.With("source", c.Address), access: access, s3: awsaccess.S3(cfg), cursors: cursors,
		places: map[digest.Place]*account{}, wake: make(chan struct{}, 1)}
	if len(c.Keys) == 0 {
		s.keys = digest.NewKeyring(digest.AWSKeys{Client: cloudtrail.NewFromConfig(cfg)})
		return s, nil
	}
	var keys digest.FixedKeys
	for _, name := range c.Keys {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		some, err := digest.ReadKeys(content)
		if err != nil {
			return nil, fmt.Errorf("keys: %s: %w", name, err)
		}
		keys = append(keys, some...)
	}
	s.keys = digest.NewKeyring(keys)
	return s, nil
}

// Arrived tells that an object was put into a bucket, so that a digest is looked
// at without waiting for the next poll. It never blocks, and takes any key.
func (s *Source) Arrived(bucket, key string) {
	ours, _, _ := strings.Cut(strings.TrimPrefix(s.cfg.Address, "s3://"), "/")
	if bucket != ours || !strings.Contains(key, "/CloudTrail-Digest/") {
		return
	}
	s.mu.Lock()
	if len(s.arrived) < 100_000 { // a poll finds the others
		s.arrived = append(s.arrived, key)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run verifies until ctx is done. It fails at once when the bucket does not exist
// or may not be looked at; whatever else goes wrong passes or is a finding.
func (s *Source) Run(ctx context.Context, sink ingest.Sink) error {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := s.look(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if awsaccess.Denied(err) || awsaccess.Is(err, "NoSuchBucket") {
			return s.access.Explain(err, "s3:GetBucketLocation", s.cfg.Address, "deploy/iam/trail.json")
		}
		s.Fail("bucket", time.Now(), err)
		s.log.WarnContext(ctx, "the bucket cannot be reached", "err", err)
		if awsaccess.Sleep(ctx, wait) != nil {
			return nil
		}
	}
	s.Gone("bucket")
	for {
		now := time.Now()
		next, err := s.round(ctx, sink, now)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.Fail("round", now, err)
			s.log.ErrorContext(ctx, "trails not verified, once more later", "err", err)
		}
		if err == nil {
			s.Gone("round") // the accounts speak for themselves
		}
		timer := time.NewTimer(max(next.Sub(now), time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
	}
}

// look finds the bucket's region.
func (s *Source) look(ctx context.Context) error {
	b, err := digest.NewBucket(ctx, s.s3, s.cfg.Address)
	if err != nil {
		return err
	}
	s.bucket = b
	return nil
}

// explain says which permission is missing, where that is what is wrong.
func (s *Source) explain(err error) error {
	action, resource := "s3:ListBucket", "arn:aws:s3:::"+s.bucket.Name()
	switch {
	case errors.Is(err, context.Canceled) || !awsaccess.Denied(err):
		return err
	case strings.Contains(err.Error(), "ListPublicKeys"):
		action, resource = "cloudtrail:ListPublicKeys", "*"
	case strings.Contains(err.Error(), "kms:Decrypt"):
		action, resource = "kms:Decrypt", "the key of the bucket"
	case strings.Contains(err.Error(), "GetObject") || strings.Contains(err.Error(), "HeadObject"):
		action, resource = "s3:GetObject", resource+"/*"
	}
	return s.access.Explain(err, action, resource, "deploy/iam/trail.json")
}
