package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"riposte/event"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// Query says which objects of a bucket are wanted. What a key does not tell
// excludes nothing: an object that follows no layout of AWS's is wanted, unless
// it was last modified before Since.
type Query struct {
	// Accounts, Regions and Kinds are wanted; empty is all.
	Accounts []string
	Regions  []string
	Kinds    []event.Kind
	// Since and Until bound the time of events; zero is no bound. Objects are
	// delivered later than what is in them: see early and late.
	Since, Until time.Time
	// Skip are parts of keys that are not read.
	Skip []string
}

// How much the time that a key tells may differ from that of its events.
const (
	// early is by how much an event may be newer: a flow log's name tells when its
	// minutes began, CloudTrail's is rounded, and clocks differ.
	early = 15 * time.Minute
	// late is how long after its events an object may be delivered, and lateConfig
	// the same of Config, whose files come every six hours, or once a day.
	late       = time.Hour
	lateConfig = 24 * time.Hour
)

func (q *Query) lateness(service string) time.Duration {
	if kindOf(service) == event.ConfigItem {
		return lateConfig
	}
	return late
}

// bounded reports whether a listing can be cut short by what keys tell.
func (q *Query) bounded() bool {
	return len(q.Accounts) > 0 || len(q.Regions) > 0 || len(q.Kinds) > 0 || q.dated()
}

func (q *Query) dated() bool { return !q.Since.IsZero() || !q.Until.IsZero() }

// excludes reports whether nothing at a place is wanted.
func (q *Query) excludes(p place) bool {
	if p.account != "" && len(q.Accounts) > 0 && !slices.Contains(q.Accounts, p.account) ||
		p.region != "" && len(q.Regions) > 0 && !slices.Contains(q.Regions, p.region) {
		return true
	}
	if p.service != "" && len(q.Kinds) > 0 && !slices.Contains(q.Kinds, kindOf(p.service)) {
		return true
	}
	if p.from.IsZero() {
		return false
	}
	return !q.Since.IsZero() && !p.to.Add(early).After(q.Since) || !q.Until.IsZero() && !p.from.Before(q.Until.Add(q.lateness(p.service)))
}

// wants reports whether an object is to be read.
func (q *Query) wants(e *Entry) bool {
	if e.Size == 0 || strings.HasSuffix(e.Key, "/") {
		return false // a folder's mark, or Config's proof that it may write
	}
	for _, s := range q.Skip {
		if strings.Contains(e.Key, s) {
			return false
		}
	}
	p := placeOf(e.Key)
	if q.excludes(p) {
		return false
	}
	return !p.from.IsZero() || q.Since.IsZero() || e.Modified.IsZero() || !e.Modified.Before(q.Since)
}

// skips reports whether nothing below a folder is read.
func (q *Query) skips(folder string) bool {
	return slices.ContainsFunc(q.Skip, func(s string) bool { return strings.Contains(folder, s) })
}

// Validate says all that is wrong at once; key is put before each name.
func (q *Query) Validate(key string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(key+format, args...)) }
	for i, a := range q.Accounts {
		if !awsaccess.IsAccount(a) {
			bad("accounts[%d] %q: want an account id of 12 digits", i, a)
		}
	}
	for i, r := range q.Regions {
		if !awsaccess.IsRegion(r) {
			bad("regions[%d] %q: want a region such as eu-west-1", i, r)
		}
	}
	for i, s := range q.Skip {
		if s == "" {
			bad("skip[%d] is empty, which every key fits", i)
		}
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		bad("since %s is not before until %s", q.Since.Format(time.RFC3339), q.Until.Format(time.RFC3339))
	}
	return errors.Join(errs...)
}

// ParseAddress takes s3://bucket/prefix apart.
func ParseAddress(address string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(address, "s3://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	switch {
	case !ok || !s3object.IsBucket(bucket):
		return "", "", fmt.Errorf("%q: want s3://bucket/prefix", address)
	case len(prefix) > 1024:
		return "", "", fmt.Errorf("%.40q...: a prefix has at most 1024 bytes", address)
	}
	return bucket, prefix, nil
}
