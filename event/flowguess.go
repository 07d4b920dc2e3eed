package event

import (
	"fmt"
	"net/netip"
	"strings"
)

// knownFlowFormats are the formats that AWS's own tools make, by the version that
// their records carry: all fields up to it, in the order in which the console
// offers them. Version 6 is Transit Gateway's.
var knownFlowFormats = [...]struct {
	name, version string
	format        *FlowFormat
}{
	{"v2", "2", DefaultFlowFormat()}, {"v3", "3", mustFlowFormat(flowFieldsV3)}, {"v4", "4", mustFlowFormat(flowFieldsV4)},
	{"v5", "5", mustFlowFormat(flowFieldsV5)}, {"tgw", "6", mustFlowFormat(flowFieldsTGW)}, {"v7", "7", mustFlowFormat(flowFieldsV7)},
	{"v8", "8", mustFlowFormat(flowFieldsV7 + " reject-reason")}, {"v9", "9", mustFlowFormat(flowFieldsV7 + " reject-reason resource-id")},
	{"v10", "10", mustFlowFormat(flowFieldsV10)},
}

// KnownFlowFormat returns the format with all fields up to a version, in the
// console's order, by its name: v2 (the default format), v3, v4, v5, v7, v8, v9,
// v10, or tgw for Transit Gateway's; nil for another name.
func KnownFlowFormat(name string) *FlowFormat {
	for i := range knownFlowFormats {
		if knownFlowFormats[i].name == name {
			return knownFlowFormats[i].format
		}
	}
	return nil
}

// NamedFlowFormat reads what a configuration says of a format: the name of a known
// one, or the fields as ParseFlowFormat takes them.
func NamedFlowFormat(s string) (*FlowFormat, error) {
	if f := KnownFlowFormat(strings.TrimSpace(s)); f != nil {
		return f, nil
	}
	f, err := ParseFlowFormat(s)
	if err != nil {
		return nil, fmt.Errorf("%w: want v2, v3, v4, v5, v7, v8, v9, v10, tgw, or the format string of the flow log, such as ${version} ${account-id} ${interface-id}", err)
	}
	return f, nil
}

// GuessFlowFormat finds the known format of a line without a header: the one with
// as many columns whose values, the version foremost, all have the form that the
// column has. name is the format's. The error says why there is none.
//
// A format of one's own may have the columns of a known one in another order that
// no value betrays (srcaddr and dstaddr changed about): that a format was guessed
// is to be said aloud.
func GuessFlowFormat(line []byte) (f *FlowFormat, name string, err error) {
	words := strings.Fields(string(line[:min(len(line), 16<<10)]))
	for _, k := range knownFlowFormats {
		if k.format.Len() != len(words) {
			continue
		}
		if words[0] != k.version {
			return nil, "", fmt.Errorf("%d columns as the format %s has, but its version column says %.20q", len(words), k.name, words[0])
		}
		for i, w := range words {
			if field, _ := flowField(k.format.names[i]); !fitsFlowField(field, w) {
				return nil, "", fmt.Errorf("%d columns as the format %s has, but %.60q is no %s", len(words), k.name, w, k.format.names[i])
			}
		}
		return k.format, k.name, nil
	}
	return nil, "", fmt.Errorf("%d columns, which no known format has", len(words))
}

// MayBeFlow reports whether a line without a header looks like a flow log record
// of some format: a few words, among them what only such records have together.
func MayBeFlow(line []byte) bool {
	words := strings.Fields(string(line[:min(len(line), 16<<10)]))
	signs := 0
	for _, w := range words {
		_, err := netip.ParseAddr(w)
		switch {
		case err == nil, strings.HasPrefix(w, "eni-"), strings.HasPrefix(w, "tgw-"), w == "ACCEPT", w == "REJECT", w == "OK", w == "NODATA", w == "SKIPDATA",
			len(w) == 10 && isWhole(w), len(w) == 12 && isWhole(w):
			signs++
		}
	}
	return len(words) >= 3 && signs >= 3 && len(words) <= maxFlowColumns
}

// fitsFlowField reports whether a value has the form of the field's.
func fitsFlowField(f Field, w string) bool {
	if w == "-" {
		return f != FlowVersion && f != FlowLogStatus
	}
	switch f {
	case FlowSrcAddr, FlowDstAddr, FlowPktSrcAddr, FlowPktDstAddr:
		_, err := netip.ParseAddr(w)
		return err == nil
	case FlowAccountID, FlowTGWSrcVPCAccountID, FlowTGWDstVPCAccountID:
		return w == "unknown" || digits(w)
	case FlowAction:
		return w == "ACCEPT" || w == "REJECT"
	case FlowLogStatus:
		return w == "OK" || w == "NODATA" || w == "SKIPDATA"
	case FlowDirection:
		return w == "ingress" || w == "egress"
	case FlowType:
		return w == "IPv4" || w == "IPv6" || w == "EFA"
	case FlowResourceType:
		return strings.HasPrefix(w, "TransitGateway")
	case FlowRegion:
		return strings.Count(w, "-") >= 2
	}
	if flowNumbers[f] {
		return digits(w)
	}
	if p := flowPrefixes[f]; p != "" {
		return strings.HasPrefix(w, p)
	}
	return true
}

// flowPrefixes are how the ids in some columns begin.
var flowPrefixes = [numFlowFields]string{
	FlowInterfaceID: "eni-", FlowVPCID: "vpc-", FlowSubnetID: "subnet-", FlowInstanceID: "i-", FlowTGWID: "tgw-", FlowTGWAttachmentID: "tgw-attach-",
	FlowTGWSrcVPCID: "vpc-", FlowTGWDstVPCID: "vpc-", FlowTGWSrcSubnetID: "subnet-", FlowTGWDstSubnetID: "subnet-", FlowTGWSrcENI: "eni-",
	FlowTGWDstENI: "eni-", FlowTGWPairAttachmentID: "tgw-attach-", FlowECSClusterARN: "arn:", FlowECSContainerInstanceARN: "arn:",
	FlowECSTaskDefinitionARN: "arn:", FlowECSTaskARN: "arn:",
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
