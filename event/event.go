package event

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind tells which schema a record follows.
type Kind uint8

// The kinds of record.
const (
	// CloudTrail is one CloudTrail record, a JSON object.
	CloudTrail Kind = iota + 1
	// FlowLog is one VPC flow log record, a line of text whose columns a FlowFormat names.
	FlowLog
	// ConfigItem is one AWS Config configuration item, a JSON object: bare, or
	// inside its change notification together with the difference.
	ConfigItem
	// Insight is a CloudTrail Insights event: an unusual rate of calls or errors.
	Insight
	// GuardDuty is a GuardDuty finding.
	GuardDuty
	// SecurityHub is a Security Hub finding, in ASFF or OCSF.
	SecurityHub
	// Compliance is a change of what a Config rule says of a resource.
	Compliance
	// Log is a record of another log, of which a Mapping says where its fields are.
	Log
)

var kindNames = [...]string{
	CloudTrail: "cloudtrail", FlowLog: "flow", ConfigItem: "config",
	Insight: "insight", GuardDuty: "guardduty", SecurityHub: "securityhub", Compliance: "compliance", Log: "log",
}

// Kinds are all kinds, in their order.
func Kinds() []Kind {
	var out []Kind
	for k := range kindNames {
		if k > 0 {
			out = append(out, Kind(k))
		}
	}
	return out
}

// KindNames are their names.
func KindNames() []string { return slices.Clone(kindNames[1:]) }

// String returns the kind's name, such as "cloudtrail" or "flow".
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind reads a kind's name; the error lists the names.
func ParseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if k > 0 && name == s {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("unknown kind %q: want one of %s", s, strings.Join(kindNames[1:], ", "))
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the kind's name.
func (k *Kind) UnmarshalText(b []byte) error {
	v, err := ParseKind(string(b))
	if err != nil {
		return err
	}
	*k = v
	return nil
}

// Origin is where a record was read, for people and for dead letters.
type Origin struct {
	// Source names the source ("files", "stdin", "s3").
	Source string `json:"source,omitempty"`
	// Object is the file path, object key or stream.
	Object string `json:"object,omitempty"`
	// Offset is the byte offset of the record in the uncompressed object.
	Offset int64 `json:"offset,omitempty"`
	// Line is the 1-based line, for line-oriented objects; 0 otherwise.
	Line int64 `json:"line,omitempty"`
}

// String renders "object:line" or "object@offset".
func (o Origin) String() string {
	switch {
	case o.Object == "":
		return o.Source
	case o.Line > 0:
		return fmt.Sprintf("%s:%d", o.Object, o.Line)
	}
	return fmt.Sprintf("%s@%d", o.Object, o.Offset)
}

// Event is one record as its source wrote it, with an index of its hot fields.
// Its methods are not safe for concurrent use: they cache what they parse.
type Event struct {
	Kind Kind
	// Raw is the record's bytes. It may alias a decode buffer; see Clone.
	Raw []byte
	// Format names the columns of a FlowLog record; nil for other kinds.
	Format *FlowFormat
	// Mapping says where a Log record keeps its fields; nil for other kinds.
	Mapping *Mapping
	// Delivered is when AWS handed the record over (UTC): when its object was
	// written, its message sent. The zero time where nothing says it.
	Delivered time.Time
	// Ingested is when riposte first read the record (UTC).
	Ingested time.Time
	Origin   Origin

	index index
	cells []span   // the columns of a FlowLog line
	cache []cached // values parsed so far
}

// cached is a free-form field that was parsed.
type cached struct {
	field Field
	value any
}
