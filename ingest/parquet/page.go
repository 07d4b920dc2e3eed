package parquet

import (
	"encoding/binary"
	"errors"
)

// Kinds of page, as in the format's PageType.
const (
	pageData       = 0
	pageIndex      = 1
	pageDictionary = 2
	pageDataV2     = 3
)

// cursor reads the values of one column chunk.
type cursor struct {
	file   *File
	column *Column
	chunk  chunk
	at     int64 // the next page

	left   int64 // values of the page that are not read
	levels hybrid
	values values

	dictionary dictionary
	head       []byte // of a page
	stored     []byte // the page as it lies in the file
	plain      []byte // and decompressed
}

func (c *cursor) begin(f *File, column *Column, k chunk) {
	c.file, c.column, c.chunk, c.at, c.left = f, column, k, k.start, 0
	c.dictionary.clear()
}

func (c *cursor) bad(format string, args ...any) error {
	args = append([]any{c.column.Name}, args...)
	return bad("column %.100q: "+format, args...)
}

// next returns the next value, nil when it is absent.
func (c *cursor) next() ([]byte, error) {
	for c.left == 0 {
		if err := c.page(); err != nil {
			return nil, err
		}
	}
	c.left--
	if c.column.optional {
		level, err := c.levels.next()
		if err != nil {
			return nil, c.bad("%w", err)
		}
		if level == 0 {
			return nil, nil
		}
	}
	v, err := c.values.next()
	if err != nil {
		return nil, c.bad("%w", err)
	}
	return v, nil
}

// page reads pages up to and with the next of data.
func (c *cursor) page() error {
	for {
		if c.at >= c.chunk.end {
			return c.bad("its pages end before its rows")
		}
		head, size, err := c.header()
		if err != nil {
			return err
		}
		stored, plain := head.int(3), head.int(2)
		c.at += int64(size)
		if stored < 0 || stored > c.chunk.end-c.at || stored > maxPage || plain < 0 || plain > maxPage {
			return c.bad("a page of %d bytes, %d uncompressed: at most %d are read", stored, plain, maxPage)
		}
		if c.stored, err = c.file.grow(c.stored, int(stored)); err != nil {
			return err
		}
		if _, err := c.file.r.ReadAt(c.stored, c.at); err != nil && stored > 0 {
			return err
		}
		c.at += stored
		switch head.int(1) {
		case pageData:
			return c.data(head.sub(5), int(plain))
		case pageDataV2:
			return c.dataV2(head.sub(8), int(plain))
		case pageDictionary:
			if err := c.readDictionary(head.sub(7), int(plain)); err != nil {
				return err
			}
		case pageIndex:
		default:
			return c.bad("a page of type %d", head.int(1))
		}
	}
}

// header reads the PageHeader at the cursor, in pieces that grow.
func (c *cursor) header() (fields, int, error) {
	for size := int64(1 << 10); ; size *= 8 {
		size = min(size, c.chunk.end-c.at)
		var err error
		if c.head, err = c.file.grow(c.head, int(size)); err != nil {
			return nil, 0, err
		}
		if _, err := c.file.r.ReadAt(c.head, c.at); err != nil {
			return nil, 0, err
		}
		t := thrift{b: c.head}
		head := t.structure(0)
		switch {
		case t.err == nil:
			return head, t.pos, nil
		case !errors.Is(t.err, errShort), size == c.chunk.end-c.at, size >= maxPageHeader:
			return nil, 0, c.bad("%w", t.err)
		}
	}
}

// data begins a page of the first version: levels and values are compressed together.
func (c *cursor) data(head fields, size int) error {
	page, err := c.decompress(c.stored, size)
	if err != nil {
		return err
	}
	n := head.int(1)
	if err := c.count(n); err != nil {
		return err
	}
	if c.column.optional {
		if head.int(3) != encodingRLE {
			return c.bad("levels in encoding %d", head.int(3))
		}
		if len(page) < 4 || uint64(binary.LittleEndian.Uint32(page)) > uint64(len(page)-4) {
			return c.bad("levels that are cut short")
		}
		end := 4 + int(binary.LittleEndian.Uint32(page))
		c.levels.begin(page[4:end], 1)
		page = page[end:]
	}
	return c.begun(n, head.int(2), page)
}

// dataV2 begins a page of the second version: the levels stand before what is compressed.
func (c *cursor) dataV2(head fields, size int) error {
	n, definition, repetition := head.int(1), head.int(5), head.int(6)
	if err := c.count(n); err != nil {
		return err
	}
	if definition < 0 || repetition != 0 || definition > int64(len(c.stored)) || definition > int64(size) {
		return c.bad("levels of %d and %d bytes in a page of %d", repetition, definition, len(c.stored))
	}
	if c.column.optional {
		c.levels.begin(c.stored[:definition], 1)
		if err := c.nulls(n, head.int(2)); err != nil {
			return err
		}
	}
	page := c.stored[definition:]
	if packed, said := head[7].(bool); !said || packed {
		var err error
		if page, err = c.decompress(page, size-int(definition)); err != nil {
			return err
		}
	}
	return c.begun(n, head.int(4), page)
}

// nulls compares what a page says of its absent values with its levels.
func (c *cursor) nulls(n, said int64) error {
	levels := c.levels
	for range n {
		level, err := levels.next()
		if err != nil {
			return c.bad("%w", err)
		}
		said -= int64(1 - level)
	}
	if said != 0 {
		return c.bad("a page that says how many of its values are absent, and its levels say otherwise")
	}
	return nil
}

func (c *cursor) count(n int64) error {
	if n < 0 || n > c.chunk.values {
		return c.bad("a page of %d values in a chunk of %d", n, c.chunk.values)
	}
	return nil
}

func (c *cursor) begun(n, encoding int64, page []byte) error {
	if err := c.values.begin(c, encoding, page, n); err != nil {
		return c.bad("%w", err)
	}
	c.left = n
	return nil
}
