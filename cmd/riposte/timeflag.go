package main

import (
	"fmt"
	"time"
)

// timeFlag is a moment: RFC 3339, a date, or a duration before now ("24h").
type timeFlag struct{ time.Time }

func (t *timeFlag) String() string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func (t *timeFlag) Type() string { return "time" }

func (t *timeFlag) Set(s string) error {
	if d, err := time.ParseDuration(s); err == nil {
		t.Time = time.Now().UTC().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02"} {
		if v, err := time.Parse(layout, s); err == nil {
			t.Time = v.UTC()
			return nil
		}
	}
	return fmt.Errorf("want a time such as 2026-01-31T08:00:00Z, a date such as 2026-01-31 or an age such as 24h")
}
