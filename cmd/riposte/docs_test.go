package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDocumentedExamples: the complete rule and playbook in the guides lint
// without a word and pass their own tests.
func TestDocumentedExamples(t *testing.T) {
	for guide, group := range map[string]string{"writing-rules.md": "rules", "writing-playbooks.md": "playbooks"} {
		text, err := os.ReadFile("../../docs/" + guide)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, found := strings.Cut(string(text), "```yaml\n")
		example, _, closed := strings.Cut(rest, "```")
		if !found || !closed {
			t.Fatalf("%s has no YAML", guide)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "example.yaml"), []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"lint", "test"} {
			var out bytes.Buffer
			if status := execute(t.Context(), []string{group, verb, dir}, strings.NewReader(""), &out, &out); status != exitOK {
				t.Errorf("%s %s of %s: status %d\n%s", group, verb, guide, status, out.String())
			}
			if !strings.Contains(out.String(), "no errors, 0 warnings") && !strings.Contains(out.String(), " 0 failed") {
				t.Errorf("%s %s of %s:\n%s", group, verb, guide, out.String())
			}
		}
	}
}

// TestDocumentedSources: every source in the guide is a good configuration.
func TestDocumentedSources(t *testing.T) {
	text, err := os.ReadFile("../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for rest, found := string(text), true; ; {
		var example string
		if _, rest, found = strings.Cut(rest, "```yaml\n"); !found {
			break
		}
		example, rest, _ = strings.Cut(rest, "```")
		if !strings.HasPrefix(strings.TrimSpace(example), "sources:") {
			continue // a rule, or a log's mapping
		}
		file := filepath.Join(t.TempDir(), "riposte.yaml")
		if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(file)
		if err != nil || len(c.Sources) == 0 {
			t.Errorf("a source of the guide: %+v, %v\n%s", c.Sources, err, example)
			continue
		}
		for i := range c.Sources {
			named[c.Sources[i].kinds()[0].name] = true
		}
	}
	for _, kind := range sourceTable {
		if kind.name != "files" && !named[kind.name] {
			t.Errorf("the guide has no example of the source %s", kind.name)
		}
	}
}

// TestExampleSources: the sources that the example configuration has as comments
// are good ones, and there is one of each kind.
func TestExampleSources(t *testing.T) {
	_, rest, found := strings.Cut(string(configExample), "\nsources: []\n")
	if !found {
		t.Fatal("the example has no sources")
	}
	text := "sources:\n"
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		text += strings.TrimPrefix(line, "#")
	}
	file := filepath.Join(t.TempDir(), "riposte.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, kind := range sourceTable {
		if n := len(slices.DeleteFunc(slices.Clone(c.Sources), func(s SourceConfig) bool { return s.kinds()[0].name != kind.name })); n == 0 {
			t.Errorf("the example has no source %s", kind.name)
		}
	}
}

// TestReadmeCounts: the numbers in the README and the changes are those of the program.
func TestReadmeCounts(t *testing.T) {
	c := defaultConfig()
	rules, err := loadRules(&c)
	if err != nil {
		t.Fatal(err)
	}
	playbooks, err := loadPlaybooks(&c, actionTable(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"README.md", "CHANGELOG.md"} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Join(strings.Fields(string(text)), " ")
		for _, want := range []string{fmt.Sprintf("%d rules", len(rules.Rules())), fmt.Sprintf("%d playbooks", len(playbooks.List()))} {
			if !strings.Contains(words, want) {
				t.Errorf("%s does not say %q", file, want)
			}
		}
	}
}
