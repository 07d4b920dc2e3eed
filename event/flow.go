package event

import (
	"encoding/json"
	"fmt"
	"strings"
)

// FlowFormat names the columns of flow log records. It is immutable and shared
// by all records of a file.
type FlowFormat struct {
	names  []string
	column [maxFields]uint16 // 1 + the column of each hot field; 0 is absent
	extra  map[string]int    // columns that are not hot fields
}

// flowNames are the hot fields by their names in the VPC user guide (v2 to v10).
var flowNames = map[string]Field{
	"version": FlowVersion, "account-id": FlowAccountID, "interface-id": FlowInterfaceID,
	"srcaddr": FlowSrcAddr, "dstaddr": FlowDstAddr, "srcport": FlowSrcPort, "dstport": FlowDstPort,
	"protocol": FlowProtocol, "packets": FlowPackets, "bytes": FlowBytes, "start": FlowStart, "end": FlowEnd,
	"action": FlowAction, "log-status": FlowLogStatus, "vpc-id": FlowVPCID, "subnet-id": FlowSubnetID,
	"instance-id": FlowInstanceID, "tcp-flags": FlowTCPFlags, "type": FlowType, "pkt-srcaddr": FlowPktSrcAddr,
	"pkt-dstaddr": FlowPktDstAddr, "region": FlowRegion, "az-id": FlowAZID, "sublocation-type": FlowSublocationType,
	"sublocation-id": FlowSublocationID, "pkt-src-aws-service": FlowPktSrcAWSService, "pkt-dst-aws-service": FlowPktDstAWSService,
	"flow-direction": FlowDirection, "traffic-path": FlowTrafficPath, "reject-reason": FlowRejectReason,
	"resource-id": FlowResourceID, "encryption-status": FlowEncryptionStatus,
}

// FlowFieldName returns a hot field's name as AWS writes it, with dashes.
func FlowFieldName(f Field) string {
	for name, field := range flowNames {
		if field == f {
			return name
		}
	}
	return ""
}

// maxFlowColumns bounds a format; all fields of v2 to v11 are under sixty.
const maxFlowColumns = 100

// defaultFlowFields is the default format, the fields of version 2 in order.
const defaultFlowFields = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"

// DefaultFlowFormat is the format of records that come without a header.
func DefaultFlowFormat() *FlowFormat {
	f, err := ParseFlowFormat(defaultFlowFields)
	if err != nil {
		panic(err) // the constant above
	}
	return f
}

// ParseFlowFormat reads column names: a header line ("version account-id ...") or
// a format string as given when the flow log was made ("${version} ${account-id}
// ..."). Underscores count as dashes. Names that are not known are kept as extra
// columns; a format without one known name, or with a name twice, is an error.
func ParseFlowFormat(fields string) (*FlowFormat, error) {
	f := &FlowFormat{extra: map[string]int{}}
	known := 0
	for i, name := range strings.Fields(fields) {
		if i >= maxFlowColumns {
			return nil, fmt.Errorf("flow log format has more than %d columns", maxFlowColumns)
		}
		name = strings.TrimSuffix(strings.TrimPrefix(name, "${"), "}")
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if name == "" || strings.ContainsAny(name, "${}") {
			return nil, fmt.Errorf("%q is no column of a flow log", name)
		}
		f.names = append(f.names, name)
		field, hot := flowNames[name]
		_, again := f.extra[name]
		if again || hot && f.column[field] != 0 {
			return nil, fmt.Errorf("flow log format names %q twice", name)
		}
		if !hot {
			f.extra[name] = i
			continue
		}
		f.column[field] = uint16(i + 1)
		known++
	}
	if known == 0 {
		return nil, fmt.Errorf("no flow log field in %.80q", fields)
	}
	return f, nil
}

// String returns the column names joined by spaces: what ParseFlowFormat reads.
func (f *FlowFormat) String() string { return strings.Join(f.names, " ") }

// ScanFlow reads one line. The event aliases it. A line with more or fewer
// columns than the format is a *SyntaxError.
func (e *Event) ScanFlow(f *FlowFormat, line []byte) error {
	e.reset()
	e.Kind, e.Format, e.Raw = FlowLog, f, line
	n := 0
	for i := 0; i < len(line); {
		if line[i] == ' ' || line[i] == '\t' || line[i] == '\r' {
			i++
			continue
		}
		start := i
		for i < len(line) && line[i] != ' ' && line[i] != '\t' && line[i] != '\r' {
			if c := line[i]; c < 0x20 || c >= 0x7f {
				return &SyntaxError{Offset: i, Reason: fmt.Sprintf("byte %#02x in a flow log record", c)}
			}
			i++
		}
		if n++; n <= len(f.names) {
			e.cells = append(e.cells, span{uint32(start), uint32(i)})
		}
	}
	if n != len(f.names) {
		return &SyntaxError{Offset: len(line), Reason: fmt.Sprintf("%d columns where the format has %d", n, len(f.names))}
	}
	return nil
}

// Extra returns a flow log column that is not a hot field, by its name with dashes or underscores.
func (e *Event) Extra(name string) (string, bool) {
	if e.Format == nil {
		return "", false
	}
	i, ok := e.Format.extra[strings.ReplaceAll(name, "_", "-")]
	if !ok {
		return "", false
	}
	c := e.cells[i]
	return alias(e.Raw[c.start:c.end]), true
}

// Extras lists the names of the columns that are not hot fields.
func (f *FlowFormat) Extras() []string {
	var out []string
	for _, n := range f.names {
		if _, ok := f.extra[n]; ok {
			out = append(out, n)
		}
	}
	return out
}

// flowNumbers are the columns that hold whole numbers.
var flowNumbers = map[string]bool{
	"version": true, "srcport": true, "dstport": true, "protocol": true, "packets": true, "bytes": true,
	"start": true, "end": true, "tcp-flags": true, "traffic-path": true, "encryption-status": true,
}

func (e *Event) flowTree() map[string]any {
	out := make(map[string]any, len(e.Format.names))
	for i, name := range e.Format.names {
		text := string(e.Raw[e.cells[i].start:e.cells[i].end])
		if text == "-" {
			continue
		}
		key := strings.ReplaceAll(name, "-", "_")
		if flowNumbers[name] && isWhole(text) {
			out[key] = json.Number(text)
		} else {
			out[key] = text
		}
	}
	return out
}

func isWhole(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != "" && (s == "0" || s[0] != '0')
}
