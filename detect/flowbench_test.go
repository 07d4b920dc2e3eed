package detect_test

import (
	"bytes"
	"context"
	"testing"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/internal/traffic"
)

// BenchmarkFlow is what a flow log record costs, from the text of a file in memory
// to the verdict of the shipped rules, with its parts: GOMAXPROCS=1 go test
// -run '^$' -bench Flow ./detect.
func BenchmarkFlow(b *testing.B) {
	const n = 20_000
	formats := map[string]*event.FlowFormat{"v2": event.DefaultFlowFormat(), "v5": event.KnownFlowFormat("v5")}
	for _, name := range []string{"v2", "v5"} {
		text := traffic.FlowFile(1, formats[name], n)
		engine := detect.NewEngine(shipped(b))
		found := 0
		run := func(b *testing.B, emit ingest.Emit) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			reader := ingest.NewReader()
			for b.Loop() {
				stats, err := reader.Read(b.Context(), ingest.Object{Source: "files", Name: "f", Identity: "x"}, bytes.NewReader(text), ingest.Sink{Emit: emit})
				if err != nil || stats.Events != n {
					b.Fatal(stats, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		}
		b.Run(name+"/floor", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			words := 0
			for b.Loop() {
				for line := range bytes.Lines(text) {
					for range bytes.FieldsSeq(line) {
						words++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
		b.Run(name+"/read", func(b *testing.B) {
			run(b, func(context.Context, ingest.Batch) error { return nil })
		})
		b.Run(name+"/evaluated", func(b *testing.B) {
			var out []event.Finding
			run(b, func(_ context.Context, batch ingest.Batch) error {
				for i := range batch.Events {
					out = engine.Eval(&batch.Events[i], out[:0])
					found += len(out)
				}
				return nil
			})
		})
		if found > 0 {
			b.Errorf("%d findings in ordinary traffic", found)
		}
	}
}
