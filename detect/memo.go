package detect

import (
	"slices"
	"strings"
)

// memo remembers which literals occur in the texts of one field that an engine
// sees again and again, such as user agents. Where texts hardly repeat it stops.
type memo struct {
	owners       map[string][]int32
	looked, held int
	off          bool
	scratch      []int32
	note         func(owner int32)
}

const (
	memoTexts  = 1024
	memoLength = 400  // bytes of a text that is remembered
	memoTrial  = 2048 // look-ups after which a memo that did not help is given up
)

func newMemo() *memo {
	m := &memo{owners: map[string][]int32{}}
	m.note = func(owner int32) { m.scratch = append(m.scratch, owner) }
	return m
}

// find is l.find, and calls hit once an owner.
func (m *memo) find(l *literals, text string, hit func(owner int32)) {
	if m.off || len(text) > memoLength {
		l.find(text, hit)
		return
	}
	m.looked++
	if owners, ok := m.owners[text]; ok {
		m.held++
		for _, o := range owners {
			hit(o)
		}
		return
	}
	if m.looked%memoTrial == 0 && m.held < m.looked/2 {
		m.off, m.owners = true, nil
		l.find(text, hit)
		return
	}
	m.scratch = m.scratch[:0]
	l.find(text, m.note)
	slices.Sort(m.scratch)
	m.scratch = slices.Compact(m.scratch)
	if len(m.owners) >= memoTexts {
		clear(m.owners)
	}
	m.owners[strings.Clone(text)] = slices.Clone(m.scratch)
	for _, o := range m.scratch {
		hit(o)
	}
}
