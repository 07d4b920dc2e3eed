// Package samples holds the telemetry that ships with the program: real attack
// logs, the near misses that go with them, labelled rule cases, AWS Config
// items and VPC flow lines. The demo plays them, and the tests of several rooms
// judge themselves by them.
//
// Every folder has a README that says what each file is and under which licence
// it came here. Names, addresses, regions and event ids in the CloudTrail files
// were replaced by their source; no account in them is anybody's.
package samples

import "embed"

// FS holds the files under their own names:
//
//	cloudtrail/stratus/<technique>.ndjson  one record a line
//	cloudtrail/truth.json                  what must be found in those
//	cloudtrail/twins.ndjson                what must stay quiet
//	cloudtrail/panther.ndjson              labelled single-event cases
//	cloudtrail/ordinary.ndjson             an ordinary morning, which is no attack
//	cloudtrail/demo.ndjson                 what the demo adds to the recorded attacks
//	config/*.json                          configuration items in each wrapping
//	flow/*.log                             flow log lines of several versions
//
//go:embed cloudtrail config flow
var FS embed.FS

// World is what the demo's AWS endpoint holds: the users, groups, buckets and
// trails that the recorded attacks were about, as they stood afterwards.
//
//go:embed world.json
var World []byte
