package main

import (
	"sync"

	"riposte/event"
)

// orderedFindings prints the findings of many files, read side by side, in the
// order of the files: those of the first unfinished file at once, those of
// later files when their turn comes. So the output of a hunt does not depend on
// how many workers it had.
type orderedFindings struct {
	mu    sync.Mutex
	print func(*event.Finding) error // nil flushes
	next  int
	files []fileFindings

	count int64
	worst event.Severity
}

type fileFindings struct {
	held []event.Finding
	done bool
}

func newOrderedFindings(print func(*event.Finding) error, files int) *orderedFindings {
	return &orderedFindings{print: print, files: make([]fileFindings, files)}
}

// add takes a finding of file i.
func (o *orderedFindings) add(i int, f *event.Finding) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	o.worst = max(o.worst, f.Severity)
	if i == o.next {
		return o.print(f)
	}
	o.files[i].held = append(o.files[i].held, *f)
	return nil
}

// done says that file i has no more findings.
func (o *orderedFindings) done(i int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[i].done = true
	for o.next < len(o.files) && o.files[o.next].done {
		o.files[o.next].held = nil
		o.next++
		if o.next == len(o.files) {
			break
		}
		held := o.files[o.next].held
		for k := range held {
			if err := o.print(&held[k]); err != nil {
				return err
			}
		}
		o.files[o.next].held = nil
	}
	return nil
}

// flush writes out what is buffered.
func (o *orderedFindings) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.print(nil)
}
