package parquet

import (
	"encoding/binary"
	"errors"
)

var errLevels = errors.New("its levels or indexes are cut short")

// hybrid reads runs of equal values and runs of bit-packed ones.
// https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE
type hybrid struct {
	b     []byte
	width int
	left  int    // values of the run
	value uint32 // of a run of equal ones
	bits  []byte // of a run of bit-packed ones, nil otherwise
	at    int    // bit in bits
}

func (h *hybrid) begin(b []byte, width int) { *h = hybrid{b: b, width: width} }

func (h *hybrid) next() (uint32, error) {
	for h.left == 0 {
		if h.width == 0 && len(h.b) == 0 {
			return 0, nil // a dictionary of one value needs no bits
		}
		if err := h.run(); err != nil {
			return 0, err
		}
	}
	h.left--
	if h.bits == nil {
		return h.value, nil
	}
	v := uint32(unpackBits(h.bits, h.at, h.width))
	h.at += h.width
	return v, nil
}

func (h *hybrid) run() error {
	head, n := binary.Uvarint(h.b)
	if n <= 0 || head>>1 > 1<<31 {
		return errLevels
	}
	h.b = h.b[n:]
	if head&1 == 1 { // groups of eight
		size := int(head>>1) * h.width
		if size > len(h.b) {
			// The last group may be cut where its values end.
			size = len(h.b)
		}
		h.value, h.bits, h.at, h.b = 0, h.b[:size:size], 0, h.b[size:]
		h.left = int(head>>1) * 8
		if h.width > 0 {
			h.left = min(h.left, size*8/h.width)
		}
		if h.left == 0 && head>>1 > 0 {
			return errLevels
		}
		return nil
	}
	size := (h.width + 7) / 8
	if size > len(h.b) {
		return errLevels
	}
	h.value, h.bits = 0, nil
	for i, c := range h.b[:size] {
		h.value |= uint32(c) << (8 * i)
	}
	if uint64(h.value)>>h.width != 0 {
		return errLevels // a level that the column does not have
	}
	h.b, h.left = h.b[size:], int(head>>1)
	return nil
}

// unpackBits reads a number of at most 64 bits, the least significant first, at a
// bit; the bits are there.
func unpackBits(b []byte, at, width int) uint64 {
	var v uint64
	for got := 0; got < width; {
		i, off := (at+got)>>3, (at+got)&7
		n := min(8-off, width-got)
		v |= uint64(b[i]>>off) & (1<<n - 1) << got
		got += n
	}
	return v
}

// delta reads DELTA_BINARY_PACKED numbers.
// https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC
type delta struct {
	b      []byte
	most   int // bits of a difference
	block  int // values in a block
	minis  int // miniblocks in a block
	left   int64
	first  bool
	value  int64
	least  int64  // of the block's differences
	widths []byte // of the miniblocks to come
	bits   []byte // of the miniblock
	width  int
	at     int // value in the miniblock
	count  int // values in it
}

// begin reads the head of numbers of so many bits. A page has at most n values.
func (d *delta) begin(b []byte, bits int, n int64) error {
	t := thrift{b: b}
	block, minis, total, first := t.uvarint(), t.uvarint(), t.uvarint(), t.varint()
	switch {
	case t.err != nil:
		return errValues
	case block == 0 || block%128 != 0 || block > 1<<16 || minis == 0 || minis > block || block%minis != 0 || block/minis%32 != 0:
		return errors.New("blocks of a size that the format does not allow")
	case total > uint64(n):
		return errors.New("more values than the page has")
	}
	*d = delta{b: b[t.pos:], most: bits, block: int(block), minis: int(minis), left: int64(total), first: true, value: first}
	return nil
}

// beginBefore begins lengths, and returns what stands behind them.
func (d *delta) beginBefore(b []byte, n int64) ([]byte, error) {
	if err := d.begin(b, 32, n); err != nil {
		return nil, err
	}
	scout := *d
	for scout.left > 0 {
		if _, err := scout.next(); err != nil {
			return nil, err
		}
	}
	return scout.b, nil
}

func (d *delta) next() (int64, error) {
	if d.left == 0 {
		return 0, errValues
	}
	d.left--
	if d.first {
		d.first = false
		return d.value, nil
	}
	if d.at == d.count {
		if err := d.mini(); err != nil {
			return 0, err
		}
	}
	d.value += d.least + int64(unpackBits(d.bits, d.at*d.width, d.width))
	d.at++
	return d.value, nil
}

// mini begins the next miniblock, and with the first of them a block.
func (d *delta) mini() error {
	if len(d.widths) == 0 {
		t := thrift{b: d.b}
		d.least = t.varint()
		d.widths = t.bytes(uint64(d.minis))
		if t.err != nil {
			return errValues
		}
		d.b = d.b[t.pos:]
	}
	d.width, d.widths, d.at, d.count = int(d.widths[0]), d.widths[1:], 0, d.block/d.minis
	size := d.width * d.count / 8
	if d.width > d.most || size > len(d.b) {
		return errValues
	}
	d.bits, d.b = d.b[:size:size], d.b[size:]
	return nil
}
