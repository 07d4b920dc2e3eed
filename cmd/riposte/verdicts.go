package main

import (
	"encoding/json"
	"fmt"
	"io"

	"riposte/event"
	"riposte/internal/problem"
)

// encodeEach writes one object a line.
func encodeEach[T any](w io.Writer, list []T) error {
	enc := json.NewEncoder(w)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// reportLint prints what a linter found in n things that load, all warnings.
func (p *program) reportLint(problems problem.List, n int, things, output string) error {
	if output == "json" {
		return encodeEach(p.stdout, problems)
	}
	for _, pr := range problems {
		fmt.Fprintln(p.stdout, pr)
	}
	fmt.Fprintf(p.stdout, "%d %s, no errors, %d warnings\n", n, things, len(problems))
	return nil
}

// verdict is the outcome of one test inside a file.
type verdict struct {
	of, test string
	passed   bool
	reason   string
	explain  *event.Truth // why, when it failed and that is known
}

// reportVerdicts prints the tests that failed, with verbose those that passed
// too, and what they came to; errNo when any failed.
func (p *program) reportVerdicts(all []verdict, n int, things, output string, verbose bool) error {
	paint, failed := paletteFor(p.stdout), 0
	for _, v := range all {
		if !v.passed {
			failed++
		}
		switch {
		case output == "json":
		case !v.passed:
			fmt.Fprintf(p.stdout, "%s %s: %s: %s\n", paint.bad("FAIL"), v.of, v.test, printable(v.reason))
			if v.explain != nil {
				writeTruth(p.stdout, paint, v.explain, 2)
			}
		case verbose:
			fmt.Fprintf(p.stdout, "%s %s: %s\n", paint.good("ok  "), v.of, v.test)
		}
	}
	if output != "json" {
		fmt.Fprintf(p.stdout, "%d %s, %d tests: %d passed, %d failed\n", n, things, len(all), len(all)-failed, failed)
	}
	if failed > 0 {
		return errNo
	}
	return nil
}
