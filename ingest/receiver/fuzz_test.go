package receiver

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"riposte/ingest"
)

// FuzzBody: whatever is posted, there is one of the answers that a sender knows,
// 202 says that something was delivered, and the same again is the same batches.
func FuzzBody(f *testing.F) {
	f.Setenv("RIPOSTE_TEST_KEY", key)
	f.Add([]byte(record("a")), "application/json", "")
	f.Add([]byte("["+eventBridge("a", "AWS API Call via CloudTrail")+","+record("b")+"]"), "application/json; charset=utf-8", "")
	f.Add([]byte(packed(f, []byte(record("a")+"\n"+record("b")))), "application/x-ndjson", "gzip")
	f.Add([]byte(packed(f, bytes.Repeat([]byte(" "), 1<<20))), "application/json", "gzip")
	f.Add([]byte(`{"Records":[{"eventVersion":"1`), "application/json", "identity")
	f.Add([]byte("2 1 eni-1 1.1.1.1 2.2.2.2 1 2 6 1 1 1 2 ACCEPT OK\n"), "", "")
	src, err := New(Config{Listen: "127.0.0.1:0", Keys: []string{"env:RIPOSTE_TEST_KEY"}, MaxBodyBytes: 16 << 10, MaxInFlight: 1, Timeout: time.Minute}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { src.listener.Close() })
	var emit ingest.Emit
	h := src.server(ingest.Sink{Emit: func(ctx context.Context, b ingest.Batch) error { return emit(ctx, b) }})
	f.Fuzz(func(t *testing.T, body []byte, kind, encoding string) {
		var runs [2][]string
		var statuses [2]int
		for i := range runs {
			events := 0
			emit = func(_ context.Context, b ingest.Batch) error {
				runs[i] = append(runs[i], b.ID)
				events += len(b.Events)
				return nil
			}
			req := httptest.NewRequest(http.MethodPost, "/events", bytes.NewReader(body))
			req.Header.Set("X-Api-Key", key)
			req.Header.Set("Content-Type", kind)
			req.Header.Set("Content-Encoding", encoding)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			statuses[i] = w.Code
			if !slices.Contains([]int{202, 400, 413, 415}, w.Code) || (w.Code == 202) != (events > 0) {
				t.Errorf("%d with %d events: %s", w.Code, events, w.Body)
			}
		}
		if !slices.Equal(runs[0], runs[1]) || statuses[0] != statuses[1] {
			t.Errorf("once %d %q, then %d %q", statuses[0], runs[0], statuses[1], runs[1])
		}
	})
}

func BenchmarkPost(b *testing.B) {
	b.Setenv("RIPOSTE_TEST_KEY", key)
	src, err := New(Config{Listen: "127.0.0.1:0", Keys: []string{"env:RIPOSTE_TEST_KEY"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { src.listener.Close() })
	h := src.server(ingest.Sink{Emit: func(context.Context, ingest.Batch) error { return nil }})
	body := []byte(eventBridge("a", "AWS API Call via CloudTrail"))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/events", bytes.NewReader(body))
		req.Header.Set("X-Api-Key", key)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code != http.StatusAccepted {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}
