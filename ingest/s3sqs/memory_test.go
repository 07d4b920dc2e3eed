package s3sqs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"

	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsfake"
)

// heapBound is what two receivers may use whatever they read.
const heapBound = 96 << 20

// peak is the most that the heap was, where somebody looked.
type peak struct{ max, looks atomic.Uint64 }

func (p *peak) look() {
	if n := p.looks.Add(1); n > 1000 && n%20 != 0 {
		return // it stops the world
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for {
		old := p.max.Load()
		if m.HeapAlloc <= old || p.max.CompareAndSwap(old, m.HeapAlloc) {
			return
		}
	}
}

// deliver runs the source over objects that stream from a file, and returns how
// many events came, the dead letters and the peak of the heap above what it was.
func deliver(t *testing.T, r *rig, file string, keys ...string) (events int64, broken []ingest.Broken, above int64) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		v := r.fake.Store(bucketName, key, awsfake.Blob{Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(file) }})
		r.fake.Send("q", s3Event(t, s3object.Object{Bucket: bucketName, Key: key, Version: v}), 0)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var p peak
	var n atomic.Int64
	r.before = func(context.Context) error { p.look(); return nil }
	sink := r.sink()
	sink.Emit = func(_ context.Context, b ingest.Batch) error {
		n.Add(int64(len(b.Events)))
		p.look()
		return nil
	}
	sink.Progress = func(int64) { p.look() }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.src.Run(ctx, sink) }()
	r.until("an empty queue", func() bool { return len(r.fake.Messages("q")) == 0 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return n.Load(), r.broken, int64(p.max.Load()) - int64(m.HeapAlloc)
}

// TestHundredMegabytes: an object of 100 MB compressed costs no more memory than
// a small one.
func TestHundredMegabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes and reads 100 MB")
	}
	name := filepath.Join(t.TempDir(), "large.json.gz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := gzip.NewWriterLevel(f, gzip.HuffmanOnly)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 1500)
	records := int64(0)
	io.WriteString(w, `{"Records":[`)
	for size := int64(0); size < 100<<20; records++ {
		if records > 0 {
			io.WriteString(w, ",")
		}
		rnd.Read(noise)
		if _, err := io.WriteString(w, record(fmt.Sprintf("e-%07d", records), fmt.Sprintf("%x", noise))); err != nil {
			t.Fatal(err)
		}
		if records%1000 == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			size = info.Size()
		}
	}
	io.WriteString(w, `]}`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, awsfake.Queue{}, nil)
	events, broken, above := deliver(t, r, name, "a", "b")
	t.Logf("two objects of 100 MB compressed, %d records: the heap grew by %d MB at most", events, above>>20)
	if events != 2*records || len(broken) != 0 {
		t.Errorf("%d events of %d, %d set aside", events, 2*records, len(broken))
	}
	if above > heapBound {
		t.Errorf("the heap grew by %d MB", above>>20)
	}
}

// TestZipBombs: what unpacks to 16 GB from 16 MB is read up to the limit and set
// aside, whatever it consists of.
func TestZipBombs(t *testing.T) {
	members := 256
	if testing.Short() {
		members = 8
	}
	const limit = 256 << 20
	for name, unit := range map[string]string{
		"white space":  strings.Repeat(" ", 64<<10),
		"one string":   strings.Repeat("x", 64<<10),
		"open braces":  strings.Repeat(`{"a":`, 12<<10),
		"text":         strings.Repeat("2 111122223333 eni-1235b8ca 10.0.0.1 10.0.0.2 443 49152 6 20 4249 1418530010 1418530070 ACCEPT OK\n", 1<<10),
		"true records": strings.Repeat(record("same", "")+"\n", 200),
	} {
		t.Run(name, func(t *testing.T) {
			member := gzipped(t, strings.Repeat(unit, 64<<20/len(unit)))
			head := gzipped(t, `{"Records":[`+record("first", "")+`,{"eventName":"`)
			if name == "true records" || name == "text" {
				head = nil
			}
			path := filepath.Join(t.TempDir(), "bomb.gz")
			if err := os.WriteFile(path, append(head, bytes.Repeat(member, members)...), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, awsfake.Queue{}, func(c *Config) { c.MaxObjectBytes = limit })
			events, broken, above := deliver(t, r, path, "bomb")
			t.Logf("%d MB that unpack to %d MB: %d events, %d set aside, the heap grew by %d MB at most", len(member)*members>>20, members<<6, events, len(broken), above>>20)
			if above > heapBound {
				t.Errorf("the heap grew by %d MB", above>>20)
			}
			if len(broken) == 0 || !strings.Contains(broken[len(broken)-1].Reason, "larger than 268435456 bytes uncompressed") {
				t.Errorf("set aside: %d", len(broken))
			}
		})
	}
}

// BenchmarkS3Road is records a second from S3 over SQS on loopback into a sink
// that takes everything: notification, GetObject, gunzip, scan, delete.
func BenchmarkS3Road(b *testing.B) {
	r := newRig(b, awsfake.Queue{}, func(c *Config) { c.Receivers = runtime.GOMAXPROCS(0) })
	const objects, each = 40, 2000
	var notes []string
	for i := range objects {
		notes = append(notes, s3Event(b, r.store(fmt.Sprint(i), file(b, records(names(fmt.Sprint(i), each), func() string { return strings.Repeat("agent ", 100) })...))))
	}
	var n atomic.Int64
	sink := ingest.Sink{Emit: func(_ context.Context, batch ingest.Batch) error {
		n.Add(int64(len(batch.Events)))
		return nil
	}}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.src.Run(ctx, sink) }()
	for b.Loop() {
		for _, note := range notes {
			r.fake.Send("q", note, 0)
		}
		r.until("an empty queue", func() bool { return len(r.fake.Messages("q")) == 0 })
	}
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "records/s")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
