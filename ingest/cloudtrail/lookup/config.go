package lookup

import (
	"errors"
	"fmt"
	"time"

	"riposte/ingest/accounts"
)

// Config says whose events are looked up, and how often.
type Config struct {
	// Config are the accounts and regions. IAM, STS and other global services
	// record in us-east-1: without that region their events are not seen.
	accounts.Config `yaml:",inline"`
	// Every is how often each account and region is asked for what is new, 1m by default.
	Every time.Duration `yaml:"every"`
	// Overlap is how late an event may be found and still be delivered, 30m by
	// default: so far back is read again each time. A longer one costs requests.
	Overlap time.Duration `yaml:"overlap"`
	// Since is how far back the first start reads, 1h by default; CloudTrail keeps
	// 2160h (90 days).
	Since time.Duration `yaml:"since"`
	// Until is when to stop, as 2026-01-31T00:00:00Z: the source ends once all up
	// to there is delivered. Empty goes on for ever.
	Until string `yaml:"until"`
	// Insights looks up CloudTrail's Insights events too.
	Insights bool `yaml:"insights"`
	// Workers are how many accounts and regions are asked at a time, 16 by
	// default. Each holds one page of 50 events.
	Workers int `yaml:"workers"`
}

// What Config means where it is silent, and what CloudTrail keeps.
const (
	defaultEvery   = time.Minute
	defaultOverlap = 30 * time.Minute
	defaultSince   = time.Hour
	defaultWorkers = 16
	kept           = 90 * 24 * time.Hour
)

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate("lookup")}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("lookup."+format, args...)) }
	if c.Every < 0 || c.Every > 0 && c.Every < time.Second || c.Every > 24*time.Hour {
		bad("every %s: want 1s to 24h", c.Every)
	}
	if c.Overlap < 0 || c.Overlap > 0 && c.Overlap < time.Minute || c.Overlap > 6*time.Hour {
		bad("overlap %s: want 1m to 6h; CloudTrail's events are found within 15m as a rule", c.Overlap)
	}
	if c.Since < 0 || c.Since > kept {
		bad("since %s: want up to 2160h, which is what CloudTrail keeps", c.Since)
	}
	if c.Until != "" {
		if _, err := time.Parse(time.RFC3339, c.Until); err != nil {
			bad("until %q: want a time such as 2026-01-31T00:00:00Z", c.Until)
		}
	}
	if c.Workers < 0 || c.Workers > 200 {
		bad("workers %d: want 1 to 200", c.Workers)
	}
	return errors.Join(errs...)
}

// Ends reports whether the source ends by itself.
func (c Config) Ends() bool { return c.Until != "" }

// until is when to stop, the zero time for never.
func (c Config) until() time.Time {
	t, _ := time.Parse(time.RFC3339, c.Until) // valid
	return t.UTC()
}

// withDefaults fills in what is not said.
func (c Config) withDefaults() Config {
	for value, otherwise := range map[*time.Duration]time.Duration{&c.Every: defaultEvery, &c.Overlap: defaultOverlap, &c.Since: defaultSince} {
		if *value == 0 {
			*value = otherwise
		}
	}
	if c.Workers == 0 {
		c.Workers = defaultWorkers
	}
	return c
}
