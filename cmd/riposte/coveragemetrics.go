package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"riposte/ingest/coverage"
)

// maxAccounts is how many accounts have labels of their own in metrics: those
// that are expected first. The others are "other", of which the worst is shown.
const maxAccounts = 500

// measure registers the metrics of coverage: how many parts are in each state,
// and of each account and log how late and how long ago its latest event was.
func (l *lookout) measure() error {
	err := l.tel.Gauge("riposte.coverage.parts", "accounts, regions and VPCs by the state of their telemetry", "state", func(_ context.Context, observe func(int64, string)) {
		counts := map[coverage.State]int64{}
		for _, p := range l.judged() {
			counts[p.State]++
		}
		for _, s := range coverage.States() {
			observe(counts[s], string(s))
		}
	})
	if err != nil {
		return err
	}
	for name, g := range map[string]struct {
		text  string
		value func(*coverage.Part, time.Time) time.Duration
	}{
		"riposte.coverage.lag": {"from an account's latest event to its reading, by account and log", func(p *coverage.Part, _ time.Time) time.Duration { return p.Lag }},
		"riposte.coverage.age": {"since an account's latest event, by account and log", func(p *coverage.Part, now time.Time) time.Duration { return now.Sub(p.Last) }},
	} {
		err := l.tel.Seconds(name, g.text, []string{"account", "kind"}, func(_ context.Context, observe func(float64, ...string)) {
			now := time.Now()
			for _, m := range bounded(l.judged(), func(p *coverage.Part) time.Duration { return g.value(p, now) }) {
				observe(m.value.Seconds(), m.account, m.log)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lookout) judged() []coverage.Part {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parts
}

type measured struct {
	account, log string
	value        time.Duration
}

// bounded picks a value an account and log, for maxAccounts accounts; the worst of
// the others is that of "other".
func bounded(parts []coverage.Part, value func(*coverage.Part) time.Duration) []measured {
	var rows []*coverage.Part
	for i := range parts {
		if p := &parts[i]; p.Level == coverage.OfAccount && !p.Last.IsZero() && p.State != coverage.Archived {
			rows = append(rows, p)
		}
	}
	expected := func(p *coverage.Part) int {
		if p.Expected {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(rows, func(a, b *coverage.Part) int {
		return cmp.Or(cmp.Compare(expected(a), expected(b)), strings.Compare(a.Account, b.Account))
	})
	var out []measured
	named, others := map[string]bool{}, map[string]time.Duration{}
	for _, p := range rows {
		if v := max(0, value(p)); named[p.Account] || len(named) < maxAccounts {
			named[p.Account] = true
			out = append(out, measured{p.Account, p.Log, v})
		} else {
			others[p.Log] = max(others[p.Log], v)
		}
	}
	for log, v := range others {
		out = append(out, measured{"other", log, v})
	}
	return out
}
