package event

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func flowLine(t testing.TB, f *FlowFormat, line string) *Event {
	t.Helper()
	var e Event
	if err := e.ScanFlow(f, []byte(line)); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return &e
}

const tgwLine = "6 TransitGateway 123456789012 tgw-0f00000000000000a tgw-attach-0f00000000000000b 111122223333 444455556666 vpc-0a vpc-0b subnet-0a subnet-0b " +
	"eni-0a eni-0b use1-az1 use1-az2 tgw-attach-0f00000000000000c 10.20.1.15 10.30.2.40 49152 443 6 40 12000 1772442840 1772442900 OK IPv4 0 7 0 0 2 us-east-1 ingress - S3"

func TestTransitGateway(t *testing.T) {
	f := KnownFlowFormat("tgw")
	e := flowLine(t, f, tgwLine)
	if len(f.Extras()) != 0 || f.Len() != 36 {
		t.Errorf("%d columns, extra: %v", f.Len(), f.Extras())
	}
	if e.Account() != "123456789012" || e.Region() != "us-east-1" || !e.Time().Equal(time.Unix(1772442900, 0)) || e.Has(FlowAction) || e.Has(FlowInterfaceID) {
		t.Errorf("account %s, region %s, time %s", e.Account(), e.Region(), e.Time())
	}
	if n, ok := e.Int(FlowPacketsLostBlackhole); n != 7 || !ok {
		t.Errorf("%d packets lost", n)
	}
	want := []Entity{
		{"transit-gateway", "arn:aws:ec2:us-east-1:123456789012:transit-gateway/tgw-0f00000000000000a"},
		{"transit-gateway-attachment", "arn:aws:ec2:us-east-1:123456789012:transit-gateway-attachment/tgw-attach-0f00000000000000b"},
		{"network-interface", "arn:aws:ec2:us-east-1:111122223333:network-interface/eni-0a"},
		{"network-interface", "arn:aws:ec2:us-east-1:444455556666:network-interface/eni-0b"},
		{"address", "10.20.1.15"}, {"address", "10.30.2.40"},
	}
	if diff := cmp.Diff(want, e.Entities()); diff != "" {
		t.Error(diff)
	}
}

// TestFlowID: records that differ in what AWS aggregates by have different ids,
// and the same record in logs of different formats has one.
func TestFlowID(t *testing.T) {
	ids := map[string]string{}
	note := func(f *FlowFormat, line string) string {
		id := flowLine(t, f, line).ID()
		if other, ok := ids[id]; ok && other != line {
			t.Errorf("one id for\n%s\n%s", other, line)
		}
		ids[id] = line
		return id
	}
	tgw := KnownFlowFormat("tgw")
	note(tgw, tgwLine)
	changes := []string{"0000a tgw", "0001a tgw", "TransitGateway ", "TransitGatewayAttachment ", "0000b", "0001b", "0000c", "0001c", "10.20.1.15", "10.20.1.16",
		"10.30.2.40", "10.30.2.41", "49152", "49153", "443 6", "443 17", "1772442840", "1772442841", "1772442900", "1772442901", "ingress", "egress",
		"eni-0a", "eni-0c", "eni-0b", "eni-0d", "OK", "SKIPDATA"}
	for i := 0; i < len(changes); i += 2 {
		if other := strings.Replace(tgwLine, changes[i], changes[i+1], 1); other != tgwLine {
			note(tgw, other)
		}
	}
	if len(ids) != 15 {
		t.Errorf("%d ids", len(ids))
	}

	v2, v3 := DefaultFlowFormat(), KnownFlowFormat("v3")
	line := "2 123456789010 eni-1 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"
	first := note(v2, line)
	if id := flowLine(t, v3, line+" vpc-1 subnet-1 i-1 2 IPv4 - -").ID(); id != first {
		t.Error("the same record in another log has another id")
	}
	short, err := ParseFlowFormat("srcaddr dstaddr bytes")
	if err != nil {
		t.Fatal(err)
	}
	if note(short, "10.0.0.1 10.0.0.2 7") == note(short, "10.0.0.1 10.0.0.2 8") {
		t.Error("records that only their bytes tell apart have one id")
	}
}

func TestFlowPlace(t *testing.T) {
	line := "2 unknown eni-1 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"
	for object, want := range map[string]string{
		"AWSLogs/111122223333/vpcflowlogs/eu-west-1/2026/01/02/111122223333_vpcflowlogs_eu-west-1_fl-0a_20260102T0000Z_ab.log.gz": "111122223333 eu-west-1",
		"111122223333_vpcflowlogs_us-gov-west-1_fl-0a_20260102T0000Z_ab.log.parquet":                                              "111122223333 us-gov-west-1",
		"p/AWSLogs/111122223333/vpcflowlogs/eu-west-1/2026/01/02/x.log.gz":                                                        "111122223333 eu-west-1",
		"AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/x.log.gz":                     "111122223333 eu-west-1",
		"AWSLogs/11112222333x/vpcflowlogs/eu west-1/x":                                                                            " ",
		"vpcflowlogs": " ",
		"":            " ",
	} {
		e := flowLine(t, DefaultFlowFormat(), line)
		e.Origin.Object = object
		if got := e.Account() + " " + e.Region(); got != want {
			t.Errorf("%s: %q, want %q", object, got, want)
		}
	}
}

func TestGuessFlowFormat(t *testing.T) {
	v2 := "111122223333 eni-0a 10.0.0.1 10.0.0.2 1 2 6 1 1 1772442840 1772442900 ACCEPT OK"
	v3 := v2 + " vpc-0a subnet-0a i-0a 2 IPv4 10.0.0.1 fd00::1"
	v4 := v3 + " eu-west-1 euw1-az1 - -"
	v5 := v4 + " - S3 egress 8"
	v7 := v5 + strings.Repeat(" -", 10)
	for line, want := range map[string]string{
		"2 " + v2: "v2", "3 " + v3: "v3", "4 " + v4: "v4", "5 " + v5: "v5", "7 " + v7: "v7", "8 " + v7 + " BPA": "v8",
		"9 " + v7 + " - nat-1": "v9", "10 " + v7 + " - - 1": "v10", tgwLine: "tgw",
		"2 unknown eni-0a - - - - - - - 1772442840 1772442900 - NODATA": "v2",

		"3 " + v2: "", "2 " + v3: "", "2 " + v2 + " x": "", "hello": "", "": "",
		"2 111122223333 eni-0a 10.0.0.1 10.0.0.2 1 2 6 1 1 1772442840 1772442900 OK ACCEPT": "",
		"2 eni-0a 111122223333 10.0.0.1 10.0.0.2 1 2 6 1 1 1772442840 1772442900 ACCEPT OK": "",
		"2 111122223333 eni-0a 10.0.0.1 1 10.0.0.2 2 6 1 1 1772442840 1772442900 ACCEPT OK": "",
	} {
		f, name, err := GuessFlowFormat([]byte(line))
		if name != want || (err == nil) != (want != "") || (f == nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", line, name, err, want)
		}
		if want == "" && line != "" && line != "hello" && !MayBeFlow([]byte(line)) {
			t.Errorf("%q does not even look like a flow log", line)
		}
	}
	for _, line := range []string{"", "Jan 02 10:00:00 host sshd[1]: Accepted password for root from 10.0.0.1 port 22 ssh2", "a b c", "1 2 3 4"} {
		if MayBeFlow([]byte(line)) {
			t.Errorf("%q looks like a flow log", line)
		}
	}
}

func TestNamedFlowFormat(t *testing.T) {
	for in, want := range map[string]string{
		"v2": flowFieldsV2, " tgw ": flowFieldsTGW, "${srcaddr} ${pkt_dstaddr} ${new-thing}": "srcaddr pkt-dstaddr new-thing", "v99": "", "": "",
	} {
		f, err := NamedFlowFormat(in)
		if (err == nil) != (want != "") || err == nil && f.String() != want {
			t.Errorf("%q: %v, %v", in, f, err)
		}
	}
}

// TestFlowNames: every hot field has a name of its own, and the known formats hold
// them all.
func TestFlowNames(t *testing.T) {
	all := map[string]bool{}
	for f := range numFlowFields {
		name := FlowFieldName(f)
		if name == "" || all[name] {
			t.Errorf("field %d is named %q", f, name)
		}
		all[name] = true
		if !KnownFlowFormat("v10").Has(f) && !KnownFlowFormat("tgw").Has(f) {
			t.Errorf("no known format has %s", name)
		}
	}
	if FlowFieldName(numFlowFields) != "" || FlowFieldName(255) != "" {
		t.Error("a field that is none has a name")
	}
}

// TestScanFlowForgets: an event that is used again keeps nothing of what it was,
// whatever fields an event may get.
func TestScanFlowForgets(t *testing.T) {
	f := DefaultFlowFormat()
	line := []byte("2 123456789010 eni-1 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK")
	var fresh Event
	if err := fresh.ScanFlow(f, line); err != nil {
		t.Fatal(err)
	}
	used, err := Decode(CloudTrail, []byte(`{"eventName":"x","requestParameters":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	used.Value(RequestParameters)
	v := reflect.ValueOf(&used).Elem()
	for i := range v.NumField() {
		if field := v.Field(i); field.CanSet() && field.Type() == reflect.TypeFor[time.Time]() {
			field.Set(reflect.ValueOf(time.Unix(1, 0)))
		}
	}
	used.Origin = Origin{Source: "x", Line: 1}
	if err := used.ScanFlow(f, line); err != nil {
		t.Fatal(err)
	}
	used.index = index{}
	used.cache, fresh.cache = nil, nil
	if got, want := fmt.Sprintf("%+v", used), fmt.Sprintf("%+v", fresh); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// FuzzGuessFlowFormat: a format that is guessed fits the line and its version.
func FuzzGuessFlowFormat(f *testing.F) {
	f.Add([]byte("2 111122223333 eni-0a 10.0.0.1 10.0.0.2 1 2 6 1 1 1772442840 1772442900 ACCEPT OK"))
	f.Add([]byte(tgwLine))
	f.Add([]byte("2 unknown eni-0a - - - - - - - 1772442840 1772442900 - NODATA"))
	f.Fuzz(func(t *testing.T, line []byte) {
		MayBeFlow(line)
		format, name, err := GuessFlowFormat(line)
		if err != nil {
			return
		}
		if KnownFlowFormat(name) != format {
			t.Fatalf("%q is not the format", name)
		}
		var e Event
		if err := e.ScanFlow(format, line); err != nil {
			if strings.ContainsFunc(string(line), func(r rune) bool { return r < ' ' || r >= 0x7f }) {
				return // strings.Fields splits at more than blanks, and names may hold anything
			}
			t.Fatal(err)
		}
		if e.Time().IsZero() && e.Has(FlowEnd) && len(e.Text(FlowEnd)) < 12 {
			t.Fatalf("no time in %q", line)
		}
	})
}
