package traffic

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"riposte/event"
)

// Flows generates the flow log records of a network on an ordinary day: machines
// in three subnets that serve HTTPS behind a load balancer, call each other, a
// database and the Internet, are scanned from there, and sometimes are silent.
// The same seed gives the same records. Nothing in them is an attack.
type Flows struct {
	random *rand.Rand
	names  []string
	// conns are connections that go on: each makes a record an interval.
	conns []conn
}

// conn is one side of a connection, as one interface sees it.
type conn struct {
	eni, subnet, instance, az string
	src, dst, far             string // far is the address beyond a NAT gateway, "" without one
	srcport, dstport          int
	protocol                  int
	action, direction         string
	flags                     int
}

// NewFlows makes a generator of records in a format.
func NewFlows(seed uint64, format *event.FlowFormat) *Flows {
	g := &Flows{random: rand.New(rand.NewPCG(seed, 0x666c6f77)), names: strings.Fields(format.String())}
	for range 4096 {
		g.conns = append(g.conns, g.conn())
	}
	return g
}

func (g *Flows) pick(n int) int { return g.random.IntN(n) }

func (g *Flows) conn() conn {
	host := g.pick(400)
	c := conn{
		eni: fmt.Sprintf("eni-0a1b2c3d4e5f6%04x", host), subnet: fmt.Sprintf("subnet-0f00000000000000%d", host%3), az: fmt.Sprintf("use1-az%d", host%3+1),
		instance: fmt.Sprintf("i-0123456789abc%04x", host), protocol: 6, action: "ACCEPT", direction: "egress",
	}
	self := fmt.Sprintf("10.20.%d.%d", host%3, host%250+4)
	inside := fmt.Sprintf("10.20.%d.%d", g.pick(3), g.pick(250)+4)
	outside := fmt.Sprintf("%d.%d.%d.%d", 3+g.pick(50), g.pick(256), g.pick(256), 1+g.pick(254))
	ephemeral := 32768 + g.pick(28000)
	out := func(to string, port int) { c.src, c.dst, c.srcport, c.dstport = self, to, ephemeral, port }
	in := func(from string, port int) {
		c.src, c.dst, c.srcport, c.dstport, c.direction = from, self, ephemeral, port, "ingress"
	}
	switch n := g.pick(100); {
	case n < 30: // HTTPS to the Internet, through the NAT gateway
		out("10.20.0.5", 443)
		c.far = outside
	case n < 55: // HTTPS from the load balancer
		in(inside, 8443)
	case n < 70: // its answers
		c.src, c.dst, c.srcport, c.dstport = self, inside, 8443, ephemeral
	case n < 82: // the database
		out(inside, 5432)
	case n < 86: // a jump host
		in(inside, 22)
	case n < 90: // names
		out("10.20.0.10", 53)
		c.protocol = 17
	default: // the Internet knocks
		in(outside, []int{22, 23, 445, 3389, 8080, 5060}[g.pick(6)])
		c.action = "REJECT"
	}
	c.flags = []int{2, 3, 18, 19, 0}[g.pick(5)]
	return c
}

// Append appends one record without a line end; its interval ends at the minute of at.
func (g *Flows) Append(dst []byte, at time.Time) []byte {
	if g.pick(20) == 0 { // connections end and others begin
		g.conns[g.pick(len(g.conns))] = g.conn()
	}
	c := &g.conns[g.pick(len(g.conns))]
	silent := g.pick(50) == 0
	end := at.Truncate(time.Minute).Unix()
	packets := 1 + g.pick(40)
	if g.pick(10) == 0 {
		packets *= 100
	}
	for i, name := range g.names {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = g.appendField(dst, name, c, silent, end, packets)
	}
	return dst
}

func (g *Flows) appendField(dst []byte, name string, c *conn, silent bool, end int64, packets int) []byte {
	number := func(n int64) []byte { return strconv.AppendInt(dst, n, 10) }
	text := func(s string) []byte { return append(dst, s...) }
	switch name {
	case "version":
		return number(2)
	case "account-id":
		return text("111122223333")
	case "interface-id":
		return text(c.eni)
	case "vpc-id":
		return text("vpc-0a1b2c3d4e5f60718")
	case "subnet-id":
		return text(c.subnet)
	case "start":
		return number(end - 59)
	case "end":
		return number(end)
	case "log-status":
		if silent {
			return text("NODATA")
		}
		return text("OK")
	}
	if silent {
		return append(dst, '-')
	}
	switch name {
	case "srcaddr":
		return text(c.src)
	case "pkt-srcaddr":
		return text(c.src)
	case "dstaddr":
		return text(c.dst)
	case "pkt-dstaddr":
		if c.far != "" {
			return text(c.far)
		}
		return text(c.dst)
	case "srcport":
		return number(int64(c.srcport))
	case "dstport":
		return number(int64(c.dstport))
	case "protocol":
		return number(int64(c.protocol))
	case "packets":
		return number(int64(packets))
	case "bytes":
		return number(int64(packets) * (52 + int64(g.pick(1000))))
	case "action":
		return text(c.action)
	case "instance-id":
		return text(c.instance)
	case "tcp-flags":
		if c.protocol != 6 {
			return append(dst, '0')
		}
		return number(int64(c.flags))
	case "type":
		return text("IPv4")
	case "region":
		return text("us-east-1")
	case "az-id":
		return text(c.az)
	case "flow-direction":
		return text(c.direction)
	case "traffic-path":
		if c.direction == "egress" {
			return append(dst, '1')
		}
	}
	return append(dst, '-')
}

// FlowFile is the text of a flow log file: its header and n records.
func FlowFile(seed uint64, format *event.FlowFormat, n int) []byte {
	g := NewFlows(seed, format)
	out := append([]byte(format.String()), '\n')
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for i := range n {
		out = append(g.Append(out, start.Add(time.Duration(i)*10*time.Millisecond)), '\n')
	}
	return out
}
