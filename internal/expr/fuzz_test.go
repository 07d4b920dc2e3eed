package expr

import (
	"encoding/json"
	"net"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"riposte/event"
	"riposte/internal/yamlfile"
)

// FuzzCompile: whatever somebody writes, compiling does not panic, problems have
// places inside the text, and what compiles has a verdict, the same one
// explained.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`eventName == "PutRolePolicy" && eventSource == "iam.amazonaws.com"`, `eventNmae in ["a", 1]`, `requestParameters.?s.orValue("") == "x"`,
		`requestParameters.list.exists(x, x == "b") ? true : readOnly`, `policy(requestParameters.policyDocument).admin`, `in_list("nets", sourceIPAddress)`,
		`has(userIdentity.sessionContext) && !has(userIdentity.invokedBy)`, `cel.bind(x, eventName, x.startsWith("P"))`, `eventName.matches("(?i)put")`,
		`arn(userIdentity.arn).account == event.account`, `[1, 2].map(x, x * 2).size() > int("1")`, `"é\n" + eventName == "x"`, `eventName ==`, `((((`, `a.b.c[0].d("x")`, "readOnly\n&& (\n\teventTime > timestamp('2026-01-01T00:00:00Z'))",
		`path(requestParameters, "deep.a.b", "") == "c"`, `json("{}").x == 1`, `glob(eventName, "*P?t*")`, `1/0 == 1`, `optional.of(1).value() == 1`, `sets.contains([1],[1])`, `cidr("10.0.0.0/8").containsIP("10.1.1.1")`,
	} {
		f.Add(s)
	}
	env := cloudTrailEnv(f)
	e, err := event.Decode(event.CloudTrail, []byte(record))
	if err != nil {
		f.Fatal(err)
	}
	in := env.NewInput()
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 {
			return
		}
		for _, want := range []Type{Bool, Any} {
			p, list := env.Compile(yamlfile.NewText(text), want)
			if (p == nil) != (list.Err() != nil) {
				t.Fatalf("program %v, problems %v", p != nil, list)
			}
			lines := strings.Split(text, "\n")
			for _, problem := range list {
				if problem.Line < 1 || problem.Line > len(lines) || problem.Col < 1 || problem.Col > utf8.RuneCountInString(lines[problem.Line-1])+1 {
					t.Fatalf("%d:%d is outside the text: %s", problem.Line, problem.Col, problem.Message)
				}
				if problem.Message == "" || strings.Contains(problem.Message, "\n") {
					t.Fatalf("the message is %q", problem.Message)
				}
			}
			if p == nil {
				continue
			}
			in.SetEvent(&e)
			if want == Any {
				p.Text(in)
				continue
			}
			verdict, err := p.Bool(in)
			if (verdict || err != nil) && !p.Predicate().Holds(&e) {
				t.Fatalf("verdict %v, %v, and the predicate %+v does not hold", verdict, err, p.Predicate())
			}
			sameVerdict(t, p, in, verdict, err)
		}
	})
}

// sameVerdict fails when the explanation's root is not the verdict.
func sameVerdict(t *testing.T, p *Program, in *Input, verdict bool, err error) {
	t.Helper()
	truth := p.Explain(in)
	switch {
	case err != nil:
		if truth.Error == "" {
			t.Fatalf("%s: the evaluation ends in %v, the explanation says nothing of it: %s", p.Source(), err, truth.Value)
		}
	case truth.Error != "" || string(truth.Value) != map[bool]string{true: "true", false: "false"}[verdict]:
		t.Fatalf("%s: the verdict is %v, the explanation %s, %s", p.Source(), verdict, truth.Value, truth.Error)
	}
}

// FuzzTemplate: places of problems inside templates lie inside the text too.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"${actor.name} did ${eventName}", "${", "${}", "a ${'}'} b", "x\n${eventNam}", "${{'a': 1}.a}", "$${eventName}"} {
		f.Add(s)
	}
	env := cloudTrailEnv(f)
	in := env.NewInput()
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 500 {
			return
		}
		tmpl, list := env.CompileTemplate(yamlfile.NewText(text))
		if (tmpl == nil) != (list.Err() != nil) {
			t.Fatalf("template %v, problems %v", tmpl != nil, list)
		}
		lines := strings.Split(text, "\n")
		for _, p := range list {
			if p.Line < 1 || p.Line > len(lines) || p.Col < 1 || p.Col > utf8.RuneCountInString(lines[p.Line-1])+1 {
				t.Fatalf("%d:%d is outside the text: %s", p.Line, p.Col, p.Message)
			}
		}
		if tmpl != nil {
			out, err := tmpl.Text(in)
			if err == nil && !strings.Contains(text, "${") && out != text {
				t.Fatalf("%q becomes %q", text, out)
			}
		}
	})
}

// FuzzPolicy holds the parser against encoding/json, and the answers of a
// document against those of the same document written otherwise.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{
		allow(`"Principal":"*","Action":"*","Resource":"*"`), allow(`"NotPrincipal":{"AWS":"1"},"NotAction":["a:b"],"Condition":{"StringEquals":{"aws:SourceAccount":"1"}}`),
		`{"Statement":{"Effect":"Deny"}}`, `{}`, `null`, `"x"`, `[]`, `{"Statement":[1]}`, `%7B%7D`, `{"Statement":[{"Effect":"Allow","Condition":[]}]}`, `{"Statement":[{"Effect":"Allow","Principal":{"AWS":[["*"]]}}]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := parsePolicy(text)
		answers := func(p *policy) []any {
			return []any{p.valid, p.public(), p.admin(), p.accounts(), p.principals("Service"), p.principals("Federated"), p.wildcardActions(), p.allows("s3:GetObject"), p.crossAccount([]string{"111122223333"})}
		}
		got, _ := json.Marshal(answers(p))
		if !p.valid {
			if len(p.statements) != 0 {
				t.Fatal("statements of what is no document")
			}
			return
		}
		if p.problem != "" {
			t.Fatalf("valid and not: %s", p.problem)
		}
		var std any
		if err := json.Unmarshal([]byte(text), &std); err != nil {
			unescaped, _ := url.PathUnescape(strings.TrimSpace(text))
			if err := json.Unmarshal([]byte(unescaped), &std); err != nil {
				t.Fatalf("encoding/json refuses it: %v", err)
			}
		}
		// Numbers lose their spelling in encoding/json, and no question is about one.
		object, err := json.Marshal(answers(parsePolicy(std)))
		if err != nil || string(object) != string(got) {
			t.Fatalf("as text %s, as an object %s", got, object)
		}
		again, _ := json.Marshal(std)
		if escaped, _ := json.Marshal(answers(parsePolicy(url.PathEscape(string(again))))); string(escaped) != string(got) {
			t.Fatalf("as text %s, URL-encoded %s", got, escaped)
		}
	})
}

// FuzzGlob holds glob against the regular expression that it means.
func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"Put*Policy", "PutRolePolicy"}, {"*a*b", "xaxbxb"}, {"?本", "日本"}, {"**", ""}, {"a?*", "a"}, {".*", "x"}, {"[a]", "a"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(s) || len(pattern) > 100 || len(s) > 500 {
			return
		}
		var b strings.Builder
		b.WriteString(`(?s)\A`)
		for _, r := range pattern {
			switch r {
			case '*':
				b.WriteString(".*")
			case '?':
				b.WriteString(".")
			default:
				b.WriteString(regexp.QuoteMeta(string(r)))
			}
		}
		b.WriteString(`\z`)
		want := regexp.MustCompile(b.String()).MatchString(s)
		if got := glob(pattern, s); got != want {
			t.Fatalf("glob(%q, %q) is %v", pattern, s, got)
		}
		for _, fold := range []bool{false, true} {
			text, held := s, want
			if fold {
				held = glob(strings.ToLower(pattern), strings.ToLower(s))
			}
			if held && !globClauses(event.EventName, pattern, fold).Match(func(event.Field) string { return text }) {
				t.Fatalf("%q matches %q and its clauses %+v do not hold", s, pattern, globClauses(event.EventName, pattern, fold))
			}
		}
	})
}

// FuzzRegexClause: where a regular expression matches, its literals are there.
func FuzzRegexClause(f *testing.F) {
	for _, s := range [][2]string{{"(?i)(kali|parrot)", "KALI"}, {"a+b|c{2,3}d", "ccd"}, {"(?i)k", "\u212a"}, {"^x?$", ""}, {"(a|)b", "b"}, {"[Ss]top", "stop"}, {"(?i:s)t", "ſt"}, {"a(?:bc)*d", "ad"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 100 || len(s) > 500 || !utf8.ValidString(s) {
			return
		}
		re, err := regexp.Compile(pattern)
		if err != nil || !re.MatchString(s) {
			return
		}
		if c := regexClause(event.EventName, pattern); !c.Match(func(event.Field) string { return s }) {
			t.Fatalf("%q matches %q and its clauses %+v do not hold", s, pattern, c)
		}
	})
}

// FuzzCIDR holds in_cidr against package net, which knows nothing of ours.
func FuzzCIDR(f *testing.F) {
	for _, s := range [][2]string{{"10.1.2.3", "10.0.0.0/8"}, {"::ffff:10.1.2.3", "10.0.0.0/8"}, {"10.1.2.3", "::ffff:10.0.0.0/104"}, {"2001:db8::1", "2001:db8::/32"}, {"fe80::1%x", "fe80::/10"}, {"::ffff:1.2.3.4", "::/0"}, {"AWS Internal", "0.0.0.0/0"}} {
		f.Add(s[0], s[1])
	}
	env := cloudTrailEnv(f)
	p := compile(f, env, `in_cidr(eventName, eventSource)`, Bool)
	f.Fuzz(func(t *testing.T, addr, cidr string) {
		raw, err := json.Marshal(map[string]string{"eventName": addr, "eventSource": cidr})
		if err != nil || !utf8.ValidString(addr) || !utf8.ValidString(cidr) {
			return
		}
		e, err := event.Decode(event.CloudTrail, raw)
		if err != nil {
			return
		}
		in := env.NewInput()
		in.SetEvent(&e)
		got, err := p.Bool(in)
		_, network, stdErr := net.ParseCIDR(cidr)
		if _, bits, _ := strings.Cut(cidr, "/"); err != nil && len(bits) > 1 && bits[0] == '0' {
			return // netip refuses leading zeros
		}
		if (err != nil) != (stdErr != nil) {
			t.Fatalf("%q: %v, package net says %v", cidr, err, stdErr)
		}
		if err != nil {
			return
		}
		plain, _, _ := strings.Cut(addr, "%")
		ip := net.ParseIP(plain)
		if strings.Contains(addr, "%") && (ip == nil || ip.To4() != nil || strings.HasSuffix(addr, "%")) {
			return // package net has no zones
		}
		want := ip != nil && network.Contains(ip)
		if ip != nil && ip.To4() != nil && len(network.IP) == net.IPv6len && network.IP.To4() == nil {
			want = false // IPv4 inside IPv6 is IPv4
		}
		if got != want {
			t.Fatalf("in_cidr(%q, %q) is %v, package net says %v", addr, cidr, got, want)
		}
	})
}
