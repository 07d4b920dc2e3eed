package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte/event"
	"riposte/ingest"
)

// The shapes of AWS's documentation, with values of our own.
const (
	guardDuty = `{"schemaVersion":"2.0","accountId":"111122223333","region":"eu-west-1","partition":"aws","id":"f1","arn":"arn:aws:guardduty:eu-west-1:111122223333:detector/d1/finding/f1",
"type":"UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS","resource":{"resourceType":"AccessKey","accessKeyDetails":{"accessKeyId":"ASIAEXAMPLE","principalId":"AROAEXAMPLE:i-0abc","userType":"AssumedRole","userName":"web"}},
"service":{"serviceName":"guardduty","count":3,"archived":false,"action":{"actionType":"AWS_API_CALL","awsApiCallAction":{"api":"ListBuckets","remoteIpDetails":{"ipAddressV4":"198.51.100.7"}}}},
"severity":8,"createdAt":"2026-01-02T03:00:00.000Z","updatedAt":"2026-01-02T03:04:05.678Z","title":"Credentials are used elsewhere","description":"..."}`
	securityHub = `{"SchemaVersion":"2018-10-08","Id":"%s","ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","GeneratorId":"g","AwsAccountId":"111122223333","Region":"eu-west-1",
"Types":["Software and Configuration Checks/x"],"CreatedAt":"2026-01-02T03:00:00Z","UpdatedAt":"2026-01-02T03:04:05Z","Severity":{"Label":"HIGH"},"Title":"t","Compliance":{"Status":"FAILED"},"RecordState":"ACTIVE",
"Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::data","Region":"eu-west-1"}]}`
	ocsf = `{"activity_id":1,"class_uid":2003,"class_name":"Compliance Finding","cloud":{"account":{"uid":"111122223333"},"region":"eu-west-1"},"finding_info":{"uid":"o1","title":"t","types":["Posture Management"]},
"metadata":{"version":"1.6.0","product":{"uid":"arn:aws:securityhub:eu-west-1::productv2/aws/securityhub"}},"severity":"High","severity_id":4,"time":1767323045000,"compliance":{"status":"Fail"},"resources":[{"uid":"arn:aws:s3:::data","type":"AWS::S3::Bucket"}]}`
	insight = `{"eventVersion":"1.08","eventTime":"2026-01-02T03:04:05Z","awsRegion":"eu-west-1","eventID":"i1","eventType":"AwsCloudTrailInsight","recipientAccountId":"111122223333","sharedEventID":"s","eventCategory":"Insight",
"insightDetails":{"state":"Start","eventSource":"iam.amazonaws.com","eventName":"AttachUserPolicy","insightType":"ApiErrorRateInsight","errorCode":"AccessDenied","insightContext":{"statistics":{"baseline":{"average":0.001},"insight":{"average":7.5},"insightDuration":3,"baselineDuration":10080}}}}`
	compliance = `{"awsAccountId":"111122223333","configRuleName":"s3-public","configRuleARN":"arn:aws:config:eu-west-1:111122223333:config-rule/config-rule-a","resourceType":"AWS::S3::Bucket","resourceId":"data","awsRegion":"eu-west-1",
"newEvaluationResult":{"evaluationResultIdentifier":{"evaluationResultQualifier":{"configRuleName":"s3-public","resourceType":"AWS::S3::Bucket","resourceId":"data"},"orderingTimestamp":"2026-01-02T03:03:00.000Z"},"complianceType":"NON_COMPLIANT","resultRecordedTime":"2026-01-02T03:04:05.000Z"},
"oldEvaluationResult":null,"notificationCreationTime":"2026-01-02T03:04:06.000Z","messageType":"ComplianceChangeNotification","recordVersion":"1.0"}`
	signIn = `{"eventVersion":"1.08","eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin","eventTime":"2026-01-02T03:04:05Z","awsRegion":"us-east-1","eventID":"c1","recipientAccountId":"111122223333","eventType":"AwsConsoleSignIn","responseElements":{"ConsoleLogin":"Success"}}`
)

// bridge is EventBridge's envelope.
func bridge(source, detailType, detail string) string {
	return fmt.Sprintf(`{"version":"0","id":"e-%x","detail-type":%q,"source":%q,"account":"111122223333","time":"2026-01-02T03:04:07Z","region":"eu-west-1","resources":[],"detail":%s}`, len(detailType), detailType, source, detail)
}

// topic is SNS's envelope.
func topic(t *testing.T, message string) string {
	t.Helper()
	inner, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:eu-west-1:111122223333:t","Message":%s,"Timestamp":"2026-01-02T03:04:08Z"}`, inner)
}

// seen is what a test looks at of an event.
type seen struct {
	Kind, ID, Name, Account, Actor, AccessKey, Severity, Outcome string
	Entities                                                     []string
}

func look(t *testing.T, o ingest.Object, data string) (events []seen, times []time.Time, broken []ingest.Broken) {
	t.Helper()
	o.Source, o.Name, o.Identity = "files", "f", "x"
	_, err := ingest.NewReader().Read(t.Context(), o, strings.NewReader(data), ingest.Sink{
		Emit: func(_ context.Context, b ingest.Batch) error {
			for i := range b.Events {
				e := &b.Events[i]
				a := e.Actor()
				s := seen{Kind: e.Kind.String(), ID: strings.Clone(e.ID()), Name: strings.Clone(e.Name()), Account: strings.Clone(e.Account()), Actor: a.Name, AccessKey: a.AccessKey}
				if e.Kind >= event.Insight {
					s.Severity, s.Outcome = strings.Clone(e.Text(event.EntrySeverity)), strings.Clone(e.Text(event.EntryOutcome))
				}
				for _, n := range e.Entities() {
					s.Entities = append(s.Entities, n.Kind+" "+n.ID)
				}
				events, times = append(events, s), append(times, e.Time())
				if !e.Delivered.Equal(o.Delivered) {
					t.Errorf("%s was delivered %s, want %s", s.ID, e.Delivered, o.Delivered)
				}
			}
			return nil
		},
		Broken: func(_ context.Context, b ingest.Broken) error {
			b.Raw = bytes.Clone(b.Raw)
			broken = append(broken, b)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return events, times, broken
}

// TestEntries: findings and changes arrive bare, in EventBridge's envelope, through
// SNS, and several in one, and are each an event of its own kind.
func TestEntries(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hub := func(id string) string { return fmt.Sprintf(securityHub, id) }
	wantHub := func(id string) seen {
		return seen{Kind: "securityhub", ID: id + "@2026-01-02T03:04:05Z", Name: "Software and Configuration Checks/x", Account: "111122223333", Severity: "HIGH", Outcome: "FAILED", Entities: []string{"s3-bucket arn:aws:s3:::data"}}
	}
	wantGuard := seen{
		Kind: "guardduty", ID: "f1@2026-01-02T03:04:05.678Z", Name: "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS", Account: "111122223333",
		Actor: "web", AccessKey: "ASIAEXAMPLE", Severity: "8", Outcome: "false",
		Entities: []string{"access-key ASIAEXAMPLE", "iam-role arn:aws:iam::111122223333:role/web", "address 198.51.100.7"},
	}
	wantInsight := seen{Kind: "insight", ID: "i1", Name: "AttachUserPolicy", Account: "111122223333", Outcome: "Start", Entities: []string{"service iam.amazonaws.com"}}
	wantOCSF := seen{Kind: "securityhub", ID: "o1@1767323045000", Name: "Posture Management", Account: "111122223333", Severity: "High", Outcome: "Fail", Entities: []string{"s3-bucket arn:aws:s3:::data"}}
	wantSignIn := seen{Kind: "cloudtrail", ID: "c1", Name: "ConsoleLogin", Account: "111122223333"}
	wantCompliance := seen{
		Kind: "compliance", Name: "s3-public", Account: "111122223333", Outcome: "NON_COMPLIANT", Entities: []string{"s3-bucket data"},
		ID: "compliance-" + event.Hash("111122223333", "eu-west-1", "s3-public", "AWS::S3::Bucket", "data", "2026-01-02T03:04:05.000Z", "NON_COMPLIANT"),
	}
	for name, c := range map[string]struct {
		data string
		want []seen
	}{
		"guardduty, bare":            {guardDuty, []seen{wantGuard}},
		"guardduty, EventBridge":     {bridge("aws.guardduty", "GuardDuty Finding", guardDuty), []seen{wantGuard}},
		"guardduty, exported to S3":  {strings.ReplaceAll(guardDuty, "\n", "") + "\n" + strings.ReplaceAll(guardDuty, "\n", "") + "\n", []seen{wantGuard, wantGuard}},
		"security hub, two in one":   {bridge("aws.securityhub", "Security Hub Findings - Imported", `{"findings":[`+hub("a")+","+hub("b")+`]}`), []seen{wantHub("a"), wantHub("b")}},
		"security hub, by an action": {bridge("aws.securityhub", "Security Hub Findings - Custom Action", `{"actionName":"x","findings":[`+hub("a")+`]}`), []seen{wantHub("a")}},
		"security hub, OCSF":         {bridge("aws.securityhub", "Findings Imported V2", `{"findings":[`+ocsf+`]}`), []seen{wantOCSF}},
		"insight, a log file":        {`{"Records":[` + insight + `,` + insight + `]}`, []seen{wantInsight, wantInsight}},
		"insight, EventBridge":       {bridge("aws.iam", "AWS Insight via CloudTrail", insight), []seen{wantInsight}},
		"compliance, EventBridge":    {bridge("aws.config", "Config Rules Compliance Change", compliance), []seen{wantCompliance}},
		"compliance, SNS":            {topic(t, compliance), []seen{wantCompliance}},
		"sign-in, one spelling":      {bridge("aws.signin", "AWS Console Sign In via CloudTrail", signIn), []seen{wantSignIn}},
		"sign-in, the other":         {bridge("aws.signin", "AWS Console Signin via CloudTrail", signIn), []seen{wantSignIn}},
		"EventBridge through SNS":    {topic(t, bridge("aws.guardduty", "GuardDuty Finding", guardDuty)), []seen{wantGuard}},
		"a mixture":                  {bridge("aws.guardduty", "GuardDuty Finding", strings.ReplaceAll(guardDuty, "\n", "")) + "\n" + signIn + "\n" + strings.ReplaceAll(insight, "\n", "") + "\n", []seen{wantGuard, wantSignIn, wantInsight}},
	} {
		t.Run(name, func(t *testing.T) {
			got, times, broken := look(t, ingest.Object{Delivered: at.Add(time.Minute)}, c.data)
			if len(broken) > 0 {
				t.Errorf("set aside: %+v", broken)
			}
			if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", c.want); g != w {
				t.Errorf("got  %s\nwant %s", g, w)
			}
			for _, when := range times {
				if !when.Truncate(time.Second).Equal(at) {
					t.Errorf("at %s, want %s", when, at)
				}
			}
		})
	}
}

// TestEntriesOfALog reads every object as a record of the log, and sets aside what is none.
func TestEntriesOfALog(t *testing.T) {
	m, err := event.NewMapping(event.MappingSpec{Log: "door", Time: "at", ID: "n", Kind: "what", Actor: "who"})
	if err != nil {
		t.Fatal(err)
	}
	record := func(n int) string {
		return fmt.Sprintf(`{"n":%d,"at":%d,"what":"open","who":"eve","detail":{"eventSource":"iam.amazonaws.com","eventName":"x"},"Records":[{}]}`, n, 1767323045+n)
	}
	for name, c := range map[string]struct {
		data    string
		ids     []string
		reasons []string
	}{
		"lines":         {record(1) + "\n" + record(2) + "\n", []string{"1", "2"}, nil},
		"a list":        {"[" + record(1) + ",\n" + record(2) + "]", []string{"1", "2"}, nil},
		"end to end":    {record(1) + record(2), []string{"1", "2"}, nil},
		"no time":       {`{"n":1}` + "\n" + record(2), []string{"2"}, []string{"no time that can be read at at"}},
		"a bad time":    {`{"n":1,"at":"soon"}` + "\n" + record(2), []string{"2"}, []string{"no time that can be read"}},
		"a broken line": {record(1) + "\n{\"n\":2,,}\n" + record(3), []string{"1", "3"}, []string{"a key in quotes"}},
		"text between":  {record(1) + "\nstarting up\n" + record(3), []string{"1", "3"}, []string{"a JSON object should stand here"}},
		"no end":        {record(1) + "\n{\"n\":2", []string{"1"}, []string{"the data ends inside a record"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, broken := look(t, ingest.Object{Log: m}, c.data)
			var ids []string
			for _, s := range got {
				ids = append(ids, s.ID)
				if s.Kind != "log" || s.Name != "open" || s.Actor != "eve" {
					t.Errorf("%+v", s)
				}
			}
			if !slices.Equal(ids, c.ids) || len(broken) != len(c.reasons) {
				t.Fatalf("records %v, want %v; set aside %+v", ids, c.ids, broken)
			}
			for i, b := range broken {
				if !strings.Contains(b.Reason, c.reasons[i]) || b.Kind != event.Log || b.Mapping != m {
					t.Errorf("set aside %+v, want %s", b, c.reasons[i])
				}
			}
		})
	}
}

// FuzzEntries: whatever lies in an envelope, what comes out is well formed, and
// nothing that encoding/json refuses comes out.
func FuzzEntries(f *testing.F) {
	for _, s := range []string{guardDuty, fmt.Sprintf(securityHub, "a"), ocsf, insight, compliance, signIn} {
		f.Add([]byte(s))
		f.Add([]byte(bridge("aws.x", "X", s)))
		f.Add([]byte(bridge("aws.x", "X", `{"findings":[`+s+`]}`)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kinds := map[event.Kind]int{}
		_, err := ingest.NewReader().Read(t.Context(), ingest.Object{Source: "s", Name: "f", Identity: "x"}, bytes.NewReader(data), ingest.Sink{
			Emit: func(_ context.Context, b ingest.Batch) error {
				for i := range b.Events {
					e := &b.Events[i]
					kinds[e.Kind]++
					e.ID()
					e.Actor()
					e.Entities()
					if e.Kind != event.FlowLog && !json.Valid(e.Raw) {
						t.Fatalf("a %s is no JSON: %q", e.Kind, e.Raw)
					}
					if e.Kind == event.FlowLog || e.Kind == event.Log {
						continue
					}
					if _, err := event.Decode(e.Kind, e.Raw); err != nil {
						t.Fatalf("a %s does not decode again: %v", e.Kind, err)
					}
				}
				return nil
			},
		})
		if err == nil && kinds[event.Log] > 0 {
			t.Fatalf("records of a log that nobody named: %v", slices.Collect(maps.Keys(kinds)))
		}
	})
}
