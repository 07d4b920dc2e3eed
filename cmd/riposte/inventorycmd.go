package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"riposte/event"
	"riposte/inventory"
)

func (p *program) inventoryCommand() *cobra.Command {
	return group("inventory", "List and show resources as AWS Config recorded them", "  riposte inventory show arn:aws:s3:::example-logs --at 2026-03-02T09:00:00Z", p.inventoryList(), p.inventoryShow())
}

func (p *program) inventoryList() *cobra.Command {
	var flags attachFlags
	var output string
	var filter inventory.Filter
	var deleted bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the resources that the inventory knows, with their latest state",
		Example: "  riposte inventory list --type AWS::EC2::SecurityGroup --region eu-west-1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd.Context(), func(v *view) error {
				return p.listInventory(cmd.Context(), v.inventory, filter, deleted, output)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&filter.Type, "type", "", "resources of this type alone, such as AWS::S3::Bucket")
	cmd.Flags().StringVar(&filter.Account, "account", "", "resources of this account alone")
	cmd.Flags().StringVar(&filter.Region, "region", "", "resources of this region alone; global is IAM's")
	cmd.Flags().BoolVar(&deleted, "deleted", false, "those that were deleted too")
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) listInventory(ctx context.Context, v *inventory.Inventory, f inventory.Filter, deleted bool, output string) error {
	w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	listed := 0
	err := v.Each(ctx, f, func(r *event.Resource) error {
		if !r.Exists && !deleted {
			return nil
		}
		listed++
		if output == "json" {
			return json.NewEncoder(p.stdout).Encode(r)
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Captured.UTC().Format(time.RFC3339), printable(place(r.Account, r.Region)), printable(r.Type), printable(resourceName(r)), stateWord(r))
		return err
	})
	if err != nil {
		return err
	}
	if listed == 0 {
		fmt.Fprintln(p.stderr, "no resources; the inventory grows from what AWS Config delivers")
	}
	return w.Flush()
}

// resourceName is the id, with the name where that says more.
func resourceName(r *event.Resource) string {
	if r.Name == "" || r.Name == r.ID {
		return r.ID
	}
	return r.ID + " " + r.Name
}

func stateWord(r *event.Resource) string {
	switch {
	case !r.Exists:
		return "deleted"
	case r.Incomplete:
		return "incomplete"
	}
	return "exists"
}

func (p *program) inventoryShow() *cobra.Command {
	var flags attachFlags
	var output, kind string
	var at timeFlag
	var history bool
	cmd := &cobra.Command{
		Use: "show ARN", Short: "Show a resource: its latest state, that of a time, or its history",
		Long: `show prints what AWS Config recorded of a resource. It is named by its ARN, or, with
--type, by its id. A version captured after --at is not looked at: what is shown
is what was known of that time.`,
		Example: `  riposte inventory show arn:aws:s3:::example-logs
  riposte inventory show sg-0a1b2c3d4e5f60718 --type AWS::EC2::SecurityGroup --at 24h
  riposte inventory show arn:aws:s3:::example-logs --history --output json`,
		Args: exactly("an ARN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind == "" && !strings.HasPrefix(args[0], "arn:") {
				return fmt.Errorf("%q is no ARN: give the type of the resource too, with --type AWS::EC2::SecurityGroup", args[0])
			}
			return flags.with(cmd.Context(), func(v *view) error {
				all, err := v.inventory.History(cmd.Context(), kind, args[0])
				if err != nil {
					return err
				}
				all, err = chooseVersions(all, at.Time, history, args[0])
				if err != nil {
					return err
				}
				return p.printVersions(all, output)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&kind, "type", "", "the resource's type, when an id is given and not an ARN")
	cmd.Flags().Var(&at, "at", "as of this time: a time, a date or an age such as 24h")
	cmd.Flags().BoolVar(&history, "history", false, "every version that is kept, the oldest first")
	outputFlag(cmd, &output)
	return cmd
}

// chooseVersions are those up to a time, or the last of them alone.
func chooseVersions(all []*event.Resource, at time.Time, history bool, name string) ([]*event.Resource, error) {
	if len(all) == 0 {
		return nil, fmt.Errorf("the inventory does not know %s; riposte inventory list shows what it knows", name)
	}
	kept := all
	if !at.IsZero() {
		for len(kept) > 0 && kept[len(kept)-1].Captured.After(at) {
			kept = kept[:len(kept)-1]
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("nothing is kept of %s from before %s: its first version is of %s", name, at.UTC().Format(time.RFC3339), all[0].Captured.UTC().Format(time.RFC3339))
	}
	if !history {
		kept = kept[len(kept)-1:]
	}
	return kept, nil
}

func (p *program) printVersions(all []*event.Resource, output string) error {
	if output == "json" {
		return encodeEach(p.stdout, all)
	}
	for i, r := range all {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		if err := writeResource(p.stdout, paletteFor(p.stdout), r); err != nil {
			return err
		}
	}
	return nil
}

// writeResource prints a resource for people.
func writeResource(w io.Writer, paint palette, r *event.Resource) error {
	fmt.Fprintf(w, "%s  %s\n", paint.bold(printable(r.Type+" "+resourceName(r))), stateWord(r))
	for _, f := range [][2]string{
		{"arn", r.ARN}, {"where", strings.TrimSpace(place(r.Account, r.Region) + " " + r.AvailabilityZone)},
		{"captured", r.Captured.UTC().Format(time.RFC3339Nano)}, {"status", r.Status}, {"state id", r.StateID},
	} {
		if f[1] != "" {
			fmt.Fprintf(w, "  %s %s\n", paint.faint(fmt.Sprintf("%-9s", f[0])), printable(f[1]))
		}
	}
	for _, part := range []struct {
		name  string
		value any
		none  bool
	}{
		{"tags", r.Tags, len(r.Tags) == 0}, {"configuration", r.Configuration, len(r.Configuration) == 0},
		{"supplementary configuration", r.SupplementaryConfiguration, len(r.SupplementaryConfiguration) == 0},
		{"relationships", r.Relationships, len(r.Relationships) == 0},
	} {
		if part.none {
			continue
		}
		text, err := json.MarshalIndent(part.value, "    ", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s\n", paint.faint(part.name))
		for line := range strings.Lines("    " + string(text)) {
			fmt.Fprintln(w, printable(strings.TrimRight(line, "\n")))
		}
	}
	return nil
}
