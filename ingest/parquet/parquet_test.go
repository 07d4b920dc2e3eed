package parquet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"riposte/ingest/parquet"
)

// codecs are those that are read.
var codecs = map[string]compress.Codec{"none": &pq.Uncompressed, "snappy": &pq.Snappy, "gzip": &pq.Gzip, "zstd": &pq.Zstd}

// nodes are columns of every type and encoding that is read.
func nodes() pq.Group {
	text := func() pq.Node { return pq.String() }
	return pq.Group{
		"plain":     pq.Optional(pq.Encoded(text(), &pq.Plain)),
		"dict":      pq.Optional(pq.Encoded(text(), &pq.RLEDictionary)),
		"dictplain": pq.Encoded(text(), &pq.RLEDictionary),
		"length":    pq.Optional(pq.Encoded(text(), &pq.DeltaLengthByteArray)),
		"prefix":    pq.Optional(pq.Encoded(text(), &pq.DeltaByteArray)),
		"i32":       pq.Optional(pq.Int(32)),
		"i64":       pq.Int(64),
		"d32":       pq.Optional(pq.Encoded(pq.Int(32), &pq.DeltaBinaryPacked)),
		"d64":       pq.Encoded(pq.Int(64), &pq.DeltaBinaryPacked),
		"dict64":    pq.Optional(pq.Encoded(pq.Int(64), &pq.RLEDictionary)),
		"bool":      pq.Optional(pq.Leaf(pq.BooleanType)),
		"double":    pq.Leaf(pq.DoubleType),
		"fixed":     pq.Leaf(pq.FixedLenByteArrayType(4)),
	}
}

// table is rows of the columns in order; nil is absent.
func table(r *rand.Rand, schema *pq.Schema, n int) (rows []pq.Row, want [][]string) {
	for range n {
		var row pq.Row
		var texts []string
		for i, path := range schema.Columns() {
			leaf, _ := schema.Lookup(path...)
			v, level := value(r, leaf.Node.Type().Kind()), 0
			if leaf.Node.Optional() {
				if r.IntN(4) == 0 {
					v = pq.NullValue()
				} else {
					level = 1
				}
			}
			row = append(row, v.Level(0, level, i))
			if v.IsNull() {
				texts = append(texts, "NULL")
			} else if v.Kind() == pq.ByteArray || v.Kind() == pq.FixedLenByteArray {
				texts = append(texts, string(v.ByteArray()))
			} else {
				texts = append(texts, fmt.Sprint(v))
			}
		}
		rows, want = append(rows, row), append(want, texts)
	}
	return rows, want
}

func value(r *rand.Rand, kind pq.Kind) pq.Value {
	switch kind {
	case pq.Boolean:
		return pq.BooleanValue(r.IntN(2) == 0)
	case pq.Int32:
		return pq.Int32Value(int32(r.Uint32() >> r.IntN(33)))
	case pq.Int64:
		return pq.Int64Value(int64(r.Uint64() >> r.IntN(65)))
	case pq.Double:
		return pq.DoubleValue(float64(r.IntN(1000)) / 8)
	case pq.FixedLenByteArray:
		return pq.FixedLenByteArrayValue([]byte(fmt.Sprintf("%04d", r.IntN(9999))))
	}
	return pq.ByteArrayValue([]byte("10.0." + strings.Repeat("x", r.IntN(3)) + fmt.Sprint(r.IntN(1+r.IntN(200)))))
}

func write(t testing.TB, schema *pq.Schema, rows []pq.Row, options ...pq.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pq.NewWriter(&b, append([]pq.WriterOption{schema}, options...)...)
	for i := 0; i < len(rows); i += 700 {
		if _, err := w.WriteRows(rows[i:min(i+700, len(rows))]); err != nil {
			t.Fatal(err)
		}
		if i == 1400 {
			if err := w.Flush(); err != nil { // another row group
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(data []byte) (rows [][]string, err error) {
	f, err := parquet.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	err = f.Rows(func(row [][]byte) error {
		if len(rows) >= 100_000 {
			return errors.New("enough")
		}
		texts := make([]string, len(row))
		for i, c := range row {
			if texts[i] = string(c); c == nil {
				texts[i] = "NULL"
			}
		}
		rows = append(rows, texts)
		return nil
	})
	return rows, err
}

// TestRead writes tables with another implementation and reads them: every type,
// encoding, codec, both versions of pages, small pages and several row groups.
func TestRead(t *testing.T) {
	for name, codec := range codecs {
		for version := 1; version <= 2; version++ {
			for _, n := range []int{0, 1, 3000} {
				t.Run(fmt.Sprintf("%s/v%d/%d", name, version, n), func(t *testing.T) {
					schema := pq.NewSchema("flow", nodes())
					rows, want := table(rand.New(rand.NewPCG(uint64(n), 7)), schema, n)
					data := write(t, schema, rows, pq.Compression(codec), pq.DataPageVersion(version), pq.PageBufferSize(2000))
					got, err := readAll(data)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff[:min(len(diff), 2000)])
					}
				})
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		schema pq.Group
		want   string
	}{
		"nested":   {pq.Group{"a": pq.Group{"b": pq.String()}}, "is nested"},
		"repeated": {pq.Group{"a": pq.Repeated(pq.String())}, "is repeated"},
		"brotli":   {pq.Group{"a": pq.Compressed(pq.String(), &pq.Brotli)}, "codec 4 is not read"},
		"int96":    {pq.Group{"a": pq.Leaf(pq.Int96Type)}, "has type 3"},
	} {
		t.Run(name, func(t *testing.T) {
			schema := pq.NewSchema("x", c.schema)
			v := pq.ByteArrayValue([]byte("text"))
			if name == "int96" {
				v = pq.Int96Value(deprecated.Int96{1, 2, 3})
			}
			level := 0
			if name == "repeated" {
				level = 1
			}
			data := write(t, schema, []pq.Row{{v.Level(0, level, 0)}})
			_, err := readAll(data)
			var format *parquet.FormatError
			if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestDamaged cuts a file short and changes bytes of it: an error or other values,
// never a crash or memory out of proportion.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	schema := pq.NewSchema("flow", nodes())
	rows, _ := table(r, schema, 60)
	for _, codec := range codecs {
		data := write(t, schema, rows, pq.Compression(codec), pq.DataPageVersion(1+r.IntN(2)))
		for range 3000 {
			damaged := bytes.Clone(data)
			if r.IntN(4) == 0 {
				damaged = damaged[:r.IntN(len(damaged))]
			} else {
				for range 1 + r.IntN(3) {
					damaged[r.IntN(len(damaged))] ^= byte(1 + r.IntN(255))
				}
			}
			_, _ = readAll(damaged)
		}
	}
}

// FuzzTable holds what is read of generated tables against what another
// implementation wrote.
func FuzzTable(f *testing.F) {
	for i, codec := range []uint8{0, 1, 2, 3} {
		f.Add(uint64(i), uint16(50*i), codec, i%2 == 0, uint16(1000))
	}
	names := []string{"none", "snappy", "gzip", "zstd"}
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, codec uint8, v1 bool, page uint16) {
		schema := pq.NewSchema("flow", nodes())
		rows, want := table(rand.New(rand.NewPCG(seed, 7)), schema, int(n%3000))
		version := 2
		if v1 {
			version = 1
		}
		data := write(t, schema, rows, pq.Compression(codecs[names[codec%4]]), pq.DataPageVersion(version), pq.PageBufferSize(64+int(page)))
		got, err := readAll(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzParquet reads files that are damaged: there is an end, and a reason that names
// the file's fault. That no claim of a file is believed is TestClaims'.
func FuzzParquet(f *testing.F) {
	schema := pq.NewSchema("flow", nodes())
	rows, _ := table(rand.New(rand.NewPCG(3, 4)), schema, 5)
	for _, codec := range codecs {
		f.Add(write(f, schema, rows, pq.Compression(codec), pq.DataPageVersion(1)))
		f.Add(write(f, schema, rows, pq.Compression(codec), pq.DataPageVersion(2)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			t.Skip()
		}
		_, err := readAll(data)
		var format *parquet.FormatError
		if err != nil && !errors.As(err, &format) && err.Error() != "enough" {
			t.Fatalf("%T: %v", err, err)
		}
	})
}

// TestClaims: what a file claims to hold is not allocated for. Each change makes one
// number of a header a large one.
func TestClaims(t *testing.T) {
	schema := pq.NewSchema("flow", pq.Group{"a": pq.Optional(pq.Encoded(pq.String(), &pq.RLEDictionary)), "b": pq.Encoded(pq.Int(64), &pq.DeltaBinaryPacked)})
	rows := []pq.Row{{pq.ByteArrayValue([]byte("x")).Level(0, 1, 0), pq.Int64Value(7).Level(0, 0, 1)}}
	data := write(t, schema, rows, pq.Compression(&pq.Gzip))
	huge := []byte{0xfe, 0xff, 0xff, 0xff, 0x0f} // 2^31-1 as a varint
	failed := 0
	for at := 4; at < len(data)-8; at++ {
		// In place of one byte: the footer's length is made to fit again.
		damaged := append(append(bytes.Clone(data[:at]), huge...), data[at+1:]...)
		for _, d := range [][]byte{damaged, withFooter(damaged, len(huge)-1)} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := readAll(d); err != nil {
				failed++
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
				t.Errorf("byte %d: %d MiB are allocated for a file of %d bytes", at, n>>20, len(d))
			}
		}
	}
	if failed < len(data)/4 {
		t.Errorf("only %d of %d changes are noticed", failed, 2*len(data))
	}
}

// craft writes a column of a thousand values and changes the body of its only page,
// with headers and checksum left in order.
func craft(t *testing.T, node pq.Node, value func(i int) pq.Value, mutate func(body []byte)) []byte {
	t.Helper()
	var rows []pq.Row
	for i := range 1000 {
		rows = append(rows, pq.Row{value(i)})
	}
	data := write(t, pq.NewSchema("x", pq.Group{"a": node}), rows, pq.Compression(&pq.Uncompressed), pq.DataPageVersion(1))
	f, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	at := f.Metadata().RowGroups[0].Columns[0].MetaData.DataPageOffset
	r := new(thrift.CompactProtocol).NewReaderFromBytes(bytes.Clone(data[at:]))
	var head format.PageHeader
	if err := thrift.NewDecoder(r).Decode(&head); err != nil {
		t.Fatal(err)
	}
	start := int(at) + r.BytesRead()
	mutate(data[start : start+int(head.CompressedPageSize)])
	return data
}

// TestBodies puts claims into the bodies of pages whose headers are in order: runs
// and counts of millions. None is expanded, whether it is noticed or not.
func TestBodies(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	text := func(int) pq.Value { return pq.ByteArrayValue([]byte(fmt.Sprint(r.IntN(100)))) }
	optional := func(i int) pq.Value {
		if i%2 == 0 {
			return pq.NullValue().Level(0, 0, 0)
		}
		return pq.Int64Value(7).Level(0, 1, 0)
	}
	run := func(n uint64, value byte) []byte { return append(binary.AppendUvarint(nil, n<<1), value) }
	head := func(numbers ...uint64) (b []byte) {
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	// over replaces the body from a byte on, with zeros behind.
	over := func(at int, with []byte) func([]byte) {
		return func(body []byte) {
			clear(body[at:])
			copy(body[at:], with)
		}
	}
	levels := func(with []byte) func([]byte) {
		return func(body []byte) { over(0, with)(body[4 : 4+binary.LittleEndian.Uint32(body)]) }
	}
	for name, data := range map[string][]byte{
		"a run of levels":         craft(t, pq.Optional(pq.Int(64)), optional, levels(run(1<<26, 1))),
		"a level that is none":    craft(t, pq.Optional(pq.Int(64)), optional, levels(run(1000, 2))),
		"a run of indexes":        craft(t, pq.Encoded(pq.String(), &pq.RLEDictionary), text, over(1, run(1<<26, 1))),
		"groups of indexes":       craft(t, pq.Encoded(pq.String(), &pq.RLEDictionary), text, over(1, head(1<<21<<1|1))),
		"many numbers":            craft(t, pq.Encoded(pq.Int(64), &pq.DeltaBinaryPacked), func(i int) pq.Value { return pq.Int64Value(int64(r.Uint64())) }, over(0, head(128, 4, 1<<26))),
		"wide differences of i32": craft(t, pq.Encoded(pq.Int(32), &pq.DeltaBinaryPacked), func(i int) pq.Value { return pq.Int32Value(int32(r.Uint32())) }, over(0, append(head(128, 4, 1000, 0, 0), 34, 34, 34, 34))),
		"long suffixes":           craft(t, pq.Encoded(pq.String(), &pq.DeltaByteArray), text, over(0, append(append(head(1024, 1, 1000, 0), 0, 0), append(head(1024, 1, 1000, 1<<19), 0, 0)...))),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			rows, err := readAll(data)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("%d MiB are allocated for a file of %d bytes", n>>20, len(data))
			}
			if err == nil && len(rows) != 1000 {
				t.Errorf("%d rows without an error", len(rows))
			}
			if none := strings.HasPrefix(name, "a level") || strings.HasPrefix(name, "wide"); none && err == nil {
				t.Error("it is read")
			}
		})
	}
}

// withFooter adds to the footer's length.
func withFooter(data []byte, more int) []byte {
	out := bytes.Clone(data)
	at := out[len(out)-8:]
	binary.LittleEndian.PutUint32(at, binary.LittleEndian.Uint32(at)+uint32(more))
	return out
}
