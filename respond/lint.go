package respond

import (
	"fmt"
	"strings"

	"riposte/internal/problem"
)

// Lint says what is weak in playbooks that load: the warnings of the load, and
// what a reviewer would ask for. All are warnings.
func (p *Playbooks) Lint() problem.List {
	list := append(problem.List(nil), p.warnings...)
	for _, pb := range p.list {
		warn := func(format string, args ...any) {
			pr := pb.place.Problem(pb.ID + ": " + fmt.Sprintf(format, args...))
			pr.Warning = true
			list.Add(pr)
		}
		decided := map[string]bool{}
		for _, t := range pb.Tests {
			for step := range t.Steps {
				decided[step] = true
			}
		}
		if pb.Description == "" {
			warn("no description")
		}
		var untested []string
		for i := range pb.steps {
			if !decided[pb.steps[i].id] {
				untested = append(untested, pb.steps[i].id)
			}
		}
		if len(untested) > 0 {
			warn("no test says what is decided by %s", strings.Join(untested, ", "))
		}
	}
	list.Sort()
	return list
}
