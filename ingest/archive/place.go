package archive

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"riposte/event"
	"riposte/internal/awsaccess"
)

// level is how far a path follows a layout that AWS writes.
type level int

const (
	outside  level = iota // above any AWSLogs folder
	inLogs                // below AWSLogs, or the organisation in it
	ofOne                 // below an account
	ofKind                // below a service
	ofRegion              // below a region
	ofYear
	ofMonth
	ofDay // or an hour of it
	unlike
)

// place is what a path says of the objects below it, by the layouts in which AWS
// writes: [prefix/]AWSLogs/[o-ORG/]ACCOUNT/SERVICE/REGION/YEAR/MONTH/DAY/[HOUR/],
// with aws-account-id=, aws-service=, aws-region=, year=, month=, day= and hour=
// in front in the Hive form, and without leading zeros in Config's.
type place struct {
	level                    level
	account, service, region string
	hive                     bool
	// from and to bound when the objects were delivered; zero when it is not told.
	from, to time.Time
}

var (
	organization = regexp.MustCompile(`^o-[a-z0-9]{4,32}$`)
	// stamp is the time in the name of a file, to the minute or the second.
	stamp = regexp.MustCompile(`_(\d{8}T\d{4}(?:\d{2})?Z)(?:_|\.)`)
)

// placeOf reads a path: of a folder when it ends with a slash, else of an object.
func placeOf(path string) place {
	var p place
	folders := strings.Split(path, "/")
	file := folders[len(folders)-1]
	folders = folders[:len(folders)-1]
	at := slices.Index(folders, "AWSLogs")
	if at < 0 {
		return p
	}
	p.level = inLogs
	var date [3]int
	for _, f := range folders[at+1:] {
		if !p.descend(f, &date) {
			p.span(date) // what stands above holds all the same
			p.level = unlike
			return p
		}
	}
	p.span(date)
	if m := stamp.FindStringSubmatch(file); m != nil && p.level >= ofRegion {
		layout := "20060102T1504Z"
		if len(m[1]) > len(layout) {
			layout = "20060102T150405Z"
		}
		// A time that is not in the folder's day tells less than the folder.
		if t, err := time.Parse(layout, m[1]); err == nil && (p.from.IsZero() || !t.Before(p.from) && t.Before(p.to)) {
			p.from, p.to = t, t.Add(time.Minute)
		}
	}
	return p
}

// descend takes one folder more; false when it is none of the layout.
func (p *place) descend(folder string, date *[3]int) bool {
	named := func(name string) (string, bool) {
		v, hive := strings.CutPrefix(folder, name)
		p.hive = p.hive || hive
		return v, hive
	}
	number := func(name string, low, high, digits int) (int, bool) {
		v, _ := named(name)
		n, err := strconv.Atoi(v)
		return n, err == nil && len(v) <= digits && n >= low && n <= high
	}
	ok := false
	switch p.level {
	case inLogs:
		v, _ := named("aws-account-id=")
		if organization.MatchString(v) {
			return true // and the account comes next
		}
		if ok = awsaccess.IsAccount(v); ok {
			p.account = v
		}
	case ofOne:
		v, _ := named("aws-service=")
		p.service, ok = v, v != ""
	case ofKind:
		v, _ := named("aws-region=")
		if ok = awsaccess.IsRegion(v); ok {
			p.region = v
		}
	case ofRegion:
		date[0], ok = number("year=", 2006, 9999, 4)
	case ofYear:
		date[1], ok = number("month=", 1, 12, 2)
	case ofMonth:
		date[2], ok = number("day=", 1, 31, 2)
	case ofDay:
		return true // an hour, or ConfigHistory and ConfigSnapshot
	}
	if ok {
		p.level++
	}
	return ok
}

// span is the time that the date of the folders covers.
func (p *place) span(date [3]int) {
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	switch p.level {
	case ofYear:
		p.from, p.to = day(date[0], 1, 1), day(date[0]+1, 1, 1)
	case ofMonth:
		p.from, p.to = day(date[0], date[1], 1), day(date[0], date[1]+1, 1)
	case ofDay:
		p.from, p.to = day(date[0], date[1], date[2]), day(date[0], date[1], date[2]+1)
	}
}

// padded reports whether days below it sort as they follow one another.
func (p *place) padded() bool { return p.service != "Config" }

// day is the path of a day below a region's folder.
func (p *place) day(t time.Time) string {
	if p.hive {
		return t.Format("year=2006/month=01/day=02")
	}
	return t.Format("2006/01/02")
}

// beyond sorts behind all days below a region's folder, and before what else may
// be there.
func (p *place) beyond() string {
	if p.hive {
		return "year>"
	}
	return ":"
}

// kindOf is the kind of what a service delivers, 0 for what is not known.
func kindOf(service string) event.Kind {
	switch {
	case service == "CloudTrail-Insight":
		return event.Insight
	case service == "CloudTrail" || strings.HasPrefix(service, "CloudTrail-"):
		return event.CloudTrail
	case service == "vpcflowlogs":
		return event.FlowLog
	case service == "Config":
		return event.ConfigItem
	}
	return 0
}

// KindOf is the kind of the telemetry that a key of AWS's layouts has, 0 where it
// does not tell.
func KindOf(key string) event.Kind { return kindOf(placeOf(key).service) }
