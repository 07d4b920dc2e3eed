package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"riposte/internal/bus"
)

func (p *program) deadLettersCommand() *cobra.Command {
	return group("dead-letters", "List and replay what could not be read or handled", "  riposte dead-letters list",
		p.deadLettersList(), p.deadLettersReplay())
}

func (p *program) deadLettersList() *cobra.Command {
	var flags attachFlags
	var output string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the dead letters with place and reason, oldest first",
		Example: "  riposte dead-letters list --output json | jq -r '.payload | @base64d'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd.Context(), func(v *view) error {
				letters, err := v.bus.DeadLetters(cmd.Context(), 0, limit)
				if err != nil {
					return err
				}
				return p.printLetters(letters, output)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 1000, "how many at most")
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) printLetters(letters []bus.DeadLetter, output string) error {
	if output == "json" {
		return encodeEach(p.stdout, letters)
	}
	if len(letters) == 0 {
		fmt.Fprintln(p.stderr, "no dead letters")
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	for _, l := range letters {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", l.Seq, l.Time.Format(time.RFC3339), printable(l.Place), printable(l.Reason))
	}
	return w.Flush()
}

func (p *program) deadLettersReplay() *cobra.Command {
	var flags attachFlags
	var all bool
	cmd := &cobra.Command{
		Use: "replay [SEQ...]", Short: "Give dead letters another chance",
		Long: `replay publishes a message where it was, or reads a record again as the kind it
should be, and removes the letter. What still does not read stays, and the
reason is printed. Exit status 1 when any stays.`,
		Example: "  riposte dead-letters replay 17 18\n  riposte dead-letters replay --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return errors.New("replay wants sequence numbers, or --all; riposte dead-letters list shows them")
			}
			return flags.with(cmd.Context(), func(v *view) error {
				var seqs []uint64
				for _, a := range args {
					n, err := strconv.ParseUint(a, 10, 64)
					if err != nil {
						return fmt.Errorf("%q is not a sequence number; riposte dead-letters list shows them", a)
					}
					seqs = append(seqs, n)
				}
				if all {
					letters, err := v.bus.DeadLetters(cmd.Context(), 0, math.MaxInt32)
					if err != nil {
						return err
					}
					for _, l := range letters {
						seqs = append(seqs, l.Seq)
					}
				}
				stayed := 0
				for _, n := range seqs {
					if err := v.bus.Replay(cmd.Context(), n); err != nil {
						stayed++
						fmt.Fprintln(p.stderr, "riposte: "+printable(err.Error()))
					}
				}
				fmt.Fprintf(p.stdout, "%d replayed, %d stay\n", len(seqs)-stayed, stayed)
				if stayed > 0 {
					return errNo
				}
				return nil
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "replay every dead letter")
	return cmd
}
