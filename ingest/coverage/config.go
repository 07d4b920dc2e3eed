package coverage

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"riposte/event"
)

// Config says which telemetry is expected, and when its absence is told of. What
// is not written down is still watched: what used to speak and falls silent.
type Config struct {
	// Regions in which each account is expected to speak. Empty expects an account
	// to speak somewhere: a region that nobody uses may say nothing.
	Regions []string `yaml:"regions"`
	// Telemetry that is expected of each account: cloudtrail by default.
	Telemetry []string `yaml:"telemetry"`
	// VPCs are expected to have flow logs.
	VPCs []string `yaml:"vpcs"`
	// KnownVPCs expects flow logs of every VPC that AWS Config tells of, in accounts
	// and regions whose flow logs name their VPC.
	KnownVPCs bool `yaml:"known_vpcs"`
	// Silence is how long a log may say nothing, by log: 30m of cloudtrail, 1h of
	// flow, 24h of config and of any other, unless it uses to be silent for longer.
	Silence map[string]time.Duration `yaml:"silence"`
	// Factor times the longest silence of the last seven days is waited for: 1.5.
	Factor float64 `yaml:"factor"`
	// Late is how long after they happened events may come, by log: 1h of
	// cloudtrail and flow, 24h of config and of any other.
	Late map[string]time.Duration `yaml:"late"`
	// Grace is how long after its start a process finds nothing, since it may have
	// to catch up: 15m.
	Grace time.Duration `yaml:"grace"`
	// Every is how often it is judged: 1m.
	Every time.Duration `yaml:"every"`
	// Ignore are places of which nothing is told.
	Ignore []Place `yaml:"ignore"`
}

// Place is where telemetry comes from; what is empty is any.
type Place struct {
	Telemetry string `yaml:"telemetry" json:"telemetry,omitempty"`
	Account   string `yaml:"account" json:"account,omitempty"`
	Region    string `yaml:"region" json:"region,omitempty"`
	VPC       string `yaml:"vpc" json:"vpc,omitempty"`
}

// holds reports whether all of the place is in p.
func (p Place) holds(k Key) bool {
	fits := func(want, got string) bool { return want == "" || want == got }
	return fits(p.Telemetry, k.Log) && fits(p.Account, k.Account) && fits(p.Region, k.Region) && fits(p.VPC, k.VPC)
}

// DefaultConfig expects CloudTrail of the accounts that are given.
func DefaultConfig() Config {
	return Config{
		Telemetry: []string{event.CloudTrail.String()}, Factor: 1.5, Grace: 15 * time.Minute, Every: time.Minute,
		Silence: map[string]time.Duration{"cloudtrail": 30 * time.Minute, "flow": time.Hour},
		Late:    map[string]time.Duration{"cloudtrail": time.Hour, "flow": time.Hour},
	}
}

// otherwise is the silence and the lateness of logs that are not named.
const otherwise = 24 * time.Hour

// silence is how long a log may say nothing at the least.
func (c *Config) silence(log string) time.Duration {
	if d := c.Silence[log]; d > 0 {
		return d
	}
	if d := DefaultConfig().Silence[log]; d > 0 {
		return d
	}
	return otherwise
}

// late is from when on events of a log are late.
func (c *Config) late(log string) time.Duration {
	if d := c.Late[log]; d > 0 {
		return d
	}
	if d := DefaultConfig().Late[log]; d > 0 {
		return d
	}
	return otherwise
}

var (
	regionForm  = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	vpcForm     = regexp.MustCompile(`^(vpc|tgw)-[0-9a-f]{8,17}$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
)

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("coverage."+format, args...)) }
	for _, r := range c.Regions {
		if !regionForm.MatchString(r) {
			bad("regions: %q is no region: want such as eu-west-1", r)
		}
	}
	for _, name := range c.Telemetry {
		if _, err := event.ParseKind(name); err != nil || name == event.Log.String() {
			bad("telemetry: %q: want some of cloudtrail, flow, config, insight, guardduty, securityhub, compliance", name)
		}
	}
	for _, v := range c.VPCs {
		if !vpcForm.MatchString(v) {
			bad("vpcs: %q is no VPC: want such as vpc-0a1b2c3d4e5f60718", v)
		}
	}
	for key, limits := range map[string]map[string]time.Duration{"silence": c.Silence, "late": c.Late} {
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			if d := limits[name]; d < 5*time.Minute || d > 90*24*time.Hour {
				bad("%s: %s of %s: want 5m to 2160h", key, d, name)
			}
		}
	}
	if c.Factor < 1 || c.Factor > 10 {
		bad("factor %v: want 1 to 10", c.Factor)
	}
	if c.Grace < 0 || c.Grace > 24*time.Hour {
		bad("grace %s: want 0s to 24h", c.Grace)
	}
	if c.Every < time.Second || c.Every > time.Hour {
		bad("every %s: want 1s to 1h", c.Every)
	}
	for i, p := range c.Ignore {
		switch {
		case p == Place{}:
			bad("ignore[%d] is empty, and would ignore all: name telemetry, account, region or vpc", i)
		case p.Account != "" && !accountForm.MatchString(p.Account):
			bad("ignore[%d].account %q: want 12 digits, in quotes", i, p.Account)
		case strings.ContainsAny(p.Telemetry+p.Region+p.VPC, "*?"):
			bad("ignore[%d]: no wildcards: leave out what is any", i)
		}
	}
	return errors.Join(errs...)
}
