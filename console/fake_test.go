package console

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte/event"
	"riposte/respond"
)

// fake is a system in memory.
type fake struct {
	mu        sync.Mutex
	incidents []respond.Incident
	runs      map[string][]respond.Run
	rules     []Rule
	state     Health
	telemetry []Telemetry
	err       error
	listeners map[chan string]bool
}

func (f *fake) Incidents(context.Context) ([]respond.Summary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []respond.Summary
	for i := range f.incidents {
		if f.incidents[i].Merged == "" {
			out = append(out, f.incidents[i].Summary())
		}
	}
	slices.SortStableFunc(out, func(a, b respond.Summary) int { return b.Updated.Compare(a.Updated) })
	return out, f.err
}

func (f *fake) Incident(_ context.Context, id string) (respond.Incident, []respond.Run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, in := range f.incidents {
		if in.ID == id {
			return in, f.runs[id], f.err
		}
	}
	return respond.Incident{}, nil, fmt.Errorf("incident %q: %w", id, ErrNotFound)
}

func (f *fake) Rules(context.Context) ([]Rule, error) { return f.rules, f.err }
func (f *fake) Coverage(context.Context) ([]Telemetry, error) {
	return f.telemetry, f.err
}
func (f *fake) Health(context.Context) (Health, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.err
}

func (f *fake) Subscribe(ctx context.Context) <-chan string {
	ch := make(chan string, 16)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listeners == nil {
		f.listeners = map[chan string]bool{}
	}
	f.listeners[ch] = true
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, ch)
		close(ch)
	})
	return ch
}

// put stores an incident, the old one of its id or a new one, and says so.
func (f *fake) put(in respond.Incident) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.incidents = slices.DeleteFunc(f.incidents, func(old respond.Incident) bool { return old.ID == in.ID })
	f.incidents = append(f.incidents, in)
	for ch := range f.listeners {
		ch <- in.ID
	}
}

// start is when the fake's stories begin.
var start = time.Now().Add(-9 * time.Minute).UTC().Truncate(time.Second)

func id(s string) string { return event.Hash("test", s) }

var rossi = event.Actor{
	Type: "IAMUser", ARN: "arn:aws:iam::314159265358:user/ops/m.rossi", Name: "m.rossi", Account: "314159265358", PrincipalID: "AIDAEXAMPLEMROSSI",
	AccessKey: "AKIAEXAMPLE7Q4Z2LK", IP: "203.0.113.77", UserAgent: "aws-cli/2.17.9 md/awscrt#0.20.11 ua/2.0 os/linux#5.10.0 md/arch#x86_64 lang/python#3.11.8",
}

func finding(name, rule, title string, s event.Severity, after time.Duration, tags ...string) event.Finding {
	at := start.Add(after)
	raw, _ := json.Marshal(map[string]any{
		"eventVersion": "1.11", "eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging", "eventTime": at, "awsRegion": "eu-west-1",
		"sourceIPAddress": "203.0.113.77", "userAgent": rossi.UserAgent, "recipientAccountId": "314159265358", "errorCode": "",
		"userIdentity":      map[string]any{"type": "IAMUser", "arn": rossi.ARN, "userName": "m.rossi", "accessKeyId": rossi.AccessKey},
		"requestParameters": map[string]any{"name": "arn:aws:cloudtrail:eu-west-1:314159265358:trail/main"},
	})
	return event.Finding{
		ID: id(name), Rule: rule, Version: "1", Severity: s, Time: at, Title: title, Account: "314159265358", Region: "eu-west-1", Actor: rossi,
		Entities: []event.Entity{{Kind: "trail", ID: "arn:aws:cloudtrail:eu-west-1:314159265358:trail/main"}, {Kind: "iam-user", ID: rossi.ARN}},
		Events:   []string{"5d0c0de0-0000-4000-8000-000000000000"}, Tags: tags,
		Evidence: event.Evidence{
			Records: []event.Record{{ID: "5d0c0de0-0000-4000-8000-000000000000", Kind: event.CloudTrail, Time: at, Origin: event.Origin{Source: "files", Object: "incoming/2026/trail.json.gz", Line: 12}, Raw: raw}},
			Explain: explanation(),
		},
	}
}

func explanation() *event.Truth {
	v := func(s string) json.RawMessage { return json.RawMessage(s) }
	return &event.Truth{
		Expr: `eventSource == "cloudtrail.amazonaws.com" && (eventName == "StopLogging" || eventName == "DeleteTrail") && errorCode == "" && !in_list("break_glass", userIdentity.arn)`, Value: v("true"),
		Steps: []event.Truth{
			{Expr: `eventSource == "cloudtrail.amazonaws.com"`, Value: v("true"), Steps: []event.Truth{{Expr: "eventSource", Value: v(`"cloudtrail.amazonaws.com"`)}}},
			{Expr: `eventName == "StopLogging" || eventName == "DeleteTrail"`, Value: v("true"), Steps: []event.Truth{
				{Expr: `eventName == "StopLogging"`, Value: v("true"), Steps: []event.Truth{{Expr: "eventName", Value: v(`"StopLogging"`)}}},
				{Expr: `eventName == "DeleteTrail"`},
			}},
			{Expr: `errorCode == ""`, Value: v("true"), Steps: []event.Truth{{Expr: "errorCode", Value: v(`""`)}}},
			{Expr: `!in_list("break_glass", userIdentity.arn)`, Value: v("true"), Steps: []event.Truth{
				{Expr: `in_list("break_glass", userIdentity.arn)`, Value: v("false"), Steps: []event.Truth{{Expr: "userIdentity.arn", Value: v(`"arn:aws:iam::314159265358:user/ops/m.rossi"`)}}},
			}},
		},
	}
}

func incident(name string, actor event.Actor, region string, findings ...event.Finding) respond.Incident {
	worst := findings[0]
	in := respond.Incident{ID: id(name), Status: "open", Account: findings[0].Account, Region: region, Actor: actor, Findings: findings, Opened: findings[0].Time, Updated: findings[len(findings)-1].Time}
	for _, f := range findings {
		if f.Severity > worst.Severity {
			worst = f
		}
		if !slices.Contains(in.Rules, f.Rule) {
			in.Rules = append(in.Rules, f.Rule)
		}
		for _, e := range f.Entities {
			if !slices.Contains(in.Entities, e) {
				in.Entities = append(in.Entities, e)
			}
		}
	}
	in.Title, in.Severity = worst.Title, worst.Severity
	return in
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func takeover() (respond.Incident, []respond.Run) {
	in := incident("takeover", rossi, "eu-west-1",
		finding("t1", "identity.console-login-without-mfa", "IAM user m.rossi signed in without MFA from 203.0.113.77", event.Medium, 0, "attack.t1078.004", "cis.aws.1.10"),
		finding("t2", "persistence.access-key-for-other", "m.rossi created an access key for svc-backup", event.High, 70*time.Second, "attack.t1098.001"),
		finding("t3", "evasion.trail-stopped", "m.rossi stopped the trail main in eu-west-1", event.Critical, 4*time.Minute, "attack.t1562.008", "cis.aws.3.1"),
	)
	const account = "314159265358"
	deny := map[string]any{"UserName": "m.rossi", "PolicyName": "riposte-deny-7c1f", "PolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`}
	run := respond.Run{
		ID: id("run"), Playbook: "contain-user", PlaybookTitle: "Contain an IAM user who switched off the watching", Incident: in.ID, Finding: in.Findings[2].ID,
		Mode: "dry-run", Status: "planned", Started: start.Add(250 * time.Second), Ended: start.Add(252 * time.Second),
		Steps: []respond.StepRun{
			{ID: "restore-logging", Action: "cloudtrail.start-logging", Plan: &respond.Plan{
				Action: "cloudtrail.start-logging", Target: event.Entity{Kind: "trail", ID: "arn:aws:cloudtrail:eu-west-1:314159265358:trail/main"}, Decision: respond.Contain,
				Reason: "the trail is not logging since 2 minutes", Effect: "management events of all regions are recorded again",
				Calls: []respond.Call{{Service: "cloudtrail", Operation: "StartLogging", Input: raw(map[string]any{"Name": "main"}), Account: account, Region: "eu-west-1"}},
				Reads: []respond.Call{{Service: "cloudtrail", Operation: "GetTrailStatus", Input: raw(map[string]any{"Name": "main"}), Account: account, Region: "eu-west-1"}}, Restore: respond.RestoreNever,
				Before:   raw(map[string]any{"IsLogging": false, "StopLoggingTime": start}),
				Recorded: &event.Resource{Type: "AWS::CloudTrail::Trail", ID: "main", Exists: true, StateID: "1772442845123", Captured: start.Add(-time.Hour), Tags: map[string]any{"owner": "security"}}, Permissions: []string{"cloudtrail:StartLogging", "cloudtrail:GetTrailStatus"},
			}},
			{ID: "deny-user", Action: "iam.deny-user", Plan: &respond.Plan{
				Action: "iam.deny-user", Target: event.Entity{Kind: "iam-user", ID: rossi.ARN}, TargetID: "AIDAEXAMPLEMROSSI", Decision: respond.Contain,
				Reason: "no deny policy of ours is on the user", Effect: "every call of m.rossi is refused, whichever key or session makes it",
				Calls:   []respond.Call{{Service: "iam", Operation: "PutUserPolicy", Input: raw(deny), Account: account}},
				Undo:    []respond.Call{{Service: "iam", Operation: "DeleteUserPolicy", Input: raw(map[string]any{"UserName": "m.rossi", "PolicyName": "riposte-deny-7c1f"}), Account: account}},
				Reads:   []respond.Call{{Service: "iam", Operation: "GetUser", Input: raw(map[string]any{"UserName": "m.rossi"}), Account: account}, {Service: "iam", Operation: "ListUserPolicies", Input: raw(map[string]any{"UserName": "m.rossi"}), Account: account}},
				Restore: respond.RestoreApprove, Before: raw(map[string]any{"inline": map[string]string{}, "attached": []string{"arn:aws:iam::aws:policy/PowerUserAccess"}}),
				Permissions: []string{"iam:PutUserPolicy", "iam:DeleteUserPolicy"}, Warnings: []string{"m.rossi signed in to the console: open browser sessions are refused too, and a person at work may be locked out"},
			}},
			{ID: "disable-key", Action: "iam.disable-access-key", Plan: &respond.Plan{
				Action: "iam.disable-access-key", Target: event.Entity{Kind: "access-key", ID: "AKIAEXAMPLE7Q4Z2LK"}, Decision: respond.AlreadyContained, Reason: "the key is inactive",
				Reads: []respond.Call{{Service: "iam", Operation: "ListAccessKeys", Input: raw(map[string]any{"UserName": "m.rossi"}), Account: account}},
			}},
			{ID: "close-group", Action: "ec2.close-security-group", Plan: &respond.Plan{Action: "ec2.close-security-group", Target: event.Entity{Kind: "security-group", ID: "sg-0a1b2c3d4e5f"}, Decision: respond.Refuse, Reason: "the group is on the list of protected resources"}},
			{ID: "block-bucket", Action: "s3.block-public-access", Skipped: "the finding names no bucket"},
			{ID: "isolate", Action: "ec2.isolate-instance", Error: "describe the instances of 314159265358: AccessDenied: not authorized to perform sts:AssumeRole on riposte-responder"},
			{ID: "tell", Action: "notify.webhook", Plan: &respond.Plan{Action: "notify.webhook", Target: event.Entity{Kind: "webhook", ID: "on-call"}, TargetID: "https://hooks.example.com/riposte", Decision: respond.Contain, Reason: "people are to be told", Effect: "one message to on-call", Calls: []respond.Call{{Service: "http", Operation: "POST", Input: raw(map[string]any{"url": "https://hooks.example.com/riposte"})}}}},
		},
	}
	in.Runs = []string{run.ID}
	return in, []respond.Run{run}
}

const bidi = "\u202egpj.exe\u2066"

// hostile is an incident whose every word is an attack on the page.
func hostile() (respond.Incident, []respond.Run) {
	evil := []string{`<script>document.title="owned"</script>`, `"><img src=x onerror="document.title='owned'">`, `' hx-get="/owned" hx-trigger="load`, "a\rdata: <b>x\r\revent: owned\r\r", bidi, `{{.Secret}}`, `javascript:document.title='owned'`, strings.Repeat("W", 3000), "tag\U000e0041\x1b[31m\x00"}
	all := strings.Join(evil, " ")
	a := event.Actor{Type: evil[0], ARN: all, Name: evil[1] + bidi, Account: evil[2], PrincipalID: evil[0], Session: evil[1], AccessKey: evil[3], SourceIdentity: evil[4], IP: evil[0], UserAgent: all}
	a.Root = &event.Actor{Type: evil[1], Name: all}
	f := finding("evil", `x"><script>`, all, event.High, 2*time.Minute, "attack."+evil[0], evil[1])
	f.Actor, f.Account, f.Region = a, evil[1], evil[0]
	f.Entities = []event.Entity{{Kind: evil[0], ID: all}, {Kind: "s3-bucket", ID: evil[6]}}
	f.Evidence.Explain = &event.Truth{Expr: all, Value: raw(all), Error: all}
	f.Evidence.Records[0].ID, f.Evidence.Records[0].Raw = evil[1], raw(map[string]any{"userAgent": all, evil[0]: evil[1]})
	in := incident("hostile", a, evil[0], f)
	in.Title, in.Account = all, evil[1]
	p := &respond.Plan{Action: evil[0], Target: event.Entity{Kind: evil[1], ID: all}, TargetID: all, Decision: respond.Contain, Reason: all, Effect: all, Before: raw(all), Recorded: &event.Resource{Type: all, ID: all, Tags: map[string]any{all: all}}, Permissions: []string{evil[0]}, Warnings: []string{all},
		Calls: []respond.Call{{Service: evil[0], Operation: evil[1], Input: raw(map[string]any{"x": all}), Account: evil[1], Region: bidi}}, Restore: evil[0]}
	return in, []respond.Run{{ID: evil[1], Playbook: evil[0], PlaybookTitle: all, Incident: in.ID, Finding: f.ID, Mode: evil[1], Status: evil[0], Started: start, Ended: start,
		Steps: []respond.StepRun{{ID: evil[1], Action: evil[0], Plan: p}, {ID: "e", Action: evil[1], Error: all}, {ID: "s", Action: evil[2], Skipped: all}}}}
}

func newFake() *fake {
	f := &fake{runs: map[string][]respond.Run{}}
	in, runs := takeover()
	f.incidents, f.runs[in.ID] = append(f.incidents, in), runs
	deploy := event.Actor{Type: "AssumedRole", ARN: "arn:aws:iam::271828182845:role/ci/deploy", Name: "deploy", Account: "271828182845", Session: "GitHubActions-9182", IP: "198.51.100.24", MFA: false,
		Root: &event.Actor{Type: "WebIdentityUser", Name: "repo:example/shop:ref:refs/heads/main", Account: "271828182845"}}
	bucket := finding("b1", "exfiltration.bucket-made-public", "deploy made the bucket shop-invoices public", event.High, -40*time.Minute, "attack.t1530")
	bucket.Actor, bucket.Account, bucket.Entities = deploy, "271828182845", []event.Entity{{Kind: "s3-bucket", ID: "arn:aws:s3:::shop-invoices"}}
	f.incidents = append(f.incidents, incident("bucket", deploy, "us-east-1", bucket))
	root := event.Actor{Type: "Root", ARN: "arn:aws:iam::161803398874:root", Account: "161803398874", IP: "192.0.2.10", MFA: true}
	login := finding("r1", "identity.root-login", "The root user of 161803398874 signed in", event.Medium, -5*time.Hour, "attack.t1078.004")
	login.Actor, login.Account, login.Evidence = root, "161803398874", event.Evidence{}
	f.incidents = append(f.incidents, incident("root", root, "us-east-1", login))
	scan := finding("s1", "network.port-scan", "203.0.113.200 was refused on 1 204 ports of 10.0.4.17", event.Low, -26*time.Hour, "attack.t1046")
	scan.Actor = event.Actor{Type: "Address", Name: "203.0.113.200", IP: "203.0.113.200"}
	closed := incident("scan", scan.Actor, "eu-central-1", scan)
	closed.Status = "closed"
	f.incidents = append(f.incidents, closed)
	merged := incident("merged", rossi, "eu-west-1", finding("m1", "x.y", "an early finding", event.Low, 0))
	merged.Merged, merged.Status = in.ID, "closed"
	f.incidents = append(f.incidents, merged)
	f.rules, f.state, f.telemetry = fakeRules(), fakeHealth(), fakeTelemetry()
	return f
}

func fakeRules() []Rule {
	return []Rule{
		{ID: "evasion.trail-stopped", Title: "CloudTrail logging stopped", Description: "Somebody stopped or deleted a trail. Attackers do it first, so that what follows is not recorded.", Severity: event.Critical, Source: "cloudtrail", When: "eventSource == \"cloudtrail.amazonaws.com\" &&\n(eventName == \"StopLogging\" || eventName == \"DeleteTrail\") && errorCode == \"\"", Attack: []string{"T1562.008"}, File: "rules/evasion/trail-stopped.yaml", Evaluated: 1204, Hits: 3, LastHit: start.Add(4 * time.Minute)},
		{ID: "exfiltration.bucket-made-public", Title: "Bucket made public", Severity: event.High, Source: "cloudtrail", When: `eventName == "PutBucketPolicy"`, Attack: []string{"T1530"}, File: "rules/exfiltration/bucket.yaml", Evaluated: 88213, Hits: 1204, Errors: 17, LastError: `rules/exfiltration/bucket.yaml:9:12: no such key: requestParameters.bucketPolicy.Statement`, LastHit: start},
		{ID: "identity.root-login", Title: "Root user signed in", Severity: event.Medium, Source: "cloudtrail", When: `eventName == "ConsoleLogin"`, Attack: []string{"T1078.004"}, File: "rules/identity/root-login.yaml", Evaluated: 93, Hits: 1, LastHit: start.Add(-5 * time.Hour)},
		{ID: "network.port-scan", Title: "Many refused ports", Severity: event.Low, Source: "flow", When: `action == "REJECT"`, Attack: []string{"T1046"}, File: "rules/network/scan.yaml", Evaluated: 1203948, Hits: 0},
		{ID: "posture.open-group", Title: "Security group open to the world with a rather long title that has to go on to the next line on a phone", Severity: event.Info, Source: "config", When: `resourceType == "AWS::EC2::SecurityGroup"`, File: "rules/posture/open-group.yaml", Evaluated: 51, Hits: 20, LastHit: start.Add(-time.Hour)},
	}
}

func fakeTelemetry() []Telemetry {
	at := func(d time.Duration) time.Time { return time.Now().Add(-d).UTC() }
	evil := `<script>document.title="owned"</script>` + bidi + strings.Repeat("W", 40)
	return []Telemetry{
		{Level: "log", Log: "cloudtrail", State: "ok", Last: at(4 * time.Minute), Lag: 4 * time.Minute, Patience: 30 * time.Minute, Events: 1_204_000, Sources: []string{"s3"}},
		{Level: "account", Log: "cloudtrail", Account: "314159265358", State: "silent", Last: at(3 * time.Hour), Lag: 5 * time.Minute, Delivered: 4 * time.Minute, Gap: 5 * time.Minute, Patience: 30 * time.Minute, Events: 88_213, Sources: []string{"s3"}, Speaking: []string{"config", "flow"}},
		{Level: "region", Log: "cloudtrail", Account: "314159265358", Region: "eu-west-1", State: "silent", Within: true, Last: at(3 * time.Hour), Patience: 30 * time.Minute, Events: 12, Sources: []string{"s3"}},
		{Level: "account", Log: "flow", Account: "314159265358", State: "losing", Last: at(6 * time.Minute), Lag: 6 * time.Minute, Patience: time.Hour, Events: 90_000, Lost: 2100, Sources: []string{"s3"}},
		{Level: "vpc", Log: "flow", Account: "314159265358", Region: "eu-west-1", VPC: "vpc-0a1b2c3d4e5f60718", State: "missing"},
		{Level: "account", Log: "cloudtrail", Account: "271828182845", State: "ok", Last: at(4 * time.Minute), Lag: 4 * time.Minute, Delivered: 3 * time.Minute, Patience: 30 * time.Minute, Events: 412_000, Sources: []string{"s3", "receiver"}, Future: 3},
		{Level: "account", Log: "config", Account: "271828182845", State: "late", Last: at(30 * time.Hour), Lag: 29 * time.Hour, Patience: 72 * time.Hour, Events: 96, Sources: []string{"s3"}},
		{Level: "account", Log: "cloudtrail", Account: "161803398874", State: "sparse", Last: at(50 * time.Hour), Lag: 7 * time.Minute, Events: 4, Sources: []string{"s3"}},
		{Level: "account", Log: evil, Account: evil, Region: evil, State: "new", Last: at(time.Minute), Sources: []string{evil}, Speaking: []string{evil}},
	}
}

func fakeHealth() Health {
	return Health{
		Version: "0.1.0", Started: start.Add(-3 * time.Hour), Roles: []string{"ingest", "detect", "respond", "console"}, Mode: "dry-run",
		Stages: []Stage{{"read", 1203948, 4210.3}, {"evaluated", 1203848, 4188.9}, {"findings", 1228, 0.4}, {"handled", 1228, 0.4}},
		P50:    3400 * time.Microsecond, P99: 41 * time.Millisecond, DeadLetters: 2,
		Letters: []Letter{
			{Seq: 7, Time: start, Place: "incoming/2026/03/02/trail-0007.json.gz:12", Reason: "decode record: unexpected end of JSON input", Kind: "cloudtrail"},
			{Seq: 4, Time: start.Add(-time.Hour), Place: "events.batch 3fe2", Reason: "respond: plan the run: the store did not answer in 30 s"},
		},
		Streams: []Stream{
			{Name: "EVENTS", Messages: 12040, Bytes: 412 << 20, MaxBytes: 2 << 30, Last: start.Add(8 * time.Minute), Consumers: []Consumer{{"detect", 120, 4, 0}, {"archive", 0, 0, 0}}},
			{Name: "FINDINGS", Messages: 1228, Bytes: 9 << 20, MaxBytes: 512 << 20, Last: start.Add(8 * time.Minute), Consumers: []Consumer{{"respond", 0, 1, 2}}},
			{Name: "DEAD", Messages: 2, Bytes: 8200, MaxBytes: 256 << 20, Last: start},
		},
		RulesError: "rules/evasion/new.yaml:7:9: undeclared reference to 'evenName' (did you mean eventName?)\n  7 |   evenName == \"StopLogging\"\n    |   ^",
	}
}

const token = "correct-horse-battery-staple"

func newServer(t testing.TB, r Reader) *Server {
	t.Helper()
	s, err := New(Config{Reader: r, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
