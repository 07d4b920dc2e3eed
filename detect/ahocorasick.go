package detect

import "slices"

// literals finds which of many literals occur in a text, in one pass over its
// bytes (Aho and Corasick, 1975), without regard to ASCII case. It is a filter:
// what it finds is verified by the clause that asked for the literal.
type literals struct {
	// class maps a byte to its column: bytes that occur in no literal share column 0.
	class   [256]uint8
	columns int
	// next is the transition table, states x columns, failure links resolved.
	next []int32
	// out lists the owners of the literals that end in a state, suffixes included.
	out [][]int32
}

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
	l.addState()
	for i, w := range words {
		s := int32(0)
		for j := range len(w) {
			at := int(s)*l.columns + int(l.class[lower(w[j])])
			if l.next[at] < 0 {
				n := l.addState()
				l.next[at] = n
			}
			s = l.next[at]
		}
		l.out[s] = append(l.out[s], owners[i])
	}
	l.link()
	return l
}

func (l *literals) addState() int32 {
	n := int32(len(l.out))
	l.out = append(l.out, nil)
	l.next = append(l.next, slices.Repeat([]int32{-1}, l.columns)...)
	return n
}

// link resolves failures breadth first, so that matching never backs up.
func (l *literals) link() {
	fail := make([]int32, len(l.out))
	queue := []int32{0}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for c := range l.columns {
			at := int(s)*l.columns + c
			via := int32(0)
			if s != 0 {
				via = l.next[int(fail[s])*l.columns+c]
			}
			if n := l.next[at]; n >= 0 {
				fail[n] = via
				l.out[n] = append(l.out[n], l.out[via]...)
				queue = append(queue, n)
			} else {
				l.next[at] = via
			}
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
	s := int32(0)
	for i := range len(text) {
		s = l.next[int(s)*l.columns+int(l.class[text[i]])]
		for _, o := range l.out[s] {
			hit(o)
		}
	}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
