package digest

import (
	"strings"
	"time"

	"riposte/event"
)

// place is what the name of a file says:
//
//	[prefix/]AWSLogs/[o-ORG/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHMMZ_unique.json.gz
//	[prefix/]AWSLogs/[o-ORG/]ACCOUNT/CloudTrail-Digest/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOME_YYYYMMDDTHHMMSSZ[_backfill].json.gz
type place struct {
	known    string // the part of the key that a mirror keeps: from AWSLogs, the organization or the account on
	short    string // from the account on
	org      string
	account  string
	kind     string // CloudTrail, CloudTrail-Digest, CloudTrail-Insight, ...
	region   string
	stream   string // names of one chain of digests have this in common
	trail    string // ARN of the trail whose digest it is, as far as the name says
	stamp    time.Time
	day      time.Time // of a log file whose name has no time, or one of another day
	backfill bool
}

const (
	kindLog    = "CloudTrail"
	kindDigest = "CloudTrail-Digest"
	backfill   = "_backfill"
)

// placeOf reads a key or a path with slashes; false where it is not of a trail.
// Whatever lies in a folder of log files is one, however it is named: who reads
// the folder reads it.
func placeOf(key string) (place, bool) {
	parts := strings.Split(key, "/")
	at := -1
	for i := len(parts) - 3; i > 0; i-- {
		if (parts[i] == kindLog || strings.HasPrefix(parts[i], kindLog+"-")) && isAccount(parts[i-1]) {
			at = i
			break
		}
	}
	name := parts[len(parts)-1]
	if at < 0 || strings.HasPrefix(name, ".") || parts[at] != kindLog && !strings.HasSuffix(name, ".json.gz") {
		return place{}, false
	}
	p := place{account: parts[at-1], kind: parts[at], region: parts[at+1], short: strings.Join(parts[at-1:], "/")}
	from := at - 1
	if from > 0 && strings.HasPrefix(parts[from-1], "o-") {
		from--
		p.org = parts[from]
	}
	if from > 0 && parts[from-1] == "AWSLogs" {
		from--
	}
	p.known = strings.Join(parts[from:], "/")
	name = strings.TrimSuffix(name, ".json.gz")
	if p.kind == kindDigest {
		p.readDigestName(name)
	} else {
		for word := range strings.SplitSeq(name, "_") {
			if t, err := time.Parse("20060102T1504Z", word); err == nil {
				p.stamp = t
			}
		}
		p.readDay(strings.Join(parts[at+2:len(parts)-1], "/"))
	}
	return p, true
}

// readDay reads the folder of a log file, the day of its delivery. A time in the
// name that is of another day is none that CloudTrail gave.
func (p *place) readDay(folder string) {
	day, err := time.Parse("2006/01/02", folder)
	if err != nil {
		return
	}
	if p.stamp.Before(day.Add(-24*time.Hour)) || !p.stamp.Before(day.Add(48*time.Hour)) {
		p.stamp, p.day = time.Time{}, day
	}
}

func (p *place) readDigestName(name string) {
	name, p.backfill = strings.CutSuffix(name, backfill)
	i := strings.LastIndexByte(name, '_')
	if t, err := time.Parse("20060102T150405Z", name[i+1:]); err == nil {
		p.stamp = t
		name = name[:max(i, 0)]
	}
	if i = strings.LastIndexByte(name, '_'); i > 0 {
		if trail, ok := strings.CutPrefix(name[:i], p.account+"_"+kindDigest+"_"+p.region+"_"); ok {
			p.trail = "arn:" + event.Partition(p.region) + ":cloudtrail:" + name[i+1:] + ":" + p.account + ":trail/" + trail
			if p.org != "" {
				p.trail = p.org + "/" + trail // whose account it is in, the name does not say
			}
		}
	}
	p.stream = p.org + "/" + p.account + "/" + p.region + "/" + name
	if p.backfill {
		p.stream += backfill
	}
}

// group is what a chain of digests answers for: one account and region.
func (p *place) group() string { return p.org + "/" + p.account + "/" + p.region }

func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// fits reports whether a full key may be the one of which known is left.
func fits(key, known string) bool {
	return key == known || strings.HasSuffix(key, "/"+known)
}

// shortOf is the part of a key from the account on, or the key itself.
func shortOf(key string) string {
	if p, ok := placeOf(key); ok {
		return p.short
	}
	return key
}
