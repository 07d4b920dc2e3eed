package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"riposte/internal/awsaccess"
	"riposte/internal/bus"
)

// check is one line of the doctor's report.
type check struct {
	Check string `json:"check"`
	// Status is ok, warn or fail.
	Status string `json:"status"`
	Detail string `json:"detail"`
	// Remedy says what to do about it.
	Remedy string `json:"remedy,omitempty"`
}

// doctor looks at everything a daemon needs.
type doctor struct {
	*program
	attachFlags
	aws    bool
	checks []check
}

func (p *program) doctorCommand() *cobra.Command {
	d := &doctor{program: p}
	var output string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say what is wrong with this installation, and what to do",
		Long: `doctor checks the configuration, rules and playbooks, the data folder and its
disk, the streams with their lag and dead letters, which accounts deliver which
telemetry, the queues and buckets that sources read from, and, with --aws, who
AWS says we are and how far the clocks differ. Exit status 1 when anything fails.`,
		Example: "  riposte doctor --config riposte.yaml --aws",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.run(cmd.Context())
			return d.report(output)
		},
	}
	d.add(cmd)
	cmd.Flags().BoolVar(&d.aws, "aws", false, "call sts:GetCallerIdentity too")
	outputFlag(cmd, &output)
	return cmd
}

func (d *doctor) ok(name, format string, args ...any) {
	d.checks = append(d.checks, check{Check: name, Status: "ok", Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) bad(status, name, detail, remedy string) {
	d.checks = append(d.checks, check{Check: name, Status: status, Detail: detail, Remedy: remedy})
}

func (d *doctor) run(ctx context.Context) {
	c, err := d.load()
	if err != nil {
		d.bad("fail", "configuration", err.Error(), "mend the file; riposte config example shows every key")
		return
	}
	d.ok("configuration", "%s", map[bool]string{true: "defaults, no file given", false: d.config}[d.config == ""])
	d.content(&c)
	d.disk(&c)
	d.streams(ctx, &c)
	if d.aws {
		d.identity(ctx)
	}
	d.sources(ctx, &c)
}

// content loads rules and playbooks.
func (d *doctor) content(c *Config) {
	rules, err := loadRules(c)
	switch {
	case err != nil:
		d.bad("fail", "rules", err.Error(), "mend them; riposte rules lint says more")
	case len(rules.Warnings()) > 0:
		d.bad("warn", "rules", fmt.Sprintf("%d load, with %s", len(rules.Rules()), plural(len(rules.Warnings()), "warning")), "riposte rules lint shows them")
	default:
		d.ok("rules", "%d load", len(rules.Rules()))
	}
	playbooks, err := loadPlaybooks(c, actionTable(nil, c.Respond.Webhooks))
	if err != nil {
		d.bad("fail", "playbooks", err.Error(), "mend them; riposte playbooks lint says more")
		return
	}
	d.ok("playbooks", "%d load, mode %s", len(playbooks.List()), c.Respond.Mode)
	if len(c.Respond.Webhooks) == 0 {
		d.bad("warn", "webhooks", "none is configured: nobody can be told", "set respond.webhooks")
	}
}

// wantFree is how much of the streams' limits should be free on disk.
const wantFree = 1 << 30

// disk looks at the data folder, which need not exist yet.
func (d *doctor) disk(c *Config) {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		d.bad("fail", "data folder", err.Error(), "name another data_dir")
		return
	}
	there := dir
	for {
		if _, err := os.Stat(there); err == nil {
			break
		}
		there = filepath.Dir(there)
	}
	if err := syscall.Access(there, 2); err != nil {
		d.bad("fail", "data folder", fmt.Sprintf("%s cannot be written: %v", there, err), "give it to this user, or name another data_dir")
		return
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(there, &fs); err != nil {
		d.bad("warn", "data folder", fmt.Sprintf("%s: free space unknown: %v", there, err), "")
		return
	}
	free := fs.Bavail * uint64(fs.Bsize)
	limits := uint64(c.Bus.EventsMaxBytes + c.Bus.FindingsMaxBytes + c.Bus.IncidentsMaxBytes + c.Bus.DeadMaxBytes)
	detail := fmt.Sprintf("%s, %.1f GB free, streams may take %.1f GB", dir, float64(free)/1e9, float64(limits)/1e9)
	if c.Bus.URL == "" && free < limits+wantFree {
		d.bad("warn", "data folder", detail, "free some space, or lower bus.events_max_bytes and its like: a full disk stops ingestion")
		return
	}
	d.ok("data folder", "%s", detail)
}

// streams attaches to the daemon or the cluster.
func (d *doctor) streams(ctx context.Context, c *Config) {
	if _, err := os.Stat(c.busDir()); c.Bus.URL == "" && errors.Is(err, os.ErrNotExist) {
		d.bad("warn", "streams", "riposte run has not been started here", "start riposte run")
		return
	}
	b, err := bus.Attach(ctx, c.busDir(), c.Bus, nil)
	if err != nil {
		d.bad("fail", "streams", err.Error(), "is the address right, and does the server run with JetStream?")
		return
	}
	defer b.Close()
	h, err := b.Health(ctx)
	if err != nil {
		d.bad("fail", "streams", err.Error(), "start riposte run, which makes the streams")
		return
	}
	for _, s := range h.Streams {
		name := "stream " + s.Name
		full := float64(s.Bytes) / float64(max(s.MaxBytes, 1))
		detail := fmt.Sprintf("%s, %.0f%% full", plural(s.Messages, "message"), 100*full)
		for _, c := range s.Consumers {
			detail += fmt.Sprintf(", %s has %d to go", c.Name, c.Pending+uint64(c.Unacked))
		}
		if full > 0.9 {
			d.bad("warn", name, detail, "sources wait when it is full: is its consumer running? raise the limit under bus, or add workers")
			continue
		}
		d.ok(name, "%s", detail)
	}
	if h.DeadLetters > 0 {
		d.bad("warn", "dead letters", fmt.Sprintf("%d wait", h.DeadLetters), "riposte dead-letters list says why; riposte dead-letters replay gives them another chance")
	} else {
		d.ok("dead letters", "none")
	}
	state, err := openState(ctx, b, c.Bus.Replicas)
	if err != nil {
		d.bad("fail", "state", err.Error(), "start riposte run, which makes what is missing")
		return
	}
	d.coverage(ctx, newView(b, state, nil))
}

// identity asks AWS who we are, and compares clocks.
func (d *doctor) identity(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	access, err := awsaccess.New(ctx, awsaccess.Config{}, awsaccess.Options{})
	if err != nil {
		d.bad("fail", "aws", err.Error(), "mend the AWS configuration of this user")
		return
	}
	out, err := sts.NewFromConfig(access.Ambient()).GetCallerIdentity(ctx, nil)
	if err != nil {
		d.bad("fail", "aws", err.Error(), "give this process credentials: a role, a profile, or the environment")
		return
	}
	d.ok("aws", "we are %s in account %s", aws.ToString(out.Arn), aws.ToString(out.Account))
	if t, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
		if skew := time.Since(t).Abs(); skew > 30*time.Second {
			d.bad("warn", "clock", fmt.Sprintf("differs from AWS by %s", skew.Round(time.Second)), "run a time service: signatures fail beyond five minutes")
			return
		}
		d.ok("clock", "agrees with AWS")
	}
}

func (d *doctor) report(output string) error {
	failed := false
	paint := paletteFor(d.stdout)
	for _, c := range d.checks {
		failed = failed || c.Status == "fail"
		if output == "json" {
			if err := json.NewEncoder(d.stdout).Encode(c); err != nil {
				return err
			}
			continue
		}
		mark := map[string]string{"ok": paint.good("ok  "), "warn": paint.paint("warn", 33), "fail": paint.bad("FAIL")}[c.Status]
		lines := strings.Split(c.Detail, "\n")
		fmt.Fprintf(d.stdout, "%s  %-17s %s\n", mark, c.Check, printable(lines[0]))
		for _, l := range lines[1:] {
			fmt.Fprintf(d.stdout, "%24s%s\n", "", printable(l))
		}
		if c.Remedy != "" {
			fmt.Fprintf(d.stdout, "%24s%s\n", "", paint.faint("→ "+c.Remedy))
		}
	}
	if failed {
		return errNo
	}
	return nil
}
