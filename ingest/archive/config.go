package archive

import (
	"errors"
	"fmt"
	"time"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// Config is one backfill. The endpoint is AWS's own, or that of AWS_ENDPOINT_URL
// and AWS_ENDPOINT_URL_S3.
type Config struct {
	// From is s3://bucket/prefix.
	From string `yaml:"from"`
	// The role is assumed to list and to read.
	awsaccess.Config `yaml:",inline"`
	// Accounts, Regions and Kinds (cloudtrail, flow, config) are read; empty is all.
	Accounts []string     `yaml:"accounts"`
	Regions  []string     `yaml:"regions"`
	Kinds    []event.Kind `yaml:"kinds"`
	// Since and Until bound the time of events: 2026-11-01, or
	// 2026-11-01T08:00:00Z. Objects are chosen by the time that their keys tell.
	Since Time `yaml:"since"`
	Until Time `yaml:"until"`
	// Workers read objects side by side: 4 by default, 100 at most.
	Workers int `yaml:"workers"`
	// MaxObjectBytes bounds one object uncompressed, 1 GiB by default. What is
	// larger is read up to there and then goes to the dead letters.
	MaxObjectBytes int64 `yaml:"max_object_bytes"`
	// Skip are parts of keys that are not read: by default /CloudTrail-Digest/;
	// [] reads all.
	Skip []string `yaml:"skip"`
	// FlowFormat names the columns of flow logs that have no header.
	FlowFormat    string `yaml:"flow_format"`
	ingest.Mapped `yaml:",inline"`
}

// Time is a moment in a configuration: RFC 3339, or a date, which is its
// midnight in UTC. It is no age, so that a restart means the same.
type Time struct{ time.Time }

// UnmarshalText reads it.
func (t *Time) UnmarshalText(b []byte) error {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if v, err := time.Parse(layout, string(b)); err == nil {
			t.Time = v.UTC()
			return nil
		}
	}
	return errors.New("want a date such as 2026-11-01, or a time such as 2026-11-01T08:00:00Z")
}

// What Config means where it is silent.
const (
	defaultWorkers        = 4
	defaultMaxObjectBytes = 1 << 30
)

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("backfill."+format, args...)) }
	if c.From == "" {
		bad("from is empty: want s3://bucket/prefix")
	} else if _, _, err := ParseAddress(c.From); err != nil {
		bad("from %w", err)
	}
	if err := c.Config.Validate("backfill"); err != nil {
		errs = append(errs, err)
	}
	if c.PerAccount() {
		bad("role has {account} in it, and a bucket is in one account: name it")
	}
	if c.Workers < 0 || c.Workers > 100 {
		bad("workers %d: want 1 to 100", c.Workers)
	}
	if c.MaxObjectBytes < 0 || c.MaxObjectBytes > 0 && c.MaxObjectBytes < 1<<20 {
		bad("max_object_bytes %d: want 1048576 or more", c.MaxObjectBytes)
	}
	if _, err := c.flowFormat(); err != nil {
		bad("flow_format: %w", err)
	}
	q := c.query()
	return errors.Join(append(errs, q.Validate("backfill."))...)
}

func (c Config) query() Query {
	return Query{Accounts: c.Accounts, Regions: c.Regions, Kinds: c.Kinds, Since: c.Since.Time, Until: c.Until.Time, Skip: c.Skip}
}

func (c Config) flowFormat() (*event.FlowFormat, error) {
	if c.FlowFormat == "" {
		return nil, nil
	}
	return event.NamedFlowFormat(c.FlowFormat)
}

// withDefaults fills in what is not said.
func (c Config) withDefaults() Config {
	if c.Workers == 0 {
		c.Workers = defaultWorkers
	}
	if c.MaxObjectBytes == 0 {
		c.MaxObjectBytes = defaultMaxObjectBytes
	}
	if c.Skip == nil {
		c.Skip = s3object.DefaultSkip()
	}
	return c
}

// name is of the work: its cursor is another's when what is to be read is.
func (c Config) name() string {
	parts := []string{"backfill", c.From, fmt.Sprint(c.Since.Unix()), fmt.Sprint(c.Until.Unix()), c.Log}
	for _, list := range [][]string{c.Accounts, c.Regions, c.Skip} {
		parts = append(parts, fmt.Sprintf("%q", list))
	}
	return "backfill-" + event.Hash(append(parts, fmt.Sprint(c.Kinds))...)
}
