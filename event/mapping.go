package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Mapping says where the records of a log keep what every event has. It is
// immutable and shared by all records of the log.
type Mapping struct {
	spec  MappingSpec
	text  string
	level *level
	timed bool // the records say when they happened
}

// MappingSpec is a mapping as people write it: each field but Log is the path of
// a member, its names joined by dots; a dot inside a name is written \. . Paths
// with bars between are alternatives: the first that a record has counts. An
// empty path is a field that the records do not have. Where the value is a list,
// its first element counts.
type MappingSpec struct {
	// Log names the log: lower-case words joined by dots and dashes. Rules name it.
	Log string `yaml:"log" json:"log"`
	// Time is when it happened: RFC 3339 and its relatives, or seconds, milli-,
	// micro- or nanoseconds since 1970.
	Time string `yaml:"time" json:"time,omitempty"`
	// ID is the record's own id. Without it, a hash of the record is.
	ID string `yaml:"id" json:"id,omitempty"`
	// Revision tells the versions of a record with the same id apart, such as
	// the time of its last update.
	Revision string `yaml:"revision" json:"revision,omitempty"`
	// Kind is what sort of thing happened: an action, a signature, an API call.
	Kind string `yaml:"kind" json:"kind,omitempty"`
	// Account is where it happened: an AWS account, an organization, a tenant.
	Account string `yaml:"account" json:"account,omitempty"`
	Region  string `yaml:"region" json:"region,omitempty"`
	// Actor is who did it, Principal its unique id, AccessKey the AWS access key it used.
	Actor     string `yaml:"actor" json:"actor,omitempty"`
	Principal string `yaml:"principal" json:"principal,omitempty"`
	AccessKey string `yaml:"access_key" json:"access_key,omitempty"`
	// IP is the address it came from.
	IP        string `yaml:"ip" json:"ip,omitempty"`
	UserAgent string `yaml:"user_agent" json:"user_agent,omitempty"`
	// Target is what it was done to.
	Target string `yaml:"target" json:"target,omitempty"`
	// Severity is how serious the log says it is, as it is written there.
	Severity string `yaml:"severity" json:"severity,omitempty"`
	// Outcome is how it ended.
	Outcome string `yaml:"outcome" json:"outcome,omitempty"`
}

// paths are the fields with their names as people write them.
func (s *MappingSpec) paths() []mappedPath {
	return []mappedPath{
		{name: "time", path: s.Time, field: EntryTime}, {name: "id", path: s.ID, field: EntryID}, {name: "revision", path: s.Revision, field: EntryRevision}, {name: "kind", path: s.Kind, field: EntryKind},
		{name: "account", path: s.Account, field: EntryAccount}, {name: "region", path: s.Region, field: EntryRegion}, {name: "actor", path: s.Actor, field: EntryActor},
		{name: "principal", path: s.Principal, field: EntryPrincipal}, {name: "access_key", path: s.AccessKey, field: EntryAccessKey}, {name: "ip", path: s.IP, field: EntryIP},
		{name: "user_agent", path: s.UserAgent, field: EntryUserAgent}, {name: "target", path: s.Target, field: EntryTarget}, {name: "severity", path: s.Severity, field: EntrySeverity},
		{name: "outcome", path: s.Outcome, field: EntryOutcome},
	}
}

type mappedPath struct {
	name, path string
	field      Field
	rank       uint8 // from 1, when the path has alternatives
}

// MappingFields are the names of the fields that a mapping may have.
func MappingFields() []string {
	var out []string
	for _, p := range (&MappingSpec{}).paths() {
		out = append(out, p.name)
	}
	return out
}

var logForm = regexp.MustCompile(`^[a-z0-9]+(?:[.-][a-z0-9]+)*$`)

// Bounds of a path, which a batch carries with its records.
const (
	maxPath         = 500
	maxNames        = 10
	maxAlternatives = 10
)

// NewMapping checks a specification; the error says all that is wrong with it.
func NewMapping(s MappingSpec) (*Mapping, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !logForm.MatchString(s.Log) || len(s.Log) > 100 {
		bad("log %q: want lower-case words joined by dots and dashes, such as github-audit", s.Log)
	}
	root := &mappedLevel{}
	mapped := 0
	for _, p := range s.paths() {
		if p.path == "" {
			continue
		}
		mapped++
		alternatives := strings.Split(p.path, "|")
		if len(alternatives) > maxAlternatives {
			bad("%s has more than %d alternatives", p.name, maxAlternatives)
			continue
		}
		for i, path := range alternatives {
			if len(alternatives) > 1 {
				p.rank = uint8(i + 1)
			}
			path = strings.TrimSpace(path)
			names, err := splitPath(path)
			if err == nil {
				err = root.add(names, p)
			}
			if err != nil {
				bad("%s %q: %w", p.name, path, err)
			}
		}
	}
	if mapped == 0 {
		bad("it maps nothing: want at least time")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return &Mapping{spec: s, text: string(text), level: root.build(), timed: s.Time != ""}, nil
}

// ParseMapping reads what String returned.
func ParseMapping(text string) (*Mapping, error) {
	var s MappingSpec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("not a mapping: %w", err)
	}
	return NewMapping(s)
}

// Log is the name of the log.
func (m *Mapping) Log() string { return m.spec.Log }

// Spec is what the mapping was made of.
func (m *Mapping) Spec() MappingSpec { return m.spec }

// Timed reports whether the records say when they happened.
func (m *Mapping) Timed() bool { return m.timed }

// String returns what ParseMapping reads; "" of none.
func (m *Mapping) String() string {
	if m == nil {
		return ""
	}
	return m.text
}

// splitPath reads names joined by dots; \. is a dot inside a name.
func splitPath(path string) ([]string, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("longer than %d bytes", maxPath)
	}
	const dot = "\x00"
	names := strings.Split(strings.ReplaceAll(path, `\.`, dot), ".")
	for i, n := range names {
		if names[i] = strings.ReplaceAll(n, dot, "."); n == "" {
			return nil, errors.New("has a name that is empty; write \\. for a dot inside a name")
		}
	}
	if len(names) > maxNames {
		return nil, fmt.Errorf("has more than %d names", maxNames)
	}
	return names, nil
}

// mappedLevel is a level while its mapping is read.
type mappedLevel struct {
	members []*mappedMember
}

type mappedMember struct {
	name  string
	path  *mappedPath // nil on the way to others
	below mappedLevel
}

func (l *mappedLevel) add(names []string, p mappedPath) error {
	i := slices.IndexFunc(l.members, func(m *mappedMember) bool { return m.name == names[0] })
	if i < 0 {
		i = len(l.members)
		l.members = append(l.members, &mappedMember{name: names[0]})
	}
	m := l.members[i]
	if len(names) > 1 {
		return m.below.add(names[1:], p)
	}
	if m.path != nil {
		return fmt.Errorf("is what %s is already", m.path.name)
	}
	m.path = &p
	return nil
}

func (l *mappedLevel) build() *level {
	if len(l.members) == 0 {
		return nil
	}
	var out []*member
	for _, m := range l.members {
		n := nested(m.name, noField, m.below.build())
		if m.path != nil {
			n.field, n.rank = m.path.field, m.path.rank
		}
		out = append(out, n)
	}
	return newLevel(out...)
}

// ScanLog reads one JSON record of a log, as Scan does.
func (e *Event) ScanLog(m *Mapping, buf []byte) (int, error) {
	n, err := e.scan(Log, m.level, buf)
	e.Mapping = m
	return n, err
}

// DecodeLog reads one JSON record of a log, all of raw but white space around it.
func DecodeLog(m *Mapping, raw []byte) (Event, error) {
	var e Event
	n, err := e.ScanLog(m, raw)
	if err = whole(n, raw, err); err != nil {
		return Event{}, err
	}
	return e, nil
}

// firstElements narrows the fields that are lists to their first elements.
func (e *Event) firstElements() {
	for f := range numEntryFields {
		sp := e.index.spans[f]
		if sp.end == 0 || e.Raw[sp.start] != '[' {
			continue
		}
		s := scanner{buf: e.Raw[:sp.end], pos: int(sp.start) + 1}
		e.index.spans[f], e.index.flags[f] = span{}, 0
		c, err := s.next()
		if err != nil || c == ']' || c == '{' || c == '[' {
			continue
		}
		start := s.pos
		if s.value(nil, 1) != nil {
			continue // the list was scanned already
		}
		e.index.spans[f] = span{uint32(start), uint32(s.pos)}
		if c == '"' {
			e.index.flags[f] = flagString
			if s.escaped {
				e.index.flags[f] |= flagEscaped
			}
		} else if c == 'n' {
			e.index.flags[f] = flagNull
		}
	}
}
