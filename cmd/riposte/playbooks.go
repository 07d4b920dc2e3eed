package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"riposte/internal/awsfake"
	shipped "riposte/playbooks"
	"riposte/respond"
	"riposte/respond/notify"
)

func (p *program) playbooksCommand() *cobra.Command {
	return group("playbooks", "List, lint and test containment playbooks", "  riposte playbooks test ./playbooks",
		p.playbooksList(), p.playbooksLint(), p.playbooksTest())
}

// playbookFlags choose the playbooks of a command: its arguments alone when
// given, else what the configuration says, else the built-in ones.
type playbookFlags struct{ config string }

func (f *playbookFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file, for its lists and playbooks")
}

func (f *playbookFlags) load(dirs []string, actions map[string]respond.Action) (*respond.Playbooks, error) {
	c, err := loadConfig(f.config)
	if err != nil {
		return nil, err
	}
	if len(dirs) > 0 {
		c.Respond.Builtin, c.Respond.Playbooks = false, dirs
	}
	return loadPlaybooks(&c, actions)
}

func (p *program) playbooksList() *cobra.Command {
	var flags playbookFlags
	var output string
	cmd := &cobra.Command{
		Use: "list [DIR...]", Short: "List the playbooks with what they would do",
		Example: "  riposte playbooks list --output json | jq -r .id",
		RunE: func(_ *cobra.Command, args []string) error {
			playbooks, err := flags.load(args, actionTable(nil, nil))
			if err != nil {
				return err
			}
			if output == "json" {
				return encodeEach(p.stdout, playbooks.List())
			}
			w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
			for _, pb := range playbooks.List() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", pb.ID, pb.Title, strings.Join(pb.Actions, ", "))
			}
			return w.Flush()
		},
	}
	flags.add(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) playbooksLint() *cobra.Command {
	var flags playbookFlags
	var output string
	cmd := &cobra.Command{
		Use: "lint [DIR...]", Short: "Say all that is wrong or weak in playbooks",
		Example: "  riposte playbooks lint ./playbooks",
		RunE: func(_ *cobra.Command, args []string) error {
			playbooks, err := flags.load(args, actionTable(nil, nil))
			if err != nil {
				fmt.Fprintln(p.stderr, err)
				return errNo
			}
			return p.reportLint(playbooks.Lint(), len(playbooks.List()), "playbooks", output)
		},
	}
	flags.add(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) playbooksTest() *cobra.Command {
	var flags playbookFlags
	var output, world string
	var verbose bool
	cmd := &cobra.Command{
		Use: "test [DIR...]", Short: "Run the tests inside the playbooks against a small AWS of their own",
		Long: `test plans each playbook's test findings against an AWS endpoint inside this
process and compares what each step decides. What exists there is in a file of
JSON: --world, or testdata/world.json in a DIR, or the one of the built-in
playbooks. Nothing outside the process is read or changed.`,
		Example: "  riposte playbooks test ./playbooks",
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := playbookWorld(world, args)
			if err != nil {
				return err
			}
			return p.testPlaybooks(cmd.Context(), &flags, args, data, output, verbose)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&world, "world", "", "file that says what exists in AWS")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the tests that pass too")
	outputFlag(cmd, &output)
	return cmd
}

// playbookWorld finds what exists in AWS for tests.
func playbookWorld(file string, dirs []string) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	for _, dir := range dirs {
		data, err := os.ReadFile(filepath.Join(dir, "testdata", "world.json"))
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return shipped.World, nil
}

func (p *program) testPlaybooks(ctx context.Context, flags *playbookFlags, dirs []string, data []byte, output string, verbose bool) error {
	var world awsfake.World
	if err := json.Unmarshal(data, &world); err != nil {
		return fmt.Errorf("read what exists in AWS: %w", err)
	}
	fake := awsfake.New(&world, "111122223333")
	defer fake.Close()
	clients, err := fakeClients(ctx, fake)
	if err != nil {
		return err
	}
	actions := actionTable(clients, map[string]notify.Config{"on-call": {URL: "https://hooks.example.com/riposte"}})
	playbooks, err := flags.load(dirs, actions)
	if err != nil {
		return err
	}
	results := playbooks.Test(ctx, actions)
	if output == "json" {
		if err := encodeEach(p.stdout, results); err != nil {
			return err
		}
	}
	verdicts := make([]verdict, len(results))
	for i, r := range results {
		verdicts[i] = verdict{of: r.Playbook, test: r.Test, passed: r.Passed, reason: r.Reason}
	}
	return p.reportVerdicts(verdicts, len(playbooks.List()), "playbooks", output, verbose)
}
