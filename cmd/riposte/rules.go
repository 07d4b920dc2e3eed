package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/internal/expr"
	"riposte/internal/problem"
)

func (p *program) rulesCommand() *cobra.Command {
	return group("rules", "List, lint, test and explain detection rules", "  riposte rules test ./rules",
		p.rulesList(), p.rulesLint(), p.rulesTest(), p.rulesExplain())
}

// take makes the arguments of a rules command its folders.
func (r *ruleFlags) take(args []string) { r.dirs = append(r.dirs, args...) }

func (p *program) rulesList() *cobra.Command {
	var flags ruleFlags
	var output string
	cmd := &cobra.Command{
		Use: "list [DIR...]", Short: "List the rules with severity, source and ATT&CK techniques",
		Example: "  riposte rules list --output json | jq -r .id",
		RunE: func(_ *cobra.Command, args []string) error {
			flags.take(args)
			rules, err := flags.load(p.stderr)
			if err != nil {
				return err
			}
			if output == "json" {
				return encodeEach(p.stdout, rules.Rules())
			}
			paint := paletteFor(p.stdout)
			w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
			for _, r := range rules.Rules() {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", paint.severity(r.Severity), r.Source, r.ID, strings.Join(r.Attack, ","), r.Title)
			}
			return w.Flush()
		},
	}
	flags.add(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) rulesLint() *cobra.Command {
	var flags ruleFlags
	var output string
	cmd := &cobra.Command{
		Use: "lint [DIR...]", Short: "Say all that is wrong or weak in rules",
		Long: `lint compiles the rules and says every mistake with its place. Beyond what
stops a load it warns of event names that no AWS service has, rules that every
event has to be tried against, missing tests, tags and advice. Exit status 1 when
there is an error.`,
		Example: "  riposte rules lint ./rules",
		RunE: func(_ *cobra.Command, args []string) error {
			flags.take(args)
			rules, err := flags.load(io.Discard) // the report has the warnings
			if err != nil {
				fmt.Fprintln(p.stderr, err)
				return errNo
			}
			return p.reportLint(rules.Lint(), len(rules.Rules()), "rules", output)
		},
	}
	flags.add(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) rulesTest() *cobra.Command {
	var flags ruleFlags
	var output string
	var verbose bool
	cmd := &cobra.Command{
		Use: "test [DIR...]", Short: "Run the tests inside the rules",
		Example: "  riposte rules test ./rules",
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.take(args)
			rules, err := flags.load(p.stderr)
			if err != nil {
				return err
			}
			results := rules.Test(testInventory(cmd.Context()))
			if output == "json" {
				if err := encodeEach(p.stdout, results); err != nil {
					return err
				}
			}
			verdicts := make([]verdict, len(results))
			for i, r := range results {
				verdicts[i] = verdict{r.Rule, r.Test, r.Passed, r.Reason, r.Explain}
			}
			return p.reportVerdicts(verdicts, len(rules.Rules()), "rules", output, verbose)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the tests that pass too")
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) rulesExplain() *cobra.Command {
	var flags ruleFlags
	var output string
	cmd := &cobra.Command{
		Use: "explain RULE EVENT-FILE", Short: "Say why a rule does or does not fire on the events of a file",
		Long: `explain says of every event in a file why a rule does or does not fire on it.
What the rule asks of resources is answered from the Config items in the file.`,
		Example: "  riposte rules explain evasion.trail-stopped event.json",
		Args:    exactly("a RULE", "an EVENT-FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := flags.load(p.stderr)
			if err != nil {
				return err
			}
			var ids []string
			for _, r := range rules.Rules() {
				ids = append(ids, r.ID)
			}
			if !slices.Contains(ids, args[0]) {
				return fmt.Errorf("no rule %q (%s)", args[0], cmp.Or(problem.Suggest(args[0], ids), "riposte rules list shows them all"))
			}
			files := ingest.Files{Paths: args[1:], Stdin: p.stdin}
			refs, err := files.List(cmd.Context())
			if err != nil {
				return err
			}
			explainer := &explainer{program: p, rules: rules, rule: args[0], output: output}
			reader := ingest.NewReader()
			if explainer.resources, err = gatherFor(cmd.Context(), rules, files, refs); err != nil {
				return err
			}
			for _, ref := range refs {
				if _, err := reader.ReadFile(cmd.Context(), files, ref, explainer.sink()); err != nil {
					return err
				}
			}
			if explainer.events == 0 {
				return fmt.Errorf("%s holds no events", args[1])
			}
			return nil
		},
	}
	flags.add(cmd)
	outputFlag(cmd, &output)
	return cmd
}

type explainer struct {
	*program
	rules  *detect.RuleSet
	rule   string
	output string
	events int
	// resources are what the items in the files tell of.
	resources expr.Resources
}

func (x *explainer) sink() ingest.Sink {
	return ingest.Sink{
		Emit:   x.explain,
		Broken: brokenTo(x.stderr),
	}
}

// explain says of every event of a batch why the rule fires or does not.
func (x *explainer) explain(_ context.Context, b ingest.Batch) error {
	paint := paletteFor(x.stdout)
	for i := range b.Events {
		e := &b.Events[i]
		x.events++
		why, err := x.rules.Explain(x.rule, e, x.resources)
		if err != nil {
			return err
		}
		if x.output == "json" {
			if err := json.NewEncoder(x.stdout).Encode(why); err != nil {
				return err
			}
			continue
		}
		verdict := paint.faint("does not fire")
		switch {
		case why.Error != "":
			verdict = paint.bad("no verdict: " + printable(why.Error))
		case why.Fires:
			verdict = paint.good("fires")
		}
		fmt.Fprintf(x.stdout, "%s %s on %s at %s: %s\n", paint.bold(x.rule), paint.faint(printable(e.Name())), printable(why.Event),
			printable(e.Origin.String()), verdict)
		if why.Truth.Expr != "" {
			writeTruth(x.stdout, paint, &why.Truth, 2)
		}
	}
	return nil
}

// writeTruth prints an explanation as a tree: what held, what did not, and what
// was never looked at.
func writeTruth(w io.Writer, paint palette, t *event.Truth, indent int) {
	mark := paint.faint("·")
	switch value := string(t.Value); {
	case t.Error != "":
		mark = paint.bad("!")
	case value == "true":
		mark = paint.good("✓")
	case value == "false":
		mark = paint.bad("✗")
	case value != "":
		mark = "="
	}
	line := printable(strings.Join(strings.Fields(t.Expr), " "))
	if v := string(t.Value); v != "" && v != "true" && v != "false" {
		line += paint.faint(" = " + printable(v))
	}
	if t.Error != "" {
		line += paint.bad(" error: " + printable(t.Error))
	}
	if len(t.Value) == 0 && t.Error == "" {
		line = paint.faint(line + " (not evaluated)")
	}
	fmt.Fprintf(w, "%s%s %s\n", strings.Repeat(" ", indent), mark, line)
	for i := range t.Steps {
		writeTruth(w, paint, &t.Steps[i], indent+2)
	}
}
