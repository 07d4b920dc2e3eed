package digest_test

import (
	"strings"
	"testing"

	"riposte/ingest/cloudtrail/digest"
)

func TestPlace(t *testing.T) {
	for key, want := range map[string]string{
		"AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/01/111122223333_CloudTrail-Digest_eu-west-1_our_trail_us-east-1_20261101T010131Z.json.gz":     "arn:aws:cloudtrail:us-east-1:111122223333:trail/our_trail",
		"AWSLogs/o-abc123/111122223333/CloudTrail-Digest/eu-west-1/2026/11/01/111122223333_CloudTrail-Digest_eu-west-1_all_us-east-1_20261101T010131Z.json.gz":  "o-abc123/all",
		"AWSLogs/111122223333/CloudTrail-Digest/cn-north-1/2026/11/01/111122223333_CloudTrail-Digest_cn-north-1_t_cn-north-1_20261101T010131Z_backfill.json.gz": "arn:aws-cn:cloudtrail:cn-north-1:111122223333:trail/t",
		"AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/01/odd.json.gz":                                                                               "",
	} {
		if _, account, _, trail, ok := digest.PlaceOf(key); !ok || trail != want || account != "111122223333" {
			t.Errorf("%s is of %q in %s, want %q", key, trail, account, want)
		}
	}
}

// FuzzPlace: whatever a key is, what is said of it stands in it.
func FuzzPlace(f *testing.F) {
	f.Add("AWSLogs/o-abc123/111122223333/CloudTrail-Digest/eu-west-1/2026/11/01/111122223333_CloudTrail-Digest_eu-west-1_our_trail_us-east-1_20261101T010131Z_backfill.json.gz")
	f.Add("x/111122223333/CloudTrail/eu-west-1/2026/11/01/111122223333_CloudTrail_eu-west-1_20261101T0105Z_abc.json.gz")
	f.Add("111122223333/CloudTrail/eu-west-1/")
	f.Add("111122223333/CloudTrail-Digest/__/_.json.gz")
	f.Fuzz(func(t *testing.T, key string) {
		known, account, region, _, ok := digest.PlaceOf(key)
		if ok && (!strings.HasSuffix(key, known) || len(account) != 12 || !strings.Contains(known, account) || !strings.Contains(key, "/"+region+"/")) {
			t.Errorf("%q is taken for %q of %q in %q", key, known, account, region)
		}
	})
}
