package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"riposte/event"
	"riposte/internal/traffic"
)

// ordinaryBatch is n ordinary CloudTrail records of one object.
func ordinaryBatch(t testing.TB, seed uint64, n int) []event.Event {
	t.Helper()
	g, err := traffic.New(seed, 0)
	if err != nil {
		t.Fatal(err)
	}
	events := make([]event.Event, n)
	for i := range events {
		e, err := event.Decode(event.CloudTrail, g.Append(nil, time.Unix(1735689600+int64(i), 0)))
		if err != nil {
			t.Fatal(err)
		}
		e.Ingested = time.Unix(1735689700, 0).UTC()
		e.Origin = event.Origin{Source: "files", Object: "a.json.gz", Offset: int64(i) * 1000}
		events[i] = e
	}
	return events
}

func perEvent(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
}

// flowBatch is n flow log records of one object, with columns of their own.
func flowBatch(b *testing.B, n int) []event.Event {
	format, err := event.ParseFlowFormat("version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status vpc-id tcp-flags")
	if err != nil {
		b.Fatal(err)
	}
	events := make([]event.Event, n)
	for i := range events {
		line := fmt.Appendf(nil, "5 111122223333 eni-0a1b2c 10.0.0.%d 198.51.100.7 %d 443 6 10 840 1735689600 1735689660 ACCEPT OK vpc-1 19", i%250, 30000+i)
		if err := events[i].ScanFlow(format, line); err != nil {
			b.Fatal(err)
		}
		events[i].Origin = event.Origin{Source: "files", Object: "a.log.gz", Line: int64(i)}
	}
	return events
}

func BenchmarkEncodeBatch(b *testing.B) {
	for name, events := range map[string][]event.Event{"cloudtrail": ordinaryBatch(b, 1, 100), "flow": flowBatch(b, 100)} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = EncodeBatch(buf[:0], events)
			}
			perEvent(b, 100)
			b.ReportMetric(float64(len(buf))/100, "B/event")
		})
	}
}

func BenchmarkDecodeBatch(b *testing.B) {
	for name, events := range map[string][]event.Event{"cloudtrail": ordinaryBatch(b, 1, 100), "flow": flowBatch(b, 100)} {
		b.Run(name, func(b *testing.B) {
			buf := EncodeBatch(nil, events)
			var d Decoder
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := d.Decode(buf); err != nil {
					b.Fatal(err)
				}
			}
			perEvent(b, 100)
		})
	}
}

func BenchmarkPublishEvents(b *testing.B) {
	s := openTest(b, b.TempDir())
	events := ordinaryBatch(b, 1, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := s.PublishEvents(b.Context(), fmt.Sprint(i), events); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, 100)
}

func BenchmarkPublishFinding(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("%d at a time", n), func(b *testing.B) {
			s := openTest(b, b.TempDir())
			findings := make([]*event.Finding, n)
			for j := range findings {
				findings[j] = &event.Finding{Rule: "r", Version: "v", Severity: event.Low, Title: "A finding", Events: []string{"e"}}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for j, f := range findings {
					f.ID = event.Hash("bench", fmt.Sprint(i), fmt.Sprint(j))
				}
				if _, err := s.PublishFindings(b.Context(), findings); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/finding")
		})
	}
}

// BenchmarkPipelineHandover is the bus's own cost: batches published while two
// workers take them.
func BenchmarkPipelineHandover(b *testing.B) {
	s := openTest(b, b.TempDir())
	events := ordinaryBatch(b, 1, 100)
	ctx, cancel := context.WithCancel(b.Context())
	var handled atomic.Int64
	done, all := make(chan error, 1), make(chan struct{})
	want := atomic.Int64{}
	want.Store(-1)
	go func() {
		done <- s.ConsumeEvents(ctx, "bench", 2, func(context.Context, *Batch) error {
			if handled.Add(1) == want.Load() {
				close(all)
			}
			return nil
		})
	}()
	n := 0
	b.ReportAllocs()
	for ; b.Loop(); n++ {
		if err := s.PublishEvents(ctx, fmt.Sprint(n), events); err != nil {
			b.Fatal(err)
		}
	}
	want.Store(int64(n + 1))
	if err := s.PublishEvents(ctx, "last", events); err != nil {
		b.Fatal(err)
	}
	<-all
	perEvent(b, 100)
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

func openTest(t testing.TB, dir string) *Bus {
	t.Helper()
	b, err := Open(t.Context(), dir, DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}
