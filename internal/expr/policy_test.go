package expr

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"riposte/event"
)

func allow(rest string) string { return `{"Statement":[{"Effect":"Allow",` + rest + `}]}` }

func TestPolicyPublic(t *testing.T) {
	const star = `"Principal":"*","Action":"s3:GetObject","Resource":"*"`
	for doc, want := range map[string]bool{
		allow(star): true,
		allow(`"Principal":{"AWS":"*"},"Action":"s3:*"`):                             true,
		allow(`"Principal":{"AWS":["arn:aws:iam::111122223333:root","*"]}`):          true,
		allow(`"Principal":{"AWS":"arn:aws:iam::111122223333:root"}`):                false,
		allow(`"Principal":{"AWS":"arn:aws-cn:iam::111122223333:root"}`):             false,
		allow(`"Principal":{"Service":"*"}`):                                         false,
		allow(`"Principal":{"Service":"cloudfront.amazonaws.com"}`):                  false,
		allow(`"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":""`): true,
		`{"Statement":{"Effect":"Allow",` + star + `}}`:                              true,
		`{"Statement":[{"Effect":"Deny",` + star + `}]}`:                             false,
		`{"Statement":[{"Effect":"Deny","NotPrincipal":{"AWS":"1"}}]}`:               false,
		// Conditions that bind.
		allow(star + `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abc123"}}`):                                                false,
		allow(star + `,"Condition":{"StringEquals":{"AWS:principalorgid":["o-abc123","o-def456"]}}`):                                   false,
		allow(star + `,"Condition":{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":["o-abc123/r-ab12/*"]}}`):                        false,
		allow(star + `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:eu-west-1:111122223333:*"}}`):                              false,
		allow(star + `,"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:s3:::bucket*"}}`):                                            false,
		allow(star + `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws-us-gov:iam::111122223333:role/*"}}`):                        false,
		allow(star + `,"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}`):                                             false,
		allow(star + `,"Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`):                                                      false,
		allow(star + `,"Condition":{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"}}`):                                                    false,
		allow(star + `,"Condition":{"IpAddress":{"aws:SourceIp":["198.51.100.0/24","203.0.113.7"]}}`):                                  false,
		allow(star + `,"Condition":{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}`):                                                    false,
		allow(star + `,"Condition":{"StringLike":{"aws:userid":"AROAEXAMPLE:*"}}`):                                                     false,
		allow(star + `,"Condition":{"Bool":{"aws:PrincipalIsAWSService":"true"}}`):                                                     false,
		allow(star + `,"Condition":{"Bool":{"aws:PrincipalIsAWSService":true}}`):                                                       false,
		allow(star + `,"Condition":{"StringNotEquals":{"aws:RequestedRegion":"x"},"StringEquals":{"kms:CallerAccount":111122223333}}`): false,
		// An asterisk is a letter to StringEquals: nobody matches.
		allow(star + `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"*"}}`): false,
		// Conditions that bind nobody.
		allow(star + `,"Condition":{}`): true,
		allow(star + `,"Condition":{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-abc123"}}`):               true,
		allow(star + `,"Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-abc123"}}`):                    true,
		allow(star + `,"Condition":{"Null":{"aws:PrincipalOrgID":"false"}}`):                                  true,
		allow(star + `,"Condition":{"ForAllValues:StringEquals":{"aws:PrincipalOrgPaths":"o-a/r-b/"}}`):       true,
		allow(star + `,"Condition":{"StringLike":{"aws:PrincipalOrgID":"*"}}`):                                true,
		allow(star + `,"Condition":{"StringLike":{"aws:PrincipalOrgID":"o-*"}}`):                              true,
		allow(star + `,"Condition":{"StringLike":{"aws:PrincipalOrgID":["o-abc123","?-*"]}}`):                 true,
		allow(star + `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:*:*"}}`):                        true,
		allow(star + `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}}`):                           true,
		allow(star + `,"Condition":{"ArnLike":{"aws:SourceArn":"*"}}`):                                        true,
		allow(star + `,"Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`):                               true,
		allow(star + `,"Condition":{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1"]}}`):               true,
		allow(star + `,"Condition":{"IpAddress":{"aws:SourceIp":"::/0"}}`):                                    true,
		allow(star + `,"Condition":{"NotIpAddress":{"aws:SourceIp":"198.51.100.0/24"}}`):                      true,
		allow(star + `,"Condition":{"Bool":{"aws:SecureTransport":"true"}}`):                                  true,
		allow(star + `,"Condition":{"Bool":{"aws:PrincipalIsAWSService":"false"}}`):                           true,
		allow(star + `,"Condition":{"StringEquals":{"aws:SourceAccount":"${aws:PrincipalAccount}"}}`):         true,
		allow(star + `,"Condition":{"StringEquals":{"aws:username":"bob"}}`):                                  true,
		allow(star + `,"Condition":{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}`):                   true,
		allow(star + `,"Condition":{"StringEquals":{"s3:x-amz-acl":"private"}}`):                              true,
		allow(star + `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-a"}}},{"Effect":"Allow",` + star): true,
		url.PathEscape(allow(star)):            true,
		"%0A%20" + url.PathEscape(allow(star)): true,
		"\n " + allow(star):                    true,
	} {
		p := parsePolicy(doc)
		if !p.valid || p.problem != "" {
			t.Errorf("%s: %s", doc, p.problem)
		}
		if p.public() != want {
			t.Errorf("%s: public is %v, want %v", doc, p.public(), want)
		}
	}
}

func TestPolicyQuestions(t *testing.T) {
	for doc, want := range map[string]struct {
		accounts, services, wild []string
		admin, cross             bool
	}{
		allow(`"Principal":{"AWS":["111122223333","arn:aws:iam::444455556666:root","arn:aws:sts::777788889999:assumed-role/a/b","AIDAEXAMPLE"],"Service":["a.amazonaws.com","a.amazonaws.com"]}`): {
			accounts: []string{"111122223333", "444455556666", "777788889999"}, services: []string{"a.amazonaws.com"}, cross: true},
		allow(`"Principal":{"AWS":"111122223333"}`):                                 {accounts: []string{"111122223333"}},
		allow(`"Principal":{"AWS":"arn:aws-us-gov:iam::444455556666:user/path/x"}`): {accounts: []string{"444455556666"}, cross: true},
		// Everyone, bound to an account by a condition, is that account.
		allow(`"Principal":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":["444455556666"]}}`):          {accounts: []string{"444455556666"}, cross: true},
		allow(`"Principal":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/*"}}`): {accounts: []string{"111122223333"}},
		allow(`"Principal":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":["444455556666"]}}`):       {cross: true},
		allow(`"Principal":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abc123"}}`):                  {},
		allow(`"Action":"*","Resource":"*"`):                                                                        {admin: true, wild: []string{"*"}},
		allow(`"Action":["s3:*","*:*"],"Resource":["arn:aws:s3:::x","*"]`):                                          {admin: true, wild: []string{"*:*", "s3:*"}},
		allow(`"Action":"*","Resource":"arn:aws:*:*:*:*"`):                                                          {admin: true, wild: []string{"*"}},
		allow(`"Action":"*","Resource":"arn:*:*:*:*:*"`):                                                            {admin: true, wild: []string{"*"}},
		allow(`"Action":"*","NotResource":"arn:aws:s3:::vault"`):                                                    {admin: true, wild: []string{"*"}},
		allow(`"Action":"*","Resource":"arn:aws:s3:::x"`):                                                           {wild: []string{"*"}},
		allow(`"NotAction":"iam:*","Resource":"*"`):                                                                 {},
		allow(`"Action":"iam:*","Resource":"*"`):                                                                    {wild: []string{"iam:*"}},
		`{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`:                                             {},
		`{"Statement":[{"Effect":"Allow","Action":"*"},{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`: {wild: []string{"*"}},
		`{"Statement":[]}`: {},
	} {
		p := parsePolicy(doc)
		same := func(what string, got, want []string) {
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s %v, want %v", doc, what, got, want)
			}
		}
		same("accounts", p.accounts(), want.accounts)
		same("services", p.principals("Service"), want.services)
		same("wildcard actions", p.wildcardActions(), want.wild)
		if p.admin() != want.admin {
			t.Errorf("%s: admin is %v", doc, p.admin())
		}
		if got := p.crossAccount([]string{"111122223333"}); got != want.cross {
			t.Errorf("%s: cross account is %v", doc, got)
		}
	}
}

func TestPolicyAllows(t *testing.T) {
	for _, c := range []struct {
		rest, action string
		want         bool
	}{
		{`"Action":"s3:Get*"`, "s3:GetObject", true},
		{`"Action":"S3:get*"`, "s3:GetObject", true},
		{`"Action":"s3:Get*"`, "s3:PutObject", false},
		{`"Action":"s3:?etObject"`, "s3:GetObject", true},
		{`"Action":["iam:PassRole","*"]`, "kms:Decrypt", true},
		{`"NotAction":"iam:*"`, "iam:CreateUser", false},
		{`"NotAction":["iam:*","sts:*"]`, "s3:GetObject", true},
	} {
		if got := parsePolicy(allow(c.rest)).allows(c.action); got != c.want {
			t.Errorf("%s allows %s: %v", c.rest, c.action, got)
		}
	}
	if parsePolicy(`{"Statement":[{"Effect":"Deny","Action":"*"}]}`).allows("s3:GetObject") {
		t.Error("a denial allows")
	}
}

// TestPolicyThatIsNone: nothing grants nothing; something that is no document
// has no answer, in whatever form it is asked.
func TestPolicyThatIsNone(t *testing.T) {
	env := cloudTrailEnv(t)
	ask := func(document string) (questions map[string]error) {
		questions = map[string]error{}
		e, err := event.Decode(event.CloudTrail, []byte(`{"eventName":"x","requestParameters":{"p":`+document+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		in := env.NewInput()
		in.SetEvent(&e)
		for _, q := range []string{"public", "admin", "accounts.size() > 0", "services.size() > 0", "federated.size() > 0", "wildcard_actions.size() > 0", `allows("s3:GetObject")`, `cross_account("1")`, `cross_account(["1"])`, "valid"} {
			got, err := compile(t, env, "policy(requestParameters.p)."+q, Bool).Bool(in)
			if got {
				t.Errorf("%s: %s is true", document, q)
			}
			questions[q] = err
		}
		return questions
	}
	for _, nothing := range []string{`null`, `""`, `" \n"`, `{}`, `"{}"`, `"null"`} {
		for q, err := range ask(nothing) {
			if err != nil {
				t.Errorf("%s: %s: %v", nothing, q, err)
			}
		}
	}
	for _, odd := range []string{
		`"*"`, `"HIDDEN_DUE_TO_SECURITY_REASONS"`, `"{\"Statement\":"`, `"{\"Statement\":[{\"Effect\":\"Allow\"}]"`, `"%7B%22Statement"`, `"[]"`, `"{\"Version\":\"2012-10-17\"}"`, `"{\"Statement\":\"x\"}"`,
		`{"Statement":[1]}`, `{"Statement":[{"Effect":"allow","Principal":"*"}]}`, `{"Statement":[{"Principal":"*"}]}`, `1.5`, `true`, `[]`, `["x"]`,
		`"{\"Statement\":[],\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\"}]}"`,
	} {
		for q, err := range ask(odd) {
			if (err == nil) != (q == "valid") {
				t.Errorf("%s: %s: %v", odd, q, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "policy: ") {
				t.Errorf("%s: %s: %v", odd, q, err)
			}
		}
	}
}

// TestGeneratedPolicies builds documents of statements whose meaning is known by
// construction, in every spelling, and wants that meaning back.
func TestGeneratedPolicies(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		doc, public := generatedPolicy(r)
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		forms := []any{string(b), url.PathEscape(string(b))}
		if v, err := event.ParseJSON(b); err == nil {
			forms = append(forms, v)
		}
		for _, form := range forms {
			if p := parsePolicy(form); !p.valid || p.public() != public {
				t.Fatalf("seed %d: valid %v (%s), public %v, want %v\n%s", seed, p.valid, p.problem, p.public(), public, b)
			}
		}
	}
}

func generatedPolicy(r *rand.Rand) (doc map[string]any, public bool) {
	pick := func(from ...any) any { return from[r.IntN(len(from))] }
	var statements []any
	for range 1 + r.IntN(3) {
		s := map[string]any{"Action": pick("s3:GetObject", []string{"sqs:*"}), "Resource": "*"}
		grants := r.IntN(3) > 0
		s["Effect"] = map[bool]string{true: "Allow", false: "Deny"}[grants]
		everyone := r.IntN(2) == 0
		switch {
		case everyone && r.IntN(5) == 0:
			s["NotPrincipal"] = map[string]any{"AWS": "111122223333"}
		case everyone:
			s["Principal"] = pick("*", map[string]any{"AWS": "*"}, map[string]any{"AWS": []string{"*"}}, map[string]any{"AWS": []string{"111122223333", "*"}, "Service": "x"})
		default:
			s["Principal"] = pick("111122223333", map[string]any{"Service": "x.amazonaws.com"}, map[string]any{"AWS": []string{"arn:aws:iam::111122223333:user/a*"}}, map[string]any{"Federated": "*"})
		}
		bound := r.IntN(2) == 0
		condition := map[string]any{}
		if r.IntN(2) == 0 {
			condition["Bool"] = map[string]any{"aws:SecureTransport": pick("true", true)}
		}
		key := pick("aws:PrincipalOrgID", "aws:SourceAccount", "AWS:SOURCEVPCE", "aws:SourceVpc").(string)
		if bound {
			condition[pick("StringEquals", "StringLike", "ForAnyValue:StringEquals", "stringequalsignorecase").(string)] = map[string]any{key: pick("fixed-1", []string{"fixed-1", "fixed-2"})}
		} else if r.IntN(2) == 0 {
			condition[pick("StringNotEquals", "StringEqualsIfExists", "StringNotLike", "ForAllValues:StringEquals").(string)] = map[string]any{key: pick("fixed-1", []string{"fixed-1"})}
		} else if r.IntN(2) == 0 {
			condition["StringLike"] = map[string]any{key: pick("*", "fixed-*", []string{"fixed-1", "f?xed"})}
		}
		if len(condition) > 0 || r.IntN(2) == 0 {
			s["Condition"] = condition
		}
		statements = append(statements, s)
		public = public || grants && everyone && !bound
	}
	doc = map[string]any{"Version": "2012-10-17", "Statement": statements}
	if len(statements) == 1 && r.IntN(2) == 0 {
		doc["Statement"] = statements[0]
	}
	return doc, public
}

func TestARN(t *testing.T) {
	for text, want := range map[string]arnValue{
		"arn:aws:iam::111122223333:role/team/Dev":                           {partition: "aws", service: "iam", account: "111122223333", resource: "role/team/Dev", kind: "role", name: "team/Dev"},
		"arn:aws:sts::111122223333:assumed-role/Dev/alice":                  {partition: "aws", service: "sts", account: "111122223333", resource: "assumed-role/Dev/alice", kind: "assumed-role", name: "Dev/alice"},
		"arn:aws-cn:ec2:cn-north-1:111122223333:instance/i-1":               {partition: "aws-cn", service: "ec2", region: "cn-north-1", account: "111122223333", resource: "instance/i-1", kind: "instance", name: "i-1"},
		"arn:aws-us-gov:logs:us-gov-west-1:111122223333:log-group:/aws/x:*": {partition: "aws-us-gov", service: "logs", region: "us-gov-west-1", account: "111122223333", resource: "log-group:/aws/x:*", kind: "log-group", name: "/aws/x:*"},
		"arn:aws:s3:::bucket":                                               {partition: "aws", service: "s3", resource: "bucket", name: "bucket"},
		"arn:aws:s3:::bucket/a:b/c":                                         {partition: "aws", service: "s3", resource: "bucket/a:b/c", kind: "bucket", name: "a:b/c"},
		"arn:aws:lambda:eu-west-1:111122223333:function:f:1":                {partition: "aws", service: "lambda", region: "eu-west-1", account: "111122223333", resource: "function:f:1", kind: "function", name: "f:1"},
		"arn:aws:apigateway:eu-west-1::/restapis/x":                         {partition: "aws", service: "apigateway", region: "eu-west-1", resource: "/restapis/x", name: "restapis/x"},
		"arn:aws:secretsmanager:eu-west-1:111122223333:secret:a/b-AbCdEf":   {partition: "aws", service: "secretsmanager", region: "eu-west-1", account: "111122223333", resource: "secret:a/b-AbCdEf", kind: "secret", name: "a/b-AbCdEf"},
		"":                       {},
		"arn":                    {},
		"arn:aws:s3":             {},
		"urn:aws:s3:::x":         {},
		"bucket":                 {},
		"arn:aws:iam::1111:":     {partition: "aws", service: "iam", account: "1111"},
		"arn:::::":               {},
		"ARN:aws:s3:::x":         {},
		" arn:aws:s3:::x":        {},
		"https://arn:aws:s3:::x": {},
	} {
		got := parseARN(text)
		want.native = native{arnType}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, want %+v", text, *got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	env := cloudTrailEnv(t)
	in := env.NewInput()
	for text, want := range map[string]bool{
		`in_cidr("10.1.2.3", "10.0.0.0/8")`:                             true,
		`in_cidr("::ffff:10.1.2.3", "10.0.0.0/8")`:                      true,
		`in_cidr("10.1.2.3", "::ffff:10.0.0.0/104")`:                    true,
		`in_cidr("10.1.2.3", "10.9.9.9/8")`:                             true,
		`in_cidr("11.1.2.3", ["10.0.0.0/8", "11.0.0.0/8"])`:             true,
		`in_cidr("2001:db8::1", "2001:db8::/32")`:                       true,
		`in_cidr("2001:DB8::1", "2001:db8::/32")`:                       true,
		`in_cidr("fe80::1%eth0", "fe80::/10")`:                          true,
		`in_cidr("10.1.2.3", "::/0")`:                                   false,
		`in_cidr("2001:db8::1", "0.0.0.0/0")`:                           false,
		`in_cidr("AWS Internal", "0.0.0.0/0")`:                          false,
		`in_cidr("", "0.0.0.0/0")`:                                      false,
		`in_cidr("10.1.2", "10.0.0.0/8")`:                               false,
		`in_cidr("010.1.2.3", "10.0.0.0/8")`:                            false,
		`in_cidr("10.1.2.3 ", "10.0.0.0/8")`:                            false,
		`in_cidr("10.1.2.3", [])`:                                       false,
		`is_private("100.64.0.1") && is_private("127.0.0.1")`:           true,
		`is_private("169.254.169.254") && is_private("::1")`:            true,
		`is_private("172.15.0.1") || is_private("172.32.0.1")`:          false,
		`is_public("8.8.8.8") && is_public("2600::1")`:                  true,
		`is_public("224.0.0.1") || is_public("255.255.255.255")`:        false,
		`is_public("ec2.amazonaws.com") || is_public("fc00::1")`:        false,
		`is_public("::ffff:192.168.1.1") || is_public("0.0.0.0")`:       false,
		`in_list("nets", "::ffff:198.51.100.9")`:                        true,
		`glob("日本", "?本") && glob("日本", "日*") && iglob("ÄB", "?b")`:     true,
		`glob("ab", "a?b") || glob("", "?") || glob("日", "??")`:         false,
		`glob("a*b", "a*b") && glob("aXXbXXb", "a*b") && glob("", "*")`: true,
	} {
		got, err := compile(t, env, text, Bool).Bool(in)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{`in_cidr("10.1.2.3", eventName)`, `in_cidr("10.1.2.3", [eventName])`} {
		if _, err := compile(t, env, text, Bool).Bool(in); err == nil {
			t.Errorf("%s: a block that is none has a verdict", text)
		}
	}
	if _, err := NewLists(map[string][]string{"a": {"10.0.0.0/33"}}); err == nil || !strings.Contains(err.Error(), "10.0.0.0/33") {
		t.Errorf("a list takes what is no block: %v", err)
	}
}

func ExampleNewLists() {
	l, _ := NewLists(map[string][]string{"own": {"111122223333", "10.0.0.0/8", "ci-*"}})
	fmt.Println(l.Contains("own", "10.1.2.3"), l.Contains("own", "ci-build"), l.Contains("own", "1111"))
	// Output: true true false
}
