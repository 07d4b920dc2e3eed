package main

import (
	"github.com/spf13/cobra"

	"riposte/event"
)

// severityFlag is a severity on the command line; the zero value is "not given".
type severityFlag struct{ event.Severity }

func (s *severityFlag) String() string {
	if s.Severity == 0 {
		return ""
	}
	return s.Severity.String()
}

func (s *severityFlag) Type() string { return "severity" }

func (s *severityFlag) Set(v string) (err error) {
	s.Severity, err = event.ParseSeverity(v)
	return err
}

// add declares the flag with completion of the names.
func (s *severityFlag) add(cmd *cobra.Command, name, usage string) {
	cmd.Flags().Var(s, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(event.Severities(), cobra.ShellCompDirectiveNoFileComp))
}
