package traffic

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"riposte/event"
	"riposte/ingest"
)

func TestGeneratorIsDeterministicAndValid(t *testing.T) {
	a, err := New(7, AsRecorded)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := New(7, AsRecorded)
	at := time.Unix(1_780_000_000, 0)
	ids := map[string]bool{}
	for range 2000 {
		x, y := a.Append(nil, at), b.Append(nil, at)
		if !bytes.Equal(x, y) {
			t.Fatal("the same seed makes different records")
		}
		e, err := event.Decode(event.CloudTrail, x)
		if err != nil {
			t.Fatalf("%v: %s", err, x)
		}
		if ids[e.ID()] || !e.Time().Equal(at) {
			t.Fatalf("id %s again, or time %v", e.ID(), e.Time())
		}
		ids[e.ID()] = true
	}
}

func TestCorpus(t *testing.T) {
	dir := t.TempDir()
	n, err := Corpus(t.Context(), dir, 1<<20, 1, AsRecorded, 2)
	if err != nil {
		t.Fatal(err)
	}
	refs, err := ingest.Files{Paths: []string{dir}}.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := int64(0)
	for _, r := range refs {
		f, err := os.Open(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		stats, err := ingest.NewReader().Read(t.Context(), ingest.Object{Name: r.Path, Identity: r.Path}, f, ingest.Sink{Emit: func(context.Context, ingest.Batch) error { return nil }})
		f.Close()
		if err != nil || stats.Broken > 0 {
			t.Fatalf("%v %+v", err, stats)
		}
		read += stats.Events
	}
	if read != n {
		t.Errorf("read %d of %d", read, n)
	}
}
