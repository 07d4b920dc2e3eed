// Package rulegen makes rule files in any number, for measuring what rules cost
// and for proving that the index changes nothing. They are shaped like rules that
// people write: most name an event and its source, some look into the request,
// one in twenty is generic and looks at every event's text, a few are about flow
// logs and Config items. Each carries a test that fires and one that nearly does,
// and on other traffic they rarely match.
//
// Rule number i depends on the seed and on i alone: the first hundred of five
// thousand are the hundred.
package rulegen

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/fstest"

	"riposte/internal/expr"
)

// Rules returns n rule files as a file system.
func Rules(n int, seed uint64) fs.FS {
	out := fstest.MapFS{}
	for name, data := range Files(n, seed) {
		out[name] = &fstest.MapFile{Data: data}
	}
	return out
}

// Files returns n rule files by their slash-separated names.
func Files(n int, seed uint64) map[string][]byte {
	out := make(map[string][]byte, n)
	for i := range n {
		g := generator{Rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		r := g.rule()
		id := fmt.Sprintf("generated.%s-%05d", r.shape, i)
		out[fmt.Sprintf("%s/%05d.yaml", r.shape, i)] = r.file(id)
	}
	return out
}

// rule is a generated rule: a condition, an event for which it holds, and what
// to change in the event so that it does not.
type rule struct {
	shape  string // keyed, nested, generic, flow, config
	source string
	when   string
	event  map[string]any
	miss   map[string]any // members that replace those of event
}

func (r rule) file(id string) []byte {
	near := maps.Clone(r.event)
	maps.Copy(near, r.miss)
	var b strings.Builder
	fmt.Fprintf(&b, "id: %s\ntitle: Generated rule %s\nseverity: low\nsource: %s\n", id, id, r.source)
	fmt.Fprintf(&b, "description: >-\n  A rule of the shape that people write, made to be counted and not to be read.\n")
	fmt.Fprintf(&b, "when: |\n  %s\n", strings.ReplaceAll(r.when, "\n", "\n  "))
	b.WriteString("attack: [T1562.001]\ntags: [generated]\nreferences: [https://attack.mitre.org/techniques/T1562/001/]\n")
	b.WriteString("false_positives: [None that matter.]\nresponse: None.\n")
	fmt.Fprintf(&b, "tests:\n  - {name: fires, fires: true, event: %s}\n  - {name: nearly fires, fires: false, event: %s}\n", object(r.event), object(near))
	return []byte(b.String())
}

// object is JSON, which is YAML in its flow style.
func object(m map[string]any) string {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // maps and scalars of our own
	}
	return string(b)
}

type generator struct{ *rand.Rand }

// pair is an event name and its source.
type pair struct{ source, name string }

var known = sync.OnceValue(expr.Names)

// pairs are all that the catalogue knows, sorted.
var pairs = sync.OnceValue(func() []pair {
	names := known()
	var out []pair
	for _, source := range slices.Sorted(maps.Keys(names)) {
		for _, name := range names[source] {
			out = append(out, pair{source, name})
		}
	}
	return out
})

func (g generator) rule() rule {
	switch k := g.IntN(100); {
	case k < 5:
		return g.generic()
	case k < 10:
		return g.flow()
	case k < 15:
		return g.config()
	case k < 45:
		return g.nested()
	}
	return g.keyed()
}

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

// token is a word that no traffic holds.
func (g generator) token() string {
	const letters = "bcdfghjklmnpqrstvwxz"
	b := make([]byte, 7)
	for i := range b {
		b[i] = letters[g.IntN(len(letters))]
	}
	return string(b)
}

func (g generator) account() string {
	return fmt.Sprintf("%012d", 100_000_000_000+g.Int64N(800_000_000_000))
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// call is an ordinary record of a pair.
func (g generator) call(p pair) map[string]any {
	account := g.account()
	return map[string]any{
		"eventVersion": "1.11", "eventSource": p.source, "eventName": p.name, "eventID": fmt.Sprintf("%016x", g.Uint64()),
		"eventTime": "2026-03-02T09:14:05Z", "awsRegion": "eu-west-1", "recipientAccountId": account,
		"sourceIPAddress": "198.51.100.24", "userAgent": "aws-cli/2.15.30 Python/3.11.8",
		"userIdentity": map[string]any{"type": "IAMUser", "arn": "arn:aws:iam::" + account + ":user/kim", "accountId": account, "userName": "kim"},
	}
}

func (g generator) pair() pair { return pairs()[g.IntN(len(pairs()))] }

// keyed names an event and its source, or a few events, and a typed field beside.
func (g generator) keyed() rule {
	p := g.pair()
	r := rule{shape: "keyed", source: "cloudtrail", event: g.call(p)}
	key := fmt.Sprintf("eventSource == %s && eventName == %s", quote(p.source), quote(p.name))
	if g.IntN(3) == 0 { // several events of the service
		all := known()[p.source]
		names := []string{quote(p.name)}
		for range g.IntN(4) {
			names = append(names, quote(all[g.IntN(len(all))]))
		}
		key = fmt.Sprintf("eventSource == %s && eventName in [%s]", quote(p.source), strings.Join(names, ", "))
	}
	switch g.IntN(5) {
	case 0:
		r.when = key + ` && errorCode == ""`
		r.miss = map[string]any{"errorCode": "AccessDenied"}
	case 1:
		r.event["userIdentity"] = map[string]any{"type": "Root", "arn": "arn:aws:iam::111122223333:root", "accountId": "111122223333"}
		r.when = key + ` && userIdentity.type == "Root" && userIdentity.invokedBy == ""`
		r.miss = map[string]any{"userIdentity": map[string]any{"type": "AssumedRole"}}
	case 2:
		code := g.pick("AccessDenied", "Client.UnauthorizedOperation", "ThrottlingException")
		r.event["errorCode"] = code
		r.when = key + " && errorCode in [" + quote(code) + `, "AccessDeniedException"]`
		r.miss = map[string]any{"errorCode": nil}
	case 3:
		region := g.pick("ap-southeast-3", "me-central-1", "af-south-1", "il-central-1")
		r.event["awsRegion"] = region
		r.when = key + " && awsRegion == " + quote(region)
		r.miss = map[string]any{"awsRegion": "eu-west-1"}
	default:
		r.when = key + ` && is_public(sourceIPAddress) && !in_cidr(sourceIPAddress, ["192.0.2.0/24", "203.0.113.0/24"])`
		r.miss = map[string]any{"sourceIPAddress": "203.0.113.7"}
	}
	return r
}

// nested names an event and looks into its request or answer.
func (g generator) nested() rule {
	p := g.pair()
	r := rule{shape: "nested", source: "cloudtrail", event: g.call(p)}
	key := fmt.Sprintf("eventSource == %s && eventName == %s && errorCode == \"\" &&\n", quote(p.source), quote(p.name))
	field, value := g.pick("policyArn", "roleName", "groupId", "name", "target"), g.token()
	switch g.IntN(4) {
	case 0:
		r.event["requestParameters"] = map[string]any{field: value}
		r.when = key + fmt.Sprintf("requestParameters.?%s.orValue(\"\") == %s", field, quote(value))
	case 1:
		r.event["requestParameters"] = map[string]any{"settings": map[string]any{field: "prod-" + value}}
		r.when = key + fmt.Sprintf("path(requestParameters, %s, \"\").endsWith(%s)", quote("settings."+field), quote(value))
	case 2:
		r.event["requestParameters"] = map[string]any{"items": []any{map[string]any{"cidrIp": "0.0.0.0/0", field: value}}}
		r.when = key + fmt.Sprintf("path(requestParameters, \"items\", []).exists(x, path(x, \"cidrIp\", \"\") == \"0.0.0.0/0\" && path(x, %s, \"\") == %s)", quote(field), quote(value))
	default:
		r.event["requestParameters"] = map[string]any{"policyDocument": `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"` + value + `"}]}`}
		r.when = key + `policy(path(requestParameters, "policyDocument", "")).public`
	}
	r.miss = map[string]any{"requestParameters": map[string]any{"other": value}}
	return r
}

// generic looks at the text of every event, whatever its name.
func (g generator) generic() rule {
	r := rule{shape: "generic", source: "cloudtrail", event: g.call(g.pair())}
	word := g.token()
	switch g.IntN(5) {
	case 0:
		r.event["userAgent"] = "Mozilla/5.0 " + word + "/1.4"
		r.when = fmt.Sprintf("userAgent.matches(\"(?i)(%s|%s)/[0-9]\")", word, g.token())
		r.miss = map[string]any{"userAgent": "Mozilla/5.0 " + word}
	case 1:
		r.event["userAgent"] = "Boto3/1.34 " + strings.ToUpper(word)
		r.when = fmt.Sprintf("icontains(userAgent, %s) && errorCode == \"\"", quote(word))
		r.miss = map[string]any{"errorCode": "AccessDenied"}
	case 2:
		r.event["userAgent"] = "run " + word + " once"
		r.when = fmt.Sprintf("userAgent.contains(%s) && eventSource in [\"sts.amazonaws.com\", %s]", quote(word), quote(r.event["eventSource"].(string)))
		r.miss = map[string]any{"userAgent": "run once"}
	case 3:
		r.event["errorMessage"] = "denied by " + word
		r.when = fmt.Sprintf("errorMessage.contains(%s) || errorCode == %s", quote(word), quote("Client."+word))
		r.miss = map[string]any{"errorMessage": "denied"}
	default:
		r.event["userIdentity"] = map[string]any{"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/" + word}
		r.when = fmt.Sprintf("glob(userIdentity.arn, \"arn:aws:iam::*:user/%s*\")", word)
		r.miss = map[string]any{"userIdentity": map[string]any{"type": "IAMUser", "arn": "arn:aws:iam::111122223333:role/" + word}}
	}
	return r
}

// flow is about a port or an address.
func (g generator) flow() rule {
	port := 10_000 + g.IntN(50_000)
	r := rule{shape: "flow", source: "flow", event: map[string]any{
		"version": 2, "account_id": g.account(), "interface_id": "eni-0a1b2c3d", "srcaddr": "198.51.100.77", "dstaddr": "10.20.2.40",
		"srcport": 443, "dstport": port, "protocol": 6, "packets": 24, "bytes": 6400, "start": 1772442840, "end": 1772442900,
		"action": "ACCEPT", "log_status": "OK",
	}}
	switch g.IntN(3) {
	case 0:
		r.when = fmt.Sprintf("flow.dstport == %d && flow.protocol == 6 && flow.action == \"ACCEPT\" && is_public(flow.srcaddr)", port)
		r.miss = map[string]any{"srcaddr": "10.0.0.9"}
	case 1:
		r.when = fmt.Sprintf("flow.dstport in [%d, %d] && flow.bytes > flow.packets * 60", port, 10_000+g.IntN(50_000))
		r.miss = map[string]any{"bytes": 60}
	default:
		addr := fmt.Sprintf("203.0.113.%d", 1+g.IntN(250))
		r.event["srcaddr"] = addr
		r.when = fmt.Sprintf("flow.srcaddr == %s && flow.action == \"ACCEPT\" && flow.dstport > 1024", quote(addr))
		r.miss = map[string]any{"action": "REJECT"}
	}
	return r
}

var resourceTypes = []string{
	"AWS::S3::Bucket", "AWS::EC2::Instance", "AWS::EC2::SecurityGroup", "AWS::RDS::DBInstance", "AWS::IAM::Role", "AWS::KMS::Key",
	"AWS::Lambda::Function", "AWS::EKS::Cluster", "AWS::ECS::TaskDefinition", "AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::Redshift::Cluster",
}

// config is about one setting of a type of resource.
func (g generator) config() rule {
	kind, value := resourceTypes[g.IntN(len(resourceTypes))], g.token()
	r := rule{shape: "config", source: "config", event: map[string]any{
		"configurationItemVersion": "1.3", "configurationItemCaptureTime": "2026-03-02T09:14:05.123Z", "configurationItemStatus": "OK",
		"configurationStateId": "1772442845123", "awsAccountId": g.account(), "resourceType": kind, "resourceId": "r-" + value,
		"awsRegion": "eu-west-1", "configuration": map[string]any{"mode": value, "options": []any{value}},
	}}
	if g.IntN(2) == 0 {
		r.when = fmt.Sprintf("item.resourceType == %s && item.status != \"ResourceDeleted\" &&\npath(item.configuration, \"mode\", \"\") == %s", quote(kind), quote(value))
	} else {
		r.when = fmt.Sprintf("item.resourceType == %s && path(item.configuration, \"options\", []).exists(o, o == %s)", quote(kind), quote(value))
	}
	r.miss = map[string]any{"configuration": map[string]any{"mode": "ordinary"}}
	return r
}
