package ingest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestDeliveredBy(t *testing.T) {
	for name, want := range map[string]string{
		"111122223333_CloudTrail_us-east-1_20260102T0305Z_Abc.json.gz":                                                      "2026-01-02T03:05:00Z",
		"/x/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/02/111122223333_CloudTrail_eu-west-1_20260102T2359Z_a_b.json": "2026-01-02T23:59:00Z",
		"111122223333_CloudTrail-Insight_us-east-1_20260102T0305Z_Abc.json.gz":                                              "2026-01-02T03:05:00Z",
		"111122223333_CloudTrail_us-east-1_20261302T0305Z_Abc.json.gz":                                                      "",
		"x111122223333_CloudTrail_us-east-1_20260102T0305Z_Abc.json.gz":                                                     "",
		"111122223333_CloudTrail_us-east-1_20260102T0305Z_Abc/other.json":                                                   "",
		"111122223333_vpcflowlogs_us-east-1_fl-1_20260102T0305Z_a.log.gz":                                                   "",
		"trail.json": "",
	} {
		got := deliveredBy(name)
		if text := got.Format(time.RFC3339); want == "" && !got.IsZero() || want != "" && text != want {
			t.Errorf("%s: %s, want %q", name, text, want)
		}
	}
}

// TestFilesSayWhenTheyWereDelivered: the events of a file carry its delivery.
func TestFilesSayWhenTheyWereDelivered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "111122223333_CloudTrail_us-east-1_20260102T0305Z_Abc.json")
	if err := os.WriteFile(path, []byte(`{"Records":[{"eventVersion":"1.08","eventName":"A","eventSource":"iam.amazonaws.com","eventTime":"2026-01-02T03:00:00Z","eventID":"1"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f := Files{Paths: []string{path}}
	refs, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []time.Time
	sink := Sink{Emit: func(_ context.Context, b Batch) error {
		for i := range b.Events {
			got = append(got, b.Events[i].Delivered)
		}
		return nil
	}}
	if _, err := NewReader().ReadFile(t.Context(), f, refs[0], sink); err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC); len(got) != 1 || !got[0].Equal(want) {
		t.Errorf("delivered %v, want %s", got, want)
	}
}
