package parquet

import "encoding/binary"

// thrift reads structures of Thrift's compact protocol into values: int64, bool,
// []byte, []any and fields. Bytes alias the input.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
type thrift struct {
	b     []byte
	pos   int
	nodes int
	err   error
}

// fields are the members of a structure by their ids.
type fields map[int16]any

// int is a whole number, 0 when it is absent.
func (f fields) int(id int16) int64 { n, _ := f[id].(int64); return n }

func (f fields) list(id int16) []any { l, _ := f[id].([]any); return l }

func (f fields) sub(id int16) fields { s, _ := f[id].(fields); return s }

// errShort says that the input ends inside a structure.
var errShort = bad("a structure is cut short")

func (t *thrift) fail(err error) {
	if t.err == nil {
		t.err = err
	}
	t.pos = len(t.b)
}

func (t *thrift) byte() byte {
	if t.pos >= len(t.b) {
		t.fail(errShort)
		return 0
	}
	t.pos++
	return t.b[t.pos-1]
}

func (t *thrift) uvarint() uint64 {
	v, n := binary.Uvarint(t.b[t.pos:])
	if n <= 0 {
		if n == 0 {
			t.fail(errShort)
		} else {
			t.fail(bad("a number of more than 64 bits"))
		}
		return 0
	}
	t.pos += n
	return v
}

func (t *thrift) varint() int64 {
	v := t.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (t *thrift) bytes(n uint64) []byte {
	if n > uint64(len(t.b)-t.pos) {
		t.fail(errShort)
		return nil
	}
	t.pos += int(n)
	return t.b[t.pos-int(n) : t.pos]
}

// structure reads fields up to the stop.
func (t *thrift) structure(depth int) fields {
	out := fields{}
	id := int16(0)
	for t.err == nil {
		head := t.byte()
		if head == 0 {
			break
		}
		if delta := head >> 4; delta != 0 {
			id += int16(delta)
		} else {
			id = int16(t.varint())
		}
		switch kind := head & 0x0f; kind {
		case 1, 2:
			out[id] = kind == 1
		default:
			out[id] = t.value(kind, depth+1)
		}
	}
	return out
}

func (t *thrift) value(kind byte, depth int) any {
	if t.nodes++; t.nodes > maxNodes || depth > maxDepth {
		t.fail(bad("the footer or a header has more than %d values or is deeper than %d", maxNodes, maxDepth))
		return nil
	}
	switch kind {
	case 1, 2: // an element of a list
		return t.byte() == 1
	case 3:
		return int64(int8(t.byte()))
	case 4, 5, 6:
		return t.varint()
	case 7:
		t.bytes(8)
		return nil
	case 8:
		return t.bytes(t.uvarint())
	case 9, 10:
		return t.listOf(depth)
	case 12:
		return t.structure(depth)
	}
	t.fail(bad("a value of type %d, which Parquet does not use", kind))
	return nil
}

func (t *thrift) listOf(depth int) []any {
	head := t.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = t.uvarint()
	}
	if n > uint64(len(t.b)-t.pos) { // each element has a byte at least
		t.fail(errShort)
		return nil
	}
	var out []any
	for range n {
		if t.err != nil {
			return nil
		}
		out = append(out, t.value(head&0x0f, depth+1))
	}
	return out
}
