package console

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// ruleList is the page of rules.
type ruleList struct {
	Query, Sort string
	Broken      bool // only rules with errors
	Rules       []Rule
	Total       int
	// Erring counts all rules that had errors.
	Erring int
	Sorts  []choice
}

type choice struct {
	Name, URL string
	Chosen    bool
}

func (s *Server) rules(l look) (any, error) {
	all, err := s.reader.Rules(l.Context())
	if err != nil {
		return nil, err
	}
	return listRules(all, l.URL.Query()), nil
}

// ruleOrders are the ways to sort, by name; each ends in the id.
var ruleOrders = map[string]func(a, b Rule) int{
	"hits":     func(a, b Rule) int { return cmp.Compare(b.Hits, a.Hits) },
	"severity": func(a, b Rule) int { return cmp.Compare(b.Severity, a.Severity) },
	"errors":   func(a, b Rule) int { return cmp.Compare(b.Errors, a.Errors) },
	"id":       func(a, b Rule) int { return 0 },
}

func listRules(all []Rule, q url.Values) *ruleList {
	out := &ruleList{Query: strings.TrimSpace(q.Get("q")), Sort: q.Get("sort"), Broken: q.Get("errors") != "", Total: len(all)}
	if ruleOrders[out.Sort] == nil {
		out.Sort = "hits"
	}
	for _, r := range all {
		if r.Errors > 0 {
			out.Erring++
		}
		if ruleFound(&r, out.Query) && (!out.Broken || r.Errors > 0) {
			out.Rules = append(out.Rules, r)
		}
	}
	slices.SortFunc(out.Rules, func(a, b Rule) int {
		return cmp.Or(ruleOrders[out.Sort](a, b), strings.Compare(a.ID, b.ID))
	})
	for _, name := range []string{"hits", "severity", "errors", "id"} {
		out.Sorts = append(out.Sorts, choice{Name: name, URL: out.address(name, out.Broken), Chosen: name == out.Sort})
	}
	return out
}

func ruleFound(r *Rule, query string) bool {
	text := append([]string{r.ID, r.Title, r.Severity.String(), r.Source, r.File}, r.Attack...)
	all := strings.ToLower(strings.Join(text, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

func (l *ruleList) address(sort string, broken bool) string {
	q := url.Values{"sort": {sort}}
	if l.Query != "" {
		q.Set("q", l.Query)
	}
	if broken {
		q.Set("errors", "1")
	}
	return "/rules?" + q.Encode()
}

// ErringURL is the page with only the rules that had errors, or again with all.
func (l *ruleList) ErringURL() string { return l.address(l.Sort, !l.Broken) }
