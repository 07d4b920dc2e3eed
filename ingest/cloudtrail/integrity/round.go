package integrity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/cloudtrail/digest"
)

const (
	// rediscover is how often new accounts and regions are looked for.
	rediscover = time.Hour
	// early is how long before the hour is over the next digest is looked for.
	early = 5 * time.Minute
	// idle is how often an account and region is looked at that has no digests.
	idle = time.Hour
)

// round looks at all accounts and regions that are due, and returns when the next is.
func (s *Source) round(ctx context.Context, sink ingest.Sink, now time.Time) (time.Time, error) {
	told := s.tellings()
	err := s.discover(ctx, now, told)
	var due []*account
	for _, a := range s.places {
		if !a.next.After(now) || slices.ContainsFunc(told, func(key string) bool { return strings.HasPrefix(key, a.Base+"CloudTrail-Digest/"+a.Region+"/") }) {
			due = append(due, a)
		}
	}
	slices.SortFunc(due, func(a, b *account) int { return strings.Compare(a.Base+a.Region, b.Base+b.Region) })
	g, working := errgroup.WithContext(ctx)
	side := min(s.cfg.Workers, max(len(due), 1))
	g.SetLimit(side)
	for _, a := range due {
		g.Go(func() error {
			s.advance(working, sink, a, s.cfg.Workers/side, now)
			return working.Err()
		})
	}
	if err := errors.Join(err, g.Wait()); err != nil {
		return now.Add(s.cfg.Every), err
	}
	next := now.Add(s.cfg.Every)
	for _, a := range s.places {
		if a.next.Before(next) {
			next = a.next
		}
	}
	return next, nil
}

// tellings takes what Arrived was told.
func (s *Source) tellings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.arrived
	s.arrived = nil
	return told
}

// discover looks for accounts and regions: those that there were before, though
// somebody may have deleted all of their files, and those that there are now.
func (s *Source) discover(ctx context.Context, now time.Time, told []string) error {
	unknown := slices.ContainsFunc(told, func(key string) bool { return !s.knows(key) })
	if !s.discovered.IsZero() && now.Sub(s.discovered) < rediscover && !(unknown && now.Sub(s.discovered) >= time.Minute) {
		return nil
	}
	if s.discovered.IsZero() {
		var before []digest.Place
		if err := s.load(ctx, s.key("places", s.cfg.Address), &before); err != nil {
			return err
		}
		for _, p := range before {
			s.places[p] = &account{Place: p}
		}
	}
	places, err := s.bucket.Places(ctx)
	if err != nil {
		return s.explain(err)
	}
	fresh := 0
	for _, p := range places {
		if s.places[p] == nil {
			s.places[p] = &account{Place: p}
			fresh++
		}
	}
	if fresh > 0 {
		all := make([]digest.Place, 0, len(s.places))
		for p := range s.places {
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b digest.Place) int { return strings.Compare(a.Base+a.Region, b.Base+b.Region) })
		if err := s.save(ctx, s.key("places", s.cfg.Address), all); err != nil {
			return err
		}
		s.log.InfoContext(ctx, "trails found", "places", len(all), "new", fresh)
	}
	if len(s.places) == 0 {
		s.log.WarnContext(ctx, "there is no account below the address: want AWSLogs/ or a folder above or below it, as CloudTrail writes it")
	}
	s.discovered = now
	return nil
}

// knows reports whether a key is of an account and region that is followed.
func (s *Source) knows(key string) bool {
	base, rest, ok := strings.Cut(key, "CloudTrail-Digest/")
	region, _, _ := strings.Cut(rest, "/")
	for p := range s.places {
		if ok && p.Base == base && p.Region == region {
			return true
		}
	}
	return false
}

// advance verifies one account and region as far as there is something, and says
// when it is looked at next.
func (s *Source) advance(ctx context.Context, sink ingest.Sink, a *account, workers int, now time.Time) {
	for more := true; more; {
		var err error
		if more, err = s.step(ctx, sink, a, workers, now); err != nil {
			if ctx.Err() == nil {
				a.failures++
				s.Fail(a.Base+a.Region, now, err)
				s.log.ErrorContext(ctx, "not verified, once more later", "account", a.Account, "region", a.Region, "err", s.explain(err))
			}
			a.next = now.Add(min(s.cfg.Every<<min(a.failures, 6), time.Hour))
			return
		}
	}
	a.failures = 0
	s.Well(a.Base + a.Region)
	a.next = now.Add(idle)
	switch newest := a.progress.Newest(); {
	case a.progress.Unsettled(): // each time all that is followed is read again
		a.next = now.Add(3 * s.cfg.Every)
	case !newest.IsZero():
		a.next = now.Add(s.cfg.Every)
		if at := newest.Add(time.Hour - early); at.After(a.next) {
			a.next = at
		}
	}
}

// step advances once: findings are made durable, then the cursor.
func (s *Source) step(ctx context.Context, sink ingest.Sink, a *account, workers int, now time.Time) (more bool, err error) {
	key := s.key("progress", a.Base+a.Region)
	if !a.loaded {
		if err := s.load(ctx, key, &a.progress); err != nil {
			return false, err
		}
		if a.progress.Since.IsZero() {
			a.progress = digest.Progress{Since: now.Add(-s.cfg.Since), From: now.Add(-s.cfg.Since)}
		}
		a.loaded = true
	}
	watch := digest.Watch{Org: a.Org, Account: a.Account, Region: a.Region, Files: s.bucket.Region(a.Place), Keys: s.keys,
		Bucket: s.bucket.Name(), Workers: workers, Grace: s.cfg.Grace, Silence: s.cfg.Silence}
	next, report, more, err := watch.Advance(ctx, a.progress, now)
	if err != nil {
		return false, err
	}
	for _, err := range report.Errors {
		s.log.WarnContext(ctx, "a file cannot be read", "account", a.Account, "region", a.Region, "err", s.explain(err))
	}
	for _, n := range report.Notes {
		s.log.InfoContext(ctx, "note", "account", n.Account, "region", n.Region, "file", n.File, "text", n.Text)
	}
	if findings := report.Findings(); len(findings) > 0 {
		if err := sink.Findings(ctx, findings); err != nil {
			return false, err
		}
	}
	if err := s.save(ctx, key, next); err != nil {
		return false, err
	}
	a.progress = next
	if s.Proven != nil {
		for _, c := range next.Streams {
			s.Proven(a.Account, a.Region, c.Trail, c.End)
		}
	}
	return more, nil
}

// key names a cursor: of any bucket and folder, in few bytes.
func (s *Source) key(what, place string) string {
	return "trail/" + what + "/" + event.Hash("trail", s.bucket.Name(), place)
}

func (s *Source) load(ctx context.Context, key string, v any) error {
	if s.cursors == nil {
		return nil
	}
	saved, err := s.cursors.Load(ctx, key)
	if err != nil {
		return fmt.Errorf("load the cursor %s: %w", key, err)
	}
	if saved == nil {
		return nil
	}
	if err := json.Unmarshal(saved, v); err != nil {
		return fmt.Errorf("read the cursor %s: %w", key, err)
	}
	return nil
}

func (s *Source) save(ctx context.Context, key string, v any) error {
	if s.cursors == nil {
		return nil
	}
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.cursors.Save(ctx, key, value); err != nil {
		return fmt.Errorf("save the cursor %s: %w", key, err)
	}
	return nil
}
