package s3object

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/cenkalti/backoff/v5"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/awsaccess"
)

// Stall is how long S3 may send nothing.
const Stall = time.Minute

// What a Meter counts here.
const (
	Objects = "objects" // read to their end
	Bytes   = "bytes"   // of their bodies, as stored
	Retries = "retries" // tries after the first
	Poisons = "poisons" // objects that can never be read
)

// Meter counts what is done, by one of the names above.
type Meter interface {
	Count(ctx context.Context, what string, n int64)
}

// Options are how objects are read.
type Options struct {
	// Source is what events and dead letters call where they come from.
	Source string
	// Limit bounds an object's bytes uncompressed; LimitKey is what raises it.
	Limit    int64
	LimitKey string
	// FlowFormat names the columns of flow logs that have no header; nil guesses.
	FlowFormat *event.FlowFormat
	// SkipHint says how such keys are left out that hold no telemetry.
	SkipHint string
	// Policy is the file of the permissions that are wanted.
	Policy string
	// Mapping is that of the log whose JSON records the objects hold; nil
	// recognises AWS's telemetry.
	Mapping *event.Mapping
	// Log and Meter may be nil.
	Log   *slog.Logger
	Meter Meter
	// Pause is between the tries; nil grows from half a second to 30.
	Pause func() backoff.BackOff
}

// Store is S3 as one role sees it. It is safe for use by many.
type Store struct {
	Options
	access *awsaccess.Access
	s3     *s3.Client
	// regions are those of buckets that lie elsewhere than was thought.
	regions sync.Map
}

// New makes a store; cfg is of the role that reads.
func New(access *awsaccess.Access, cfg aws.Config, o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Pause == nil {
		o.Pause = Exponential
	}
	return &Store{Options: o, access: access, s3: awsaccess.S3(cfg)}
}

// Exponential is the pause between tries of what fails for a passing reason.
func Exponential() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.MaxInterval = 30 * time.Second
	return b
}

// NewReader returns a reader for one goroutine.
func (s *Store) NewReader() *Reader { return s.ReaderWith(ingest.NewReader()) }

// ReaderWith returns a reader that uses the buffers of another.
func (s *Store) ReaderWith(r *ingest.Reader) *Reader { return &Reader{Store: s, reader: r} }

func (s *Store) count(ctx context.Context, what string, n int64) {
	if s.Meter != nil && n != 0 {
		s.Meter.Count(ctx, what, n)
	}
}

// Call calls S3 about a bucket, in the bucket's region, which S3 tells where it
// is wrong. region may be "".
func (s *Store) Call(bucket, region string, do func(c *s3.Client, within func(*s3.Options)) error) error {
	if known, ok := s.regions.Load(bucket); ok {
		region = known.(string)
	}
	within := func(opt *s3.Options) {
		if region != "" {
			opt.Region = region
		}
	}
	err := do(s.s3, within)
	if is := elsewhere(err); is != "" && is != region {
		s.regions.Store(bucket, is)
		region = is
		return do(s.s3, within)
	}
	return err
}

// elsewhere is the region that S3 says the bucket is in, "" when it says none.
func elsewhere(err error) string {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return ""
	}
	is := answer.Response.Header.Get("X-Amz-Bucket-Region")
	if awsaccess.IsRegion(is) && (awsaccess.Is(err, "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException") || answer.HTTPStatusCode() == 301) {
		return is
	}
	return ""
}

// get asks for an object.
func (s *Store) get(ctx context.Context, o Object) (out *s3.GetObjectOutput, err error) {
	in := &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key}
	if o.Version != "" {
		in.VersionId = &o.Version
	}
	err = s.Call(o.Bucket, o.Region, func(c *s3.Client, within func(*s3.Options)) error {
		out, err = c.GetObject(ctx, in, within)
		return err
	})
	return out, err
}

// missing reports whether there is no such object.
func missing(err error) bool {
	return awsaccess.Is(err, "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "NotFound", "MethodNotAllowed")
}

// keyARN finds the key in KMS's refusal.
var keyARN = regexp.MustCompile(`arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+`)

// explain says which permission is missing: an object may be refused by its key
// too, or only seem to be refused.
func (s *Store) explain(err error, o Object) error {
	action := "s3:GetObject"
	if o.Version != "" {
		action = "s3:GetObjectVersion"
	}
	text := err.Error()
	switch {
	case awsaccess.Assuming(err):
		return fmt.Errorf("read %s: %w", o, s.access.Explain(err, action, "", s.Policy))
	case strings.Contains(text, "kms:Decrypt") || strings.HasPrefix(awsaccess.Code(err), "KMS"):
		key := keyARN.FindString(text)
		if key == "" {
			key = "the key that the object is encrypted with"
		}
		return fmt.Errorf("read %s: kms:Decrypt is not possible: allow it on %s in the role's policy and in the key's own, and see that the key is enabled: %w", o, key, err)
	}
	return fmt.Errorf("read %s: %s is not allowed: allow it on arn:aws:s3:::%s/*, see %s; where s3:ListBucket is not allowed, S3 says the same of an object that is gone: %w", o, action, o.Bucket, s.Policy, err)
}

// ExplainBucket says of a call about a bucket that was refused which permission
// is missing, and of a bucket that is not there that it is not.
func (s *Store) ExplainBucket(err error, action, bucket string) error {
	if awsaccess.Is(err, "NoSuchBucket") {
		return fmt.Errorf("there is no bucket %s: check its name: %w", bucket, err)
	}
	return s.access.Explain(err, action, "arn:aws:s3:::"+bucket, s.Policy)
}
