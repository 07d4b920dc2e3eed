package digest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Limits of what is unpacked. CloudTrail's log files are some 50 MB long at
// most, and a digest of them 64 MB names some 150 000.
const (
	maxLog    = 1 << 30
	maxDigest = 64 << 20
)

// errContent is the class of errors that lie in the bytes of a file, rather than in reading them.
var errContent = errors.New("content")

type contentError string

func (e contentError) Error() string        { return string(e) }
func (e contentError) Is(target error) bool { return target == errContent }

// unpacker unpacks gzip, one file after the other, with buffers that it keeps.
type unpacker struct {
	in  *bufio.Reader
	gz  gzip.Reader
	sha hash.Hash
	buf []byte
}

func newUnpacker() *unpacker {
	return &unpacker{in: bufio.NewReaderSize(nil, 128<<10), sha: sha256.New(), buf: make([]byte, 128<<10)}
}

// source counts the packed bytes, and remembers errors of reading.
type source struct {
	r        io.Reader
	n        int64
	err      error
	progress func(int64)
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if s.progress != nil {
		s.progress(int64(n))
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// copy unpacks one file into w, at most limit bytes.
func (u *unpacker) copy(ctx context.Context, w io.Writer, src *source, limit int64) (int64, error) {
	u.in.Reset(src)
	if err := u.gz.Reset(u.in); err != nil {
		return 0, u.blame(src, err)
	}
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := u.gz.Read(u.buf)
		n += int64(k)
		if n > limit {
			return n, contentError(fmt.Sprintf("unpacks to more than %d bytes", limit))
		}
		if _, werr := w.Write(u.buf[:k]); werr != nil {
			return n, werr
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, u.blame(src, err)
		}
	}
}

// blame tells an error of the disk or network from one of the content.
func (u *unpacker) blame(src *source, err error) error {
	if src.err != nil {
		return src.err
	}
	if err == io.EOF {
		return contentError("is empty")
	}
	return contentError(notGzip(err))
}

// hash returns the SHA-256 of the unpacked file and its length.
func (u *unpacker) hash(ctx context.Context, src *source) (string, int64, error) {
	u.sha.Reset()
	n, err := u.copy(ctx, u.sha, src, maxLog)
	if err != nil {
		return "", n, err
	}
	return hex.EncodeToString(u.sha.Sum(nil)), n, nil
}

// read returns the unpacked file.
func (u *unpacker) read(ctx context.Context, src *source) ([]byte, error) {
	var out bytes.Buffer
	_, err := u.copy(ctx, &out, src, maxDigest)
	return out.Bytes(), err
}
