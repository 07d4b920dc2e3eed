package kinesis

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/awsaccess"
)

// Config is one data stream.
type Config struct {
	// Config is whose role is assumed to read, and the stream's region, which its
	// ARN has too.
	awsaccess.Config `yaml:",inline"`
	// Stream is the stream's ARN, or its name where region says where it is.
	Stream string `yaml:"stream"`
	// Start is where a stream is begun that was never read: trim_horizon, all
	// that it holds, by default; latest, from now on; or a time such as
	// 2026-01-31T00:00:00Z.
	Start string `yaml:"start"`
	// Poll is how long to wait before a shard that had nothing is asked again, 1s
	// by default. AWS answers five reads a second for each shard, for all that
	// read it.
	Poll time.Duration `yaml:"poll"`
	// Shards are how many shards are read at a time, 16 by default: each may take
	// up to 10 MB for what one read brings, and as much to unpack it.
	Shards int `yaml:"shards"`
	// MaxRecordBytes bounds one record uncompressed, 64 MiB by default. What is
	// larger goes to the dead letters.
	MaxRecordBytes int64 `yaml:"max_record_bytes"`
	// FlowFormat names the columns of the flow log records in the stream, which
	// have no header: the format of the flow log. Empty guesses it.
	FlowFormat    string `yaml:"flow_format"`
	ingest.Mapped `yaml:",inline"`
}

// What Config means where it is silent.
const (
	defaultStart          = "trim_horizon"
	defaultPoll           = time.Second
	defaultShards         = 16
	defaultMaxRecordBytes = 64 << 20
)

// fastest is how often a shard is read at the most.
const fastest = time.Second / 5

var (
	streamARN  = regexp.MustCompile(`^arn:aws[a-z-]*:kinesis:([a-z0-9-]+):(\d{12}):stream/([\w.-]{1,128})$`)
	streamName = regexp.MustCompile(`^[\w.-]{1,128}$`)
)

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate("kinesis")}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("kinesis."+format, args...)) }
	m := streamARN.FindStringSubmatch(c.Stream)
	switch {
	case m == nil && !streamName.MatchString(c.Stream):
		bad("stream %q: want the ARN of a data stream, such as arn:aws:kinesis:eu-west-1:111122223333:stream/riposte", c.Stream)
	case m == nil && c.Region == "":
		bad("stream %q is a name, and region is empty: want the stream's ARN, or its region", c.Stream)
	case m != nil && c.Region != "" && c.Region != m[1]:
		bad("region %q is not that of the stream, %s", c.Region, m[1])
	}
	if c.PerAccount() {
		bad("role %q: a stream is in one account: want its id in place of {account}", c.Role)
	}
	if _, err := c.start(time.Time{}); err != nil {
		bad("start %q: want trim_horizon, latest, or a time such as 2026-01-31T00:00:00Z", c.Start)
	}
	if c.Poll < 0 || c.Poll > 0 && c.Poll < fastest || c.Poll > time.Minute {
		bad("poll %s: want 200ms to 1m", c.Poll)
	}
	if c.Shards < 0 || c.Shards > 1000 {
		bad("shards %d: want 1 to 1000", c.Shards)
	}
	if c.MaxRecordBytes < 0 || c.MaxRecordBytes > 0 && c.MaxRecordBytes < 1<<20 {
		bad("max_record_bytes %d: want 1048576 or more", c.MaxRecordBytes)
	}
	if _, err := c.flowFormat(); err != nil {
		bad("flow_format: %w", err)
	}
	return errors.Join(errs...)
}

// start is the time from which a stream that was never read is read; the zero
// time is all of it.
func (c Config) start(now time.Time) (time.Time, error) {
	switch strings.ToLower(c.Start) {
	case "", defaultStart:
		return time.Time{}, nil
	case "latest":
		return now, nil
	}
	return time.Parse(time.RFC3339, c.Start)
}

func (c Config) flowFormat() (*event.FlowFormat, error) {
	if c.FlowFormat == "" {
		return nil, nil
	}
	return event.NamedFlowFormat(c.FlowFormat)
}

// withDefaults fills in what is not said.
func (c Config) withDefaults() Config {
	if m := streamARN.FindStringSubmatch(c.Stream); m != nil {
		c.Region = m[1]
	}
	if c.Poll == 0 {
		c.Poll = defaultPoll
	}
	if c.Shards == 0 {
		c.Shards = defaultShards
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = defaultMaxRecordBytes
	}
	return c
}
