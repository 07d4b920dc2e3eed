package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"riposte/event"
	"riposte/ingest"
	"riposte/samples"
)

type got struct {
	ids     []string
	kinds   map[string]int
	broken  []ingest.Broken
	batches []string
	sizes   []int
	notices []string
	lines   []string // of flow logs, with their formats
	stats   ingest.Stats
	err     error
}

func read(t testing.TB, r *ingest.Reader, data []byte) got {
	t.Helper()
	return readFrom(t, r, ingest.Object{Source: "files", Name: "f", Identity: "x"}, bytes.NewReader(data), new(int64))
}

func readFrom(t testing.TB, r *ingest.Reader, o ingest.Object, in io.Reader, progress *int64) got {
	t.Helper()
	g := got{kinds: map[string]int{}}
	g.stats, g.err = r.Read(t.Context(), o, in, ingest.Sink{
		Emit: func(_ context.Context, b ingest.Batch) error {
			g.batches = append(g.batches, b.ID)
			g.sizes = append(g.sizes, len(b.Events))
			for i := range b.Events {
				g.ids = append(g.ids, strings.Clone(b.Events[i].ID()))
				g.kinds[b.Events[i].Kind.String()]++
				if f := b.Events[i].Format; f != nil {
					g.lines = append(g.lines, fmt.Sprintf("%d: %s", f.Len(), b.Events[i].Raw))
				}
			}
			return nil
		},
		Notice: func(_ event.Origin, text string) { g.notices = append(g.notices, text) },
		Broken: func(_ context.Context, b ingest.Broken) error {
			b.Raw = bytes.Clone(b.Raw)
			g.broken = append(g.broken, b)
			return nil
		},
		Progress: func(n int64) { *progress += n },
	})
	return g
}

// records are the CloudTrail records of the samples, one line each.
func records(t testing.TB) [][]byte {
	files, err := fs.Glob(samples.FS, "cloudtrail/stratus/*.ndjson")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples")
	}
	var out [][]byte
	for _, f := range files {
		data, err := samples.FS.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for l := range bytes.Lines(data) {
			if l = bytes.TrimSpace(l); len(l) > 0 {
				out = append(out, l)
			}
		}
	}
	return out
}

func idsOf(t testing.TB, recs [][]byte) []string {
	var out []string
	for _, r := range recs {
		e, err := event.Decode(event.CloudTrail, r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.Clone(e.ID()))
	}
	return out
}

// wrappers are the forms in which the same records come.
var wrappers = map[string]func(recs [][]byte) []byte{
	"ndjson":  func(recs [][]byte) []byte { return append(bytes.Join(recs, []byte("\n")), '\n') },
	"records": func(recs [][]byte) []byte { return wrap(`{"Records":[`, recs, `]}`) },
	"array":   func(recs [][]byte) []byte { return wrap(`[`, recs, "\n]\n") },
	"pretty": func(recs [][]byte) []byte {
		var out bytes.Buffer
		for _, r := range recs {
			json.Indent(&out, r, "", "  ")
			out.WriteByte('\n')
		}
		return out.Bytes()
	},
	"eventbridge": func(recs [][]byte) []byte {
		var out bytes.Buffer
		for i, r := range recs {
			fmt.Fprintf(&out, `{"version":"0","id":"env-%d","detail-type":"AWS API Call via CloudTrail","source":"aws.iam","account":"111122223333","time":"2026-01-01T00:00:00Z","region":"us-east-1","resources":[],"detail":%s}`+"\n", i, r)
		}
		return out.Bytes()
	},
	"lookup": func(recs [][]byte) []byte {
		var items [][]byte
		for _, r := range recs {
			b, _ := json.Marshal(map[string]any{"EventId": "x", "EventName": "y", "CloudTrailEvent": string(r), "Resources": []any{}})
			items = append(items, b)
		}
		return wrap(`{"NextToken":"abc", "Events": [`, items, `], "ResultMetadata": {}}`)
	},
	"sns": func(recs [][]byte) []byte {
		var out bytes.Buffer
		for _, r := range recs {
			b, _ := json.Marshal(map[string]any{"Type": "Notification", "MessageId": "m", "Message": string(r)})
			out.Write(append(b, '\n'))
		}
		return out.Bytes()
	},
}

func wrap(head string, recs [][]byte, tail string) []byte {
	return append(append([]byte(head), bytes.Join(recs, []byte(","))...), tail...)
}

var compressions = map[string]func([]byte) []byte{
	"plain": func(b []byte) []byte { return b },
	"gzip": func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(b[:len(b)/2])
		w.Close()
		w.Reset(&out) // a second member
		w.Write(b[len(b)/2:])
		w.Close()
		return out.Bytes()
	},
	"zstd": func(b []byte) []byte {
		w, _ := zstd.NewWriter(nil)
		return w.EncodeAll(b, nil)
	},
}

func TestEveryForm(t *testing.T) {
	recs := records(t)
	want := idsOf(t, recs)
	r := ingest.NewReader()
	for form, wrapIt := range wrappers {
		for name, compress := range compressions {
			g := read(t, r, compress(wrapIt(recs)))
			if g.err != nil || len(g.broken) > 0 {
				t.Errorf("%s %s: %v, broken %v", form, name, g.err, g.broken)
			}
			if diff := cmp.Diff(want, g.ids); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", form, name, diff)
			}
		}
	}
}

// TestAnySplit: however the records are shared out among files and forms, the
// same events come out.
func TestAnySplit(t *testing.T) {
	recs := records(t)
	want := idsOf(t, recs)
	slices.Sort(want)
	forms := slices.Collect(func(yield func(string) bool) {
		for n := range wrappers {
			if !yield(n) {
				return
			}
		}
	})
	slices.Sort(forms)
	r := ingest.NewReader()
	for seed := range 30 {
		rnd := rand.New(rand.NewPCG(uint64(seed), 1))
		shuffled := slices.Clone(recs)
		rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		var ids []string
		for len(shuffled) > 0 {
			n := 1 + rnd.IntN(min(len(shuffled), 60))
			g := read(t, r, wrappers[forms[rnd.IntN(len(forms))]](shuffled[:n]))
			if g.err != nil || len(g.broken) > 0 {
				t.Fatalf("seed %d: %v %v", seed, g.err, g.broken)
			}
			ids = append(ids, g.ids...)
			shuffled = shuffled[n:]
		}
		slices.Sort(ids)
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

func TestBatchesAreStable(t *testing.T) {
	data := wrappers["records"](slices.Concat(records(t), records(t), records(t)))
	a, b := read(t, ingest.NewReader(), data), read(t, ingest.NewReader(), compressions["gzip"](data))
	if diff := cmp.Diff(a.batches, b.batches); diff != "" || len(a.batches) < 5 {
		t.Errorf("batch ids differ: %s", diff)
	}
}

// TestBatchesDoNotDependOnTheReader: a reader that has met a large record makes
// the same batches of the next object as a new one. If they differed, a batch of
// the second reading would hide under the id of a shorter one of the first.
func TestBatchesDoNotDependOnTheReader(t *testing.T) {
	var many [][]byte
	for range 30 {
		many = append(many, records(t)...)
	}
	data := wrappers["records"](many)
	want := read(t, ingest.NewReader(), data)
	used := ingest.NewReader()
	large := `{"eventVersion":"1.08","eventSource":"s","eventName":"n","eventID":"1","x":"` + strings.Repeat("y", 5<<20) + `"}`
	if g := read(t, used, []byte(large)); len(g.ids) != 1 {
		t.Fatalf("%v", g.broken)
	}
	got := read(t, used, data)
	if diff := cmp.Diff(want.sizes, got.sizes); diff != "" || len(want.sizes) < 10 {
		t.Errorf("batches differ (-new +used):\n%s", diff)
	}
}

func TestBrokenRecordCostsThatRecord(t *testing.T) {
	recs := records(t)[:20]
	want := idsOf(t, recs)
	for name, bad := range map[string]string{
		"half":      `{"eventVersion":"1.08","eventName":"Half","userIdentity":{"type":"Ro`,
		"literal":   `{"eventVersion":"1.08","eventName":tru}`,
		"utf8":      "{\"eventVersion\":\"1.08\",\"eventName\":\"\xff\"}",
		"duplicate": `{"eventVersion":"1.08","eventName":"a","eventName":"b"}`,
		"brace":     `{"eventVersion":"1.08","eventName":"a"}}`,
		"quote":     `{"eventVersion":"1.08","eventName":"a""}`,
		"deep":      `{"eventVersion":"1.08","x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
		"unknown":   `{"hello":"world"}`,
		"number":    `{"eventVersion":"1.08","n":0123}`,
	} {
		mixed := slices.Insert(slices.Clone(recs), 10, []byte(bad))
		for _, form := range []string{"ndjson", "records"} {
			g := read(t, ingest.NewReader(), wrappers[form](mixed))
			if g.err != nil {
				t.Errorf("%s %s: %v", form, name, g.err)
			}
			if diff := cmp.Diff(want, g.ids); diff != "" {
				t.Errorf("%s %s: lost or gained records (-want +got):\n%s", form, name, diff)
			}
			if len(g.broken) == 0 {
				t.Errorf("%s %s: nothing was set aside", form, name)
				continue
			}
			b := g.broken[0]
			if form == "ndjson" && b.Origin.Line != 11 && name != "brace" || b.Reason == "" || b.Origin.Object != "f" {
				t.Errorf("%s %s: %+v", form, name, b)
			}
		}
	}
}

func TestTruncatedGzip(t *testing.T) {
	whole := compressions["gzip"](wrappers["records"](slices.Concat(records(t), records(t))))
	g := read(t, ingest.NewReader(), whole[:len(whole)*4/5])
	if g.err == nil || !strings.Contains(g.err.Error(), "cut short") || len(g.ids) == 0 {
		t.Errorf("%v after %d events", g.err, len(g.ids))
	}
}

func TestLargeRecord(t *testing.T) {
	recs := records(t)[:4]
	big := []byte(`{"eventVersion":"1.08","x":"` + strings.Repeat("y", 20<<20) + `"}`)
	for _, form := range []string{"ndjson", "records"} {
		g := read(t, ingest.NewReader(), wrappers[form]([][]byte{recs[0], big, recs[1]}))
		if len(g.ids) != 2 || len(g.broken) != 1 || !strings.Contains(g.broken[0].Reason, "larger than 16 MiB") {
			t.Errorf("%s: %d events, broken %v, err %v", form, len(g.ids), len(g.broken), g.err)
		}
	}
	nearly := []byte(`{"eventVersion":"1.08","eventName":"n","eventSource":"s","eventID":"big","x":"` + strings.Repeat("y", 9<<20) + `"}`)
	if g := read(t, ingest.NewReader(), wrappers["ndjson"]([][]byte{recs[0], nearly, recs[1]})); len(g.ids) != 3 {
		t.Errorf("a record of 9 MiB: %d events, %v", len(g.ids), g.broken)
	}
}

func TestSamplesAreRecognised(t *testing.T) {
	want := map[string]map[string]int{}
	err := fs.WalkDir(samples.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := samples.FS.ReadFile(name)
		if err != nil {
			return err
		}
		g := read(t, ingest.NewReader(), data)
		if g.err != nil || len(g.broken) > 0 {
			t.Errorf("%s: %v %v", name, g.err, g.broken)
		}
		want[name] = g.kinds
		switch {
		case strings.HasPrefix(name, "flow/") && strings.HasSuffix(name, ".log"):
			if g.kinds["flow"] == 0 {
				t.Errorf("%s: no flow records: %v", name, g.kinds)
			}
		case strings.HasPrefix(name, "config/") && strings.HasSuffix(name, ".json"):
			if g.kinds["config"] != 1 {
				t.Errorf("%s: %v", name, g.kinds)
			}
		case strings.Contains(name, "stratus/"):
			if g.kinds["cloudtrail"] == 0 {
				t.Errorf("%s: %v", name, g.kinds)
			}
		case strings.HasSuffix(name, ".md"), strings.HasSuffix(name, "NOTICE"):
			if !g.stats.Foreign {
				t.Errorf("%s: taken for telemetry: %v", name, g.kinds)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConfigSnapshotAndFlowHeader(t *testing.T) {
	snapshot := `{"fileVersion":"1.0","configSnapshotId":"s","configurationItems":[{"resourceType":"AWS::S3::Bucket","resourceId":"b","configurationItemCaptureTime":"2026-01-01T00:00:00.000Z","configuration":{},"awsAccountId":"111122223333"},{"resourceType":"AWS::S3::Bucket","resourceId":"c","configurationItemCaptureTime":"2026-01-01T00:00:00.000Z","configuration":{}}]}`
	if g := read(t, ingest.NewReader(), []byte(snapshot)); g.kinds["config"] != 2 {
		t.Errorf("snapshot: %+v", g)
	}
	flow := "version interface-id srcaddr dstaddr action log-status new-thing\n5 eni-1 10.0.0.1 10.0.0.2 ACCEPT OK x\n5 eni-1 10.0.0.1 ACCEPT OK\n"
	if g := read(t, ingest.NewReader(), []byte(flow)); g.kinds["flow"] != 1 || len(g.broken) != 1 || g.broken[0].Origin.Line != 3 {
		t.Errorf("flow: %+v", g)
	}
}

func TestFilesInOrder(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"b/2.json", "a.json", "b/.hidden", "c.json"} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, n)), 0o755)
		os.WriteFile(filepath.Join(dir, n), []byte("{}"), 0o600)
	}
	refs, err := ingest.Files{Paths: []string{dir}}.List(t.Context())
	var names []string
	for _, r := range refs {
		rel, _ := filepath.Rel(dir, r.Path)
		names = append(names, rel)
	}
	if diff := cmp.Diff([]string{"a.json", "b/2.json", "c.json"}, names); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := (ingest.Files{Paths: []string{"/no/such/file"}}).List(t.Context()); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("%v", err)
	}
}

type memoryCursors map[string][]byte

func (m memoryCursors) Load(_ context.Context, k string) ([]byte, error) { return m[k], nil }
func (m memoryCursors) Save(_ context.Context, k string, v []byte) error {
	m[k] = bytes.Clone(v)
	return nil
}

// TestResume stops a source after every possible number of batches and lets it
// go on: each batch arrives, and those after a saved cursor arrive once.
func TestResume(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.json")
	var many [][]byte
	for range 60 {
		many = append(many, records(t)...)
	}
	os.WriteFile(file, wrappers["records"](many), 0o600)
	stop := io.ErrClosedPipe
	for limit := range 130 {
		cursors := memoryCursors{}
		seen := map[string]int{}
		left := limit
		s := &ingest.FileSource{Files: ingest.Files{Paths: []string{file}}, Cursors: cursors}
		sink := ingest.Sink{Emit: func(_ context.Context, b ingest.Batch) error {
			if left == 0 {
				return stop
			}
			left--
			seen[b.ID]++
			return nil
		}}
		s.Run(t.Context(), sink)
		left = -1
		if err := s.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		total := len(seen)
		left = -1
		if err := s.Run(t.Context(), sink); err != nil || len(seen) != total {
			t.Fatalf("a finished file was read again: %v", err)
		}
		if total < 110 {
			t.Fatalf("limit %d: only %d batches", limit, total)
		}
	}
}

func FuzzRead(f *testing.F) {
	recs := records(f)[:3]
	for _, w := range wrappers {
		f.Add(w(recs))
	}
	f.Add([]byte("2 1 eni-1 1.1.1.1 2.2.2.2 1 2 6 1 1 1 2 ACCEPT OK\n"))
	f.Add([]byte(`{"Records":[{"eventVersion":"1`))
	f.Add([]byte("{\"fileVersion\":\"1.0\",\"configurationItems\":[{\"resourceType\":\"T\",\"configuration\":{}},1,]}\n[{\"eventVersion\":\"1\",\"eventType\":\"x\"}]"))
	f.Add([]byte("# fields: srcaddr dstaddr\n1.1.1.1 2.2.2.2\nversion srcaddr action\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) || bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
			read(t, ingest.NewReader(), data) // compressed already: that it ends is all that is asked
			return
		}
		sameHoweverRead(t, "fuzz", data)
	})
}

func BenchmarkReadGzip(b *testing.B) {
	var many [][]byte
	for range 20 {
		many = append(many, records(b)...)
	}
	plain := wrappers["records"](many)
	data := compressions["gzip"](plain)
	r := ingest.NewReader()
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(b.Context(), ingest.Object{Name: "f", Identity: "x"}, bytes.NewReader(data), ingest.Sink{Emit: func(context.Context, ingest.Batch) error { return nil }}); err != nil {
			b.Fatal(err)
		}
	}
}
