package expr

import (
	"fmt"
	"net/netip"
	"strings"
)

// Lists are the named lists that in_list tests.
type Lists interface {
	// Has reports whether the list exists, empty or not.
	Has(list string) bool
	// Contains reports whether the list holds the value.
	Contains(list, value string) bool
	// Names lists the lists, for messages.
	Names() []string
}

// StaticLists are named lists that do not change.
type StaticLists struct{ lists map[string]*list }

type list struct {
	exact    map[string]bool
	prefixes []netip.Prefix
	globs    []string
}

// NewLists builds named lists. A value is an exact string, a CIDR block, which
// holds the addresses inside it, or a glob with * and ?.
func NewLists(values map[string][]string) (*StaticLists, error) {
	s := &StaticLists{lists: map[string]*list{}}
	for name, entries := range values {
		l := &list{exact: map[string]bool{}}
		for _, v := range entries {
			if v = strings.TrimSpace(v); v == "" {
				return nil, fmt.Errorf("list %q holds an empty value", name)
			}
			prefix, ok := block(v)
			switch {
			case ok:
				l.prefixes = append(l.prefixes, prefix)
			case looksLikeCIDR(v):
				return nil, fmt.Errorf("list %q: %q is not a CIDR block", name, v)
			case strings.ContainsAny(v, "*?"):
				l.globs = append(l.globs, v)
			default:
				l.exact[v] = true
			}
		}
		s.lists[name] = l
	}
	return s, nil
}

func looksLikeCIDR(v string) bool {
	addr, bits, ok := strings.Cut(v, "/")
	if !ok || strings.Trim(bits, "0123456789") != "" {
		return false
	}
	_, err := netip.ParseAddr(addr)
	return err == nil
}

// Has reports whether the list exists.
func (s *StaticLists) Has(name string) bool { _, ok := s.lists[name]; return ok }

// Names lists the lists, sorted.
func (s *StaticLists) Names() []string { return sortedKeys(s.lists) }

// Contains reports whether the list holds the value; a list that does not exist holds nothing.
func (s *StaticLists) Contains(name, value string) bool {
	l := s.lists[name]
	if l == nil {
		return false
	}
	if l.exact[value] {
		return true
	}
	if len(l.prefixes) > 0 {
		if a, ok := address(value); ok {
			for _, p := range l.prefixes {
				if p.Contains(a) {
					return true
				}
			}
		}
	}
	for _, g := range l.globs {
		if glob(g, value) {
			return true
		}
	}
	return false
}
