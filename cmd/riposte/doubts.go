package main

import (
	"log/slog"
	"sync"
)

// doubts are what sources said of objects that they read all the same, such as a
// format that was guessed. The first of a kind is a warning. The same of every
// object after it would bury the log: a record of a Kinesis stream is an object.
type doubts struct {
	mu   sync.Mutex
	seen map[[2]string]bool
}

// maxDoubts bounds what is remembered; texts are few, they hold nothing of an object.
const maxDoubts = 1000

// level is how loud a doubt is said.
func (d *doubts) level(source, text string) slog.Level {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := [2]string{source, text}
	if d.seen[key] {
		return slog.LevelDebug
	}
	if d.seen == nil || len(d.seen) >= maxDoubts {
		d.seen = map[[2]string]bool{}
	}
	d.seen[key] = true
	return slog.LevelWarn
}
