package detect

import (
	"fmt"
	"strings"

	"riposte/internal/problem"
)

// Lint says what is weak in rules that load: the warnings of the load, and what
// a reviewer would ask for. All are warnings.
func (rs *RuleSet) Lint() problem.List {
	list := append(problem.List(nil), rs.warnings...)
	conditions := map[string]*Rule{}
	for _, r := range rs.rules {
		warn := func(format string, args ...any) {
			p := r.place.Problem(fmt.Sprintf("%s: ", r.ID) + fmt.Sprintf(format, args...))
			p.Warning = true
			list.Add(p)
		}
		fires, quiet := 0, 0
		for _, t := range r.Tests {
			if t.Fires {
				fires++
			} else {
				quiet++
			}
		}
		if fires == 0 {
			warn("no test in which it fires")
		}
		if quiet == 0 {
			warn("no test in which it nearly fires")
		}
		for _, missing := range []struct {
			is   bool
			what string
		}{
			{r.Description == "", "description"}, {len(r.References) == 0, "references"}, {len(r.FalsePositives) == 0, "false_positives"},
			{r.Response == "", "response"}, {len(r.Attack)+len(r.Compliance) == 0, "ATT&CK technique or compliance control"},
		} {
			if missing.is {
				warn("no %s", missing.what)
			}
		}
		if telling(r.Source, r.when.Predicate()) == nil {
			warn("no condition that can be indexed: every %s event is tried against it (cost up to %d)", r.Source, r.Cost)
		}
		condition := r.Source.String() + " " + strings.Join(strings.Fields(r.When), " ")
		if other := conditions[condition]; other != nil {
			warn("the same condition as %s (%s:%d)", other.ID, other.File, other.Line)
		}
		conditions[condition] = r
	}
	list.Sort()
	return list
}
