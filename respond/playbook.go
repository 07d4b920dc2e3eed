package respond

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"riposte/event"
	"riposte/internal/expr"
	"riposte/internal/problem"
	"riposte/internal/yamlfile"
)

// Playbook says which findings it is about and what to do, step by step. It is immutable.
type Playbook struct {
	ID          string         `json:"id"`
	Title       string         `json:"title"`
	Description string         `json:"description,omitempty"`
	Match       string         `json:"match"`
	Version     string         `json:"version"`
	File        string         `json:"file"`
	Actions     []string       `json:"actions"`
	Tests       []PlaybookTest `json:"tests,omitempty"`

	match *expr.Program
	steps []step
	place yamlfile.Place
}

type step struct {
	id     string
	action string
	when   *expr.Program // nil is always
	with   []param
}

type param struct {
	name  string
	value *expr.Program
}

// PlaybookTest is one example in a playbook's file.
type PlaybookTest struct {
	Name string `json:"name"`
	// Finding is the finding as JSON has it; its event is evidence.records' last.
	Finding map[string]any `json:"finding"`
	Event   map[string]any `json:"event,omitempty"`
	// Matches is whether the playbook is about the finding.
	Matches bool `json:"matches"`
	// Steps are the decisions expected of its steps, by step id: contain,
	// already-contained, refuse, skipped or error.
	Steps map[string]string `json:"steps,omitempty"`

	place yamlfile.Place
}

// Playbooks are all that are loaded.
type Playbooks struct {
	list     []*Playbook
	env      *expr.Env
	warnings problem.List
}

// Folder is a file system of playbooks with the name its files have in messages.
type Folder struct {
	Name string
	FS   fs.FS
}

type playbookFile struct {
	yamlfile.Place `yaml:"-"`
	ID             yamlfile.Text `yaml:"id"`
	Title          yamlfile.Text `yaml:"title"`
	Description    string        `yaml:"description"`
	// Match is CEL over finding and event.
	Match yamlfile.Text      `yaml:"match"`
	Steps []stepFile         `yaml:"steps"`
	Tests []playbookTestFile `yaml:"tests"`
}

type stepFile struct {
	yamlfile.Place `yaml:"-"`
	ID             string        `yaml:"id"`
	Action         yamlfile.Text `yaml:"action"`
	// When is CEL; a step whose condition does not hold is skipped. steps.ID.decision
	// is what an earlier step decided.
	When yamlfile.Text `yaml:"when"`
	// With are the action's parameters, each CEL.
	With map[string]yamlfile.Text `yaml:"with"`
}

type playbookTestFile struct {
	yamlfile.Place `yaml:"-"`
	Name           string            `yaml:"name"`
	Finding        map[string]any    `yaml:"finding"`
	Event          map[string]any    `yaml:"event"`
	Matches        *bool             `yaml:"matches"`
	Steps          map[string]string `yaml:"steps"`
}

var playbookID = regexp.MustCompile(`^[a-z0-9]+(?:[.-][a-z0-9]+)*$`)

// LoadPlaybooks reads every .yaml file of the folders against the actions that
// exist. The error is a problem.List of everything wrong.
func LoadPlaybooks(folders []Folder, actions map[string]Action, lists expr.Lists) (*Playbooks, error) {
	env, err := expr.NewFindingEnv(expr.Options{Lists: lists})
	if err != nil {
		return nil, err
	}
	p := &Playbooks{env: env}
	var list problem.List
	seen := map[string]yamlfile.Place{}
	for _, folder := range folders {
		err := fs.WalkDir(folder.FS, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(name) != ".yaml" && path.Ext(name) != ".yml" {
				return err
			}
			shown := path.Join(folder.Name, name)
			data, err := fs.ReadFile(folder.FS, name)
			if err != nil {
				return err
			}
			var f playbookFile
			var problems problem.List
			problems.AddErr(shown, yamlfile.Decode(shown, data, &f))
			if f.File == "" {
				f.Place = yamlfile.Place{File: shown, Line: 1, Col: 1}
			}
			pb := f.compile(env, actions, shown, &problems)
			if first, twice := seen[f.ID.Value]; twice && f.ID.Value != "" {
				problems.Add(f.ID.Problem(1, 1, fmt.Sprintf("playbook id %q is already used at %s:%d", f.ID.Value, first.File, first.Line)))
			}
			seen[f.ID.Value] = f.ID.Where()
			list = append(list, problems...)
			if problems.Err() == nil {
				p.list = append(p.list, pb)
			}
			return nil
		})
		list.AddErr(folder.Name, err)
	}
	list.Sort()
	if list.Err() != nil {
		return nil, list.Errors()
	}
	p.warnings = list.Warnings()
	slices.SortFunc(p.list, func(a, b *Playbook) int { return strings.Compare(a.ID, b.ID) })
	return p, nil
}

// List returns the playbooks by id.
func (p *Playbooks) List() []*Playbook { return p.list }

// Warnings are what the load found that did not stop it.
func (p *Playbooks) Warnings() problem.List { return p.warnings }

func (f *playbookFile) compile(env *expr.Env, actions map[string]Action, file string, list *problem.List) *Playbook {
	pb := &Playbook{ID: f.ID.Value, Title: f.Title.Value, Description: strings.TrimSpace(f.Description), Match: strings.TrimSpace(f.Match.Value), File: file, place: f.Place}
	take := func(t yamlfile.Text, want expr.Type) *expr.Program {
		program, problems := env.Compile(t, want)
		*list = append(*list, problems...)
		return program
	}
	for _, need := range []struct {
		t   yamlfile.Text
		key string
	}{{f.ID, "id"}, {f.Title, "title"}, {f.Match, "match"}} {
		if strings.TrimSpace(need.t.Value) == "" {
			list.Add(f.Problem("the playbook has no " + need.key))
		}
	}
	if f.ID.Value != "" && !playbookID.MatchString(f.ID.Value) {
		list.Add(f.ID.Problem(1, 1, "an id is lower case words joined by dots and dashes"))
	}
	if f.Match.Value != "" {
		pb.match = take(f.Match, expr.Bool)
	}
	if len(f.Steps) == 0 {
		list.Add(f.Problem("the playbook has no steps"))
	}
	version := []string{"playbook", pb.ID, pb.Match}
	ids := map[string]bool{}
	for _, s := range f.Steps {
		st := step{id: s.ID, action: s.Action.Value}
		switch {
		case s.ID == "":
			list.Add(s.Problem("a step wants an id"))
		case ids[s.ID]:
			list.Add(s.Problem(fmt.Sprintf("step id %q is used twice", s.ID)))
		}
		for _, t := range append(sortedValues(s.With), s.When) {
			for _, use := range stepUse.FindAllStringSubmatchIndex(t.Value, -1) {
				name := ""
				for i := 2; i < len(use); i += 2 {
					if use[i] >= 0 {
						name = t.Value[use[i]:use[i+1]]
					}
				}
				if name == s.ID || !ids[name] {
					before := t.Value[:use[0]]
					p := t.Problem(1+strings.Count(before, "\n"), 1+len([]rune(before[strings.LastIndexByte(before, '\n')+1:])), fmt.Sprintf("step %q is not before this one", name))
					p.Hint = problem.Suggest(name, sortedNames(ids))
					list.Add(p)
				}
			}
		}
		ids[s.ID] = true
		if !s.When.IsZero() {
			st.when = take(s.When, expr.Bool)
		}
		s.parameters(actions, &st, take, list)
		version = append(version, s.ID, s.Action.Value, s.When.Value)
		for _, w := range st.with {
			version = append(version, w.name, s.With[w.name].Value)
		}
		pb.steps = append(pb.steps, st)
		pb.Actions = append(pb.Actions, st.action)
	}
	tried := map[bool]bool{}
	for _, t := range f.Tests {
		if t.Name == "" || t.Finding == nil || t.Matches == nil {
			list.Add(t.Problem("a test wants name, finding and matches"))
			continue
		}
		for _, id := range sortedNames(t.Steps) {
			if !ids[id] {
				p := t.Problem(fmt.Sprintf("test %q expects step %q, which does not exist", t.Name, id))
				p.Hint = problem.Suggest(id, sortedNames(ids))
				list.Add(p)
			}
			if want := t.Steps[id]; !slices.Contains(decisions, want) {
				p := t.Problem(fmt.Sprintf("test %q expects step %q to decide %q", t.Name, id, want))
				p.Hint = "want one of " + strings.Join(decisions, ", ")
				list.Add(p)
			}
		}
		if !*t.Matches && len(t.Steps) > 0 {
			list.Add(t.Problem(fmt.Sprintf("test %q expects decisions of steps although the playbook should not match", t.Name)))
		}
		tried[*t.Matches] = true
		pb.Tests = append(pb.Tests, PlaybookTest{Name: t.Name, Finding: t.Finding, Event: t.Event, Matches: *t.Matches, Steps: t.Steps, place: t.Place})
	}
	for matches, word := range map[bool]string{true: "matches", false: "does not match"} {
		if !tried[matches] {
			p := f.Problem(fmt.Sprintf("no test has a finding that it %s", word))
			p.Warning = true
			list.Add(p)
		}
	}
	pb.Version = event.Hash(version...)
	return pb
}

// decisions are what a test may expect of a step.
var decisions = []string{Contain, AlreadyContained, Refuse, "skipped", "error"}

// stepUse is an expression's look at what another step decided.
var stepUse = regexp.MustCompile(`\bsteps(?:\.([A-Za-z_]\w*)|\[\s*(?:"([^"]*)"|'([^']*)')\s*\])`)

// parameters checks a step's parameters against what its action declares.
func (s *stepFile) parameters(actions map[string]Action, st *step, take func(yamlfile.Text, expr.Type) *expr.Program, list *problem.List) {
	action, ok := actions[s.Action.Value]
	if !ok {
		p := s.Action.Problem(1, 1, fmt.Sprintf("there is no action %q", s.Action.Value))
		if s.Action.IsZero() {
			p = s.Problem("a step wants an action")
		}
		names := sortedNames(actions)
		if p.Hint = problem.Suggest(s.Action.Value, names); p.Hint == "" {
			p.Hint = "want one of " + strings.Join(names, ", ")
		}
		list.Add(p)
	}
	declared := map[string]bool{}
	var names []string
	if ok {
		for _, d := range action.Params() {
			declared[d.Name] = true
			names = append(names, d.Name)
			if _, given := s.With[d.Name]; d.Required && !given {
				list.Add(s.Problem(fmt.Sprintf("%s wants the parameter %q: %s", s.Action.Value, d.Name, d.Doc)))
			}
		}
	}
	for _, name := range sortedNames(s.With) {
		t := s.With[name]
		if ok && !declared[name] {
			p := t.Problem(1, 1, fmt.Sprintf("%s has no parameter %q", s.Action.Value, name))
			if p.Hint = problem.Suggest(name, names); p.Hint == "" {
				p.Hint = "want one of " + strings.Join(names, ", ")
			}
			list.Add(p)
		}
		st.with = append(st.with, param{name: name, value: take(t, expr.Any)})
	}
}

func sortedValues[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, name := range sortedNames(m) {
		out = append(out, m[name])
	}
	return out
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Matching returns the playbooks that are about a finding; err holds the
// evaluations that had no verdict.
func (p *Playbooks) Matching(f *event.Finding) (matched []*Playbook, errs []error) {
	in := p.env.NewInput()
	in.SetFinding(f)
	for _, pb := range p.list {
		ok, err := pb.match.Bool(in)
		if err != nil {
			errs = append(errs, fmt.Errorf("playbook %s: match: %w", pb.ID, err))
		}
		if ok {
			matched = append(matched, pb)
		}
	}
	return matched, errs
}
