package ingest

import (
	"bytes"
	"io"
)

const (
	// windowSize is how much is read at a time.
	windowSize = 1 << 20
	// maxRecord is the largest record that is read; CloudTrail's own limit is
	// 256 KB, a Config item's 5 MB.
	maxRecord = 16 << 20
)

// window is a sliding view of a stream. What it showed is valid until the next fill.
type window struct {
	src  io.Reader
	buf  []byte
	pos  int   // the next byte to read, in buf
	end  int   // the end of what is filled
	base int64 // the stream's offset of buf[0]
	// line counts newlines before pos, from 1, up to counted.
	line    int64
	counted int
	live    bool // take what a read gives instead of filling the buffer
	err     error
}

func (w *window) reset(src io.Reader, live bool) {
	if w.buf == nil {
		w.buf = make([]byte, windowSize)
	}
	// As large as at first, whatever a record of another object made of it: where
	// the window ends, batches end, and the same object has the same batches.
	*w = window{src: src, buf: w.buf[:windowSize], line: 1, live: live}
}

// rest is what is filled and not yet read.
func (w *window) rest() []byte { return w.buf[w.pos:w.end] }

func (w *window) offset() int64 { return w.base + int64(w.pos) }

// lineAt returns the line of pos.
func (w *window) lineAt() int64 {
	w.line += int64(bytes.Count(w.buf[w.counted:w.pos], []byte{'\n'}))
	w.counted = w.pos
	return w.line
}

// fill moves what is unread to the front and reads on. It returns false when the
// stream has ended or failed (err says why, nil at a clean end), or when the
// unread part fills the largest window.
func (w *window) fill() bool {
	if w.err != nil {
		return false
	}
	w.lineAt()
	copy(w.buf, w.buf[w.pos:w.end])
	w.base += int64(w.pos)
	w.end -= w.pos
	w.pos, w.counted = 0, 0
	if w.end == len(w.buf) {
		if len(w.buf) >= maxRecord {
			return false
		}
		if size := 2 * len(w.buf); size <= cap(w.buf) {
			w.buf = w.buf[:size]
		} else {
			w.buf = append(w.buf, make([]byte, len(w.buf))...)
		}
	}
	before := w.end
	for {
		n, err := w.src.Read(w.buf[w.end:])
		w.end += n
		if err != nil {
			w.err = err
			return w.end > before
		}
		if w.end == len(w.buf) || w.live && n > 0 {
			return true
		}
	}
}

// full reports whether the unread part fills the largest window.
func (w *window) full() bool { return w.pos == 0 && w.end == len(w.buf) && len(w.buf) >= maxRecord }

// failure is why the stream ended, nil at its clean end.
func (w *window) failure() error {
	if w.err == io.EOF {
		return nil
	}
	return w.err
}
