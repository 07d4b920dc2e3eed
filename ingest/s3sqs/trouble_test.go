package s3sqs

import (
	"strings"
	"testing"

	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
)

// TestTrouble: a source from whose queue nothing can be received says so, since
// the first time, until it can again.
func TestTrouble(t *testing.T) {
	r := newRig(t, awsfake.Queue{}, nil)
	if _, err := r.src.Trouble(); err != nil {
		t.Errorf("before it runs: %v", err)
	}
	r.fake.Fail(awsfake.Fault{Operation: "ReceiveMessage", Kind: awsfake.HTML500, Times: 40 * awsaccess.Attempts})
	stop := r.start()
	defer stop()
	r.until("trouble", func() bool { _, err := r.src.Trouble(); return err != nil })
	first, err := r.src.Trouble()
	if !strings.Contains(err.Error(), "500") {
		t.Errorf("trouble: %v", err)
	}
	calls := r.calls("ReceiveMessage")
	r.until("more of it", func() bool { return r.calls("ReceiveMessage") > calls+10*awsaccess.Attempts })
	if again, err := r.src.Trouble(); err == nil || !again.Equal(first) {
		t.Errorf("since %s, and later since %s: %v", first, again, err)
	}
	r.fake.Send("q", cloudTrail(t, r.store("k", file(t, record("one", "")))), 0)
	r.until("the end of it", func() bool { _, err := r.src.Trouble(); return err == nil })
}
