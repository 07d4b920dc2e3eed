package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fatih/color"

	"riposte/event"
	"riposte/respond"
)

// writeIncident prints an incident for people: the headline, who, the timeline
// with why each rule fired, and each plan. full adds the records whole.
func writeIncident(w io.Writer, paint palette, in *respond.Incident, runs []respond.Run, full bool) error {
	var b bytes.Buffer
	r := report{w: &b, paint: paint, full: full}
	r.line("%s  %s", paint.severity(in.Severity), paint.bold(printable(in.Title)))
	r.field("incident", in.ID)
	r.field("where", place(in.Account, in.Region))
	r.field("when", span(in.Opened, in.Updated))
	r.field("status", in.Status)
	r.actor(&in.Actor)
	for i, e := range in.Entities {
		label := "touched"
		if i > 0 {
			label = ""
		}
		if i == 12 && !full {
			r.field("", fmt.Sprintf("and %d more", len(in.Entities)-i))
			break
		}
		r.field(label, e.Kind+" "+e.ID)
	}
	r.line("")
	r.line("%s", paint.bold("Timeline"))
	for i := range in.Findings {
		r.finding(&in.Findings[i])
	}
	if in.More > 0 {
		r.line("  and %s more in the stream", plural(in.More, "finding"))
	}
	for i := range runs {
		r.line("")
		r.run(&runs[i])
	}
	if len(runs) == 0 {
		r.line("")
		r.line("No playbook is about these findings.")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// span renders a stretch of time.
func span(from, to time.Time) string {
	if to.Equal(from) {
		return from.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s to %s (%s)", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), to.Sub(from).Round(time.Second))
}

type report struct {
	w     *bytes.Buffer
	paint palette
	full  bool
}

func (r *report) line(format string, args ...any) { fmt.Fprintf(r.w, format+"\n", args...) }

func (r *report) field(name, value string) {
	if value != "" {
		r.line("  %s %s", r.paint.faint(fmt.Sprintf("%-9s", name)), printable(value))
	}
}

func (r *report) actor(a *event.Actor) {
	r.field("actor", a.Identity())
	if a.Root != nil {
		r.field("behind", a.Root.Identity())
	}
	var more []string
	add := func(label, v string) {
		if v != "" {
			more = append(more, label+" "+v)
		}
	}
	add("session", a.Session)
	add("key", a.AccessKey)
	add("from", a.IP)
	if a.MFA {
		more = append(more, "with MFA")
	}
	r.field("", strings.Join(more, ", "))
	r.field("", a.UserAgent)
}

func (r *report) finding(f *event.Finding) {
	r.line("  %s  %s  %s", r.paint.faint(f.Time.UTC().Format(time.RFC3339)), r.paint.severity(f.Severity), printable(f.Title))
	r.line("      %s", r.paint.faint(printable("rule "+f.Rule+"  event "+first(f.Events)+tags(f.Tags))))
	for i := range f.Evidence.Records {
		if late := f.Evidence.Records[i].Late(); late != "" {
			r.line("      %s", r.paint.paint(late, color.FgYellow))
			break
		}
	}
	if f.Evidence.Explain != nil {
		writeTruth(r.w, r.paint, f.Evidence.Explain, 6)
	}
	if r.full {
		for _, rec := range f.Evidence.Records {
			r.line("      %s", r.paint.faint(printable("record "+rec.Origin.String())))
			r.json(rec.Raw, 6)
		}
	}
}

func tags(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return "  " + strings.Join(all, " ")
}

func (r *report) run(run *respond.Run) {
	r.line("%s %s %s", r.paint.bold("Plan:"), printable(run.PlaybookTitle), r.paint.faint("("+run.Playbook+", "+run.Mode+", nothing was changed)"))
	for i := range run.Steps {
		r.step(&run.Steps[i])
	}
}

func (r *report) step(s *respond.StepRun) {
	decision := s.Decision()
	switch decision {
	case respond.Contain:
		decision = r.paint.bold("would contain")
	case respond.AlreadyContained:
		decision = r.paint.good("already contained")
	case respond.Refuse:
		decision = r.paint.bad("refuses")
	case "error":
		decision = r.paint.bad("no plan")
	}
	why := s.Skipped + s.Error
	if s.Plan != nil {
		why = s.Plan.Reason
	}
	r.line("  %s %s: %s: %s", r.paint.faint("•"), s.Action, decision, printable(why))
	p := s.Plan
	if p == nil {
		return
	}
	r.detail("target", strings.TrimSpace(p.Target.Kind+" "+p.Target.ID))
	r.detail("effect", p.Effect)
	for _, c := range p.Calls {
		r.call("call", c)
	}
	if len(p.Before) > 0 && p.Decision == respond.Contain {
		if r.full {
			r.detail("before", "")
			r.json(p.Before, 8)
		} else {
			r.detail("before", brief(p.Before, 160))
		}
	}
	r.recorded(p.Recorded)
	for _, c := range p.Undo {
		r.call("undo", c)
	}
	if text := restoreText[p.Restore]; text != "" && p.Decision == respond.Contain {
		r.detail("restore", text)
	}
	for _, warning := range p.Warnings {
		r.detail("warning", warning)
	}
}

// recorded says what the target was like before the event.
func (r *report) recorded(was *event.Resource) {
	if was == nil {
		return
	}
	text := "existed"
	if !was.Exists {
		text = "was deleted"
	}
	text += " as AWS Config recorded it at " + was.Captured.UTC().Format(time.RFC3339)
	if was.StateID != "" {
		text += ", state " + was.StateID
	}
	r.detail("earlier", text)
	if r.full {
		if b, err := json.Marshal(was); err == nil {
			r.json(b, 8)
		}
		return
	}
	if b, err := json.Marshal(was.Tags); err == nil && len(was.Tags) > 0 {
		r.detail("", "tags "+brief(b, 160))
	}
}

// restoreText says who may take a containment back.
var restoreText = map[string]string{
	respond.RestoreAuto:    "by itself, after a time",
	respond.RestoreApprove: "when a person agrees",
	respond.RestoreNever:   "never: taking it back would open the hole again, or cannot be done",
}

func (r *report) detail(name, value string) {
	if value != "" || name == "before" {
		r.line("      %s %s", r.paint.faint(fmt.Sprintf("%-8s", name)), printable(value))
	}
}

func (r *report) call(label string, c respond.Call) {
	where := ""
	if c.Account != "" {
		where = " in " + place(c.Account, c.Region)
	}
	r.detail(label, fmt.Sprintf("%s:%s%s %s", c.Service, c.Operation, where, brief(c.Input, 400)))
}

// json prints JSON indented, each line made harmless.
func (r *report) json(raw json.RawMessage, indent int) {
	var out bytes.Buffer
	pad := strings.Repeat(" ", indent)
	if json.Indent(&out, raw, "", "  ") != nil {
		out.Reset()
		out.Write(raw)
	}
	for line := range strings.Lines(out.String()) {
		r.line("%s%s", pad, printable(strings.TrimRight(line, "\n")))
	}
}

// brief is JSON in one line of at most n bytes.
func brief(raw json.RawMessage, n int) string {
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return ""
	}
	if out.Len() > n {
		return strings.ToValidUTF8(out.String()[:n], "") + " …"
	}
	return out.String()
}
