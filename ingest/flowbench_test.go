package ingest_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/traffic"
)

// BenchmarkFlowForms reads the same flow log records from each form they come in:
// GOMAXPROCS=1 go test -run '^$' -bench FlowForms ./ingest.
func BenchmarkFlowForms(b *testing.B) {
	const n = 20_000
	format := event.KnownFlowFormat("v5")
	text := traffic.FlowFile(1, format, n)
	lines := bytes.Split(bytes.TrimSpace(tailOf(text)), []byte("\n"))
	var payloads []byte
	for i := 0; i < n; i += 200 {
		var messages []string
		for _, l := range lines[i : i+200] {
			messages = append(messages, string(l))
		}
		payloads = append(payloads, zip(b, payload(b, "vpc", messages...))...)
	}
	for name, data := range map[string][]byte{
		"text": text, "gzip": zip(b, text), "parquet-gzip": asParquet(b, format, lines, pq.Compression(&pq.Gzip)),
		"parquet-snappy": asParquet(b, format, lines, pq.Compression(&pq.Snappy)), "cloudwatch": payloads,
		"firehose": []byte(`{"message":"` + strings.Join(strings.Split(string(bytes.TrimSpace(tailOf(text))), "\n"), "\"}\n{\"message\":\"") + `"}`),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			reader := ingest.NewReader()
			for b.Loop() {
				stats, err := reader.Read(b.Context(), ingest.Object{Name: "f", Identity: "x", FlowFormat: format}, bytes.NewReader(data), ingest.Sink{
					Emit: func(context.Context, ingest.Batch) error { return nil },
				})
				if err != nil || stats.Events != n {
					b.Fatal(stats, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
	}
}
