package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"riposte/console"
	"riposte/respond"
)

func (p *program) incidentsCommand() *cobra.Command {
	return group("incidents", "List and show incidents", "  riposte incidents list --min-severity high", p.incidentsList(), p.incidentsShow())
}

func (p *program) incidentsList() *cobra.Command {
	var flags attachFlags
	var output string
	var minimum severityFlag
	cmd := &cobra.Command{
		Use: "list", Short: "List the incidents, the latest first",
		Example: "  riposte incidents list --output json | jq -r .id",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd.Context(), func(v *view) error {
				if err := v.list(cmd.Context()); err != nil {
					return err
				}
				all, err := v.Incidents(cmd.Context())
				if err != nil {
					return err
				}
				all = slices.DeleteFunc(all, func(s respond.Summary) bool { return s.Severity < minimum.Severity })
				return p.printIncidents(all, output)
			})
		},
	}
	flags.add(cmd)
	minimum.add(cmd, "min-severity", "leave out incidents below this severity")
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) printIncidents(all []respond.Summary, output string) error {
	if output == "json" {
		return encodeEach(p.stdout, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(p.stderr, "no incidents")
		return nil
	}
	paint := paletteFor(p.stdout)
	w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID[:min(12, len(s.ID))], paint.severity(s.Severity), s.Updated.UTC().Format(time.RFC3339),
			plural(s.Findings, "finding"), printable(place(s.Account, s.Region)), printable(s.Title))
	}
	return w.Flush()
}

func (p *program) incidentsShow() *cobra.Command {
	var flags attachFlags
	var output string
	var full bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show an incident: who, what, evidence, and what would be done",
		Long:    "show prints an incident whole. The first characters of an ID are enough when no other begins so.",
		Example: "  riposte incidents show 3f1c90aa",
		Args:    exactly("an ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.with(cmd.Context(), func(v *view) error {
				in, runs, err := v.find(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return json.NewEncoder(p.stdout).Encode(struct {
						respond.Incident
						Plans []respond.Run `json:"plans"`
					}{in, runs})
				}
				return writeIncident(p.stdout, paletteFor(p.stdout), &in, runs, full)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&full, "full", false, "with the records, the reads and the states before, whole")
	outputFlag(cmd, &output)
	return cmd
}

// find returns the one incident whose id begins with prefix, or, when that one
// became part of another, the other.
func (v *view) find(ctx context.Context, prefix string) (respond.Incident, []respond.Run, error) {
	keys, err := v.state.incidents.Keys(ctx)
	if err != nil {
		return respond.Incident{}, nil, fmt.Errorf("list the incidents: %w", err)
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, prefix) })
	switch len(keys) {
	case 0:
		return respond.Incident{}, nil, fmt.Errorf("no incident %s; riposte incidents list shows them all", prefix)
	case 1:
	default:
		return respond.Incident{}, nil, fmt.Errorf("%d incidents begin with %s: give more of the ID", len(keys), prefix)
	}
	for id := keys[0]; ; {
		in, runs, err := v.Incident(ctx, id)
		if errors.Is(err, console.ErrNotFound) {
			return in, nil, fmt.Errorf("no incident %s", id)
		}
		if err != nil || in.Merged == "" {
			return in, runs, err
		}
		id = in.Merged
	}
}

func place(account, region string) string { return strings.TrimSpace(account + " " + region) }

// plural renders "1 finding" and "2 findings".
func plural[N int | int64 | uint64](n N, word string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
