package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"riposte/event"
	"riposte/respond"
)

// demoSummary is what `riposte demo --once` prints.
type demoSummary struct {
	*demo
	pl            *pipeline
	feed          *feed
	findings      []event.Finding
	took, first   time.Duration
	reads, writes int
}

func (s *demoSummary) print(ctx context.Context) error {
	total := s.pl.published.Load()
	attacks := 0
	for _, sc := range s.scenes {
		if !sc.Quiet {
			attacks++
		}
	}
	s.say("%s\n\n", s.paint.bold("riposte demo: recorded attacks in ordinary traffic, through the whole pipeline, in dry run"))
	s.say("  %s in %.1f s, first finding after %d ms, p99 from reading an event to its durable finding %d ms\n",
		plural(total, "event"), s.took.Seconds(), s.first.Milliseconds(), s.pl.latency.quantile(0.99).Milliseconds())
	s.say("  of which %d of ordinary work, %d of %d attacks, %d near misses\n\n", s.feed.ordinary, total-s.feed.ordinary-s.feed.misses, attacks, s.feed.misses)

	all, err := s.pl.view.Incidents(ctx)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b respond.Summary) int {
		if a.Severity != b.Severity {
			return int(b.Severity) - int(a.Severity)
		}
		return b.Findings - a.Findings
	})
	s.say("%s\n", s.paint.bold(fmt.Sprintf("%s from %s", plural(len(all), "incident"), plural(len(s.findings), "finding"))))
	low := 0
	for i, in := range all {
		if in.Severity < event.Medium {
			low++
			continue
		}
		if err := s.incident(ctx, in.ID, i == 0); err != nil {
			return err
		}
	}
	if low > 0 {
		s.say("\n  and %s below medium\n", plural(low, "incident"))
	}
	s.scores()
	s.say("\n%s\n", s.paint.bold("Nothing was changed"))
	s.say("  %s to the demo's AWS, %s; no playbook acts in this version\n", plural(s.reads, "call"), map[bool]string{true: "all of them reads", false: fmt.Sprintf("%d WROTE", s.writes)}[s.writes == 0])
	s.say("\n%s\n", s.paint.bold("Look closer"))
	s.say("  riposte demo                      the same as a live feed, with the console\n")
	s.say("  riposte hunt YOUR-LOGS            the same rules over your own files\n")
	s.say("  riposte rules list                what is looked for; riposte playbooks list what would be done\n")
	return nil
}

// incident prints one incident: what, who, how far, and what would be done; whole
// adds to each step the calls, the state before and the undo, as they would be.
func (s *demoSummary) incident(ctx context.Context, id string, whole bool) error {
	in, runs, err := s.pl.view.Incident(ctx, id)
	if err != nil {
		return err
	}
	s.say("\n  %s %s\n", s.paint.severity(in.Severity), s.paint.bold(printable(in.Title)))
	who := in.Actor.Identity()
	if in.Actor.IP != "" {
		who += " from " + in.Actor.IP
	}
	if who != "unknown" {
		s.say("           by %s\n", printable(who))
	}
	if n := len(in.Findings) + in.More; n > 1 {
		var rest []string
		for _, f := range in.Findings {
			if f.Title != in.Title && !slices.Contains(rest, f.Title) {
				rest = append(rest, f.Title)
			}
		}
		s.say("           %s", plural(n, "finding"))
		for i, t := range rest {
			if i == 3 {
				s.say(", and more")
				break
			}
			s.say("%s %s", map[bool]string{true: ":", false: ";"}[i == 0], printable(t))
		}
		s.say("\n")
	}
	said := map[string]bool{}
	for _, run := range runs {
		for i := range run.Steps {
			line := s.step(&run.Steps[i])
			if line == "" || said[line] {
				continue
			}
			said[line] = true
			s.say("           %s\n", line)
			if p := run.Steps[i].Plan; whole && p.Decision == respond.Contain {
				s.exactly(p)
			}
		}
	}
	return nil
}

// step says what one step would do and how it would be undone; "" when that is
// nothing to tell.
func (s *demoSummary) step(st *respond.StepRun) string {
	p := st.Plan
	switch {
	case p == nil || st.Action == "notify.webhook":
		return ""
	case p.Decision == respond.AlreadyContained:
		return s.paint.good("contained ") + printable(strings.TrimSpace(p.Target.Kind+" "+p.Target.ID)) + s.paint.faint(": "+printable(p.Reason))
	case p.Decision != respond.Contain:
		return s.paint.faint("refuses   " + st.Action + ": " + printable(p.Reason))
	}
	line := s.paint.good("would     ") + does(p)
	if len(p.Undo) > 0 {
		undo := make([]string, len(p.Undo))
		for i, c := range p.Undo {
			undo[i] = c.Service + ":" + c.Operation
		}
		line += s.paint.faint("; undone by " + strings.Join(slices.Compact(undo), " and "))
	}
	return line
}

// exactly prints a plan's calls, the state before and the undo, a line each.
func (s *demoSummary) exactly(p *respond.Plan) {
	const most = 150
	line := func(label, text string) {
		s.say("             %s %s\n", s.paint.faint(fmt.Sprintf("%-7s", label)), printable(text))
	}
	for _, c := range p.Calls {
		line("call", c.Operation+" "+brief(c.Input, most))
	}
	if len(p.Before) > 0 {
		line("before", brief(p.Before, most))
	}
	for _, c := range p.Undo {
		line("undo", c.Operation+" "+brief(c.Input, most))
	}
}

// scores says what was found and what stayed quiet, by what is known of every record.
func (s *demoSummary) scores() {
	found := map[int]bool{}
	loud, ordinary := 0, 0
	for _, f := range s.findings {
		for _, id := range f.Events {
			scene, ok := s.feed.techniques[id]
			switch {
			case !ok && f.Severity >= event.Medium:
				ordinary++
			case ok && s.scenes[scene].Quiet:
				loud++
			case ok:
				found[scene] = true
			}
		}
	}
	var missed []string
	attacks := 0
	for i, sc := range s.scenes {
		if sc.Quiet {
			continue
		}
		attacks++
		if !found[i] {
			missed = append(missed, sc.Title)
		}
	}
	s.say("\n%s\n", s.paint.bold("What was found, and what stayed quiet"))
	s.say("  %d of %d attacks found", attacks-len(missed), attacks)
	if len(missed) > 0 {
		s.say("; not seen in single events: %s", strings.Join(missed, "; "))
	}
	s.say("\n  %d of %d near misses raised a finding\n  %d of %d ordinary events raised a finding of medium or above\n", loud, s.feed.misses, ordinary, s.feed.ordinary)
}
