// Command bench measures the program that is built: what hunting costs beside
// gzip, what rules cost, how fast and how promptly the pipeline goes, how soon a
// hunt starts. It runs the real binary over generated traffic, floors and
// figures in turns so that a busy machine disturbs both alike, and prints each
// figure beside its limit. docs/performance.md says how to read them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// options are the flags.
type options struct {
	riposte string
	dir     string
	size    int64
	rounds  int
	only    string
	json    bool
	strict  bool
}

// bench is one run.
type bench struct {
	options
	progress io.Writer
	report   report
}

// part is one of the things that -only names.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

var parts = []part{
	{"hunt", (*bench).hunt}, {"rules", (*bench).rules}, {"flow", (*bench).flow}, {"stream", (*bench).stream}, {"s3", (*bench).s3},
	{"latency", (*bench).latency}, {"cold", (*bench).cold},
}

func main() {
	var o options
	size := "300MB"
	flag.StringVar(&o.riposte, "riposte", "bin/riposte", "the binary to measure")
	flag.StringVar(&o.dir, "dir", ".cache/bench", "folder for the corpus and for what the runs write")
	flag.StringVar(&size, "size", size, "size of the corpus, compressed")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each measurement is taken, in turns")
	flag.StringVar(&o.only, "only", "", "measure these alone: hunt,rules,flow,stream,s3,latency,cold")
	flag.BoolVar(&o.json, "json", false, "print the figures as JSON")
	flag.BoolVar(&o.strict, "strict", false, "exit 1 when a figure misses its limit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	missed, err := run(ctx, o, size)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if missed && o.strict {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, size string) (missed bool, err error) {
	if o.size, err = parseSize(size); err != nil {
		return false, err
	}
	wanted, err := choose(o.only)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(o.riposte); err != nil {
		return false, fmt.Errorf("%w: build it first, or name it with -riposte", err)
	}
	b := &bench{options: o, progress: os.Stderr}
	b.report.add(figure{Name: "load of the machine at the start", Measured: load(), Unit: "processes", Note: fmt.Sprintf("%d cores; wall times count when it is near 0", runtime.NumCPU())})
	for _, p := range wanted {
		fmt.Fprintf(b.progress, "%s ...\n", p.name)
		if err := p.run(b, ctx); err != nil {
			return false, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if o.json { // NaN is no JSON: what could not be measured is left out
		b.report = slices.DeleteFunc(b.report, func(f figure) bool { return math.IsNaN(f.Measured) })
		return b.report.missed(), json.NewEncoder(os.Stdout).Encode(b.report)
	}
	return b.report.missed(), b.report.print(os.Stdout)
}

// load is how many processes wanted to run in the last minute, NaN where the
// system does not tell.
func load() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	v, parseErr := strconv.ParseFloat(first, 64)
	if err != nil || parseErr != nil {
		return math.NaN()
	}
	return v
}

// choose returns the parts that only names, all when it is empty.
func choose(only string) ([]part, error) {
	if only == "" {
		return parts, nil
	}
	var out []part
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only %q: no such part", name)
		}
		out = append(out, parts[i])
	}
	return out, nil
}

// figure is a line of the table.
type figure struct {
	Name     string  `json:"name"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
	// Limit is what the figure is held to, 0 for one that only informs; AtLeast
	// says on which side of it is good.
	Limit   float64 `json:"limit,omitempty"`
	AtLeast bool    `json:"atLeast,omitempty"`
	// Note says what the figure was made of.
	Note string `json:"note,omitempty"`
}

func (f figure) verdict() string {
	switch {
	case f.Limit == 0:
		return ""
	case f.AtLeast && f.Measured >= f.Limit, !f.AtLeast && f.Measured <= f.Limit:
		return "ok"
	}
	return "MISSED"
}

func (f figure) limit() string {
	switch {
	case f.Limit == 0:
		return ""
	case f.AtLeast:
		return "at least " + number(f.Limit)
	}
	return "at most " + number(f.Limit)
}

// report is every figure of a run.
type report []figure

func (r *report) add(f figure) { *r = append(*r, f) }

func (r report) missed() bool {
	return slices.ContainsFunc(r, func(f figure) bool { return f.verdict() == "MISSED" })
}

// print writes a Markdown table that is also a table on a terminal.
func (r report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| figure\t| measured\t| limit\t|\t| made of\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|")
	for _, f := range r {
		fmt.Fprintf(t, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", f.Name, strings.TrimSpace(number(f.Measured)+" "+f.Unit), f.limit(), f.verdict(), f.Note)
	}
	return t.Flush()
}

var errCheck = errors.New("the results are not what they must be")
