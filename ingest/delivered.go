package ingest

import (
	"regexp"
	"time"
)

// trailFile is the name of a CloudTrail log file, with the minute of its delivery:
//
//	ACCOUNT_CloudTrail_REGION_20260102T0305Z_UNIQUE.json.gz
var trailFile = regexp.MustCompile(`(?:^|/)[0-9]{12}_CloudTrail(?:-Insight)?_[a-z0-9-]+_([0-9]{8}T[0-9]{4}Z)_[^/]*$`)

// deliveredBy is when CloudTrail delivered a file, by its name; the zero time for
// any other. The time in the name of a flow log file is no delivery: it is where
// the five minutes of its records begin. Nor is a file's own time one: it may be
// that of its last copy.
func deliveredBy(name string) time.Time {
	m := trailFile.FindStringSubmatch(name)
	if m == nil {
		return time.Time{}
	}
	t, err := time.Parse("20060102T1504Z", m[1])
	if err != nil {
		return time.Time{}
	}
	return t
}
