package expr

import (
	"slices"
	"testing"

	"riposte/event"
	"riposte/internal/yamlfile"
)

// TestPart: which fields a part of a condition reads, and what it says.
func TestPart(t *testing.T) {
	env, err := NewEventEnv(event.FlowLog, Options{Lists: testLists(t)})
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	if err := e.ScanFlow(event.DefaultFlowFormat(), []byte("2 111122223333 eni-0a 10.0.0.1 198.51.100.7 49152 443 6 20 4249 1418530010 1418530070 ACCEPT OK")); err != nil {
		t.Fatal(err)
	}
	for when, c := range map[string]struct {
		reads   []string
		verdict Verdict
	}{
		`flow.dstport == 443`:                                                  {[]string{"dstport"}, Always},
		`flow.dstport == 22 && flow.packets > 3`:                               {[]string{"dstport"}, Never},
		`flow.dstport == 443 && flow.packets > 3`:                              {[]string{"dstport"}, Open},
		`flow.packets > 3`:                                                     {nil, Open},
		`flow.packets > flow.dstport`:                                          {nil, Open},
		`(flow.dstport == 22 || flow.packets > 3) && is_private(flow.srcaddr)`: {[]string{"srcaddr"}, Open},
		`in_list("nets", flow.dstaddr) && in_cidr(flow.srcaddr, "10.0.0.0/8")`: {[]string{"dstaddr", "srcaddr"}, Always},
		`has(flow.action) && !has(flow.vpc_id)`:                                {[]string{"action", "vpc-id"}, Always},
		`[1, 443].exists(p, p == flow.dstport)`:                                {[]string{"dstport"}, Always},
		`event.account == "1" && flow.dstport == 443`:                          {[]string{"dstport"}, Open},
		`"x" in flow.extra && flow.dstport == 443`:                             {[]string{"dstport"}, Open},
		`event.time > timestamp("2026-01-01T00:00:00Z")`:                       {nil, Open},
		`resource("AWS::EC2::NetworkInterface", flow.interface_id).known`:      {nil, Open},
		`flow.dstport == 443 && 1 / (flow.protocol - 6) == 1`:                  {[]string{"dstport", "protocol"}, Open},
		`flow.dstport == 22 && 1 / (flow.protocol - 6) == 1`:                   {[]string{"dstport", "protocol"}, Never},
		`true`: {nil, Open},
		`flow.action == "ACCEPT" && (flow.bytes > 1 && flow.srcaddr.startsWith("10.")) && flow.log_status == "OK"`: {[]string{"action", "log-status", "srcaddr"}, Open},
	} {
		p, problems := env.Compile(yamlfile.Text{Value: when}, Bool)
		if problems.Err() != nil {
			t.Errorf("%s: %v", when, problems.Err())
			continue
		}
		part, err := p.Part(func(f event.Field) bool { return f != event.FlowPackets && f != event.FlowBytes })
		if err != nil {
			t.Fatal(err)
		}
		if part == nil {
			if c.reads != nil {
				t.Errorf("%s: no part", when)
			}
			continue
		}
		var reads []string
		for _, f := range part.Reads() {
			reads = append(reads, event.FlowFieldName(f))
		}
		slices.Sort(reads)
		in := env.NewInput()
		in.SetEvent(&e)
		if v := part.Verdict(in); v != c.verdict || !slices.Equal(reads, c.reads) {
			t.Errorf("%s: reads %v and says %d, want %v and %d", when, reads, v, c.reads, c.verdict)
		}
	}
}
