package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/archive"
	"riposte/ingest/cloudtrail/integrity"
	"riposte/ingest/cloudtrail/lookup"
	"riposte/ingest/kinesis"
	"riposte/ingest/receiver"
	"riposte/ingest/s3sqs"
	"riposte/internal/yamlfile"
)

// SourceConfig is one source; exactly one of its members is set. sourceTable has
// a row for each.
type SourceConfig struct {
	yamlfile.Place `yaml:"-"`
	// Files reads files and folders.
	Files *FilesConfig `yaml:"files"`
	// S3 reads the objects that an SQS queue tells of.
	S3 *s3sqs.Config `yaml:"s3"`
	// Backfill reads what is in a bucket already, and ends.
	Backfill *archive.Config `yaml:"backfill"`
	// Receiver takes what is posted over HTTPS.
	Receiver *receiver.Config `yaml:"receiver"`
	// Lookup asks CloudTrail for the events of accounts that have no trail.
	Lookup *lookup.Config `yaml:"lookup"`
	// Trail verifies CloudTrail's digests as they arrive.
	Trail *integrity.Config `yaml:"trail"`
	// Kinesis reads a data stream.
	Kinesis *kinesis.Config `yaml:"kinesis"`
}

// sourceTable names every source that a configuration may have.
var sourceTable = []sourceKind{
	kindOfSource("files", "{paths: [./incoming]}", func(s *SourceConfig) *FilesConfig { return s.Files }, (*pipeline).files).ends(),
	kindOfSource("s3", "{queue: URL}", func(s *SourceConfig) *s3sqs.Config { return s.S3 }, (*pipeline).s3),
	kindOfSource("backfill", "{from: s3://BUCKET/PREFIX}", func(s *SourceConfig) *archive.Config { return s.Backfill }, (*pipeline).backfill).ends(),
	kindOfSource("receiver", "{keys: [env:RIPOSTE_RECEIVER_KEY]}", func(s *SourceConfig) *receiver.Config { return s.Receiver }, (*pipeline).receiver),
	kindOfSource("lookup", `{accounts: ["111122223333"]}`, func(s *SourceConfig) *lookup.Config { return s.Lookup }, (*pipeline).lookup),
	kindOfSource("trail", "{address: s3://BUCKET/AWSLogs/}", func(s *SourceConfig) *integrity.Config { return s.Trail }, (*pipeline).trail),
	kindOfSource("kinesis", "{stream: ARN}", func(s *SourceConfig) *kinesis.Config { return s.Kinesis }, (*pipeline).kinesis),
}

// sourceKind is one row of the table.
type sourceKind struct {
	name string
	// example is what its configuration looks like at the least.
	example string
	// finite says that the source ends by itself when all is delivered: always, or
	// as its configuration's Ends says.
	finite func(*SourceConfig) bool
	// validate returns nil when the source is not this one.
	validate func(*SourceConfig) func() error
	open     func(context.Context, *pipeline, *SourceConfig) (ingest.Source, error)
	// mapped is the configuration's choice of a log; nil when the source has none.
	mapped func(*SourceConfig) mapped
}

// mapped is what a configuration with an ingest.Mapped in it is.
type mapped interface {
	Wanted() (log string, mapping **event.Mapping)
}

// ends marks a source that ends when all is delivered, so that --drain may wait for it.
func (k sourceKind) ends() sourceKind {
	k.finite = func(*SourceConfig) bool { return true }
	return k
}

// kindOfSource makes a row from how its member is picked and opened.
func kindOfSource[C any, P interface {
	*C
	Validate() error
}](name, example string, pick func(*SourceConfig) P, open func(*pipeline, context.Context, P) (ingest.Source, error)) sourceKind {
	return sourceKind{
		name: name, example: example,
		finite: func(s *SourceConfig) bool {
			c, ok := any(pick(s)).(interface{ Ends() bool })
			return ok && c.Ends()
		},
		validate: func(s *SourceConfig) func() error {
			if c := pick(s); c != nil {
				return c.Validate
			}
			return nil
		},
		open: func(ctx context.Context, p *pipeline, s *SourceConfig) (ingest.Source, error) {
			return open(p, ctx, pick(s))
		},
		mapped: func(s *SourceConfig) mapped {
			m, _ := any(pick(s)).(mapped)
			return m
		},
	}
}

// kinds are the rows of the members that are set: one, in a good configuration.
func (s *SourceConfig) kinds() []sourceKind {
	return slices.DeleteFunc(slices.Clone(sourceTable), func(k sourceKind) bool { return k.validate(s) == nil })
}

// problems are all that is wrong with a source, to be read after its name.
func (s *SourceConfig) problems(logs map[string]*event.Mapping) []error {
	kinds := s.kinds()
	if len(kinds) == 0 {
		var forms []string
		for _, k := range sourceTable {
			forms = append(forms, k.name+": "+k.example)
		}
		return []error{errors.New(" says nothing: want one of " + strings.Join(forms, ", "))}
	}
	if len(kinds) > 1 {
		var names []string
		for _, k := range kinds {
			names = append(names, k.name)
		}
		return []error{fmt.Errorf(" is %s: want one source an entry", strings.Join(names, " and "))}
	}
	var errs []error
	for _, err := range unjoin(kinds[0].validate(s)()) {
		errs = append(errs, fmt.Errorf(".%w", err))
	}
	if err := kinds[0].choose(s, logs); err != nil {
		errs = append(errs, fmt.Errorf(".%s.log: %w", kinds[0].name, err))
	}
	return errs
}

// choose gives a source the mapping of the log that it names; with no logs, which
// could not be read, it says nothing.
func (k sourceKind) choose(s *SourceConfig, logs map[string]*event.Mapping) error {
	m := k.mapped(s)
	if m == nil || logs == nil {
		return nil
	}
	log, mapping := m.Wanted()
	var err error
	*mapping, err = mappingOf(log, logs)
	return err
}

// endless names the first source that never ends, "" when all do.
func endless(sources []SourceConfig) string {
	for i := range sources {
		for _, k := range sources[i].kinds() {
			if !k.finite(&sources[i]) {
				return k.name
			}
		}
	}
	return ""
}

// open makes the sources of a valid configuration.
func (p *pipeline) open(ctx context.Context, sources []SourceConfig) error {
	logs, err := p.cfg.mappings("")
	if err != nil {
		return err
	}
	for i := range sources {
		for _, k := range sources[i].kinds() {
			if err := k.choose(&sources[i], logs); err != nil {
				return fmt.Errorf("sources[%d].%s.log: %w", i, k.name, err)
			}
			source, err := k.open(ctx, p, &sources[i])
			if err != nil {
				return fmt.Errorf("sources[%d].%s: %w", i, k.name, err)
			}
			p.sources = append(p.sources, source)
			name := k.name
			if n, ok := source.(interface{ Name() string }); ok {
				name += " " + n.Name()
			}
			p.sourceNames = append(p.sourceNames, name)
		}
	}
	return nil
}

// FilesConfig reads telemetry from files and folders.
type FilesConfig struct {
	// Paths are files and folders; - is standard input.
	Paths []string `yaml:"paths"`
	// Follow keeps looking for new files.
	Follow bool `yaml:"follow"`
	// Poll is how often a followed folder is looked at.
	Poll time.Duration `yaml:"poll"`
	// FlowFormat names the columns of flow logs that have no header: the format
	// string of the flow log, or v2, v3, v4, v5, v7, v8, v9, v10 or tgw for all
	// fields up to that version. Without it they are guessed, with a warning.
	FlowFormat    string `yaml:"flow_format"`
	ingest.Mapped `yaml:",inline"`
}

// Validate says all that is wrong at once.
func (c *FilesConfig) Validate() error {
	var errs []error
	if len(c.Paths) == 0 {
		errs = append(errs, errors.New("files.paths is empty"))
	}
	if _, err := flowFormat(c.FlowFormat); err != nil {
		errs = append(errs, fmt.Errorf("files.flow_format: %w", err))
	}
	return errors.Join(errs...)
}

// flowFormat reads a flow_format; nil when there is none.
func flowFormat(s string) (*event.FlowFormat, error) {
	if s == "" {
		return nil, nil
	}
	return event.NamedFlowFormat(s)
}

func (p *pipeline) files(_ context.Context, c *FilesConfig) (ingest.Source, error) {
	format, err := flowFormat(c.FlowFormat)
	if err != nil {
		return nil, err
	}
	return &ingest.FileSource{
		Files: ingest.Files{Paths: c.Paths, Stdin: p.stdin, FlowFormat: format, Log: c.Mapping}, Follow: c.Follow, Poll: c.Poll,
		Cursors: fileCursors{p.state.cursors},
		Notice:  func(path string, err error) { p.log.Warn("file not read to its end", "source", path, "err", err) },
	}, nil
}

func (p *pipeline) receiver(_ context.Context, c *receiver.Config) (ingest.Source, error) {
	return receiver.New(*c, p.log)
}

func (p *pipeline) lookup(ctx context.Context, c *lookup.Config) (ingest.Source, error) {
	if p.lookups == nil {
		p.lookups = lookup.NewLimits()
	}
	return lookup.New(ctx, *c, p.lookups, fileCursors{p.state.cursors}, p.log)
}
