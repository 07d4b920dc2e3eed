package main

import (
	"sync"

	"riposte/event"
)

// orderedFindings writes the findings of many files, read side by side, in the
// order of the files: those of the first unfinished file at once, those of
// later files when their turn comes. So the output of a hunt does not depend on
// how many workers it had. Workers render before they come here: what is done
// under the lock is copying.
type orderedFindings struct {
	mu    sync.Mutex
	write func(rendered []byte) error // nil writes out what is buffered
	next  int
	files []fileFindings

	count int64
	worst event.Severity
}

type fileFindings struct {
	held []byte
	done bool
}

func newOrderedFindings(write func([]byte) error, files int) *orderedFindings {
	return &orderedFindings{write: write, files: make([]fileFindings, files)}
}

// add takes a finding of file i as it is to be written.
func (o *orderedFindings) add(i int, severity event.Severity, rendered []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	o.worst = max(o.worst, severity)
	if i == o.next {
		return o.write(rendered)
	}
	o.files[i].held = append(o.files[i].held, rendered...)
	return nil
}

// done says that file i has no more findings.
func (o *orderedFindings) done(i int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[i].done = true
	for o.next < len(o.files) && o.files[o.next].done {
		if o.next++; o.next == len(o.files) {
			break
		}
		held := o.files[o.next].held
		o.files[o.next].held = nil
		if len(held) == 0 {
			continue
		}
		if err := o.write(held); err != nil {
			return err
		}
	}
	return nil
}

// flush writes out what is buffered.
func (o *orderedFindings) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.write(nil)
}
