package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"riposte/event"
	"riposte/internal/expr"
)

var update = flag.Bool("update", false, "write the references in docs/reference")

// TestReferences keeps docs/reference what the code says: rules, playbooks,
// fields, configuration and command line.
func TestReferences(t *testing.T) {
	for name, write := range map[string]func(*testing.T, io.Writer){
		"rules.md": rulesReference, "playbooks.md": playbooksReference, "fields.md": fieldsReference,
		"configuration.md": configurationReference, "command-line.md": commandReference,
	} {
		t.Run(name, func(t *testing.T) {
			var want bytes.Buffer
			fmt.Fprintf(&want, "<!-- Written from the code by make docs: do not edit. -->\n\n")
			write(t, &want)
			file := filepath.Join("../../docs/reference", name)
			if *update {
				if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(want.String(), string(got)); diff != "" {
				t.Errorf("docs/reference/%s is not what the code says: run make docs\n%.2000s", name, diff)
			}
		})
	}
}

// cell makes text fit a cell of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;").Replace(strings.TrimSpace(s))
}

func rulesReference(t *testing.T, w io.Writer) {
	c := defaultConfig()
	rules, err := loadRules(&c)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "# Built-in rules\n\n%d rules. `riposte rules list --output json` has every word of them; each file under `rules/` has its tests.\n", len(rules.Rules()))
	category := ""
	for _, r := range rules.Rules() {
		if c, _, _ := strings.Cut(r.ID, "."); c != category {
			category = c
			fmt.Fprintf(w, "\n## %s\n\n| rule | severity | source | what it finds | ATT&CK |\n|---|---|---|---|---|\n", category)
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", r.ID, r.Severity, r.Source, cell(r.Title), strings.Join(r.Attack, " "))
	}
}

func playbooksReference(t *testing.T, w io.Writer) {
	c := defaultConfig()
	actions := actionTable(nil, nil)
	playbooks, err := loadPlaybooks(&c, actions)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "# Built-in playbooks\n\n| playbook | what it is for | steps |\n|---|---|---|\n")
	for _, p := range playbooks.List() {
		fmt.Fprintf(w, "| `%s` | %s: %s | %s |\n", p.ID, cell(p.Title), cell(p.Description), "`"+strings.Join(p.Actions, "`, `")+"`")
	}
	fmt.Fprintf(w, "\n# Actions\n")
	var names []string
	for n := range actions {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(w, "\n## %s\n\n| parameter | needed | meaning |\n|---|---|---|\n", n)
		for _, p := range actions[n].Params() {
			fmt.Fprintf(w, "| `%s` | %s | %s |\n", p.Name, map[bool]string{true: "yes", false: "no"}[p.Required], cell(p.Doc))
		}
	}
}

func fieldsReference(t *testing.T, w io.Writer) {
	fmt.Fprintf(w, "# Fields\n\nWhat conditions may read, by the kind of event. Those marked with a dot are what the rule index looks up: a\ncondition that compares one of them is tried against few events.\n")
	section := func(title string, env *expr.Env, err error) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "\n## %s\n\n| field | type | index |\n|---|---|---|\n", title)
		for _, f := range env.Fields() {
			fmt.Fprintf(w, "| `%s` | %s | %s |\n", f.Path, f.Type, map[bool]string{true: "•"}[f.Indexed])
		}
	}
	for _, k := range []event.Kind{event.CloudTrail, event.FlowLog, event.ConfigItem} {
		env, err := expr.NewEventEnv(k, expr.Options{})
		section("source: "+k.String(), env, err)
	}
	env, err := expr.NewEventEnv(event.Log, expr.Options{})
	section("source: insight, guardduty, securityhub, compliance, log", env, err)
	env, err = expr.NewFindingEnv(expr.Options{})
	section("playbooks", env, err)
}

func configurationReference(_ *testing.T, w io.Writer) {
	fmt.Fprintf(w, "# Configuration\n\nOne YAML file; unknown keys are errors, and `riposte config check FILE` says all that is wrong at once. This is\nwhat `riposte config example` prints.\n\n```yaml\n%s```\n", configExample)
}

func commandReference(t *testing.T, w io.Writer) {
	fmt.Fprintf(w, "# Command line\n\nText for people on standard output, progress and errors on standard error; `--output json` prints one object a\nline. Exit status: 0 done, 1 it ran and the answer is no, 2 bad usage, configuration or input.\n")
	p := &program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	root := p.command()
	root.SetContext(context.Background())
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Example == "" && c.Parent() == root && c.Name() != "help" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if c.Runnable() && (!c.HasSubCommands() || c == root) && c.IsAvailableCommand() && c != root {
			fmt.Fprintf(w, "\n## %s\n\n%s\n", c.UseLine(), cmp.Or(c.Long, c.Short+"."))
			fmt.Fprintf(w, "\n```sh\n%s\n```\n", strings.ReplaceAll(c.Example, "  riposte", "riposte"))
			if flags := machineless(c.LocalFlags().FlagUsagesWrapped(100)); flags != "" {
				fmt.Fprintf(w, "\n```\n%s```\n", flags)
			}
		}
		if c.Name() == "completion" {
			return // its parts are cobra's own, one a shell
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// machineless takes out defaults that differ from machine to machine.
func machineless(flags string) string {
	var b strings.Builder
	for line := range strings.Lines(flags) {
		if strings.Contains(line, "--workers") {
			if i := strings.Index(line, " (default"); i > 0 {
				line = line[:i] + " (default: one a core)\n"
			}
		}
		b.WriteString(line)
	}
	return b.String()
}
