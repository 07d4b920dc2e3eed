package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

func nowNano() int64 { return time.Now().UnixNano() }

// Cursors keep how far each file was read. A nil Cursors keeps nothing.
type Cursors interface {
	// Load returns what Save kept under the key, or nil.
	Load(ctx context.Context, key string) ([]byte, error)
	Save(ctx context.Context, key string, value []byte) error
}

// FileSource delivers files for the daemon: each once, going on after a restart
// where it stopped, and, when it follows, those that come later.
type FileSource struct {
	Files   Files
	Cursors Cursors
	// Follow keeps looking for new files every Poll. A file that is still
	// growing is read when its size rests for one Poll.
	Follow bool
	Poll   time.Duration
	// Notice hears of files that could not be read or hold no telemetry; nil is silence.
	Notice func(path string, err error)
}

// cursor is how far one file was read.
type cursor struct {
	Size    int64 `json:"size"`
	Batches int64 `json:"batches"`
	Done    bool  `json:"done"`
}

// saveEvery is how many batches may be delivered again after a crash. Their ids
// are the same, so the bus takes them for what they are.
const saveEvery = 50

// Run delivers every file, and then, when it follows, looks for more until ctx is done.
func (s *FileSource) Run(ctx context.Context, sink Sink) error {
	reader := NewReader()
	sizes := map[string]int64{}
	poll := s.Poll
	if poll <= 0 {
		poll = 2 * time.Second
	}
	for first := true; ; first = false {
		refs, err := s.Files.List(ctx)
		if err != nil {
			if !s.Follow {
				return err
			}
			s.notice("", err)
		}
		for _, ref := range refs {
			if ref.Path == "-" && !first {
				continue
			}
			if s.Follow && !first && sizes[ref.Path] != ref.Size {
				sizes[ref.Path] = ref.Size // new or growing: wait one poll
				continue
			}
			sizes[ref.Path] = ref.Size
			if err := s.deliver(ctx, reader, ref, sink); err != nil {
				return err
			}
		}
		if !s.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(poll):
		}
	}
}

// deliver reads one file from where its cursor stands.
func (s *FileSource) deliver(ctx context.Context, reader *Reader, ref FileRef, sink Sink) error {
	var at cursor
	if s.Cursors != nil && ref.Path != "-" {
		saved, err := s.Cursors.Load(ctx, ref.Path)
		if err != nil {
			return fmt.Errorf("load the cursor of %s: %w", ref.Path, err)
		}
		if saved != nil {
			if err := json.Unmarshal(saved, &at); err != nil {
				return fmt.Errorf("read the cursor of %s: %w", ref.Path, err)
			}
		}
	}
	if at.Size == ref.Size && at.Done && ref.Path != "-" {
		return nil
	}
	if at.Size != ref.Size {
		at = cursor{Size: ref.Size}
	}
	save := func() error {
		if s.Cursors == nil || ref.Path == "-" {
			return nil
		}
		b, err := json.Marshal(at)
		if err != nil {
			return err
		}
		if err := s.Cursors.Save(ctx, ref.Path, b); err != nil {
			return fmt.Errorf("save the cursor of %s: %w", ref.Path, err)
		}
		return nil
	}
	emit := sink.Emit
	sink.Emit = func(ctx context.Context, b Batch) error {
		if err := emit(ctx, b); err != nil {
			return err
		}
		if at.Batches++; at.Batches%saveEvery == 0 {
			return save()
		}
		return nil
	}
	stats, err := reader.readFile(ctx, s.Files, ref, at.Batches, sink)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refused *DeliveryError
	if errors.As(err, &refused) {
		return err
	}
	if err != nil {
		s.notice(ref.Path, err)
		if os.IsNotExist(err) {
			return nil // it went away between the listing and the reading
		}
	} else if stats.Foreign {
		s.notice(ref.Path, errForeign)
	}
	at.Done = true
	return save()
}

func (s *FileSource) notice(path string, err error) {
	if s.Notice != nil {
		s.Notice(path, err)
	}
}
