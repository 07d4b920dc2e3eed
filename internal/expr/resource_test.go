package expr

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"riposte/event"
	"riposte/internal/yamlfile"
)

// ledger answers from a map and notes what it is asked.
type ledger struct {
	known  map[string]*event.Resource
	before *event.Resource
	err    error
	asked  []string
}

func (l *ledger) Resource(account, region, kind, id string, t time.Time) (*event.Resource, error) {
	l.asked = append(l.asked, fmt.Sprint(account, "/", region, "/", kind, "/", id, "@", t.Format(time.RFC3339)))
	return l.known[id], l.err
}

func (l *ledger) Before(*event.Event) (*event.Resource, error) { return l.before, l.err }

func TestResource(t *testing.T) {
	env, err := NewEventEnv(event.CloudTrail, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(event.CloudTrail, []byte(`{"eventName":"X","eventTime":"2026-03-02T09:00:00Z","awsRegion":"eu-west-1","recipientAccountId":"111122223333","requestParameters":{"groupId":"sg-1","bucketName":"b","vpcs":["vpc-1","vpc-2"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{known: map[string]*event.Resource{
		"sg-1":  {Type: "AWS::EC2::SecurityGroup", ID: "sg-1", ARN: "arn:x", Exists: true, Tags: map[string]any{"Environment": "Production"}, Configuration: map[string]any{"groupName": "web"}, Captured: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)},
		"vpc-2": {Type: "AWS::EC2::VPC", ID: "vpc-2"},
	}}
	const group = `resource("AWS::EC2::SecurityGroup", path(requestParameters, "groupId", ""))`
	for text, want := range map[string]bool{
		group + `.exists`: true,
		group + `.known && ` + group + `.name == ""`:                                  true,
		group + `.tag("ENVIRONMENT") == "Production"`:                                 true,
		group + `.tagged(["env", "environment"], ["prod", "production"])`:             true,
		group + `.tagged(["env"], ["production"])`:                                    false,
		group + `.tagged(["environment"], ["test"])`:                                  false,
		`path(` + group + `.configuration, "groupName", "") == "web"`:                 true,
		group + `.captureTime < event.time`:                                           true,
		`resource("arn:aws:s3:::" + path(requestParameters, "bucketName", "")).known`: false,
		`resource("").known`: false,
		`path(requestParameters, "vpcs", []).exists(v, resource("AWS::EC2::VPC", v).known)`:  true,
		`path(requestParameters, "vpcs", []).exists(v, resource("AWS::EC2::VPC", v).exists)`: false,
		`has(resource("sg-1").tags) && !has(resource("b").tags)`:                             true,
		`size(resource("nothing").relationships) == 0 && resource("nothing").tags == {}`:     true,
		group + ` == ` + group + ` && ` + group + ` != resource("AWS::EC2::VPC", "vpc-2")`:   true,
		`eventName == "Y" && resource("never asked").exists`:                                 false,
	} {
		p := compile(t, env, text, Bool)
		if !p.ReadsResources() {
			t.Errorf("%s does not count as asking", text)
		}
		in := p.NewInput()
		in.SetEvent(&e)
		in.SetResources(l)
		if got, err := p.Bool(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		in.SetResources(nil) // knows nothing, and is no error
		if _, err := p.Bool(in); err != nil {
			t.Errorf("%s without an inventory: %v", text, err)
		}
	}
	for _, asked := range l.asked {
		if !strings.HasPrefix(asked, "111122223333/eu-west-1/") || !strings.HasSuffix(asked, "@2026-03-02T09:00:00Z") || strings.Contains(asked, "never") {
			t.Errorf("asked %s", asked)
		}
	}
	p := compile(t, env, group+`.exists`, Bool)
	in := p.NewInput()
	in.SetEvent(&e)
	in.SetResources(l)
	if truth := fmt.Sprint(p.Explain(in)); !strings.Contains(truth, `resource("AWS::EC2::SecurityGroup"`) || len(p.Explain(in).Steps) != 1 || string(p.Explain(in).Steps[0].Value) != `"arn:x as of 2026-03-01T00:00:00Z"` {
		t.Errorf("explained as %s", truth)
	}
	// What cannot be read is no verdict.
	l.err = errors.New("no server")
	if _, err := p.Bool(in); err == nil || !strings.Contains(err.Error(), "no server") {
		t.Errorf("error %v", err)
	}
	if compile(t, env, `eventName == "X"`, Bool).ReadsResources() {
		t.Error("a condition over the event alone counts as asking")
	}
	if _, problems := env.Compile(yamlfile.NewText(`resource("a").confguration.x == 1`), Bool); problems.Err() == nil || !strings.Contains(problems.Err().Error(), `"configuration"`) {
		t.Errorf("a misspelt field: %v", problems.Err())
	}
}

func TestBefore(t *testing.T) {
	env, err := NewEventEnv(event.ConfigItem, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(event.ConfigItem, []byte(`{"configurationItem":{"resourceType":"T","resourceId":"i","configurationItemCaptureTime":"2026-03-02T09:00:00Z","configurationItemStatus":"OK","configuration":{"public":true}},"configurationItemDiff":{"changeType":"UPDATE","changedProperties":{"Configuration.Public":{"previousValue":false,"updatedValue":true},"Configuration.L.0":{"previousValue":"a"},"Configuration.L.1":{"updatedValue":"a"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, env, `item.change == "update" && item.changed == ["Configuration.Public"] && !item.incomplete && path(item.configuration, "public", false) && before.known && !path(before.configuration, "public", true)`, Bool)
	if !p.ReadsResources() {
		t.Error("before does not count as asking")
	}
	in := p.NewInput()
	l := &ledger{before: &event.Resource{Configuration: map[string]any{"public": false}}}
	for _, want := range []bool{true, false} {
		in.SetEvent(&e)
		in.SetResources(l)
		if got, err := p.Bool(in); err != nil || got != want {
			t.Errorf("%v, %v", got, err)
		}
		l.before = nil
	}
	l.err = errors.New("no server")
	in.SetResources(l)
	if _, err := p.Bool(in); err == nil {
		t.Error("no error")
	}
}
