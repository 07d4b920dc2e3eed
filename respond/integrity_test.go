package respond_test

import (
	"fmt"
	"testing"
	"time"

	"riposte/ingest/cloudtrail/digest"
	"riposte/respond"
)

// TestIntegrityFindingsFold: all log files of a trail deleted, hour by hour, are one
// incident, and those of another account are another.
func TestIntegrityFindingsFold(t *testing.T) {
	w := newWorld(t, twoSteps, map[string]respond.Action{"fake.act": &act{}})
	r := w.responder(t)
	at := time.Date(2026, 11, 1, 0, 30, 0, 0, time.UTC)
	for i := range 120 {
		for _, account := range []string{"111122223333", "444455556666"} {
			p := digest.Problem{Kind: digest.LogMissing, Account: account, Region: "eu-west-1", File: fmt.Sprintf("s3://logs/%s/%d", account, i), Object: fmt.Sprintf("%s/%d", account, i),
				Trail: "arn:aws:cloudtrail:eu-west-1:" + account + ":trail/main", Bucket: "logs", Time: at.Add(time.Duration(i/4) * 20 * time.Minute), Expected: "00"}
			f := p.Finding()
			w.handle(t, r, &f)
		}
	}
	if got := w.stored(t, false); len(got) != 2 {
		t.Errorf("%d incidents, want one for each account", len(got))
	}
}
