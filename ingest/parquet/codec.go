package parquet

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// Codecs, as in the format's CompressionCodec.
const (
	codecNone   = 0
	codecSnappy = 1
	codecGzip   = 2
	codecZstd   = 6
)

// decompress returns what a page holds: size bytes, no more and no fewer.
func (c *cursor) decompress(b []byte, size int) ([]byte, error) {
	if c.chunk.codec == codecNone {
		if len(b) != size {
			return nil, c.bad("a page of %d bytes is said to have %d", len(b), size)
		}
		return b, nil
	}
	if size == 0 {
		return nil, nil
	}
	var err error
	if c.plain, err = c.file.grow(c.plain, size); err != nil {
		return nil, err
	}
	var in io.Reader
	switch c.chunk.codec {
	case codecSnappy:
		if n, err := snappy.DecodedLen(b); err != nil || n != size {
			return nil, c.bad("a page whose Snappy says %d bytes (%v) is said to have %d", n, err, size)
		}
		out, err := snappy.Decode(c.plain, b)
		if err != nil {
			return nil, c.bad("decompress: %w", err)
		}
		return out, nil
	case codecGzip:
		if c.file.gzip == nil {
			c.file.gzip = new(gzip.Reader)
		}
		if err := c.file.gzip.Reset(bytes.NewReader(b)); err != nil {
			return nil, c.bad("decompress: %w", err)
		}
		in = c.file.gzip
	case codecZstd:
		if c.file.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxPage))
			if err != nil {
				return nil, c.bad("decompress: %w", err)
			}
			c.file.zstd = z
		}
		if err := c.file.zstd.Reset(bytes.NewReader(b)); err != nil {
			return nil, c.bad("decompress: %w", err)
		}
		in = c.file.zstd
	default:
		return nil, c.bad("codec %d is not read: want none, Snappy, gzip or Zstandard", c.chunk.codec)
	}
	if _, err := io.ReadFull(in, c.plain); err != nil {
		return nil, c.bad("decompress: %w", err)
	}
	if n, err := in.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return nil, c.bad("a page of more than the %d bytes that it is said to have (%v)", size, err)
	}
	return c.plain, nil
}
