package detect

import "slices"

// literals finds which of many literals occur in a text, in one pass over its
// bytes (Aho and Corasick, 1975), without regard to ASCII case. It is a filter:
// what it finds is verified by the clause that asked for the literal.
type literals struct {
	// class maps a byte to its column: bytes that occur in no literal share column 0.
	class   [256]uint8
	columns int
	// next is the transition table, states x columns, failure links resolved. A
	// state stands in it as the start of its row, with speaks set when literals
	// end in it.
	next []uint32
	// out lists the owners of the literals that end in a state, suffixes included.
	out [][]int32
}

// speaks marks the states in which literals end, so that the others, nearly
// all, cost one look-up a byte.
const speaks = 1 << 31

// newLiterals builds the automaton; owners[i] owns words[i].
func newLiterals(words []string, owners []int32) *literals {
	l := &literals{columns: 1}
	for _, w := range words {
		for i := range len(w) {
			if c := lower(w[i]); l.class[c] == 0 {
				l.class[c] = uint8(l.columns)
				l.columns++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		l.class[c] = l.class[c+'a'-'A']
	}
	// The trie; -1 is no transition yet.
	var trie []int32
	addState := func() int32 {
		l.out = append(l.out, nil)
		trie = append(trie, slices.Repeat([]int32{-1}, l.columns)...)
		return int32(len(l.out) - 1)
	}
	addState()
	for i, w := range words {
		s := int32(0)
		for j := range len(w) {
			at := int(s)*l.columns + int(l.class[lower(w[j])])
			if trie[at] < 0 {
				trie[at] = addState()
			}
			s = trie[at]
		}
		l.out[s] = append(l.out[s], owners[i])
	}
	l.link(trie)
	return l
}

// link resolves failures breadth first, so that matching never backs up.
func (l *literals) link(trie []int32) {
	fail := make([]int32, len(l.out))
	queue := []int32{0}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for c := range l.columns {
			at := int(s)*l.columns + c
			via := int32(0)
			if s != 0 {
				via = trie[int(fail[s])*l.columns+c]
			}
			if n := trie[at]; n >= 0 {
				fail[n] = via
				l.out[n] = append(l.out[n], l.out[via]...)
				queue = append(queue, n)
			} else {
				trie[at] = via
			}
		}
	}
	l.next = make([]uint32, len(trie))
	for at, s := range trie {
		l.next[at] = uint32(int(s) * l.columns)
		if len(l.out[s]) > 0 {
			l.next[at] |= speaks
		}
	}
	for s := range l.out {
		slices.Sort(l.out[s])
		l.out[s] = slices.Compact(l.out[s])
	}
}

// find calls hit with the owners of the literals that occur in text; an owner
// may come more than once.
func (l *literals) find(text string, hit func(owner int32)) {
	row := uint32(0)
	for i := range len(text) {
		row = l.next[row+uint32(l.class[text[i]])]
		if row&speaks != 0 {
			row &^= speaks
			for _, o := range l.out[int(row)/l.columns] {
				hit(o)
			}
		}
	}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
