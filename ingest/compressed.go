package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decompressor opens a stream whatever its compression, reusing its decoders.
type decompressor struct {
	layers [maxLayers + 1]layer
}

// maxLayers is how deep compression lies inside compression: what CloudWatch Logs
// sends is gzip, and Firehose compresses once more what it writes to S3.
const maxLayers = 3

// layer is the decoders of one depth.
type layer struct {
	in      *bufio.Reader
	members members
	zstd    *zstd.Decoder
}

// kinds of stream, by their magic numbers; anything else is plain.
var (
	gzipMagic    = []byte{0x1f, 0x8b}
	zstdMagic    = []byte{0x28, 0xb5, 0x2f, 0xfd}
	parquetMagic = []byte("PAR1")
)

// open returns what is inside all compression, each layer of it held to limit
// bytes when limit is not 0, and the first bytes of it.
func (d *decompressor) open(r io.Reader, limit int64) (_ io.Reader, magic []byte, err error) {
	for depth := range d.layers {
		l := &d.layers[depth]
		if l.in == nil {
			l.in = bufio.NewReaderSize(nil, 128<<10>>depth)
		}
		l.in.Reset(r)
		magic, err := l.in.Peek(4)
		if err != nil && err != io.EOF && (depth == 0 || len(magic) == 0) {
			if depth == 0 {
				return nil, nil, err
			}
			return l.in, nil, nil // the reader meets the error where it stands
		}
		switch {
		case bytes.HasPrefix(magic, gzipMagic):
			if depth == maxLayers {
				return nil, nil, fmt.Errorf("compression inside compression, %d deep", depth+1)
			}
			if err := l.members.reset(l.in); err != nil {
				return nil, nil, err
			}
			r = &l.members
		case bytes.Equal(magic, zstdMagic):
			if depth == maxLayers {
				return nil, nil, fmt.Errorf("compression inside compression, %d deep", depth+1)
			}
			if r, err = l.openZstd(); err != nil {
				return nil, nil, err
			}
		default:
			return l.in, magic, nil
		}
		if limit > 0 {
			r = &limited{r: r, left: limit}
		}
	}
	return nil, nil, errors.New("too many layers of compression")
}

func (l *layer) openZstd() (io.Reader, error) {
	if l.zstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		l.zstd = z
	}
	if err := l.zstd.Reset(l.in); err != nil {
		return nil, fmt.Errorf("zstd header: %w", err)
	}
	return l.zstd, nil
}

// members reads gzip members one after the other: Firehose writes those of
// CloudWatch Logs end to end, with a line end between them when it is told to
// delimit records.
type members struct {
	in   *bufio.Reader
	gzip *gzip.Reader
	done bool
}

func (m *members) reset(in *bufio.Reader) error {
	m.in, m.done = in, false
	if m.gzip == nil {
		m.gzip = new(gzip.Reader)
	}
	return m.next()
}

func (m *members) next() error {
	if err := m.gzip.Reset(m.in); err != nil {
		return fmt.Errorf("gzip header: %w", err)
	}
	m.gzip.Multistream(false)
	return nil
}

// Read implements io.Reader.
func (m *members) Read(p []byte) (int, error) {
	for !m.done {
		n, err := m.gzip.Read(p)
		if err != io.EOF {
			return n, err
		}
		more, err := m.another()
		if err != nil {
			return n, err
		}
		m.done = !more
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// another goes to the next member, past line ends; false at the end of the data.
func (m *members) another() (bool, error) {
	for {
		c, err := m.in.ReadByte()
		switch {
		case err == io.EOF:
			return false, nil
		case err != nil:
			return false, err
		case c == '\n' || c == '\r':
			continue
		}
		if err := m.in.UnreadByte(); err != nil {
			return false, err
		}
		return true, m.next()
	}
}
