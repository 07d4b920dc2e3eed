package archive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte/event"
	"riposte/internal/awsfake"
)

func TestPlaces(t *testing.T) {
	for path, want := range map[string]string{
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/20/111122223333_CloudTrail_us-east-1_20261120T0305Z_x.json.gz":                                             "111122223333 us-east-1 CloudTrail 2026-11-20T03:05:00Z 2026-11-20T03:06:00Z",
		"a/b/AWSLogs/o-abcd1234/111122223333/CloudTrail/us-east-1/2026/11/20/":                                                                                        "111122223333 us-east-1 CloudTrail 2026-11-20T00:00:00Z 2026-11-21T00:00:00Z",
		"AWSLogs/111122223333/vpcflowlogs/eu-west-1/2026/12/31/07/111122223333_vpcflowlogs_eu-west-1_fl-0a_20261231T0720Z_ab.log.gz":                                  "111122223333 eu-west-1 vpcflowlogs 2026-12-31T07:20:00Z 2026-12-31T07:21:00Z",
		"x/AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/month=01/day=02/hour=03/f.log.parquet":                          "111122223333 eu-west-1 vpcflowlogs 2026-01-02T00:00:00Z 2026-01-03T00:00:00Z",
		"AWSLogs/111122223333/Config/us-gov-west-1/2026/1/5/ConfigHistory/111122223333_Config_us-gov-west-1_ConfigHistory_AWS::EC2::VPC_20260105T000000Z_x_1.json.gz": "111122223333 us-gov-west-1 Config 2026-01-05T00:00:00Z 2026-01-05T00:01:00Z",
		"AWSLogs/111122223333/Config/eu-west-1/2026/11/5/ConfigSnapshot/111122223333_Config_eu-west-1_ConfigSnapshot_20261105T101112Z_0f1e.json.gz":                   "111122223333 eu-west-1 Config 2026-11-05T10:11:12Z 2026-11-05T10:12:12Z",
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/":                                                                                                             "111122223333 us-east-1 CloudTrail 2026-01-01T00:00:00Z 2027-01-01T00:00:00Z",
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/12/":                                                                                                          "111122223333 us-east-1 CloudTrail 2026-12-01T00:00:00Z 2027-01-01T00:00:00Z",
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/20/x_20261122T0305Z_y.gz":                                                                                  "111122223333 us-east-1 CloudTrail 2026-11-20T00:00:00Z 2026-11-21T00:00:00Z", // the folder knows
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/13/20/x":                                                                                                      "111122223333 us-east-1 CloudTrail 2026-01-01T00:00:00Z 2027-01-01T00:00:00Z",
		"AWSLogs/nobody/CloudTrail/us-east-1/2026/11/20/x":                                                                                                            "   - -",
		"AWSLogs/": "   - -", "logs/app/2026/11/20/x.json": "   - -", "": "   - -", "AWSLogs": "   - -",
	} {
		p := placeOf(path)
		show := func(t time.Time) string {
			if t.IsZero() {
				return "-"
			}
			return t.Format(time.RFC3339)
		}
		if got := fmt.Sprintf("%s %s %s %s %s", p.account, p.region, p.service, show(p.from), show(p.to)); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestListing: whatever is asked, a listing yields exactly the keys of the bucket
// that are wanted, in order, and from any key on.
func TestListing(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(3, 3))
	accounts := []string{"111122223333", "222233334444", "333344445555"}
	regions := []string{"eu-west-1", "us-east-1", "us-gov-west-1"}
	var all []Entry
	put := func(key string, modified time.Time, size int) {
		if slices.ContainsFunc(all, func(e Entry) bool { return e.Key == key }) {
			return
		}
		all = append(all, Entry{Key: key, Size: int64(size), Modified: modified})
		r.fake.Store("logs", key, awsfake.Blob{Body: make([]byte, size), Modified: modified})
	}
	for i := range 3000 {
		at := time.Date(2026, 9, 25, 0, 0, 0, 0, time.UTC).Add(time.Duration(rnd.IntN(60*24*60)) * time.Minute)
		a, g := accounts[rnd.IntN(3)], regions[rnd.IntN(3)]
		stamp := at.Format("20060102T1504Z")
		key := ""
		switch i % 7 {
		case 0, 1:
			key = fmt.Sprintf("org/AWSLogs/o-abcd1234/%s/CloudTrail/%s/%s/%s_CloudTrail_%s_%s_%d.json.gz", a, g, at.Format("2006/01/02"), a, g, stamp, i)
		case 2:
			key = fmt.Sprintf("org/AWSLogs/%s/vpcflowlogs/%s/%s/%s_vpcflowlogs_%s_fl-1_%s_%d.log.gz", a, g, at.Format("2006/01/02/15"), a, g, stamp, i)
		case 3:
			key = fmt.Sprintf("org/AWSLogs/aws-account-id=%s/aws-service=vpcflowlogs/aws-region=%s/%s/%s_%d.log.parquet", a, g, at.Format("year=2006/month=01/day=02"), a, i)
		case 4:
			key = fmt.Sprintf("org/AWSLogs/%s/Config/%s/%s/ConfigHistory/%s_Config_%s_ConfigHistory_T_%sZ_%d.json.gz", a, g, at.Format("2006/1/2"), a, g, at.Format("20060102T150405"), i)
		case 5:
			key = fmt.Sprintf("org/AWSLogs/%s/elasticloadbalancing/%s/%s/%d.log.gz", a, g, at.Format("2006/01/02"), i)
		default:
			key = []string{"app/%d.json", "org/%d", "org/AWSLogs/%d", "org/AWSLogs/111122223333/CloudTrail/us-east-1/stray-%d", "org/AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/11/01/%d.json.gz", "a b+ü&<\x01>/%d", "org/folder/%d/"}[rnd.IntN(7)]
			key = fmt.Sprintf(key, i)
		}
		put(key, at.Add(5*time.Minute), rnd.IntN(20))
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	pick := func(list []string) []string {
		if rnd.IntN(2) == 0 {
			return nil
		}
		return list[rnd.IntN(3):][:1]
	}
	for i := range 120 {
		q := Query{Accounts: pick(accounts), Regions: pick(regions)}
		if rnd.IntN(2) == 0 {
			q.Kinds = []event.Kind{event.Kind(1 + rnd.IntN(3))}
		}
		if rnd.IntN(2) == 0 {
			q.Since = time.Date(2026, 9, 20+rnd.IntN(60), rnd.IntN(24), 0, 0, 0, time.UTC)
		}
		if rnd.IntN(2) == 0 {
			q.Until = time.Date(2026, 9, 20+rnd.IntN(60), rnd.IntN(24), 30, 0, 0, time.UTC)
		}
		if rnd.IntN(2) == 0 {
			q.Skip = []string{"/CloudTrail-Digest/"}
		}
		from := []string{"", "org/", "org/AWSLogs/", "org/AWSLogs/1", "org/AWSLogs/111122223333/CloudTrail/us-east-1", "org/AWSLogs/o-abcd1234/222233334444/CloudTrail/", "org/AWSLogs/aws-account-id=111122223333/"}[rnd.IntN(7)]
		l := r.listing("s3://logs/"+from, q)
		if rnd.IntN(3) == 0 {
			l.After = all[rnd.IntN(len(all))].Key
		}
		var want, got []string
		for _, e := range all {
			if strings.HasPrefix(e.Key, from) && e.Key > l.After && q.wants(&e) {
				want = append(want, e.Key)
			}
		}
		for e, err := range l.Objects(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Key)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d: %+v of %q after %q: %d keys, want %d; missing %q, too many %q", i, q, from, l.After, len(got), len(want), less(want, got), less(got, want))
		}
	}
}

func less(a, b []string) (out []string) {
	for _, k := range a {
		if !slices.Contains(b, k) && len(out) < 5 {
			out = append(out, k)
		}
	}
	return out
}

// TestListingAsksForLittle: a day of one account and region costs a few calls,
// however much the bucket holds.
func TestListingAsksForLittle(t *testing.T) {
	r := newRig(t)
	for i := range 20_000 {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 23 * time.Minute)
		a := fmt.Sprintf("%012d", i%5)
		r.fake.Store("logs", fmt.Sprintf("AWSLogs/%s/CloudTrail/%s/%s/%d.json.gz", a, []string{"eu-west-1", "us-east-1"}[i/5%2], at.Format("2006/01/02"), i), awsfake.Blob{Body: []byte("x")})
	}
	l := r.listing("s3://logs/", Query{Accounts: []string{"000000000003"}, Regions: []string{"us-east-1"}, Since: day("2026-06-01T00:00:00Z"), Until: day("2026-06-02T00:00:00Z")})
	n := 0
	for _, err := range l.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if calls := r.calls("ListObjectsV2"); n == 0 || calls > 8 {
		t.Errorf("%d objects cost %d calls", n, calls)
	}
}

func TestListingFails(t *testing.T) {
	r := newRig(t)
	r.put("flat", "a")
	first := func(l *Listing) error {
		for _, err := range l.Objects(t.Context()) {
			return err
		}
		return nil
	}
	if err := first(r.listing("s3://flat/", Query{})); err != nil {
		t.Errorf("a bucket elsewhere: %v", err)
	}
	if err := first(r.listing("s3://nowhere/", Query{})); err == nil || !strings.Contains(err.Error(), "there is no bucket nowhere") {
		t.Errorf("a bucket that is not there: %v", err)
	}
	r.fake.Authorize(func(action, _ string) bool { return action != "s3:ListBucket" })
	if err := first(r.listing("s3://logs/x", Query{})); err == nil || !strings.Contains(err.Error(), "s3:ListBucket is not allowed: allow it on arn:aws:s3:::logs, see deploy/iam/backfill.json") {
		t.Errorf("a bucket that may not be listed: %v", err)
	}
}

// FuzzPlace: a folder that is excluded holds nothing that is wanted.
func FuzzPlace(f *testing.F) {
	f.Add("AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/20/111122223333_CloudTrail_us-east-1_20261120T0305Z_x.json.gz", int64(1760000000), int64(1770000000))
	f.Add("x/AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/month=01/day=02/hour=03/f", int64(0), int64(1770000000))
	f.Add("AWSLogs/111122223333/Config/us-east-1/2026/1/5/ConfigHistory/a_20260105T000000Z_x_1.json.gz", int64(1767000000), int64(0))
	f.Fuzz(func(t *testing.T, key string, since, until int64) {
		q := Query{Accounts: []string{"111122223333"}, Regions: []string{"us-east-1"}, Kinds: []event.Kind{event.CloudTrail, event.ConfigItem}}
		if since != 0 {
			q.Since = time.Unix(since, 0)
		}
		if until != 0 {
			q.Until = time.Unix(until, 0)
		}
		p := placeOf(key)
		if !p.from.IsZero() && !p.from.Before(p.to) {
			t.Errorf("%q is from %s to %s", key, p.from, p.to)
		}
		e := Entry{Key: key, Size: 1}
		if !q.wants(&e) {
			return
		}
		for i := range key {
			if key[i] == '/' && q.excludes(placeOf(key[:i+1])) {
				t.Errorf("%q is wanted and its folder %q is not", key, key[:i+1])
			}
		}
	})
}
