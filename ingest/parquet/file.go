package parquet

import (
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Types of columns, as in the format's Type.
const (
	typeBoolean = iota
	typeInt32
	typeInt64
	typeInt96
	typeFloat
	typeDouble
	typeByteArray
	typeFixed
)

// Column is a leaf of the schema.
type Column struct {
	Name     string
	kind     int64
	size     int // of typeFixed, bytes
	optional bool
}

// group is a row group: for each column where its pages lie.
type group struct {
	rows   int64
	chunks []chunk
}

type chunk struct {
	start, end int64
	codec      int64
	values     int64
}

// File is an open file. It serves one goroutine.
type File struct {
	r       io.ReaderAt
	size    int64
	columns []Column
	groups  []group
	held    int64 // bytes of pages and dictionaries

	gzip *gzip.Reader
	zstd *zstd.Decoder
}

var magic = []byte("PAR1")

// Open reads the footer.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	var tail [8]byte
	if size < 12 {
		return nil, bad("%d bytes are no file", size)
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	switch {
	case string(tail[4:]) == "PARE":
		return nil, bad("the file is encrypted")
	case string(tail[4:]) != string(magic):
		return nil, bad("the file does not end as one: it is cut short")
	case length > size-12:
		return nil, bad("the footer is said to have %d bytes, the file has %d", length, size)
	case length > maxFooter:
		return nil, bad("the footer has %d bytes, at most %d are read", length, maxFooter)
	}
	footer := make([]byte, length)
	if _, err := r.ReadAt(footer, size-8-length); err != nil {
		return nil, err
	}
	t := thrift{b: footer}
	meta := t.structure(0)
	if t.err != nil {
		return nil, t.err
	}
	if err := f.schema(meta.list(2)); err != nil {
		return nil, err
	}
	for _, g := range meta.list(4) {
		g, _ := g.(fields)
		if err := f.group(g); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Columns are the leaves of the schema, in order.
func (f *File) Columns() []Column { return f.columns }

// schema reads the flattened tree of SchemaElements: a root, and leaves below it.
func (f *File) schema(list []any) error {
	if len(list) < 2 {
		return bad("the schema has no column")
	}
	if len(list)-1 > maxColumns {
		return bad("the schema has %d columns, at most %d are read", len(list)-1, maxColumns)
	}
	for i, e := range list {
		e, _ := e.(fields)
		name, _ := e[4].([]byte)
		_, leaf := e[1].(int64)
		switch {
		case i == 0 && e.int(5) == int64(len(list)-1):
			continue
		case i == 0 || !leaf || e.int(5) != 0:
			return bad("column %.100q is nested: only flat tables are read", name)
		case e.int(3) == 2:
			return bad("column %.100q is repeated: only flat tables are read", name)
		}
		c := Column{Name: string(name), kind: e.int(1), size: int(e.int(2)), optional: e.int(3) == 1}
		if c.kind < 0 || c.kind > typeFixed || c.kind == typeInt96 {
			return bad("column %.100q has type %d, which is not read", name, c.kind)
		}
		if c.kind == typeFixed && (c.size <= 0 || c.size > maxCell) {
			return bad("column %.100q has values of %d bytes", name, c.size)
		}
		f.columns = append(f.columns, c)
	}
	return nil
}

func (f *File) group(g fields) error {
	out := group{rows: g.int(3)}
	chunks := g.list(1)
	if len(chunks) != len(f.columns) || out.rows < 0 {
		return bad("row group %d has %d columns, the schema %d", len(f.groups), len(chunks), len(f.columns))
	}
	for i, c := range chunks {
		c, _ := c.(fields)
		name := f.columns[i].Name
		if c[1] != nil || c[8] != nil || c[9] != nil {
			return bad("column %.100q lies in another file or is encrypted", name)
		}
		m := c.sub(3)
		k := chunk{start: m.int(9), codec: m.int(4), values: m.int(5)}
		if dictionary, ok := m[11].(int64); ok && dictionary > 0 && dictionary < k.start {
			k.start = dictionary
		}
		size := m.int(7)
		if k.start < 4 || size < 0 || size > f.size || k.start > f.size-size {
			return bad("the pages of column %.100q lie outside the file", name)
		}
		k.end = k.start + size
		if k.values != out.rows {
			return bad("column %.100q has %d values for %d rows", name, k.values, out.rows)
		}
		out.chunks = append(out.chunks, k)
	}
	f.groups = append(f.groups, out)
	return nil
}

// Rows calls yield with every row in order: the values as text, numbers in decimal,
// nil for one that is absent. They are valid during the call. It ends with yield's
// error, or with its own, which is a *FormatError where the file is at fault.
func (f *File) Rows(yield func(row [][]byte) error) error {
	row := make([][]byte, len(f.columns))
	cursors := make([]cursor, len(f.columns))
	for i := range f.groups {
		g := &f.groups[i]
		for c := range cursors {
			cursors[c].begin(f, &f.columns[c], g.chunks[c])
		}
		for range g.rows {
			for c := range cursors {
				v, err := cursors[c].next()
				if err != nil {
					return err
				}
				row[c] = v
			}
			if err := yield(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// grow makes a buffer of n bytes out of b, counting what is held.
func (f *File) grow(b []byte, n int) ([]byte, error) {
	if n <= cap(b) {
		return b[:n], nil
	}
	if err := f.hold(n - cap(b)); err != nil {
		return nil, err
	}
	return make([]byte, n), nil
}

func (f *File) hold(n int) error {
	if f.held += int64(n); f.held > maxHeld {
		return bad("its pages want more than %d MiB at a time", maxHeld>>20)
	}
	return nil
}
