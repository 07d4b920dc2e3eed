package main

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"riposte/event"
	"riposte/internal/telemetry"
)

func TestFlowRecordsAreCounted(t *testing.T) {
	tel, err := telemetry.Setup(t.Context(), telemetry.DefaultConfig(), io.Discard, false, "test")
	if err != nil {
		t.Fatal(err)
	}
	f := event.DefaultFlowFormat()
	lines := []string{
		"2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 1 1 2 ACCEPT OK", "2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 1 1 2 REJECT OK",
		"2 1 eni-1 - - - - - - - 1 2 - NODATA", "2 1 eni-1 - - - - - - - 1 2 - SKIPDATA",
	}
	events := make([]event.Event, len(lines), len(lines)+1)
	for i, l := range lines {
		if err := events[i].ScanFlow(f, []byte(l)); err != nil {
			t.Fatal(err)
		}
	}
	other, err := event.Decode(event.CloudTrail, []byte(`{"eventName":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	countFlows(t.Context(), tel, "s3", append(events, other))
	rec := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`status="OK"} 2`, `status="NODATA"} 1`, `status="SKIPDATA"} 1`} {
		if !strings.Contains(rec.Body.String(), `riposte_ingest_flow_records_total{source="s3",`+want) {
			t.Errorf("no %s in\n%s", want, rec.Body)
		}
	}
}
