package expr

import (
	"encoding/json"
	"strings"
	"testing"

	"riposte/event"
	"riposte/internal/yamlfile"
)

func testLists(t testing.TB) Lists {
	l, err := NewLists(map[string][]string{"own_accounts": {"111122223333"}, "nets": {"198.51.100.0/24", "2001:db8::/32", "ci-*", "exact"}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func cloudTrailEnv(t testing.TB) *Env {
	env, err := NewEventEnv(event.CloudTrail, Options{Lists: testLists(t)})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func compile(t testing.TB, env *Env, text string, want Type) *Program {
	t.Helper()
	p, list := env.Compile(yamlfile.NewText(text), want)
	if list.Err() != nil {
		t.Fatalf("%s: %v", text, list)
	}
	return p
}

const record = `{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROAX:alice","arn":"arn:aws:sts::111122223333:assumed-role/Dev/alice","accountId":"111122223333",
"accessKeyId":"ASIAX","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/team/Dev","userName":"Dev","principalId":"AROAX","accountId":"111122223333"},
"attributes":{"mfaAuthenticated":"true"}},"inScopeOf":{"sourceArn":"arn:aws:lambda:x"}},"eventTime":"2026-03-04T05:06:07Z","eventSource":"iam.amazonaws.com","eventName":"PutRolePolicy",
"awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"aws-cli/2.0 Python","readOnly":false,"eventID":"e1","recipientAccountId":"111122223333",
"requestParameters":{"n":3,"f":1.5,"s":"x","nothing":null,"list":["a","b"],"deep":{"a":{"b":"c"}},"policyDocument":"{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}"},
"responseElements":null,"resources":[{"ARN":"arn:aws:iam::111122223333:role/x","accountId":"111122223333"}]}`

func TestCloudTrailExpressions(t *testing.T) {
	env := cloudTrailEnv(t)
	e, err := event.Decode(event.CloudTrail, []byte(record))
	if err != nil {
		t.Fatal(err)
	}
	in := env.NewInput()
	in.SetEvent(&e)
	for text, want := range map[string]bool{
		`eventName == "PutRolePolicy" && eventSource == "iam.amazonaws.com"`:                                                       true,
		`eventName in ["PutRolePolicy", "PutUserPolicy"]`:                                                                          true,
		`eventName.startsWith("Put")`:                                                                                              true,
		`userIdentity.sessionContext.sessionIssuer.arn == "arn:aws:iam::111122223333:role/team/Dev"`:                               true,
		`userIdentity.sessionContext.attributes.mfaAuthenticated == "true"`:                                                        true,
		`userIdentity.inScopeOf.sourceArn.startsWith("arn:aws:lambda")`:                                                            true,
		`has(userIdentity.inScopeOf) && !has(userIdentity.onBehalfOf) && !has(userIdentity.invokedBy)`:                             true,
		`userIdentity.invokedBy == ""`:                                                                                             true,
		`readOnly`:                                                                                                                 false,
		`requestParameters.n + 1 == 4 && requestParameters.n > 2 && requestParameters.f < 2.0`:                                     true,
		`requestParameters.?s.orValue("") == "x"`:                                                                                  true,
		`requestParameters.?nope.?q.orValue("d") == "d"`:                                                                           true,
		`requestParameters.?nothing.?q.orValue("d") == "d"`:                                                                        true,
		`requestParameters.?s.?q.orValue("d") == "d"`:                                                                              true,
		`responseElements.?x.orValue("d") == "d" && !has(responseElements.x)`:                                                      true,
		`has(requestParameters.deep.a) && requestParameters.deep.a.b == "c"`:                                                       true,
		`path(requestParameters, "deep.a.b", "") == "c" && path(requestParameters, "n", "") == ""`:                                 true,
		`requestParameters.list.exists(x, x == "b")`:                                                                               true,
		`resources.exists(r, r.?ARN.orValue("").endsWith("role/x"))`:                                                               true,
		`actor.arn == "arn:aws:iam::111122223333:role/team/Dev" && actor.session == "alice" && actor.mfa`:                          true,
		`event.account == "111122223333" && event.time.getHours() == 5 && eventTime == event.time`:                                 true,
		`in_cidr(sourceIPAddress, "198.51.100.0/24") && !in_cidr(sourceIPAddress, ["10.0.0.0/8", "::/0"])`:                         true,
		`is_public(sourceIPAddress) && !is_private(sourceIPAddress) && isIP(sourceIPAddress)`:                                      true,
		`is_public("AWS Internal") || is_private("10.0.0.1.evil") || is_public("")`:                                                false,
		`is_private("10.1.2.3") && is_private("fd00::1") && is_private("::ffff:10.0.0.1") && is_public("2600::1")`:                 true,
		`in_list("nets", sourceIPAddress) && in_list("nets", "ci-build") && in_list("nets", "exact") && !in_list("nets", "other")`: true,
		`arn(userIdentity.arn).account == "111122223333" && arn("junk").service == ""`:                                             true,
		`arn(userIdentity.arn).type == "assumed-role" && arn(userIdentity.arn).name == "Dev/alice"`:                                true,
		`glob(eventName, "Put*Policy") && iglob(eventName, "put?ole*") && !glob(eventName, "put*")`:                                true,
		`ieq(eventName, "putrolepolicy") && icontains(userAgent, "PYTHON") && istarts(userAgent, "AWS-CLI")`:                       true,
		`policy(requestParameters.policyDocument).admin && !policy(requestParameters.policyDocument).public`:                       true,
		`policy(requestParameters.?absent.orValue("")).valid`:                                                                      false,
		`"b" in path(requestParameters, "list", []) && "x" in ["x"] && !("z" in requestParameters.list)`:                           true,
		`json(requestParameters.policyDocument).Statement[0].Effect == "Allow"`:                                                    true,
		`userAgent.matches("(?i)(python|boto)")`:                                                                                   true,
	} {
		got, err := compile(t, env, text, Bool).Bool(in)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
		if !compile(t, env, text, Bool).Predicate().Holds(&e) && want {
			t.Errorf("%s: its predicate does not hold", text)
		}
	}
	for _, text := range []string{`requestParameters.nope == 1`, `requestParameters.s.q == 1`, `json("{").x == 1`} {
		if _, err := compile(t, env, text, Bool).Bool(in); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func TestCompileProblems(t *testing.T) {
	env := cloudTrailEnv(t)
	for text, want := range map[string]string{
		`eventNmae == "x"`:                  `1:1: there is no "eventNmae" here (did you mean "eventName"?)`,
		`userIdentity.tpye == "Root"`:       `1:14: userIdentity has no field "tpye" (did you mean "type"?)`,
		`readOnly == "yes"`:                 `== does not take (bool, string)`,
		`eventName.matches("([")`:           `regular expression`,
		`eventName`:                         `this yields string, want bool`,
		`eventName ==`:                      `the expression ends too early`,
		``:                                  `empty`,
		`in_list("nest", sourceIPAddress)`:  `there is no list "nest" (did you mean "nets"?)`,
		`in_list(eventName, "x")`:           `constant`,
		`eventName == "AtachUserPolicy"`:    `warning: no AWS service that is known here has no action`,
		`eventSource == "iam.amazonaws.co"`: `warning: no AWS service that is known here has the source`,
	} {
		_, list := env.Compile(yamlfile.NewText(text), Bool)
		if !strings.Contains(list.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, list, want)
		}
	}
}

func TestCostBound(t *testing.T) {
	env, err := NewEventEnv(event.CloudTrail, Options{MaxCost: 1000})
	if err != nil {
		t.Fatal(err)
	}
	_, list := env.Compile(yamlfile.NewText(`requestParameters.a.exists(x, x.b.exists(y, y.matches("(a|b|c)+$")))`), Bool)
	if !strings.Contains(list.Error(), "may cost") || !strings.Contains(list.Error(), "the bound is 1000") {
		t.Errorf("%v", list)
	}
}

func TestExplain(t *testing.T) {
	env := cloudTrailEnv(t)
	e, _ := event.Decode(event.CloudTrail, []byte(record))
	in := env.NewInput()
	in.SetEvent(&e)
	truth := compile(t, env, `eventName == "PutRolePolicy" && (readOnly || requestParameters.?s.orValue("") == "y") && actor.mfa`, Bool).Explain(in)
	b, _ := json.MarshalIndent(truth, "", " ")
	for _, want := range []string{`"expr": "readOnly"`, `"value": false`, `"value": "PutRolePolicy"`, `"value": "x"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
}

func BenchmarkBool(b *testing.B) {
	env := cloudTrailEnv(b)
	e, _ := event.Decode(event.CloudTrail, []byte(record))
	in := env.NewInput()
	in.SetEvent(&e)
	for name, text := range map[string]string{
		"equal": `eventName == "PutRolePolicy" && eventSource == "iam.amazonaws.com"`,
		"in":    `eventName in ["A", "B", "C", "PutRolePolicy"]`,
		"regex": `userAgent.matches("(?i)(kali|parrot|pentoo)")`,
		"deep":  `userIdentity.sessionContext.sessionIssuer.arn == "x"`,
		"dyn":   `requestParameters.?s.orValue("") == "x"`,
		"path":  `path(requestParameters, "deep.a.b", "") == "x"`,
		"none":  `path(requestParameters, "deep.z.b", "") == "x"`,
		"admin": `policy(requestParameters.policyDocument).admin`,
	} {
		p := compile(b, env, text, Bool)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Bool(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestFieldsFit: an input has room for every hot field, and every one of a flow log
// record can be named.
func TestFieldsFit(t *testing.T) {
	env, err := NewEventEnv(event.FlowLog, Options{})
	if err != nil {
		t.Fatal(err)
	}
	members := env.schema.objects["aws.FlowRecord"].members
	f := event.FlowVersion
	for ; event.FlowFieldName(f) != ""; f++ {
		name := strings.ReplaceAll(event.FlowFieldName(f), "-", "_")
		if m, ok := members[name]; !ok || m.field != f {
			t.Errorf("flow.%s is not there", name)
		}
	}
	if int(f) > len(new(Input).boxed) {
		t.Errorf("%d fields do not fit an input", f)
	}
}
