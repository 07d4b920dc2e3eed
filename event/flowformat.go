package event

import (
	"fmt"
	"slices"
	"strings"
)

// FlowFormat names the columns of flow log records. It is immutable and shared
// by all records of a file.
type FlowFormat struct {
	names  []string
	column [numFlowFields]uint16 // 1 + the column of each hot field; 0 is absent
	extra  map[string]int        // columns that are not hot fields
	// whole says that the columns do not tell one record from another, so that
	// only the whole line does.
	whole bool
}

// flowNames are the hot fields by their names in the user guides.
var flowNames = [numFlowFields]string{
	FlowVersion: "version", FlowAccountID: "account-id", FlowInterfaceID: "interface-id", FlowSrcAddr: "srcaddr", FlowDstAddr: "dstaddr",
	FlowSrcPort: "srcport", FlowDstPort: "dstport", FlowProtocol: "protocol", FlowPackets: "packets", FlowBytes: "bytes", FlowStart: "start",
	FlowEnd: "end", FlowAction: "action", FlowLogStatus: "log-status", FlowVPCID: "vpc-id", FlowSubnetID: "subnet-id",
	FlowInstanceID: "instance-id", FlowTCPFlags: "tcp-flags", FlowType: "type", FlowPktSrcAddr: "pkt-srcaddr", FlowPktDstAddr: "pkt-dstaddr",
	FlowRegion: "region", FlowAZID: "az-id", FlowSublocationType: "sublocation-type", FlowSublocationID: "sublocation-id",
	FlowPktSrcAWSService: "pkt-src-aws-service", FlowPktDstAWSService: "pkt-dst-aws-service", FlowDirection: "flow-direction",
	FlowTrafficPath: "traffic-path",

	FlowResourceType: "resource-type", FlowTGWID: "tgw-id", FlowTGWAttachmentID: "tgw-attachment-id",
	FlowTGWSrcVPCAccountID: "tgw-src-vpc-account-id", FlowTGWDstVPCAccountID: "tgw-dst-vpc-account-id", FlowTGWSrcVPCID: "tgw-src-vpc-id",
	FlowTGWDstVPCID: "tgw-dst-vpc-id", FlowTGWSrcSubnetID: "tgw-src-subnet-id", FlowTGWDstSubnetID: "tgw-dst-subnet-id",
	FlowTGWSrcENI: "tgw-src-eni", FlowTGWDstENI: "tgw-dst-eni", FlowTGWSrcAZID: "tgw-src-az-id", FlowTGWDstAZID: "tgw-dst-az-id",
	FlowTGWPairAttachmentID: "tgw-pair-attachment-id", FlowPacketsLostNoRoute: "packets-lost-no-route",
	FlowPacketsLostBlackhole: "packets-lost-blackhole", FlowPacketsLostMTUExceeded: "packets-lost-mtu-exceeded",
	FlowPacketsLostTTLExpired: "packets-lost-ttl-expired",

	FlowECSClusterARN: "ecs-cluster-arn", FlowECSClusterName: "ecs-cluster-name", FlowECSContainerInstanceARN: "ecs-container-instance-arn",
	FlowECSContainerInstanceID: "ecs-container-instance-id", FlowECSContainerID: "ecs-container-id",
	FlowECSSecondContainerID: "ecs-second-container-id", FlowECSServiceName: "ecs-service-name",
	FlowECSTaskDefinitionARN: "ecs-task-definition-arn", FlowECSTaskARN: "ecs-task-arn", FlowECSTaskID: "ecs-task-id",

	FlowRejectReason: "reject-reason", FlowResourceID: "resource-id", FlowEncryptionStatus: "encryption-status",
}

// flowNumbers are the fields that hold whole numbers.
var flowNumbers = [numFlowFields]bool{
	FlowVersion: true, FlowSrcPort: true, FlowDstPort: true, FlowProtocol: true, FlowPackets: true, FlowBytes: true, FlowStart: true, FlowEnd: true,
	FlowTCPFlags: true, FlowTrafficPath: true, FlowEncryptionStatus: true, FlowPacketsLostNoRoute: true, FlowPacketsLostBlackhole: true,
	FlowPacketsLostMTUExceeded: true, FlowPacketsLostTTLExpired: true,
}

// FlowFieldName returns a hot field's name as AWS writes it, with dashes; "" when
// f is none.
func FlowFieldName(f Field) string {
	if f >= numFlowFields {
		return ""
	}
	return flowNames[f]
}

// FlowNumber reports whether a hot field holds a whole number.
func FlowNumber(f Field) bool { return f < numFlowFields && flowNumbers[f] }

// IsFlowField reports whether a column of that name, with dashes or underscores, is
// a hot field.
func IsFlowField(name string) bool {
	_, ok := flowField(strings.ReplaceAll(strings.ToLower(name), "_", "-"))
	return ok
}

// flowField finds a hot field by its name with dashes.
func flowField(name string) (Field, bool) {
	i := slices.Index(flowNames[:], name)
	return Field(max(i, 0)), i >= 0
}

// maxFlowColumns bounds a format; all fields of v2 to v11 are under eighty.
const maxFlowColumns = 100

// The formats that have a name in AWS's own tools: version 2, which a flow log has
// unless another is asked for; all fields up to version 3, 4 and 5 in the order in
// which the console offers them; and Transit Gateway's only one.
const (
	flowFieldsV2 = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
	flowFieldsV3 = flowFieldsV2 + " vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr"
	flowFieldsV4 = flowFieldsV3 + " region az-id sublocation-type sublocation-id"
	flowFieldsV5 = flowFieldsV4 + " pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path"
	flowFieldsV7 = flowFieldsV5 + " ecs-cluster-arn ecs-cluster-name ecs-container-instance-arn ecs-container-instance-id ecs-container-id" +
		" ecs-second-container-id ecs-service-name ecs-task-definition-arn ecs-task-arn ecs-task-id"
	flowFieldsV10 = flowFieldsV7 + " reject-reason resource-id encryption-status"

	flowFieldsTGW = "version resource-type account-id tgw-id tgw-attachment-id tgw-src-vpc-account-id tgw-dst-vpc-account-id tgw-src-vpc-id" +
		" tgw-dst-vpc-id tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni tgw-src-az-id tgw-dst-az-id tgw-pair-attachment-id" +
		" srcaddr dstaddr srcport dstport protocol packets bytes start end log-status type packets-lost-no-route packets-lost-blackhole" +
		" packets-lost-mtu-exceeded packets-lost-ttl-expired tcp-flags region flow-direction pkt-src-aws-service pkt-dst-aws-service"
)

// DefaultFlowFormat is version 2, the format of a flow log that was made without one.
func DefaultFlowFormat() *FlowFormat { return mustFlowFormat(flowFieldsV2) }

func mustFlowFormat(fields string) *FlowFormat {
	f, err := ParseFlowFormat(fields)
	if err != nil {
		panic(err) // the constants above
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
		field, hot := flowField(name)
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
	f.whole = !f.identifies()
	return f, nil
}

// identifies reports whether the columns tell records apart: where and between
// whom, and when.
func (f *FlowFormat) identifies() bool {
	where := f.Has(FlowInterfaceID) || f.Has(FlowTGWAttachmentID) || f.Has(FlowResourceID)
	between := f.Has(FlowSrcAddr) && f.Has(FlowDstAddr) || f.Has(FlowPktSrcAddr) && f.Has(FlowPktDstAddr)
	return where && between && f.Has(FlowSrcPort) && f.Has(FlowDstPort) && f.Has(FlowProtocol) && f.Has(FlowStart) && f.Has(FlowEnd)
}

// Has reports whether a column holds the field.
func (f *FlowFormat) Has(field Field) bool { return field < numFlowFields && f.column[field] != 0 }

// String returns the column names joined by spaces: what ParseFlowFormat reads.
func (f *FlowFormat) String() string { return strings.Join(f.names, " ") }

// Len is how many columns there are.
func (f *FlowFormat) Len() int { return len(f.names) }

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
