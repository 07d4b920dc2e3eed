package main

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"riposte/ingest/coverage"
	"riposte/internal/bus"
	"riposte/internal/expr"
	"riposte/internal/problem"
	"riposte/internal/telemetry"
	"riposte/internal/yamlfile"
	"riposte/inventory"
	"riposte/respond"
	"riposte/respond/aws"
	"riposte/respond/notify"
)

// Config is the one configuration file. Unknown keys are errors. The commented
// example of `riposte config example` shows every key with its default.
type Config struct {
	// DataDir holds the embedded server's streams and state.
	DataDir string `yaml:"data_dir"`
	// Roles this process plays: ingest, detect, respond, console.
	Roles []string `yaml:"roles"`
	// Bus is the NATS JetStream server: embedded in DataDir, or an outside one by URL.
	Bus bus.Config `yaml:"bus"`
	// Sources are where events come from.
	Sources []SourceConfig `yaml:"sources"`
	// Logs are the mappings of logs that are not AWS's; sources and rules name them.
	Logs []LogConfig `yaml:"logs"`
	// Lists are named values that rules test with in_list("name", value).
	Lists map[string]ListConfig `yaml:"lists"`
	// Detect says which rules run.
	Detect DetectConfig `yaml:"detect"`
	// Inventory is what is kept of the resources that AWS Config tells of.
	Inventory inventory.Config `yaml:"inventory"`
	// Respond says which playbooks plan containment, and how AWS is reached.
	Respond RespondConfig `yaml:"respond"`
	// Coverage is which telemetry is expected, and when its absence is told of.
	Coverage CoverageConfig `yaml:"coverage"`
	// Console is the web console.
	Console ConsoleConfig `yaml:"console"`
	// Telemetry is logs, metrics and traces about riposte itself.
	Telemetry telemetry.Config `yaml:"telemetry"`
}

// ListConfig is a named list.
type ListConfig struct {
	// Values are exact strings, CIDR blocks or globs.
	Values []string `yaml:"values"`
	// File holds more of them, one a line; # starts a comment.
	File string `yaml:"file"`
}

// DetectConfig says which rules run.
type DetectConfig struct {
	// Builtin includes the rules that riposte ships.
	Builtin bool `yaml:"builtin"`
	// Rules are folders of more rules; they are reloaded when a file changes.
	Rules []string `yaml:"rules"`
	// Disable names rules that do not run.
	Disable []string `yaml:"disable"`
	// Workers evaluate batches side by side.
	Workers int `yaml:"workers"`
}

// RespondConfig says which playbooks plan containment.
type RespondConfig struct {
	// Mode is dry-run: plans are made by reading AWS, nothing is changed.
	Mode string `yaml:"mode"`
	// Builtin includes the playbooks that riposte ships.
	Builtin bool `yaml:"builtin"`
	// Playbooks are folders of more playbooks.
	Playbooks []string `yaml:"playbooks"`
	// Window joins findings with the same cause into one incident (event time).
	Window time.Duration `yaml:"window"`
	// Workers handle findings side by side.
	Workers int `yaml:"workers"`
	// AWS is how the accounts are reached.
	AWS aws.Config `yaml:"aws"`
	// Webhooks are where notify.webhook sends, by name.
	Webhooks map[string]notify.Config `yaml:"webhooks"`
}

// ConsoleConfig is the web console.
type ConsoleConfig struct {
	// Listen is the address; it must be loopback.
	Listen string `yaml:"listen"`
}

// allRoles in the order in which data passes through them.
var allRoles = []string{"ingest", "detect", "respond", "console"}

//go:embed config.example.yaml
var configExample []byte

// defaultConfig is what `riposte run` does without a file.
func defaultConfig() Config {
	return Config{
		DataDir: "riposte-data",
		Roles:   slices.Clone(allRoles),
		Bus:     bus.DefaultConfig(),
		Detect:  DetectConfig{Builtin: true, Workers: runtime.GOMAXPROCS(0)},
		Respond: RespondConfig{Mode: respond.DryRun, Builtin: true, Window: time.Hour, Workers: 4},
		Console: ConsoleConfig{Listen: "127.0.0.1:8180"},

		Inventory: inventory.DefaultConfig(),
		Coverage:  CoverageConfig{Config: coverage.DefaultConfig()},

		Telemetry: telemetry.DefaultConfig(),
	}
}

// loadConfig reads file over the defaults; "" is the defaults alone. All that
// is wrong is in the error, with places.
func loadConfig(file string) (Config, error) {
	c := defaultConfig()
	if file == "" {
		return c, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	var list problem.List
	list.AddErr(file, yamlfile.Decode(file, data, &c))
	list.AddErr(file, c.validate(file))
	list.Sort()
	return c, list.Err()
}

// validate says all that is wrong at once.
func (c *Config) validate(file string) error {
	var list problem.List
	bad := func(format string, args ...any) {
		list.Add(&problem.Problem{File: file, Message: fmt.Sprintf(format, args...)})
	}
	if c.DataDir == "" {
		bad("data_dir is empty: name a folder for streams and state")
	}
	for _, r := range c.Roles {
		if !slices.Contains(allRoles, r) {
			list.Add(&problem.Problem{File: file, Message: fmt.Sprintf("roles: unknown role %q", r), Hint: hintOr(r, allRoles)})
		}
	}
	if len(c.Roles) == 0 {
		bad("roles is empty: want some of %s", strings.Join(allRoles, ", "))
	}
	if c.Respond.Mode != respond.DryRun {
		bad("respond.mode %q: this version plans and shows containment but does not carry it out; want %s", c.Respond.Mode, respond.DryRun)
	}
	if c.Respond.Window <= 0 {
		bad("respond.window %s: want a positive duration such as 1h", c.Respond.Window)
	}
	if c.Detect.Workers < 1 || c.Respond.Workers < 1 {
		bad("detect.workers and respond.workers: want 1 or more")
	}
	if err := loopback(c.Console.Listen); err != nil {
		bad("console.listen: %v", err)
	}
	logs, err := c.mappings(file)
	list.AddErr(file, err)
	if err != nil {
		logs = nil
	}
	for i := range c.Sources {
		s := &c.Sources[i]
		for _, err := range s.problems(logs) {
			list.Add(&problem.Problem{File: file, Line: s.Line, Col: s.Col, Message: fmt.Sprintf("sources[%d]%v", i, err)})
		}
	}
	for _, dir := range slices.Concat(c.Detect.Rules, c.Respond.Playbooks) {
		if info, err := os.Stat(dir); err != nil {
			bad("folder %s: %v", dir, errors.Unwrap(err))
		} else if !info.IsDir() {
			bad("%s is not a folder", dir)
		}
	}
	for _, err := range []error{c.Bus.Validate(), c.Telemetry.Validate(), c.Inventory.Validate(), c.Respond.AWS.Validate(), c.Coverage.Validate()} {
		for _, e := range unjoin(err) {
			bad("%v", e)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Respond.Webhooks)) {
		if err := c.Respond.Webhooks[name].Validate(name); err != nil {
			bad("%v", err)
		}
	}
	if _, err := c.lists(); err != nil {
		bad("%v", err)
	}
	return list.Err()
}

// unjoin returns the errors that errors.Join put into one.
func unjoin(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func hintOr(word string, names []string) string {
	if s := problem.Suggest(word, names); s != "" {
		return s
	}
	return "want one of " + strings.Join(names, ", ")
}

// loopback refuses an address that other machines could reach.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q: want host:port such as 127.0.0.1:8180", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not a loopback address; put an authenticating proxy or an SSH tunnel in front of 127.0.0.1", addr)
	}
	return nil
}

// builtinLists exist in every configuration, empty unless configured, so that
// shipped rules may name them.
var builtinLists = []string{
	"own_accounts", "trusted_accounts", "trusted_networks", "approved_regions",
	"ci_identities", "break_glass", "log_buckets",
}

// lists builds the named lists, reading their files.
func (c *Config) lists() (*expr.StaticLists, error) {
	all := make(map[string][]string, len(builtinLists)+len(c.Lists))
	for _, name := range builtinLists {
		all[name] = nil
	}
	for name, l := range c.Lists {
		values := slices.Clone(l.Values)
		if l.File != "" {
			data, err := os.ReadFile(l.File)
			if err != nil {
				return nil, fmt.Errorf("lists.%s.file: %w", name, err)
			}
			for line := range strings.Lines(string(data)) {
				line, _, _ = strings.Cut(line, "#")
				if line = strings.TrimSpace(line); line != "" {
					values = append(values, line)
				}
			}
		}
		all[name] = values
	}
	return expr.NewLists(all)
}

// busDir is where the embedded server keeps its files.
func (c *Config) busDir() string { return filepath.Join(c.DataDir, "nats") }

func (c *Config) hasRole(role string) bool { return slices.Contains(c.Roles, role) }
