package s3sqs

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// Config is one queue and how its objects are read. The endpoints are AWS's own,
// or those of AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS and AWS_ENDPOINT_URL_S3.
type Config struct {
	// Queue is the URL of the SQS queue that is told of new objects.
	Queue string `yaml:"queue"`
	// The role is assumed to receive and to read. The region is the queue's; empty
	// takes it from the queue's URL. Objects are read in the region that their
	// notification or S3 itself names.
	awsaccess.Config `yaml:",inline"`
	// Receivers work side by side, each on one object at a time: 4 by default,
	// 100 at most. Each takes some 10 MB, and up to 50 MB while records are huge.
	Receivers int `yaml:"receivers"`
	// Wait is how long an empty queue is asked in one call, 20s by default and at most.
	Wait time.Duration `yaml:"wait"`
	// Visibility is how long a message stays hidden when riposte dies while it
	// works on it, 2m by default; it is extended as long as the work goes on.
	Visibility time.Duration `yaml:"visibility"`
	// MaxObjectBytes bounds one object uncompressed, 1 GiB by default. What is
	// larger is read up to there and then goes to the dead letters.
	MaxObjectBytes int64 `yaml:"max_object_bytes"`
	// Prefixes and Suffixes are of keys: when some are given, a key needs one of them.
	Prefixes []string `yaml:"prefixes"`
	Suffixes []string `yaml:"suffixes"`
	// Skip are parts of keys that are not read: by default /CloudTrail-Digest/;
	// [] reads all.
	Skip []string `yaml:"skip"`
	// FlowFormat names the columns of flow logs without a header, such as Firehose
	// writes: the format string of the flow log, or v2, v3, v4, v5, v7 to v10, tgw.
	// Empty guesses them, with a warning; files of AWS's own have a header.
	FlowFormat    string `yaml:"flow_format"`
	ingest.Mapped `yaml:",inline"`
}

// What Config means where it is silent.
const (
	defaultReceivers      = 4
	defaultWait           = 20 * time.Second
	defaultVisibility     = 2 * time.Minute
	defaultMaxObjectBytes = 1 << 30
)

// queueRegion finds the region in a queue's URL, in its form of today and the old one.
var queueRegion = regexp.MustCompile(`^https?://(?:sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws|api\.aws|on\.aws)|([a-z0-9-]+)\.queue\.amazonaws)`)

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(c.Queue); {
	case c.Queue == "":
		bad("s3.queue is empty: want the URL of an SQS queue, such as https://sqs.eu-west-1.amazonaws.com/111122223333/riposte")
	case strings.HasPrefix(c.Queue, "arn:"):
		bad("s3.queue %q is an ARN: want the queue's URL, which `aws sqs get-queue-url` prints", c.Queue)
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") == "":
		bad("s3.queue %q: want the URL of an SQS queue, such as https://sqs.eu-west-1.amazonaws.com/111122223333/riposte", c.Queue)
	}
	if err := c.Config.Validate("s3"); err != nil {
		errs = append(errs, err)
	}
	if c.PerAccount() {
		bad("s3.role has {account} in it, and a queue is in one account: name it")
	}
	if c.Receivers < 0 || c.Receivers > 100 {
		bad("s3.receivers %d: want 1 to 100", c.Receivers)
	}
	if c.Wait < 0 || c.Wait > 20*time.Second || c.Wait%time.Second != 0 {
		bad("s3.wait %s: want whole seconds, 1s to 20s", c.Wait)
	}
	if c.Visibility != 0 && (c.Visibility < 10*time.Second || c.Visibility > 12*time.Hour || c.Visibility%time.Second != 0) {
		bad("s3.visibility %s: want whole seconds, 10s to 12h", c.Visibility)
	}
	if c.MaxObjectBytes < 0 || c.MaxObjectBytes > 0 && c.MaxObjectBytes < 1<<20 {
		bad("s3.max_object_bytes %d: want 1048576 or more", c.MaxObjectBytes)
	}
	for name, list := range map[string][]string{"prefixes": c.Prefixes, "suffixes": c.Suffixes, "skip": c.Skip} {
		for i, s := range list {
			if s == "" {
				bad("s3.%s[%d] is empty, which every key fits", name, i)
			}
		}
	}
	if _, err := c.flowFormat(); err != nil {
		bad("s3.flow_format: %w", err)
	}
	return errors.Join(errs...)
}

// flowFormat is the format that is given, nil when none is.
func (c Config) flowFormat() (*event.FlowFormat, error) {
	if c.FlowFormat == "" {
		return nil, nil
	}
	return event.NamedFlowFormat(c.FlowFormat)
}

// withDefaults fills in what is not said.
func (c Config) withDefaults() Config {
	if c.Region == "" {
		if m := queueRegion.FindStringSubmatch(c.Queue); m != nil {
			c.Region = m[1] + m[2]
		}
	}
	if c.Receivers == 0 {
		c.Receivers = defaultReceivers
	}
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.Visibility == 0 {
		c.Visibility = defaultVisibility
	}
	if c.MaxObjectBytes == 0 {
		c.MaxObjectBytes = defaultMaxObjectBytes
	}
	if c.Skip == nil {
		c.Skip = s3object.DefaultSkip()
	}
	return c
}

// wants reports whether objects of this key are read.
func (c Config) wants(key string) bool {
	some := func(list []string, fits func(string, string) bool) bool {
		for _, s := range list {
			if fits(key, s) {
				return true
			}
		}
		return false
	}
	return (len(c.Prefixes) == 0 || some(c.Prefixes, strings.HasPrefix)) &&
		(len(c.Suffixes) == 0 || some(c.Suffixes, strings.HasSuffix)) &&
		!some(c.Skip, strings.Contains)
}
