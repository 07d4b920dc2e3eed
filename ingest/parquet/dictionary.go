package parquet

import "errors"

// dictionary holds the values of a column chunk's dictionary as text.
type dictionary struct {
	there bool
	text  []byte
	ends  []uint32
}

func (d *dictionary) clear() { d.there, d.text, d.ends = false, d.text[:0], d.ends[:0] }

// size is the memory that it takes.
func (d *dictionary) size() int { return cap(d.text) + 4*cap(d.ends) }

func (d *dictionary) at(i uint32) ([]byte, error) {
	if uint64(i) >= uint64(len(d.ends)) {
		return nil, errors.New("an index beyond the dictionary")
	}
	start := uint32(0)
	if i > 0 {
		start = d.ends[i-1]
	}
	return d.text[start:d.ends[i]:d.ends[i]], nil
}

// readDictionary takes the dictionary page of the chunk.
func (c *cursor) readDictionary(head fields, size int) error {
	n, encoding := head.int(1), head.int(2)
	if n < 0 || n > maxDictionary || encoding != encodingPlain && encoding != encodingPlainDictionary || c.column.kind == typeBoolean {
		return c.bad("a dictionary of %d values in encoding %d", n, encoding)
	}
	page, err := c.decompress(c.stored, size)
	if err != nil {
		return err
	}
	d := &c.dictionary
	d.clear()
	before := d.size()
	var cell, text []byte
	for range n {
		if cell, page, text, err = plainValue(c.column, page, text); err != nil {
			return c.bad("dictionary: %w", err)
		}
		d.text, d.ends = append(d.text, cell...), append(d.ends, uint32(len(d.text)+len(cell)))
	}
	d.there = true
	return c.file.hold(d.size() - before)
}
