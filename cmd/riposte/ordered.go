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
	files map[int]*fileFindings // that are not written out yet

	count int64
	worst event.Severity
}

type fileFindings struct {
	held []byte
	done bool
}

func newOrderedFindings(write func([]byte) error) *orderedFindings {
	return &orderedFindings{write: write, files: map[int]*fileFindings{}}
}

// file is what is known of file i.
func (o *orderedFindings) file(i int) *fileFindings {
	f := o.files[i]
	if f == nil {
		f = &fileFindings{}
		o.files[i] = f
	}
	return f
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
	f := o.file(i)
	f.held = append(f.held, rendered...)
	return nil
}

// done says that file i has no more findings.
func (o *orderedFindings) done(i int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.file(i).done = true
	for f := o.files[o.next]; f != nil && f.done; {
		delete(o.files, o.next)
		o.next++
		if f = o.files[o.next]; f == nil || len(f.held) == 0 {
			continue
		}
		held := f.held
		f.held = nil
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
