package integrity

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"time"

	"riposte/internal/awsaccess"
)

// Config is the bucket of one or more trails.
type Config struct {
	// Address is s3://BUCKET/PREFIX: the bucket, the AWSLogs folder in it, or the
	// folder of an organization or account. What is not below it is not verified.
	Address string `yaml:"address"`
	// The role is assumed to list and read the bucket, and to ask for CloudTrail's
	// public keys. The region is only where the bucket's own is asked for.
	awsaccess.Config `yaml:",inline"`
	// Every is how often a digest is looked for that is due, 5m by default.
	Every time.Duration `yaml:"every"`
	// Since is how far back the first start begins, 24h by default.
	Since time.Duration `yaml:"since"`
	// Grace is how late a file may be that a digest names, and a digest that names a
	// log file, 3h by default.
	Grace time.Duration `yaml:"grace"`
	// Silence is how long an account and region may be without a new digest, 2h by
	// default: one is due every hour.
	Silence time.Duration `yaml:"silence"`
	// Keys are files of public keys, as riposte trail verify --keys takes them.
	// Empty asks AWS, which is what one wants but for tests and partitions.
	Keys []string `yaml:"keys"`
	// Workers is how many files are hashed side by side; one a core by default.
	Workers int `yaml:"workers"`
}

// What Config means where it is silent.
const (
	defaultEvery   = 5 * time.Minute
	defaultSince   = 24 * time.Hour
	defaultGrace   = 3 * time.Hour
	defaultSilence = 2 * time.Hour
)

// bucketForm is S3's rule for the names of buckets.
var bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Validate says all that is wrong at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(c.Address, "s3://"), "/")
	switch {
	case c.Address == "":
		bad("trail.address is empty: want s3://BUCKET/AWSLogs/ of a trail with log file validation")
	case !strings.HasPrefix(c.Address, "s3://") || !bucketForm.MatchString(bucket):
		bad("trail.address %q: want s3://BUCKET/PREFIX", c.Address)
	case strings.Contains(prefix, "/CloudTrail"):
		bad("trail.address %q: want the folder of the account or one above it: digests and log files are both needed", c.Address)
	}
	if err := c.Config.Validate("trail"); err != nil {
		errs = append(errs, err)
	}
	if c.PerAccount() {
		bad("trail.role is another in each account: want the one role that reads the bucket")
	}
	for _, d := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
	}{
		{"every", c.Every, 10 * time.Second, time.Hour}, {"since", c.Since, time.Hour, 366 * 24 * time.Hour},
		{"grace", c.Grace, time.Minute, 48 * time.Hour}, {"silence", c.Silence, 90 * time.Minute, 48 * time.Hour},
	} {
		if d.value != 0 && (d.value < d.least || d.value > d.most) {
			bad("trail.%s is %s: want %s to %s", d.name, d.value, d.least, d.most)
		}
	}
	if c.Workers < 0 || c.Workers > 256 {
		bad("trail.workers is %d: want 1 to 256, or 0 for one a core", c.Workers)
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&c.Every, defaultEvery)
	or(&c.Since, defaultSince)
	or(&c.Grace, defaultGrace)
	or(&c.Silence, defaultSilence)
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	return c
}
