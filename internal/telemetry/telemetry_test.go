package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMetricsAndTraces(t *testing.T) {
	var mu sync.Mutex
	paths := map[string]int{}
	otlp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		paths[r.URL.Path] += len(body)
		if r.Header.Get("X-Key") != "abc" {
			t.Errorf("no header from the environment")
		}
		mu.Unlock()
	}))
	defer otlp.Close()
	t.Setenv("TEST_OTLP_HEADERS", "x-key=abc")
	c := DefaultConfig()
	c.OTLPEndpoint, c.OTLPHeadersEnv = otlp.URL, "TEST_OTLP_HEADERS"
	tel, err := Setup(t.Context(), c, io.Discard, false, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := tel.Tracer.Start(t.Context(), "work")
	tel.Ingested(ctx, "files", "cloudtrail", 100, 1000, 2*time.Second, 3*time.Second)
	tel.Future(ctx, "files", 3)
	tel.Recovered(ctx, "silent")
	if err := tel.Seconds("riposte.coverage.lag", "x", []string{"account", "kind"}, func(_ context.Context, observe func(float64, ...string)) { observe(1.5, "1", "flow") }); err != nil {
		t.Fatal(err)
	}
	tel.Found(ctx, "evasion.trail-stopped", "high", true, 3*time.Millisecond)
	tel.Planned(ctx, "iam.user.deny-all", "contain")
	tel.Broken(ctx, "files")
	tel.FlowRecords(ctx, "s3", "SKIPDATA", 3)
	tel.FlowRecords(ctx, "s3", "NODATA", 0)
	if err := tel.Gauge("riposte.stream.pending", "x", "stream", func(_ context.Context, observe func(int64, string)) { observe(7, "EVENTS") }); err != nil {
		t.Fatal(err)
	}
	span.End()
	rec := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`riposte_ingest_events_total{kind="cloudtrail",source="files"} 100`, `riposte_findings_total{rule="evasion.trail-stopped",severity="high"} 1`,
		`riposte_respond_steps_total{action="iam.user.deny-all",decision="contain"} 1`, `riposte_stream_pending{stream="EVENTS"} 7`, `version="test"`,
		`riposte_detect_latency_seconds_bucket`, `riposte_ingest_flow_records_total{source="s3",status="SKIPDATA"} 3`,
		`riposte_ingest_lag_seconds_sum{kind="cloudtrail",source="files"} 3`, `riposte_ingest_delivery_lag_seconds_sum{kind="cloudtrail",source="files"} 2`,
		`riposte_ingest_future_total{source="files"} 3`, `riposte_coverage_recovered_total{state="silent"} 1`, `riposte_coverage_lag_seconds{account="1",kind="flow"} 1.5`,
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("no %s in\n%s", want, rec.Body)
		}
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if paths["/v1/traces"] == 0 || paths["/v1/metrics"] == 0 {
		t.Errorf("exported: %v", paths)
	}
}

func TestLogsAreHarmless(t *testing.T) {
	var buf bytes.Buffer
	log := slog.New(newHandler(&buf, slog.LevelInfo, false))
	log.Info("finding", "title", "a\nb\x1b[31m\u202e", "token", "s3cret", "err", io.ErrUnexpectedEOF)
	out := buf.String()
	if strings.Count(out, "\n") != 1 || strings.Contains(out, "s3cret") || strings.Contains(out, "\x1b") || strings.Contains(out, "\u202e") {
		t.Errorf("%q", out)
	}
}

func TestZeroIsSilent(t *testing.T) {
	var tel Telemetry
	tel.Ingested(t.Context(), "a", "b", 1, 1, 0, 0)
	tel.Future(t.Context(), "a", 1)
	tel.Recovered(t.Context(), "a")
	tel.Found(t.Context(), "a", "b", true, 0)
	tel.Planned(t.Context(), "a", "b")
	tel.Evaluated(t.Context(), 1)
	tel.Broken(t.Context(), "a")
	tel.FlowRecords(t.Context(), "a", "OK", 1)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	err := Config{LogLevel: "loud", LogFormat: "xml", MetricsListen: "0.0.0.0:1", OTLPEndpoint: "host", TraceRatio: 2}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("want five problems: %v", err)
	}
}
