package detect_test

import (
	"fmt"
	"testing"
	"time"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/rulegen"
	"riposte/internal/traffic"
)

// ordinaryRecords are n records of generated traffic.
func ordinaryRecords(t testing.TB, n int) [][]byte {
	t.Helper()
	g, err := traffic.New(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]byte, n)
	for i := range out {
		out[i] = g.Append(nil, time.Date(2026, 3, 2, 9, 0, i, 0, time.UTC))
	}
	return out
}

// BenchmarkEval is what rules cost an event. "eval" is evaluation alone, over
// events that are decoded; "decode" decodes too, as the pipeline does. The
// figures of 1,000 and 5,000 rules belong beside those of 100.
func BenchmarkEval(b *testing.B) {
	records := ordinaryRecords(b, 2000)
	events := make([]event.Event, len(records))
	for i, raw := range records {
		var err error
		if events[i], err = event.Decode(event.CloudTrail, raw); err != nil {
			b.Fatal(err)
		}
	}
	for _, n := range []int{100, 1000, 5000} {
		rs, err := detect.Load(rulegen.Rules(n, 1), detect.Options{})
		if err != nil {
			b.Fatal(err)
		}
		// Hits make findings, which is work that no index saves: leave them out.
		engine := detect.NewEngine(rs)
		var quiet []event.Event
		var raws [][]byte
		for i := range events {
			if len(engine.Eval(&events[i], nil)) == 0 {
				quiet, raws = append(quiet, events[i]), append(raws, records[i])
			}
		}
		b.Run(fmt.Sprintf("eval/rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var out []event.Finding
			for i := 0; b.Loop(); i++ {
				out = engine.Eval(&quiet[i%len(quiet)], out[:0])
			}
		})
		b.Run(fmt.Sprintf("decode/rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var out []event.Finding
			var e event.Event
			for i := 0; b.Loop(); i++ {
				if _, err := e.Scan(event.CloudTrail, raws[i%len(raws)]); err != nil {
					b.Fatal(err)
				}
				out = engine.Eval(&e, out[:0])
			}
		})
	}
}

// BenchmarkLoad is what a start and a reload wait for.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{100, 1000} {
		fsys := rulegen.Rules(n, 1)
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := detect.Load(fsys, detect.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
