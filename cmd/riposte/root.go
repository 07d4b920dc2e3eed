package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"riposte/internal/problem"
)

// Exit statuses, as scripts may rely on them.
const (
	exitOK    = 0 // done
	exitNo    = 1 // it ran and the answer is no
	exitUsage = 2 // bad usage, configuration or input
)

// errNo is what a command returns when it ran to the end and the answer is no:
// a test failed, a lint error, --fail-on met. What to say has been said.
var errNo = errors.New("the answer is no")

// program is what every subcommand shares.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr}
	root := p.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitOK
	case errors.Is(err, errNo):
		return exitNo
	default:
		fmt.Fprintln(stderr, "riposte: "+err.Error())
		return exitUsage
	}
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "riposte",
		Short: "Detection and reversible response for AWS",
		Long: `riposte reads CloudTrail, VPC flow logs and AWS Config changes, finds what is
wrong with rules written in CEL, joins findings into incidents and plans
containment that can be taken back.`,
		Example:       "  riposte demo --once\n  riposte hunt ./cloudtrail-logs",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          helpOrUnknown,
	}
	root.AddCommand(
		p.demoCommand(), p.runCommand(), p.huntCommand(), p.trailCommand(),
		p.rulesCommand(), p.playbooksCommand(), p.incidentsCommand(), p.coverageCommand(), p.inventoryCommand(), p.deadLettersCommand(),
		p.doctorCommand(), p.configCommand(), p.versionCommand(),
	)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Example = "  source <(riposte completion bash)"
		}
	}
	return root
}

// outputFlag adds --output text|json to a command that lists or shows.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "how to print: text for people, json (one object a line) for programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	inner := cmd.PreRunE
	cmd.PreRunE = func(c *cobra.Command, args []string) error {
		if *output != "text" && *output != "json" {
			return fmt.Errorf("--output %q: want text or json", *output)
		}
		if inner != nil {
			return inner(c, args)
		}
		return nil
	}
}

// exactly is cobra.ExactArgs with a message that names what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return fmt.Errorf("%s wants %s, got %d argument(s); see %s --help",
			cmd.CommandPath(), strings.Join(names, " and "), len(args), cmd.CommandPath())
	}
}

// group is a command that only holds others; called alone it says which.
func group(use, short, example string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs, RunE: helpOrUnknown,
	}
	cmd.AddCommand(subs...)
	return cmd
}

// helpOrUnknown is what a command that only holds others does.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	msg := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if near := problem.Suggest(args[0], names); near != "" {
		msg += " (" + near + ")"
	}
	return errors.New(msg + "; see " + cmd.CommandPath() + " --help")
}

// interactive reports whether w is a terminal that wants colour and progress.
func interactive(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}
