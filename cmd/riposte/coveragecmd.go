package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"riposte/ingest/coverage"
)

func (p *program) coverageCommand() *cobra.Command {
	var flags attachFlags
	var output, account string
	var all, check bool
	cmd := &cobra.Command{
		Use:   "coverage",
		Short: "Say which accounts deliver which telemetry, and which are silent",
		Long: `coverage lists which telemetry comes from which account, when it spoke last and how
late it came: what is missing, silent or late first. Regions and VPCs are listed
where they are not as their account is; --all lists all.

What is expected is taken from --config, or from what the daemon was told.`,
		Example: "  riposte coverage\n  riposte coverage --account 111122223333 --all\n  riposte coverage --output json | jq 'select(.state == \"silent\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd.Context(), func(v *view) error {
				now := time.Now().UTC()
				parts, err := flags.coverage(cmd.Context(), v, now)
				if err != nil {
					return err
				}
				parts = worstFirst(parts)
				if account != "" {
					parts = slices.DeleteFunc(parts, func(c coverage.Part) bool { return c.Account != account })
				}
				bad := slices.ContainsFunc(parts, func(c coverage.Part) bool { return c.State == coverage.Missing || c.State == coverage.Silent })
				if err := p.printCoverage(parts, output, all, now); err != nil {
					return err
				}
				if check && bad {
					return errNo
				}
				return nil
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&account, "account", "", "only of this account")
	cmd.Flags().BoolVar(&all, "all", false, "with every region and VPC, and what is archived or ignored")
	cmd.Flags().BoolVar(&check, "check", false, "exit status 1 when anything is missing or silent")
	outputFlag(cmd, &output)
	return cmd
}

// coverage judges what is stored: by the configuration file where one is given,
// else by what the daemon was told.
func (f *attachFlags) coverage(ctx context.Context, v *view, now time.Time) ([]coverage.Part, error) {
	if f.config == "" {
		return readCoverage(ctx, v.state.coverage, nil, now)
	}
	c, err := f.load()
	if err != nil {
		return nil, err
	}
	return readCoverage(ctx, v.state.coverage, &coverage.Expected{Config: c.Coverage.Config, Accounts: c.Coverage.Accounts}, now)
}

// worstFirst sorts by state, and within one as they were.
func worstFirst(parts []coverage.Part) []coverage.Part {
	order := coverage.States()
	slices.SortStableFunc(parts, func(a, b coverage.Part) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	return parts
}

// worthALine reports whether a part is listed without being asked for: an account,
// or what is in trouble of its own.
func worthALine(p *coverage.Part) bool {
	switch p.State {
	case coverage.Archived, coverage.Ignored:
		return false
	case coverage.Missing, coverage.Silent, coverage.Late, coverage.Losing:
		return !p.Within || p.Level == coverage.OfAccount
	}
	return p.Level == coverage.OfAccount
}

func (p *program) printCoverage(parts []coverage.Part, output string, all bool, now time.Time) error {
	if !all && output != "json" {
		parts = slices.DeleteFunc(parts, func(c coverage.Part) bool { return !worthALine(&c) })
	}
	if output == "json" {
		return encodeEach(p.stdout, parts)
	}
	if len(parts) == 0 {
		fmt.Fprintln(p.stderr, "no telemetry has come, and none is expected")
		return nil
	}
	paint := paletteFor(p.stdout)
	w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, paint.faint(paddedState("state"))+"\ttelemetry\taccount\tregion\tvpc\tlast event\tcame after\tmissed after\t24 h\t")
	for i := range parts {
		c := &parts[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", paint.coverage(c.State), printable(c.Log), printable(scope(c)), printable(orDash(c.Region)), printable(orDash(c.VPC)),
			since(c.Last, now), orDash(map[bool]string{true: short(c.Lag)}[!c.Last.IsZero()]), orDash(map[bool]string{true: short(c.Patience)}[c.Patience > 0]), events(c), printable(remark(c)))
	}
	return w.Flush()
}

// scope is the account, or what the part is of instead.
func scope(p *coverage.Part) string {
	switch p.Level {
	case coverage.OfLog:
		return "all"
	case coverage.OfSource:
		return "through " + p.Source
	}
	return orDash(p.Account)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// since is a time and how long ago it was.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), short(now.Sub(t)))
}

// short is a duration in its largest unit that says something.
func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d/time.Hour))
	}
	return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
}

func events(p *coverage.Part) string {
	if p.State == coverage.Missing {
		return "-"
	}
	return fmt.Sprint(p.Events)
}

// remark is what else there is to say of a part.
func remark(p *coverage.Part) string {
	var out []string
	if p.Within {
		out = append(out, "as its whole")
	}
	if len(p.Speaking) > 0 {
		out = append(out, "still speaking: "+strings.Join(p.Speaking, ", "))
	}
	if p.SkipData > 0 {
		out = append(out, fmt.Sprintf("SKIPDATA %.1f %%", float64(p.SkipData)*100/float64(max(p.Events, 1))))
	}
	if p.Future > 0 {
		out = append(out, fmt.Sprintf("%s from the future, up to %s", plural(p.Future, "event"), short(p.Ahead)))
	}
	return strings.Join(out, "; ")
}

// longestState is how wide states are printed.
const longestState = len(coverage.Archived)

func paddedState(s string) string { return s + strings.Repeat(" ", max(0, longestState-len(s))) }

// coverage renders a state.
func (p palette) coverage(s coverage.State) string {
	text := paddedState(string(s))
	switch s {
	case coverage.Missing, coverage.Silent:
		return p.bad(text)
	case coverage.Late, coverage.Losing:
		return p.paint(text, 33)
	case coverage.OK:
		return p.good(text)
	}
	return p.faint(text)
}

// coverage looks at which telemetry comes, for the doctor.
func (d *doctor) coverage(ctx context.Context, v *view) {
	now := time.Now().UTC()
	parts, err := d.attachFlags.coverage(ctx, v, now)
	if err != nil {
		d.bad("fail", "coverage", err.Error(), "start riposte run, which makes what is missing")
		return
	}
	counts, future := map[coverage.State]int{}, uint64(0)
	var troubled []coverage.Part
	for _, p := range worstFirst(parts) {
		if p.Level == coverage.OfAccount {
			counts[p.State]++
			future += p.Future
		}
		if worthALine(&p) && !p.Within && slices.Index(coverage.States(), p.State) <= slices.Index(coverage.States(), coverage.Losing) {
			troubled = append(troubled, p)
		}
	}
	var words []string
	for _, s := range coverage.States() {
		if counts[s] > 0 {
			words = append(words, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	if len(words) == 0 {
		d.ok("coverage", "no telemetry has come yet")
		return
	}
	summary := "accounts by telemetry: " + strings.Join(words, ", ")
	if len(troubled) == 0 {
		d.ok("coverage", "%s", summary)
	} else {
		for i, p := range troubled {
			if i == maxTroubled {
				summary += fmt.Sprintf("\nand %d more", len(troubled)-i)
				break
			}
			summary += fmt.Sprintf("\n%s %s, last event %s", paddedState(string(p.State)), p.Where(), since(p.Last, now))
		}
		d.bad("warn", "coverage", summary, "riposte coverage lists all with what still speaks; docs/coverage.md says what each state asks for")
	}
	if future > 0 {
		d.bad("warn", "event times", plural(future, "event")+" came from the future", "compare clocks with riposte doctor --aws; riposte coverage says whose events they are")
	}
}

// maxTroubled is how many parts in trouble the doctor lists.
const maxTroubled = 12
