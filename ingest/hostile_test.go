package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"riposte/ingest"
)

const tiny = `{"eventVersion":"1.08","eventSource":"s","eventName":"n","eventID":"%d"}`

// repeated is head, one byte n times, and tail.
type repeated struct {
	head string
	b    byte
	n    int64
	tail string
}

func (r *repeated) Read(p []byte) (int, error) {
	switch {
	case r.head != "":
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	case r.n > 0:
		n := min(int64(len(p)), r.n)
		for i := range p[:n] {
			p[i] = r.b
		}
		r.n -= n
		return int(n), nil
	case r.tail != "":
		n := copy(p, r.tail)
		r.tail = r.tail[n:]
		return n, nil
	}
	return 0, io.EOF
}

// squeezed compresses in the background, so that a bomb need not fit in memory.
func squeezed(in io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() { // ends when the reader stops or all is read
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		_, err := io.Copy(z, in)
		z.Close()
		w.CloseWithError(err)
	}()
	return r
}

// TestHostileInput: whatever stands in a file, memory stays bounded, the records
// around it are read, and there is a verdict.
func TestHostileInput(t *testing.T) {
	first, last := fmt.Sprintf(tiny, 1), fmt.Sprintf(tiny, 2)
	size := int64(100 << 20)
	if testing.Short() {
		size = 40 << 20
	}
	for name, c := range map[string]struct {
		in      io.Reader
		events  int64
		foreign bool
		reason  string // of the first that is broken
	}{
		"zeros":                     {in: &repeated{b: 0, n: size}, foreign: true},
		"letters":                   {in: &repeated{b: 'a', n: size}, foreign: true},
		"spaces":                    {in: &repeated{b: ' ', n: size}},
		"opening braces":            {in: &repeated{b: '{', n: size}, reason: "a key in quotes should stand here"},
		"opening brackets":          {in: &repeated{b: '[', n: size}, reason: "a record is a JSON object"},
		"zeros between":             {in: &repeated{head: first + "\n", n: size, tail: "\n" + last}, events: 2, reason: "a JSON object should stand here"},
		"a long line between":       {in: &repeated{head: first + "\n{\"a\":\"", b: 'a', n: size, tail: "\"}\n" + last}, events: 2, reason: "larger than 16 MiB"},
		"a long record in a list":   {in: &repeated{head: `{"Records":[` + first + `,{"a":"`, b: 'a', n: size, tail: `"},` + last + `]}`}, events: 2, reason: "larger than 16 MiB"},
		"a long word in a list":     {in: &repeated{head: `{"Records":[` + first + `,`, b: 'a', n: size, tail: `,` + last + `]}`}, events: 2, reason: "a record is a JSON object"},
		"braces in a list":          {in: &repeated{head: `{"Records":[` + first + `,`, b: '{', n: size, tail: `,` + last + `]}`}, events: 2, reason: "a key in quotes should stand here"},
		"a long first line":         {in: &repeated{head: `{"a":"`, b: 'a', n: size, tail: "\"}\n" + last}, events: 1, reason: "larger than 16 MiB"},
		"a long key":                {in: &repeated{head: `{"`, b: 'a', n: size}, reason: "larger than 16 MiB"},
		"a long line of a flow log": {in: &repeated{head: "2 1 eni-1 1.1.1.1 2.2.2.2 1 2 6 1 1 1 2 ACCEPT OK\n", b: 'a', n: size, tail: "\n2 1 eni-1 1.1.1.1 2.2.2.2 1 2 6 1 1 1 2 ACCEPT OK\n"}, events: 2, reason: "longer than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			var peak uint64
			reason := ""
			stats, err := ingest.NewReader().Read(t.Context(), ingest.Object{Name: "f"}, squeezed(c.in), ingest.Sink{
				Emit: func(context.Context, ingest.Batch) error { return nil },
				Broken: func(_ context.Context, b ingest.Broken) error {
					if reason == "" {
						reason = b.Reason
					}
					return nil
				},
				Progress: func(int64) {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapAlloc)
				},
			})
			if err != nil || stats.Events != c.events || stats.Foreign != c.foreign || !strings.Contains(reason, c.reason) || (c.reason == "") != (stats.Broken == 0) {
				t.Errorf("%+v, %v, %q", stats, err, reason)
			}
			if !c.foreign && stats.Bytes < size {
				t.Errorf("%d bytes read", stats.Bytes)
			}
			if peak > 96<<20 {
				t.Errorf("%d MiB of heap", peak>>20)
			}
		})
	}
}

// TestManyBrokenRecords: the cost of a broken record is in proportion to its
// size. With work that grows by the window a record these would not end.
func TestManyBrokenRecords(t *testing.T) {
	first, last := fmt.Sprintf(tiny, 1), fmt.Sprintf(tiny, 2)
	for name, c := range map[string]struct {
		head, bad, tail string
		n               int
	}{
		"a value missing, in a list":  {`{"Records":[` + first + `,`, `{"a":]},`, last + `]}`, 1 << 17},
		"a brace missing, in a list":  {`{"Records":[` + first + `,`, `{"eventVersion":{,`, last + `]}`, 1 << 15},
		"a quote missing, in a list":  {`{"Records":[` + first + `,`, `{"eventVersion":"1},`, last + `]}`, 1 << 15},
		"a brace too many, in a list": {`{"Records":[` + first + `,`, `}`, last + `]}`, 1 << 17},
		"lines that are no documents": {first + "\n", "{]\n", last, 1 << 17},
	} {
		g := read(t, ingest.NewReader(), []byte(c.head+strings.Repeat(c.bad, c.n)+c.tail))
		if g.err != nil || len(g.ids) == 0 || g.ids[0] != "1" || g.ids[len(g.ids)-1] != "2" || len(g.broken) < c.n/4 {
			t.Errorf("%s: ids %v, %d broken, %v", name, g.ids, len(g.broken), g.err)
		}
	}
}

// TestChunksAndCompression: however a stream is cut and compressed, the same
// records come out, in the same batches but for live ones, at the same places.
func TestChunksAndCompression(t *testing.T) {
	recs := records(t)[:12]
	for form, wrapIt := range wrappers {
		data := wrapIt(recs)
		for _, bad := range []string{"", `{"eventVersion":"1.08","eventName":tru}` + "\n", "{\"a\n"} {
			sameHoweverRead(t, form, append([]byte(bad), data...))
		}
	}
	sameHoweverRead(t, "flow", []byte("version srcaddr dstaddr\n2 1.1.1.1 2.2.2.2\n2 x\n\n2 3.3.3.3 4.4.4.4"))
}

func sameHoweverRead(t *testing.T, what string, data []byte) {
	t.Helper()
	plain := read(t, ingest.NewReader(), data)
	if plain.stats.Bytes > int64(len(data)) || !plain.stats.Foreign && plain.err == nil && plain.stats.Bytes != int64(len(data)) {
		t.Fatalf("%s: %d bytes of %d accounted for", what, plain.stats.Bytes, len(data))
	}
	if plain.stats.Events != int64(len(plain.ids)) || plain.stats.Broken != int64(len(plain.broken)) || plain.stats.Batches != int64(len(plain.batches)) {
		t.Fatalf("%s: the counts are wrong: %+v", what, plain.stats)
	}
	for _, b := range plain.broken {
		if b.Origin.Offset < 0 || b.Origin.Offset > int64(len(data)) || b.Reason == "" {
			t.Fatalf("%s: %+v", what, b)
		}
		if len(b.Raw) > 0 && b.Origin.Offset < int64(len(data)) && !bytes.HasPrefix(bytes.TrimLeft(data[b.Origin.Offset:], " \t\r\n"), bytes.TrimLeft(b.Raw, " \t\r\n")) {
			t.Fatalf("%s: what is broken does not stand at %d: %q", what, b.Origin.Offset, b.Raw)
		}
	}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	z.Write(data)
	z.Close()
	for how, in := range map[string]io.Reader{
		"gzip": &packed, "one byte at a time": iotest.OneByteReader(bytes.NewReader(data)), "half": iotest.HalfReader(bytes.NewReader(data)),
		"data with the end": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		progress := int64(0)
		other := readFrom(t, ingest.NewReader(), ingest.Object{Source: "files", Name: "f", Identity: "x"}, in, &progress)
		if diff := cmp.Diff(plain.view(), other.view()); diff != "" {
			t.Fatalf("%s, %s (-plain +other):\n%s\n%q", what, how, diff, data)
		}
		if how != "gzip" && !plain.stats.Foreign && progress != int64(len(data)) {
			t.Fatalf("%s, %s: progress heard of %d bytes of %d", what, how, progress, len(data))
		}
	}
	// Live: whatever each read brings goes out at once, in batches of its own.
	live := readFrom(t, ingest.NewReader(), ingest.Object{Source: "stdin", Name: "f", Identity: "x", Live: true}, iotest.HalfReader(bytes.NewReader(data)), new(int64))
	if diff := cmp.Diff(plain.ids, live.ids); diff != "" || len(plain.broken) != len(live.broken) {
		t.Fatalf("%s, live: %d and %d broken, ids %s\n%q", what, len(plain.broken), len(live.broken), diff, data)
	}
}

// view is what must not depend on how the bytes came.
func (g got) view() any {
	type place struct {
		Offset, Line int64
		Reason       string
	}
	var broken []place
	for _, b := range g.broken {
		broken = append(broken, place{b.Origin.Offset, b.Origin.Line, b.Reason})
	}
	failed := ""
	if g.err != nil {
		failed = "failed"
	}
	return []any{g.ids, g.kinds, broken, g.batches, g.stats.Events, g.stats.Broken, g.stats.Foreign, failed}
}

// TestLive: a record is delivered when it is there, while the writer holds the pipe.
func TestLive(t *testing.T) {
	r, w := io.Pipe()
	got := make(chan string)
	done := make(chan error, 1)
	go func() {
		_, err := ingest.NewReader().Read(t.Context(), ingest.Object{Source: "stdin", Name: "-", Live: true}, r, ingest.Sink{
			Emit: func(_ context.Context, b ingest.Batch) error {
				for i := range b.Events {
					got <- strings.Clone(b.Events[i].ID())
				}
				return nil
			},
		})
		done <- err
	}()
	for i := range 5 {
		fmt.Fprintf(w, tiny+"\n", i)
		if id := <-got; id != fmt.Sprint(i) {
			t.Errorf("got %s, want %d", id, i)
		}
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
