package event

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// ScanFlow reads one line. The event aliases it. A line with more or fewer
// columns than the format is a *SyntaxError. It allocates nothing once the event
// has had a line of as many columns.
func (e *Event) ScanFlow(f *FlowFormat, line []byte) error {
	e.resetFlow(f, line)
	if e.splitFast(line) {
		return nil
	}
	return e.split(line)
}

// resetFlow empties an event for reuse but for its index: a flow log record has
// none, and emptying it costs more than reading the line.
func (e *Event) resetFlow(f *FlowFormat, line []byte) {
	e.Kind, e.Raw, e.Format = FlowLog, line, f
	e.Ingested, e.Delivered, e.Origin, e.Mapping = time.Time{}, time.Time{}, Origin{}, nil
	if cap(e.cells) < len(f.names) {
		e.cells = make([]span, len(f.names))
	}
	e.cells, e.cache = e.cells[:len(f.names)], e.cache[:0]
}

// splitFast finds the columns of a line as AWS writes it, with one space between
// two of them, eight bytes at a time. Of any other line it says false.
func (e *Event) splitFast(line []byte) bool {
	cells, n, start := e.cells, 0, 0
	for i := 0; i < len(line); i += 8 {
		var x uint64
		if i+8 <= len(line) {
			x = binary.LittleEndian.Uint64(line[i:])
		} else {
			x = tail(line[i:])
		}
		// The high bit of each byte below: not a printing character of ASCII.
		low := x &^ highs
		spaces := ^(low + (0x80-0x21)*ones | x) & highs
		if (low+ones|x)&highs != 0 { // 0x7f and beyond
			return false
		}
		for ; spaces != 0; spaces &= spaces - 1 {
			at := i + bits.TrailingZeros64(spaces)>>3
			if line[at] != ' ' || at == start || n >= len(cells) {
				return false
			}
			cells[n] = span{uint32(start), uint32(at)}
			n++
			start = at + 1
		}
	}
	if start >= len(line) || n != len(cells)-1 {
		return false
	}
	cells[n] = span{uint32(start), uint32(len(line))}
	return true
}

// tail is the last bytes of a line, filled up with printing ones.
func tail(b []byte) uint64 {
	x := uint64('x') * ones
	for i, c := range b {
		x = x&^(0xff<<(8*i)) | uint64(c)<<(8*i)
	}
	return x
}

// split finds the columns of any line, and says what is wrong with it.
func (e *Event) split(line []byte) error {
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
	want, n := len(e.Format.names), 0
	for i := 0; i < len(line); {
		if blank(line[i]) {
			i++
			continue
		}
		start := i
		for i < len(line) && !blank(line[i]) {
			if c := line[i]; c < 0x20 || c >= 0x7f {
				return &SyntaxError{Offset: i, Reason: fmt.Sprintf("byte %#02x in a flow log record", c)}
			}
			i++
		}
		if n < want {
			e.cells[n] = span{uint32(start), uint32(i)}
		}
		n++
	}
	if n != want {
		return &SyntaxError{Offset: len(line), Reason: fmt.Sprintf("%d columns where the format has %d", n, want)}
	}
	return nil
}

// cell is a column as it was written, nil when the format does not have it.
func (e *Event) cell(f Field) []byte {
	if e.Format == nil || f >= numFlowFields || e.Format.column[f] == 0 {
		return nil
	}
	s := e.cells[e.Format.column[f]-1]
	return e.Raw[s.start:s.end]
}

// noCell reports whether a column has no value: AWS writes "-".
func noCell(b []byte) bool { return len(b) == 0 || len(b) == 1 && b[0] == '-' }

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

func (e *Event) flowTree() map[string]any {
	out := make(map[string]any, len(e.Format.names))
	for i, name := range e.Format.names {
		text := string(e.Raw[e.cells[i].start:e.cells[i].end])
		if text == "-" {
			continue
		}
		key := strings.ReplaceAll(name, "-", "_")
		if f, hot := flowField(name); hot && flowNumbers[f] && isWhole(text) {
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

// FlowStatus is what a flow log record says of itself.
type FlowStatus uint8

// The values of log-status; FlowOK is also what a record without one is.
const (
	FlowOK      FlowStatus = iota
	FlowNoData             // nothing was sent or received in the interval
	FlowSkipped            // AWS lost records of the interval
)

// String returns OK, NODATA or SKIPDATA.
func (s FlowStatus) String() string { return [...]string{"OK", "NODATA", "SKIPDATA"}[s] }

// FlowStatus reads log-status.
func (e *Event) FlowStatus() FlowStatus {
	switch string(e.cell(FlowLogStatus)) {
	case "NODATA":
		return FlowNoData
	case "SKIPDATA":
		return FlowSkipped
	}
	return FlowOK
}

// flowID names a record by what AWS aggregates by: the interface or the
// attachment, the connection, its direction and the interval. So the record that
// the logs of a VPC and of its subnet both have is one. Where the format leaves
// some of that out, the whole line is its name.
func (e *Event) flowID() string {
	if e.Format == nil || e.Format.whole {
		return "flow-" + Hash(e.Format.String(), string(e.Raw))
	}
	parts := []string{e.Text(FlowAccountID), e.Text(FlowInterfaceID), e.Text(FlowSrcAddr), e.Text(FlowDstAddr), e.Text(FlowSrcPort), e.Text(FlowDstPort),
		e.Text(FlowProtocol), e.Text(FlowStart), e.Text(FlowEnd), e.Text(FlowAction), e.Text(FlowDirection), e.Text(FlowPktSrcAddr), e.Text(FlowPktDstAddr), e.Text(FlowLogStatus)}
	if e.Has(FlowTGWID) || e.Has(FlowTGWAttachmentID) || e.Has(FlowResourceID) {
		parts = append(parts, e.Text(FlowResourceType), e.Text(FlowResourceID), e.Text(FlowTGWID), e.Text(FlowTGWAttachmentID), e.Text(FlowTGWPairAttachmentID),
			e.Text(FlowTGWSrcENI), e.Text(FlowTGWDstENI))
	}
	return "flow-" + Hash(parts...)
}

// flowTime is the end of the record's interval, or its start.
func (e *Event) flowTime() time.Time {
	for _, f := range []Field{FlowEnd, FlowStart} {
		if n, ok := e.Int(f); ok {
			return time.Unix(n, 0).UTC()
		}
	}
	return time.Time{}
}

// flowAccount is the account-id column; AWS writes "unknown" for interfaces that a
// service made. Then, and where the format has no such column, it is that of the
// object's name.
func (e *Event) flowAccount() string {
	if a := e.Text(FlowAccountID); a != "" && a != "unknown" {
		return a
	}
	account, _ := flowPlace(e.Origin.Object)
	return account
}

// flowRegion is the region column or, as the default format has none, that of the
// object's name.
func (e *Event) flowRegion() string {
	if r := e.Text(FlowRegion); r != "" {
		return r
	}
	_, region := flowPlace(e.Origin.Object)
	return region
}

// flowPlace reads the account and the region from the key of a flow log file,
// plain or Hive-compatible:
//
//	AWSLogs/ACCOUNT/vpcflowlogs/REGION/2026/01/02/ACCOUNT_vpcflowlogs_REGION_fl-ID_20260102T0000Z_HASH.log.gz
//	AWSLogs/aws-account-id=ACCOUNT/aws-service=vpcflowlogs/aws-region=REGION/year=2026/...
func flowPlace(object string) (account, region string) {
	name := object[strings.LastIndexByte(object, '/')+1:]
	if parts := strings.SplitN(name, "_", 4); len(parts) == 4 && parts[1] == "vpcflowlogs" {
		return placeWords(parts[0], parts[2])
	}
	folders := strings.Split(object, "/")
	for i := 1; i+1 < len(folders); i++ {
		if folders[i] == "vpcflowlogs" {
			return placeWords(folders[i-1], folders[i+1])
		}
		if folders[i] == "aws-service=vpcflowlogs" {
			return placeWords(strings.TrimPrefix(folders[i-1], "aws-account-id="), strings.TrimPrefix(folders[i+1], "aws-region="))
		}
	}
	return "", ""
}

// placeWords lets through what has the form of an account and a region: whoever
// names an object would like to name them too.
func placeWords(account, region string) (string, string) {
	digit := func(c rune) bool { return c >= '0' && c <= '9' }
	if len(account) != 12 || strings.ContainsFunc(account, func(c rune) bool { return !digit(c) }) {
		account = ""
	}
	if len(region) > 32 || strings.Count(region, "-") < 2 || strings.ContainsFunc(region, func(c rune) bool { return c != '-' && !digit(c) && (c < 'a' || c > 'z') }) {
		region = ""
	}
	return account, region
}

// flowEntities are the interfaces, instance, task, gateway and addresses of a record.
func (e *Event) flowEntities(add func(kind, id string)) {
	region, account := e.Region(), e.Account()
	arn := func(kind, owner, id string) string {
		if id == "" || region == "" || owner == "" {
			return id
		}
		return fmt.Sprintf("arn:%s:ec2:%s:%s:%s/%s", Partition(region), region, owner, kind, id)
	}
	add("network-interface", arn("network-interface", account, e.Text(FlowInterfaceID)))
	add("instance", arn("instance", account, e.Text(FlowInstanceID)))
	add("ecs-task", e.Text(FlowECSTaskARN))
	add("transit-gateway", arn("transit-gateway", account, e.Text(FlowTGWID)))
	add("transit-gateway-attachment", arn("transit-gateway-attachment", account, e.Text(FlowTGWAttachmentID)))
	add("network-interface", arn("network-interface", e.Text(FlowTGWSrcVPCAccountID), e.Text(FlowTGWSrcENI)))
	add("network-interface", arn("network-interface", e.Text(FlowTGWDstVPCAccountID), e.Text(FlowTGWDstENI)))
	for _, f := range []Field{FlowSrcAddr, FlowDstAddr, FlowPktSrcAddr, FlowPktDstAddr} {
		add("address", e.Text(f))
	}
}
