package receiver

import (
	"log/slog"
	"os"
	"sync"
	"time"
)

// watched is a value that is made from files, and made again when one of them
// changes. When that does not work the last good value stays.
type watched[T any] struct {
	files []string
	load  func() (T, error)
	log   *slog.Logger
	what  string

	mu     sync.Mutex
	value  T
	stamps []stamp
	looked time.Time
}

// stamp is how a file looks from outside.
type stamp struct {
	size    int64
	changed time.Time
	missing bool
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// watch makes the value for the first time; its failure is the caller's.
func watch[T any](what string, files []string, log *slog.Logger, load func() (T, error)) (*watched[T], error) {
	w := &watched[T]{files: files, load: load, log: log, what: what}
	w.stamps = w.look()
	var err error
	w.value, err = load()
	return w, err
}

// get returns the value as the files are now, a second ago at most.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.files) == 0 || time.Since(w.looked) < lookEvery {
		return w.value
	}
	w.refresh()
	return w.value
}

// refresh makes the value again if a file has changed.
func (w *watched[T]) refresh() {
	w.looked = time.Now()
	now := w.look()
	same := true
	for i := range now {
		same = same && now[i] == w.stamps[i]
	}
	if same {
		return
	}
	w.stamps = now // one that does not load is said once, and tried again when it changes again
	value, err := w.load()
	if err != nil {
		w.log.Error("changed file not taken over, what was read before goes on", "what", w.what, "err", err)
		return
	}
	w.value = value
	w.log.Info("changed file taken over", "what", w.what)
}

func (w *watched[T]) look() []stamp {
	out := make([]stamp, len(w.files))
	for i, f := range w.files {
		info, err := os.Stat(f) // through links, which is how Kubernetes swaps secrets
		if err != nil {
			out[i].missing = true
			continue
		}
		out[i] = stamp{size: info.Size(), changed: info.ModTime()}
	}
	return out
}
