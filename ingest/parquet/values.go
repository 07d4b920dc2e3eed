package parquet

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
)

// Encodings of values, as in the format's Encoding.
const (
	encodingPlain           = 0
	encodingPlainDictionary = 2
	encodingRLE             = 3
	encodingDeltaBinary     = 5
	encodingDeltaLength     = 6
	encodingDeltaByteArray  = 7
	encodingRLEDictionary   = 8
)

var (
	errValues = errors.New("its values are cut short")
	errCell   = errors.New("a value of more than 64 KiB")
)

// values reads the values of a page, one after the other.
type values struct {
	column   *Column
	encoding int64
	page     []byte
	bit      int // of typeBoolean, in page
	indexes  hybrid
	lookup   *dictionary
	numbers  delta
	prefixes delta
	lengths  delta
	previous []byte
	text     []byte // of the last number
}

func (v *values) begin(c *cursor, encoding int64, page []byte, n int64) error {
	v.column, v.encoding, v.page, v.bit, v.lookup = c.column, encoding, page, 0, &c.dictionary
	array := v.column.kind == typeByteArray
	switch {
	case encoding == encodingPlain:
		return nil
	case encoding == encodingPlainDictionary, encoding == encodingRLEDictionary:
		v.encoding = encodingRLEDictionary
		if !c.dictionary.there {
			return errors.New("a page refers to a dictionary that is not there")
		}
		if len(page) == 0 {
			v.indexes.begin(nil, 0)
			return nil
		}
		if page[0] > 32 {
			return errors.New("indexes of more than 32 bits")
		}
		v.indexes.begin(page[1:], int(page[0]))
		return nil
	case encoding == encodingRLE && v.column.kind == typeBoolean:
		if len(page) < 4 || uint64(binary.LittleEndian.Uint32(page)) > uint64(len(page)-4) {
			return errValues
		}
		v.indexes.begin(page[4:], 1)
		return nil
	case encoding == encodingDeltaBinary && v.column.kind == typeInt32:
		return v.numbers.begin(page, 32, n)
	case encoding == encodingDeltaBinary && v.column.kind == typeInt64:
		return v.numbers.begin(page, 64, n)
	case encoding == encodingDeltaLength && array:
		rest, err := v.lengths.beginBefore(page, n)
		v.page = rest
		return err
	case encoding == encodingDeltaByteArray && (array || v.column.kind == typeFixed):
		v.previous = v.previous[:0]
		rest, err := v.prefixes.beginBefore(page, n)
		if err == nil {
			rest, err = v.lengths.beginBefore(rest, n)
		}
		v.page = rest
		return err
	}
	return errors.New("encoding " + strconv.FormatInt(encoding, 10) + " of type " + strconv.FormatInt(v.column.kind, 10) + " is not read")
}

// next returns a value as text, which is valid until the next.
func (v *values) next() ([]byte, error) {
	switch v.encoding {
	case encodingPlain:
		if v.column.kind == typeBoolean {
			return v.boolean()
		}
		var cell []byte
		var err error
		cell, v.page, v.text, err = plainValue(v.column, v.page, v.text)
		return cell, err
	case encodingRLEDictionary:
		i, err := v.indexes.next()
		if err != nil {
			return nil, err
		}
		return v.lookup.at(i)
	case encodingRLE:
		n, err := v.indexes.next()
		return strconv.AppendBool(v.text[:0], n == 1), err
	case encodingDeltaBinary:
		n, err := v.numbers.next()
		if v.column.kind == typeInt32 {
			n = int64(int32(n))
		}
		v.text = strconv.AppendInt(v.text[:0], n, 10)
		return v.text, err
	case encodingDeltaLength:
		return v.suffix()
	}
	return v.withPrefix()
}

func (v *values) boolean() ([]byte, error) {
	if v.bit>>3 >= len(v.page) {
		return nil, errValues
	}
	set := v.page[v.bit>>3]>>(v.bit&7)&1 == 1
	v.bit++
	v.text = strconv.AppendBool(v.text[:0], set)
	return v.text, nil
}

// suffix takes bytes of the next of the lengths.
func (v *values) suffix() ([]byte, error) {
	n, err := v.lengths.next()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > int64(len(v.page)) {
		return nil, errValues
	}
	if n > maxCell {
		return nil, errCell
	}
	cell := v.page[:n:n]
	v.page = v.page[n:]
	return cell, nil
}

// withPrefix is what the last value begins with, and a suffix.
func (v *values) withPrefix() ([]byte, error) {
	n, err := v.prefixes.next()
	if err != nil {
		return nil, err
	}
	suffix, err := v.suffix()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > int64(len(v.previous)) {
		return nil, errValues
	}
	if int(n)+len(suffix) > maxCell {
		return nil, errCell
	}
	v.previous = append(v.previous[:n], suffix...)
	return v.previous, nil
}

// plainValue takes one value of PLAIN encoding. Numbers are written into text.
func plainValue(c *Column, b, text []byte) (cell, rest, scratch []byte, err error) {
	take := func(n int) []byte {
		if n > len(b) {
			err = errValues
			return nil
		}
		cell := b[:n:n]
		b = b[n:]
		return cell
	}
	switch c.kind {
	case typeInt32, typeFloat:
		if v := take(4); err == nil {
			bits := binary.LittleEndian.Uint32(v)
			if c.kind == typeInt32 {
				text = strconv.AppendInt(text[:0], int64(int32(bits)), 10)
			} else {
				text = strconv.AppendFloat(text[:0], float64(math.Float32frombits(bits)), 'g', -1, 32)
			}
		}
		return text, b, text, err
	case typeInt64, typeDouble:
		if v := take(8); err == nil {
			bits := binary.LittleEndian.Uint64(v)
			if c.kind == typeInt64 {
				text = strconv.AppendInt(text[:0], int64(bits), 10)
			} else {
				text = strconv.AppendFloat(text[:0], math.Float64frombits(bits), 'g', -1, 64)
			}
		}
		return text, b, text, err
	case typeFixed:
		return take(c.size), b, text, err
	}
	head := take(4)
	if err != nil {
		return nil, b, text, err
	}
	n := binary.LittleEndian.Uint32(head)
	if uint64(n) > uint64(len(b)) {
		return nil, b, text, errValues
	}
	if n > maxCell {
		return nil, b, text, errCell
	}
	return take(int(n)), b, text, err
}
