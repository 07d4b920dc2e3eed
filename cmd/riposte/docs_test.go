package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

// TestDocumentedSource: the source in the guide is a good configuration.
func TestDocumentedSource(t *testing.T) {
	text, err := os.ReadFile("../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the guide has no YAML")
	}
	file := filepath.Join(t.TempDir(), "riposte.yaml")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil || len(c.Sources) != 1 || c.Sources[0].S3 == nil {
		t.Errorf("the source of the guide: %+v, %v", c.Sources, err)
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
