package detect

import (
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"riposte/event"
	"riposte/internal/expr"
	"riposte/internal/problem"
	"riposte/internal/yamlfile"
	"riposte/logs"
)

// Options of a load.
type Options struct {
	// Lists are the named lists that rules may test; nil is none.
	Lists expr.Lists
	// Logs are the mappings of logs that are not AWS's, by name, which rules of
	// source log are about; nil is those that riposte ships.
	Logs map[string]*event.Mapping
	// MaxCost bounds a rule's cost; 0 is expr.DefaultMaxCost.
	MaxCost uint64
	// Disable names rules that are left out; an id that no rule has is an error.
	Disable []string
}

// Folder is a file system of rules with the name its files have in messages.
type Folder struct {
	Name string
	FS   fs.FS
}

// RuleSet is a set of compiled rules with their index. It is immutable but for
// its counters, and safe for concurrent use.
type RuleSet struct {
	rules    []*Rule // sorted by id
	byID     map[string]*Rule
	indexes  map[event.Kind]*index
	warnings problem.List
}

// environments makes one environment a kind, when a rule first needs it.
type environments struct {
	o    expr.Options
	logs map[string]*event.Mapping
	mu   sync.Mutex
	made map[event.Kind]*expr.Env
}

func (e *environments) get(k event.Kind) (*expr.Env, error) {
	if k >= event.Insight {
		k = event.Log // all that a mapping reads is alike; an environment takes megabytes
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if env, ok := e.made[k]; ok {
		return env, nil
	}
	env, err := expr.NewEventEnv(k, e.o)
	if err != nil {
		return nil, err
	}
	e.made[k] = env
	return env, nil
}

// Load compiles every .yaml and .yml file of fsys, at any depth. The error is a
// problem.List of everything wrong in all of them.
func Load(fsys fs.FS, o Options) (*RuleSet, error) {
	return LoadAll([]Folder{{FS: fsys}}, o)
}

// LoadAll compiles the rules of several folders into one set. An id used twice
// is an error that names both places.
func LoadAll(folders []Folder, o Options) (*RuleSet, error) {
	var list problem.List
	var rules []*Rule
	if o.Logs == nil {
		var err error
		o.Logs, err = logs.Shipped()
		list.AddErr("", err)
	}
	envs := &environments{o: expr.Options{Lists: o.Lists, MaxCost: o.MaxCost}, logs: o.Logs, made: map[event.Kind]*expr.Env{}}
	var files []loaded
	for _, folder := range folders {
		names, err := ruleFiles(folder)
		list.AddErr(folder.Name, err)
		for _, name := range names {
			files = append(files, loaded{folder: folder, name: name})
		}
	}
	compileAll(files, envs)
	seen := map[string]yamlfile.Place{}
	for i := range files {
		f := &files[i]
		list = append(list, f.problems...)
		if f.id.IsZero() {
			continue
		}
		if first, twice := seen[f.id.Value]; twice {
			list.Add(f.id.Problem(1, 1, fmt.Sprintf("rule id %q is already used at %s:%d", f.id.Value, first.File, first.Line)))
			continue
		}
		seen[f.id.Value] = f.id.Where()
		if f.rule != nil && !slices.Contains(o.Disable, f.rule.ID) {
			rules = append(rules, f.rule)
		}
	}
	for _, id := range o.Disable {
		if _, ok := seen[id]; !ok {
			list.Add(&problem.Problem{Message: fmt.Sprintf("cannot disable rule %q: there is none", id), Hint: problem.Suggest(id, ids(seen))})
		}
	}
	list.Sort()
	if err := list.Err(); err != nil {
		return nil, list.Errors()
	}
	return newRuleSet(rules, list.Warnings()), nil
}

func ids(seen map[string]yamlfile.Place) []string {
	var out []string
	for id := range seen {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// ruleFiles lists the YAML files of a folder, sorted.
func ruleFiles(folder Folder) ([]string, error) {
	var files []string
	err := fs.WalkDir(folder.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if ext := path.Ext(name); !d.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no .yaml file with a rule in %s", folder.Name)
	}
	return files, nil
}

// loaded is one file of a load.
type loaded struct {
	folder   Folder
	name     string
	id       yamlfile.Text
	rule     *Rule // nil when it has mistakes or is not enabled
	problems problem.List
}

// compileAll compiles the files side by side: compiling is what a start waits for.
func compileAll(files []loaded, envs *environments) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(files); i = int(next.Add(1)) - 1 {
				files[i].compile(envs)
			}
		})
	}
	wg.Wait()
}

func (l *loaded) compile(envs *environments) {
	shown := path.Join(l.folder.Name, l.name)
	data, err := fs.ReadFile(l.folder.FS, l.name)
	if err != nil {
		l.problems.AddErr(shown, err)
		return
	}
	var f ruleFile
	l.problems.AddErr(shown, yamlfile.Decode(shown, data, &f))
	if f.Line == 0 || f.ID.IsZero() && f.Title.IsZero() && f.Source.IsZero() && f.When.IsZero() && l.problems.Err() != nil {
		return // not even a mapping, or nothing in it is a rule's
	}
	r, problems := f.compile(shown, envs)
	l.problems = append(l.problems, problems...)
	l.id = f.ID
	if l.problems.Err() == nil && (f.Enabled == nil || *f.Enabled) {
		l.rule = r
	}
}

func newRuleSet(rules []*Rule, warnings problem.List) *RuleSet {
	slices.SortFunc(rules, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
	rs := &RuleSet{rules: rules, byID: map[string]*Rule{}, indexes: map[event.Kind]*index{}, warnings: warnings}
	byKind := map[event.Kind][]*Rule{}
	for _, r := range rules {
		rs.byID[r.ID] = r
		byKind[r.Source] = append(byKind[r.Source], r)
	}
	for kind, list := range byKind {
		rs.indexes[kind] = newIndex(kind, list)
	}
	return rs
}

// Rules lists the rules by id.
func (rs *RuleSet) Rules() []*Rule { return rs.rules }

// Rule returns the rule with the id, or nil.
func (rs *RuleSet) Rule(id string) *Rule { return rs.byID[id] }

// Warnings are what the load found that did not stop it.
func (rs *RuleSet) Warnings() problem.List { return rs.warnings }

// ReadsResources reports whether any rule asks for what is known of resources.
func (rs *RuleSet) ReadsResources() bool {
	return slices.ContainsFunc(rs.rules, func(r *Rule) bool { return r.reads })
}

// Unindexed lists the rules that every event of their kind is tried against.
func (rs *RuleSet) Unindexed() []*Rule {
	var out []*Rule
	for _, ix := range rs.indexes {
		for _, i := range ix.always {
			out = append(out, ix.rules[i])
		}
	}
	slices.SortFunc(out, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
	return out
}
