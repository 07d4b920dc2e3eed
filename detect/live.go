package detect

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Live holds the rules that run and replaces them whole. A set that does not
// load never replaces the one that runs.
type Live struct {
	set    atomic.Pointer[RuleSet]
	failed atomic.Pointer[string]
	load   func() (*RuleSet, error)
	dirs   []string

	mu sync.Mutex // one reload at a time, so that the last one begun is the last one swapped in
}

const (
	// settle is how long files must rest before a reload: an editor writes in steps.
	settle = 200 * time.Millisecond
	// retry is how long to wait when a folder cannot be watched: it may come back.
	retry = 5 * time.Second
)

// NewLive loads for the first time. dirs are the folders that Watch looks at.
func NewLive(dirs []string, load func() (*RuleSet, error)) (*Live, error) {
	l := &Live{load: load, dirs: dirs}
	set, err := load()
	if err != nil {
		return nil, err
	}
	l.set.Store(set)
	return l, nil
}

// Current is the set that runs now.
func (l *Live) Current() *RuleSet { return l.set.Load() }

// LastError is why the last reload failed; "" when it did not.
func (l *Live) LastError() string {
	if s := l.failed.Load(); s != nil {
		return *s
	}
	return ""
}

// Reload loads again. Rules that did not change go on counting where they were.
func (l *Live) Reload() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	set, err := l.load()
	if err != nil {
		return l.fail(err)
	}
	set.inherit(l.Current())
	l.set.Store(set)
	l.failed.Store(nil)
	return nil
}

func (l *Live) fail(err error) error {
	s := err.Error()
	l.failed.Store(&s)
	return err
}

// Watch reloads when files under the folders change, and tells done after each
// try. It blocks until ctx is done.
func (l *Live) Watch(ctx context.Context, done func(error)) error {
	if len(l.dirs) == 0 {
		<-ctx.Done()
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the rules: %w", err)
	}
	defer w.Close()
	if err := l.watchAll(w); err != nil {
		return err
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-w.Events:
			if !ev.Has(fsnotify.Chmod) {
				timer.Reset(settle)
			}
		case err := <-w.Errors:
			done(fmt.Errorf("watch the rules: %w", err))
		case <-timer.C:
			err := l.watchAll(w) // folders may have come
			if err != nil {
				l.fail(err)
				timer.Reset(retry)
			} else {
				err = l.Reload()
			}
			done(err)
		}
	}
}

// watchAll watches every folder below dirs; adding one twice does nothing.
func (l *Live) watchAll(w *fsnotify.Watcher) error {
	for _, dir := range l.dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return w.Add(path)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("watch the rules in %s: %w", dir, err)
		}
	}
	return nil
}
