package detect

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"riposte/event"
	"riposte/internal/expr"
	"riposte/internal/problem"
	"riposte/internal/yamlfile"
)

// Rule is one compiled rule. It is immutable.
type Rule struct {
	ID       string         `json:"id"`
	Title    string         `json:"title"`
	Severity event.Severity `json:"severity"`
	Source   event.Kind     `json:"source"`
	// Log names the log of a rule whose source is log.
	Log string `json:"log,omitempty"`
	// Version is a hash of what decides the rule's findings: its id, source, log,
	// condition and group key. Other words of the file may change under it.
	Version        string   `json:"version"`
	Description    string   `json:"description,omitempty"`
	When           string   `json:"when"`
	Attack         []string `json:"attack,omitempty"`
	Compliance     []string `json:"compliance,omitempty"`
	Tags           []string `json:"tags,omitempty"`
	References     []string `json:"references,omitempty"`
	FalsePositives []string `json:"falsePositives,omitempty"`
	Response       string   `json:"response,omitempty"`
	Author         string   `json:"author,omitempty"`
	File           string   `json:"file"`
	Line           int      `json:"-"`
	// Cost is the most that evaluating it may cost, in CEL's units of about 50 ns.
	Cost  uint64 `json:"cost"`
	Tests []Test `json:"tests,omitempty"`

	mapping  *event.Mapping // of its log
	when     *expr.Program
	summary  *expr.Template
	group    []*expr.Program
	entities []entityProgram
	reads    bool     // resources, beside the event
	tags     []string // of its findings
	counter  *counter
	place    yamlfile.Place
}

type entityProgram struct {
	kind string
	id   *expr.Program
}

// Test is one example in a rule's file: the rule must fire on its events, or must not.
type Test struct {
	Name   string           `json:"name"`
	Fires  bool             `json:"fires"`
	Events []map[string]any `json:"events"`
	// Inventory are the Config items that were recorded before: what the rule may
	// learn of resources.
	Inventory []map[string]any `json:"inventory,omitempty"`

	place yamlfile.Place
}

// ruleFile is a rule as people write it. The comments are the manual.
type ruleFile struct {
	yamlfile.Place `yaml:"-"`
	// ID names the rule for ever: lower case words joined by dots and dashes.
	ID yamlfile.Text `yaml:"id"`
	// Title says what was found, in a few words.
	Title yamlfile.Text `yaml:"title"`
	// Summary, a template with ${CEL} inside, becomes a finding's title.
	Summary yamlfile.Text `yaml:"summary"`
	// Description says what the rule looks for and why it matters.
	Description string `yaml:"description"`
	// Severity is info, low, medium, high or critical.
	Severity yamlfile.Text `yaml:"severity"`
	// Source is the kind of event: cloudtrail, flow, config, insight, guardduty,
	// securityhub, compliance or log.
	Source yamlfile.Text `yaml:"source"`
	// Log names the log, when the source is log.
	Log yamlfile.Text `yaml:"log"`
	// When is the condition, in CEL.
	When yamlfile.Text `yaml:"when"`
	// Group are CEL expressions whose values say what a finding is about;
	// without them, the account and the actor.
	Group []yamlfile.Text `yaml:"group"`
	// Entities name what was touched, where the event's own do not.
	Entities []entityFile `yaml:"entities"`
	// Attack are ATT&CK technique ids.
	Attack []yamlfile.Text `yaml:"attack"`
	// Compliance are controls as framework/control.
	Compliance []string `yaml:"compliance"`
	Tags       []string `yaml:"tags"`
	References []string `yaml:"references"`
	// FalsePositives say what else it may be.
	FalsePositives []string `yaml:"false_positives"`
	// Response says what to do about it.
	Response string `yaml:"response"`
	Author   string `yaml:"author"`
	// Enabled false keeps the rule checked but not run.
	Enabled *bool      `yaml:"enabled"`
	Tests   []testFile `yaml:"tests"`
}

type entityFile struct {
	yamlfile.Place `yaml:"-"`
	Kind           string        `yaml:"kind"`
	ID             yamlfile.Text `yaml:"id"`
}

type testFile struct {
	yamlfile.Place `yaml:"-"`
	Name           string           `yaml:"name"`
	Fires          *bool            `yaml:"fires"`
	Event          map[string]any   `yaml:"event"`
	Events         []map[string]any `yaml:"events"`
	// Inventory are Config items; the keys that a test has no need of may be left out.
	Inventory []map[string]any `yaml:"inventory"`
}

var (
	idForm     = regexp.MustCompile(`^[a-z0-9]+(?:[.-][a-z0-9]+)*$`)
	attackForm = regexp.MustCompile(`^T\d{4}(?:\.\d{3})?$`)
)

// compile checks a rule file; the rule is nil when the list holds an error.
func (f *ruleFile) compile(file string, envs *environments) (*Rule, problem.List) {
	var list problem.List
	need := func(t yamlfile.Text, key string) bool {
		if t.IsZero() || strings.TrimSpace(t.Value) == "" {
			list.Add(f.Problem(fmt.Sprintf("the rule has no %s", key)))
			return false
		}
		return true
	}
	r := &Rule{
		ID: f.ID.Value, Title: f.Title.Value, Description: strings.TrimSpace(f.Description), When: strings.TrimSpace(f.When.Value),
		Compliance: f.Compliance, Tags: f.Tags, References: f.References, FalsePositives: f.FalsePositives,
		Response: strings.TrimSpace(f.Response), Author: f.Author, File: file, Line: f.Line, counter: &counter{}, place: f.Place,
	}
	if need(f.ID, "id") && !idForm.MatchString(f.ID.Value) {
		list.Add(f.ID.Problem(1, 1, "an id is lower case words joined by dots and dashes, such as evasion.trail-stopped"))
	}
	need(f.Title, "title")
	if need(f.Severity, "severity") {
		s, err := event.ParseSeverity(f.Severity.Value)
		if err != nil {
			p := f.Severity.Problem(1, 1, err.Error())
			p.Hint = problem.Suggest(f.Severity.Value, event.Severities())
			list.Add(p)
		}
		r.Severity = s
	}
	for _, a := range f.Attack {
		if a.IsZero() {
			continue // no text, which is reported already
		}
		if !attackForm.MatchString(a.Value) {
			list.Add(a.Problem(1, 1, fmt.Sprintf("%q is not an ATT&CK technique: want T1234 or T1234.001", a.Value)))
		}
		r.Attack = append(r.Attack, a.Value)
	}
	hasWhen := need(f.When, "when")
	env := f.environment(envs, r, &list)
	if need(f.Source, "source") && env != nil {
		f.expressions(env, hasWhen, r, &list)
	}
	r.Tests = f.tests(&list)
	r.reads = r.readsResources()
	for _, t := range r.Attack {
		r.tags = append(r.tags, "attack."+strings.ToLower(t))
	}
	r.tags = append(append(r.tags, r.Compliance...), r.Tags...)
	parts := []string{"rule", r.ID, r.Source.String(), r.When}
	for _, g := range f.Group {
		parts = append(parts, g.Value)
	}
	if r.Log != "" {
		parts = append(parts, "log", r.Log)
	}
	r.Version = event.Hash(parts...)
	if list.Err() != nil {
		return nil, list
	}
	return r, list
}

func (f *ruleFile) environment(envs *environments, r *Rule, list *problem.List) *expr.Env {
	if f.Source.IsZero() {
		return nil
	}
	kind, err := event.ParseKind(f.Source.Value)
	if err != nil {
		p := f.Source.Problem(1, 1, fmt.Sprintf("unknown source %q: want one of %s", f.Source.Value, strings.Join(event.KindNames(), ", ")))
		p.Hint = problem.Suggest(f.Source.Value, event.KindNames())
		list.Add(p)
		// Most rules are about CloudTrail: checking against it finds the other mistakes too.
		kind = event.CloudTrail
	}
	r.Source = kind
	f.log(envs, r, list)
	env, err := envs.get(kind)
	if err != nil {
		list.AddErr(f.File, err)
	}
	return env
}

// log finds the mapping of the log that the rule is about.
func (f *ruleFile) log(envs *environments, r *Rule, list *problem.List) {
	switch {
	case r.Source != event.Log:
		if !f.Log.IsZero() {
			list.Add(f.Log.Problem(1, 1, fmt.Sprintf("a rule about %s events is about no log: leave log out, or let source be log", r.Source)))
		}
		return
	case f.Log.IsZero():
		list.Add(f.Source.Problem(1, 1, "a rule about a log says which: want log: NAME"))
		return
	}
	r.Log = f.Log.Value
	if r.mapping = envs.logs[r.Log]; r.mapping == nil {
		p := f.Log.Problem(1, 1, fmt.Sprintf("unknown log %q: want one that riposte ships or one under logs in the configuration", r.Log))
		names := slices.Sorted(maps.Keys(envs.logs))
		if p.Hint = problem.Suggest(r.Log, names); p.Hint == "" {
			p.Hint = "there are " + strings.Join(names, ", ")
		}
		list.Add(p)
	}
}

func (f *ruleFile) expressions(env *expr.Env, hasWhen bool, r *Rule, list *problem.List) {
	take := func(t yamlfile.Text, want expr.Type) *expr.Program {
		p, problems := env.Compile(t, want)
		*list = append(*list, problems...)
		return p
	}
	if hasWhen {
		if r.when = take(f.When, expr.Bool); r.when != nil {
			r.Cost = r.when.Cost()
		}
	}
	if !f.Summary.IsZero() {
		t, problems := env.CompileTemplate(f.Summary)
		r.summary = t
		*list = append(*list, problems...)
	}
	for _, g := range f.Group {
		if g.IsZero() {
			continue
		}
		r.group = append(r.group, take(g, expr.Any))
	}
	for _, e := range f.Entities {
		if e.Kind == "" || e.ID.IsZero() {
			list.Add(e.Problem("an entity wants kind and id"))
			continue
		}
		r.entities = append(r.entities, entityProgram{kind: e.Kind, id: take(e.ID, expr.Any)})
	}
}

func (f *ruleFile) tests(list *problem.List) []Test {
	var out []Test
	for _, t := range f.Tests {
		test := Test{Name: t.Name, Events: t.Events, Inventory: t.Inventory, place: t.Place}
		if t.Event != nil {
			test.Events = append([]map[string]any{t.Event}, test.Events...)
		}
		switch {
		case t.Name == "":
			list.Add(t.Problem("a test wants a name"))
		case t.Fires == nil:
			list.Add(t.Problem(fmt.Sprintf("test %q does not say whether the rule fires: want fires: true or fires: false", t.Name)))
		case len(test.Events) == 0:
			list.Add(t.Problem(fmt.Sprintf("test %q has no event", t.Name)))
		default:
			test.Fires = *t.Fires
		}
		out = append(out, test)
	}
	return out
}

// readsResources reports whether any expression of the rule asks for a resource.
func (r *Rule) readsResources() bool {
	reads := func(p *expr.Program) bool { return p != nil && p.ReadsResources() }
	return reads(r.when) || r.summary != nil && r.summary.ReadsResources() || slices.ContainsFunc(r.group, reads) ||
		slices.ContainsFunc(r.entities, func(e entityProgram) bool { return reads(e.id) })
}
