// Package archtest keeps the rooms of the house apart: who may import whom, as
// CONTRIBUTING.md says. It parses the sources itself, so that the test cache
// never answers for it.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "riposte"

// rooms says for each package of ours which others it may import; a name that
// ends in /... is a package and all below it. The longest name that fits a
// package counts. Tests may import more: they are where rooms meet a real bus.
var rooms = map[string][]string{
	"event":                       {},
	"samples":                     {},
	"rules":                       {},
	"playbooks":                   {},
	"inventory":                   {"event"},
	"logs":                        {"event", "internal/yamlfile"},
	"ingest/...":                  {"event", "ingest/...", "internal/awsaccess"},
	"ingest/cloudtrail/...":       {"event", "ingest", "ingest/cloudtrail/...", "internal/awsaccess"},
	"ingest/cloudtrail/lookup":    {"event", "ingest", "ingest/accounts", "internal/awsaccess"},
	"ingest/accounts":             {"internal/awsaccess"},
	"ingest/kinesis":              {"event", "ingest", "internal/awsaccess"},
	"ingest/receiver":             {"event", "ingest", "internal/secret"},
	"detect/...":                  {"event", "logs", "internal/expr", "internal/problem", "internal/yamlfile", "detect/..."},
	"respond/...":                 {"event", "internal/expr", "internal/problem", "internal/secret", "internal/yamlfile", "respond/..."},
	"respond/aws":                 {"event", "respond", "internal/awsaccess"},
	"console":                     {"event", "respond"},
	"cmd/riposte":                 {"..."},
	"deploy/terraform/aws":        {},
	"internal/expr":               {"event", "internal/problem", "internal/yamlfile"},
	"internal/awsaccess":          {},
	"internal/bus":                {"event"},
	"internal/store":              {},
	"internal/problem":            {},
	"internal/secret":             {},
	"internal/yamlfile":           {"internal/problem"},
	"internal/testlog":            {},
	"internal/telemetry":          {},
	"internal/awsfake":            {},
	"internal/awsfake/policytest": {"internal/awsfake"},
	"internal/traffic":            {"event", "samples"},
	"internal/rulegen":            {"event", "internal/expr"},
	"internal/bench":              {"..."},
	"internal/browsertest":        {},
	"internal/archtest":           {},
	"internal/bus/bustest":        {"event", "internal/bus"},
	"internal/store/storetest":    {"internal/store"},
}

// libraries says which rooms alone may import a library.
var libraries = map[string][]string{
	"cel.dev/":                     {"internal/expr"},
	"github.com/google/cel-go":     {},
	"github.com/nats-io/":          {"internal/bus/...", "internal/store", "internal/bench", "cmd/riposte"},
	"github.com/aws/":              {"internal/awsaccess", "ingest/...", "respond/aws", "cmd/riposte"},
	"github.com/spf13/cobra":       {"cmd/riposte"},
	"go.yaml.in/":                  {"internal/yamlfile"},
	"go.opentelemetry.io/otel/sdk": {"internal/telemetry"},
	"github.com/prometheus/":       {"internal/telemetry"},
	"github.com/chromedp/":         {"internal/browsertest", "console", "cmd/riposte"},
}

// unwanted are names that say nothing.
var unwanted = []string{"pkg", "util", "utils", "common", "models", "config", "helpers", "manager", "handlers", "misc"}

type source struct {
	file    string
	pkg     string // below the module
	test    bool
	imports []string
	tree    *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var out []source
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != root || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s := source{file: filepath.ToSlash(rel), pkg: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(name, "_test.go"), tree: tree}
		for _, im := range tree.Imports {
			s.imports = append(s.imports, strings.Trim(im.Path.Value, `"`))
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d sources: the walk went wrong", len(out))
	}
	return out
}

// fits reports whether a package is named, or lies below a name with /... .
func fits(pkg, name string) bool {
	if name == "..." {
		return true
	}
	if base, ok := strings.CutSuffix(name, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pkg == name
}

func room(pkg string) (may []string, ok bool) {
	best := ""
	for name := range rooms {
		if fits(pkg, name) && len(strings.TrimSuffix(name, "/...")) > len(strings.TrimSuffix(best, "/...")) {
			best = name
		}
	}
	return rooms[best], best != ""
}

func TestRooms(t *testing.T) {
	for _, s := range sources(t) {
		may, ok := room(s.pkg)
		if !ok {
			t.Errorf("%s: package %s has no room: name it in rooms, with what it may import", s.file, s.pkg)
			continue
		}
		if s.test {
			continue
		}
		for _, im := range s.imports {
			ours, isOurs := strings.CutPrefix(im, module+"/")
			if isOurs && !slices.ContainsFunc(may, func(n string) bool { return fits(ours, n) }) {
				t.Errorf("%s imports %s: %s may import %v", s.file, ours, s.pkg, may)
			}
		}
	}
}

func TestNobodyImportsTheProgram(t *testing.T) {
	for _, s := range sources(t) {
		for _, im := range s.imports {
			if strings.HasPrefix(im, module+"/cmd/") {
				t.Errorf("%s imports %s", s.file, im)
			}
		}
	}
}

func TestLibraries(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, im := range s.imports {
			for prefix, may := range libraries {
				if strings.HasPrefix(im, prefix) && !slices.ContainsFunc(may, func(n string) bool { return fits(s.pkg, n) }) {
					t.Errorf("%s imports %s, which belongs to %v alone", s.file, im, may)
				}
			}
			if s.pkg == "event" && strings.Contains(strings.SplitN(im, "/", 2)[0], ".") {
				t.Errorf("%s imports %s: event uses the standard library only", s.file, im)
			}
		}
	}
}

// TestState: no package has an init, and none below cmd makes a context that
// nobody can end.
func TestState(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init", s.file)
			}
		}
		if strings.HasPrefix(s.pkg, "cmd/") || s.pkg == "internal/bench" {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if x, isName := callee(call, ok); isName && x == "context" && (call.Sel.Name == "Background" || call.Sel.Name == "TODO") {
				t.Errorf("%s makes context.%s: who ends it?", s.file, call.Sel.Name)
			}
			return true
		})
	}
}

func callee(s *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	x, isName := s.X.(*ast.Ident)
	if !isName {
		return "", false
	}
	return x.Name, true
}

func TestNames(t *testing.T) {
	for _, s := range sources(t) {
		for part := range strings.SplitSeq(s.pkg, "/") {
			if slices.Contains(unwanted, part) {
				t.Errorf("%s: a package named %s has not been named yet", s.file, part)
			}
		}
	}
}

// TestPackagesExplainThemselves: every package that is not a program opens with
// what it is for.
func TestPackagesExplainThemselves(t *testing.T) {
	explained := map[string]bool{}
	all := sources(t)
	for _, s := range all {
		explained[s.pkg] = explained[s.pkg] || s.tree.Doc != nil && len(s.tree.Doc.Text()) > 20
	}
	for pkg, ok := range explained {
		if !ok {
			t.Errorf("package %s has no comment that says what it is for", pkg)
		}
	}
}

// TestNothingStandsAlone: rooms that no longer exist are not named.
func TestNothingStandsAlone(t *testing.T) {
	for name := range rooms {
		dir := filepath.Join("../..", strings.TrimSuffix(name, "/..."))
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("room %s does not exist", name)
		}
	}
}
