package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check FILE", Short: "Say all that is wrong with a configuration file",
		Example: "  riposte config check riposte.yaml",
		Args:    exactly("a FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := loadConfig(args[0]); err != nil {
				fmt.Fprintln(p.stderr, err)
				return errNo
			}
			fmt.Fprintf(p.stdout, "%s is good\n", args[0])
			return nil
		},
	}
	example := &cobra.Command{
		Use: "example", Short: "Print a commented configuration with every key and its default",
		Example: "  riposte config example > riposte.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := p.stdout.Write(configExample)
			return err
		},
	}
	return group("config", "Check a configuration file, or print an example", "  riposte config check riposte.yaml", check, example)
}
