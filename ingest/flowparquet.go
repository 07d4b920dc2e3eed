package ingest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"riposte/event"
	"riposte/ingest/parquet"
)

const (
	// spoolMemory is how much of a Parquet file is kept in memory; AWS's are of up to
	// 75 MB, and what is larger than this waits in a temporary file.
	spoolMemory = 4 << 20
	// maxParquet bounds a Parquet file as stored, where the object's limit is not smaller.
	maxParquet = 1 << 30
	// linesSize is the buffer of the lines that wait to be delivered.
	linesSize = 256 << 10
)

// parquet reads flow log records from a Parquet file: each row becomes the line
// that the same record has in the text form, with the file's columns for its
// format, so that ids, rules and evidence do not depend on the form.
func (r *Reader) parquet(in io.Reader, limit int64) error {
	size := int64(maxParquet)
	if limit > 0 {
		size = min(size, limit)
	}
	file, n, done, err := r.spool(in, size)
	if err != nil {
		return err
	}
	defer done()
	f, err := parquet.Open(file, n)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range f.Columns() {
		names = append(names, c.Name)
	}
	format, ok := r.tableFormat(names)
	if !ok {
		return errForeign
	}
	r.format = format
	if cap(r.lines) < linesSize {
		r.lines = make([]byte, 0, linesSize)
	}
	r.lines = r.lines[:0]
	row := int64(0)
	return f.Rows(func(cells [][]byte) error {
		row++
		if row%batchSize == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		return r.row(cells, row, limit)
	})
}

// tableFormat reads the columns' names; false when they are not those of a flow log.
func (r *Reader) tableFormat(names []string) (*event.FlowFormat, bool) {
	for _, n := range names {
		if strings.ContainsAny(n, " \t\r\n${}") {
			return nil, false
		}
	}
	f, err := event.ParseFlowFormat(strings.Join(names, " "))
	return f, err == nil && f.Len() >= 3 && len(f.Extras())*2 <= f.Len()
}

// row keeps one row.
func (r *Reader) row(cells [][]byte, number, limit int64) error {
	size := len(cells)
	for _, c := range cells {
		size += max(len(c), 1)
	}
	if r.stats.Bytes += int64(size); limit > 0 && r.stats.Bytes > limit {
		return ErrTooLarge
	}
	if size > maxFlowLine {
		return r.broken(event.FlowLog, 0, number, nil, fmt.Sprintf("the row is longer than %d KiB", maxFlowLine>>10))
	}
	if r.pending == 0 { // nothing aliases the buffer
		r.lines = r.lines[:0]
	} else if size > cap(r.lines)-len(r.lines) {
		if err := r.flush(); err != nil {
			return err
		}
		r.lines = r.lines[:0]
	}
	start := len(r.lines)
	fits := true
	for i, c := range cells {
		if i > 0 {
			r.lines = append(r.lines, ' ')
		}
		if len(c) == 0 {
			c = noValue
		}
		fits = fits && bytes.IndexByte(c, ' ') < 0
		r.lines = append(r.lines, c...)
	}
	line := r.lines[start:len(r.lines):len(r.lines)]
	if !fits {
		return r.broken(event.FlowLog, 0, number, line, "a value with a space in it, which no flow log has")
	}
	if err := r.slot().ScanFlow(r.format, line); err != nil {
		return r.broken(event.FlowLog, 0, number, line, err.Error())
	}
	if r.clock && r.pending == 0 {
		r.ingested = time.Now().UTC()
	}
	return r.keep(0, number)
}

var noValue = []byte("-")

// spool makes a stream one that can be read anywhere: in memory or, when it is
// larger, in a temporary file that has no name any more.
func (r *Reader) spool(in io.Reader, limit int64) (_ io.ReaderAt, size int64, done func(), err error) {
	done = func() {}
	var head bytes.Buffer
	n, err := io.CopyN(&head, in, min(spoolMemory, limit+1))
	switch {
	case n > limit:
		return nil, 0, nil, ErrTooLarge
	case err == io.EOF:
		return bytes.NewReader(head.Bytes()), n, done, nil
	case err != nil:
		return nil, 0, nil, err
	}
	file, err := os.CreateTemp("", "riposte-*.parquet")
	if err != nil {
		return nil, 0, nil, r.noRoom(err)
	}
	done = func() { _ = file.Close() }
	_ = os.Remove(file.Name()) // gone when it is closed, however this process ends
	out := &spoolFile{file: file}
	if _, err := out.Write(head.Bytes()); err != nil {
		done()
		return nil, 0, nil, r.noRoom(err)
	}
	more, err := io.Copy(out, io.LimitReader(in, limit-n+1))
	switch {
	case out.err != nil:
		err = r.noRoom(out.err)
	case err == nil && n+more > limit:
		err = ErrTooLarge
	}
	if err != nil {
		done()
		return nil, 0, nil, err
	}
	return file, n + more, done, nil
}

// spoolFile remembers that it was the writing that failed, not the reading.
type spoolFile struct {
	file *os.File
	err  error
}

func (s *spoolFile) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.err = err
	return n, err
}

// noRoom says that the object is not at fault, so that it is read again later.
func (r *Reader) noRoom(err error) error {
	return &DeliveryError{Object: r.origin.Object, Err: fmt.Errorf("keep the Parquet file in %s while it is read: %w", os.TempDir(), err)}
}
