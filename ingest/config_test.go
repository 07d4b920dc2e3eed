package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"riposte/event"
)

const flowLogItem = `{"configurationItemVersion":"1.3","configurationItemCaptureTime":"2026-03-02T09:14:05.123Z","configurationItemStatus":"OK","configurationStateId":"1772442845123","awsAccountId":"111122223333","resourceType":"AWS::EC2::FlowLog","resourceId":"fl-1","awsRegion":"eu-west-1","configuration":{"flowLogStatus":"ACTIVE"}}`

const oversizedMail = `View the Timeline for this Resource in AWS Config Management Console: https://console.aws.amazon.com/{x}
New State Record Summary:
----------------------------
{"configurationItemSummary":{"changeType":"UPDATE","configurationItemVersion":"1.2","configurationItemCaptureTime":"2026-03-02T09:14:05.123Z","configurationStateId":0,"awsAccountId":"111122223333","configurationItemStatus":"OK","resourceType":"AWS::EC2::SecurityGroup","resourceId":"sg-1","ARN":"arn:aws:ec2:eu-west-1:111122223333:security-group/sg-1","awsRegion":"eu-west-1"},"s3DeliverySummary":{"s3BucketLocation":"audit/AWSLogs/111122223333/Config/eu-west-1/2026/3/2/OversizedChangeNotification/AWS::EC2::SecurityGroup/sg-1/x.json.gz","errorCode":null,"errorMessage":null},"notificationCreationTime":"2026-03-02T09:15:00Z","messageType":"OversizedConfigurationItemChangeNotification","recordVersion":"1.0"}`

// readAll reads one object and returns copies of its events and the reasons of what was set aside.
func readAll(t *testing.T, text string, expand Expand) (events []event.Event, broken []string, stats Stats, err error) {
	t.Helper()
	sink := Sink{
		Emit: func(_ context.Context, b Batch) error {
			for i := range b.Events {
				events = append(events, b.Events[i].Clone())
			}
			return nil
		},
		Broken: func(_ context.Context, b Broken) error { broken = append(broken, b.Reason); return nil },
		Expand: expand,
	}
	stats, err = NewReader().Read(t.Context(), Object{Source: "test", Name: "x", Identity: "x"}, strings.NewReader(text), sink)
	return events, broken, stats, err
}

func sns(message string) string {
	b, _ := json.Marshal(map[string]string{"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:config", "Message": message})
	return string(b)
}

// TestConfigRoads: an item is read from every shape in which Config hands it out.
func TestConfigRoads(t *testing.T) {
	notification := `{"configurationItemDiff":null,"configurationItem":` + flowLogItem + `,"notificationCreationTime":"2026-03-02T09:15:00Z","messageType":"ConfigurationItemChangeNotification","recordVersion":"1.3"}`
	oldest := `{"configurationItemDiff":{"changeType":"UPDATE"},"configurationItem":[` + flowLogItem + `],"NotificationCreateTime":"2026-03-02T09:15:00Z","messageType":"ConfigurationItemChangeNotification"}`
	invocation, _ := json.Marshal(map[string]string{"version": "1.0", "invokingEvent": notification, "ruleParameters": "{}"})
	for name, text := range map[string]string{
		"bare":                          flowLogItem,
		"notification":                  notification,
		"SNS":                           sns(notification),
		"SNS, words before":             sns("Dear operator, {see below}:\n" + notification),
		"EventBridge":                   `{"version":"0","detail-type":"Config Configuration Item Change","source":"aws.config","detail":` + notification + `}`,
		"EventBridge over SNS":          sns(`{"version":"0","source":"aws.config","detail":` + notification + `}`),
		"a rule's invocation":           string(invocation),
		"the oldest":                    oldest,
		"snapshot":                      `{"fileVersion":"1.0","configSnapshotId":"00000000-0000-4000-8000-000000000000","configurationItems":[` + flowLogItem + `]}`,
		"history":                       `{"configurationItems":[` + flowLogItem + `],"fileVersion":"1.0"}`,
		"a file that begins otherwise":  `{"requestId":"x","configurationItems":[ ` + flowLogItem + ` ],"fileVersion":"1.0"}`,
		"a snapshot inside a message":   sns(`{"configurationItems":[` + flowLogItem + `]}`),
		"deleted: no configuration":     strings.Replace(strings.Replace(flowLogItem, `{"flowLogStatus":"ACTIVE"}`, "null", 1), `"OK"`, `"ResourceDeleted"`, 1),
		"API spelling, state as number": strings.NewReplacer("awsAccountId", "accountId", "configurationItemVersion", "version", `"1772442845123"`, `1772442845123`, `{"flowLogStatus":"ACTIVE"}`, `"{\"flowLogStatus\":\"ACTIVE\"}"`).Replace(flowLogItem),
	} {
		events, broken, stats, err := readAll(t, text, nil)
		if err != nil || len(broken) > 0 || stats.Foreign || len(events) != 1 {
			t.Errorf("%s: %d events, set aside %q, %+v, %v", name, len(events), broken, stats, err)
			continue
		}
		if e := &events[0]; e.Kind != event.ConfigItem || e.ID() != "111122223333/eu-west-1/AWS::EC2::FlowLog/fl-1/1772442845123" {
			t.Errorf("%s: %s event %s", name, e.Kind, e.ID())
		}
	}
	events, _, _, err := readAll(t, oldest, nil)
	if err != nil || events[0].Text(event.ConfigMessageType) == "" || !events[0].Has(event.ConfigDiff) {
		t.Errorf("the oldest form loses what stands beside its item: %v", err)
	}
}

// TestConfigSilent: what Config tells beside items is no dead letter.
func TestConfigSilent(t *testing.T) {
	for _, message := range []string{
		`{"configSnapshotId":"x","notificationCreationTime":"2026-03-02T09:15:00Z","messageType":"ConfigurationSnapshotDeliveryStarted","recordVersion":"1.1"}`,
		`{"configSnapshotId":"x","s3ObjectKey":"k","s3Bucket":"bucket","messageType":"ConfigurationSnapshotDeliveryCompleted"}`,
		`{"messageType":"ConfigurationSnapshotDeliveryFailed"}`,
		`{"s3ObjectKey":"k","s3Bucket":"bucket","messageType":"ConfigurationHistoryDeliveryCompleted"}`,
		`{"awsAccountId":"111122223333","awsRegion":"eu-west-1","configRuleNames":["r"],"messageType":"ConfigRulesEvaluationStarted"}`,
		`{"awsAccountId":"111122223333","messageType":"ScheduledNotification","recordVersion":"1.0"}`,
	} {
		for road, text := range map[string]string{"bare": message, "SNS": sns(message), "EventBridge": `{"source":"aws.config","detail":` + message + `}`} {
			events, broken, stats, err := readAll(t, text, nil)
			if err != nil || len(events)+len(broken) > 0 || stats.Foreign {
				t.Errorf("%s, %s: %d events, set aside %q, %+v, %v", road, message, len(events), broken, stats, err)
			}
		}
	}
	// Config writes an empty object to see whether it may.
	if events, broken, stats, err := readAll(t, "", nil); err != nil || len(events)+len(broken) > 0 || stats.Foreign {
		t.Errorf("an empty object: %d events, set aside %q, %+v, %v", len(events), broken, stats, err)
	}
}

// TestOversized: the whole item takes the place of its summary, and where there
// is none the summary stays.
func TestOversized(t *testing.T) {
	whole := `{"configurationItemDiff":{"changeType":"UPDATE"},"configurationItem":{"configurationItemCaptureTime":"2026-03-02T09:14:05.123Z","configurationStateId":0,"awsAccountId":"111122223333","resourceType":"AWS::EC2::SecurityGroup","resourceId":"sg-1","awsRegion":"eu-west-1","configuration":{"groupName":"wide"}},"messageType":"ConfigurationItemChangeNotification"}`
	var asked Oversized
	give := func(b []byte, err error) Expand {
		return func(_ context.Context, o Oversized) ([]byte, error) { asked = o; return b, err }
	}
	for name, c := range map[string]struct {
		expand     Expand
		incomplete bool
	}{
		"fetched": {give([]byte(whole), nil), false}, "there is none": {give(nil, nil), true}, "what came is no item": {give([]byte(`{"a":1}`), nil), true},
		"what came is no JSON": {give([]byte("<html>"), nil), true}, "nobody fetches": {nil, true},
	} {
		events, broken, _, err := readAll(t, sns(oversizedMail)+"\n"+flowLogItem, c.expand)
		if err != nil || len(broken) > 0 || len(events) != 2 {
			t.Errorf("%s: %d events, set aside %q, %v", name, len(events), broken, err)
			continue
		}
		e := &events[0]
		if e.Incomplete() != c.incomplete || e.Text(event.ConfigResourceID) != "sg-1" || e.Has(event.ConfigConfiguration) == c.incomplete {
			t.Errorf("%s: incomplete %v: %s", name, e.Incomplete(), e.Raw)
		}
		if kind, _ := e.Change(); kind != event.Updated {
			t.Errorf("%s: change %q", name, kind)
		}
	}
	if asked.Type != "AWS::EC2::SecurityGroup" || asked.ID != "sg-1" || asked.Account != "111122223333" || asked.Region != "eu-west-1" ||
		asked.StateID != "0" || asked.Captured.IsZero() || !strings.HasPrefix(asked.Location, "audit/AWSLogs/") || !strings.Contains(asked.Location, "AWS::EC2::SecurityGroup/sg-1/") || asked.Error != "" {
		t.Errorf("asked for %+v", asked)
	}
	// What cannot be fetched now must be read again: nothing is delivered in its place.
	_, _, _, err := readAll(t, sns(oversizedMail), give(nil, errors.New("throttled")))
	var delivery *DeliveryError
	if !errors.As(err, &delivery) || !strings.Contains(err.Error(), "throttled") {
		t.Errorf("a fetch that failed: %v", err)
	}
}

// FuzzConfigEnvelopes: whatever lies in an envelope, reading neither panics nor
// loses the record behind it.
func FuzzConfigEnvelopes(f *testing.F) {
	f.Add([]byte(oversizedMail))
	f.Add([]byte(`{"configurationItems":[` + flowLogItem + `,1,{"a":[}]}`))
	f.Add([]byte(`words { then {"messageType":"ScheduledNotification"}`))
	reader := NewReader()
	f.Fuzz(func(t *testing.T, message []byte) {
		envelope, err := json.Marshal(map[string]string{"Type": "Notification", "Message": string(message)})
		if err != nil {
			t.Skip()
		}
		var ids []string
		sink := Sink{
			Emit: func(_ context.Context, b Batch) error {
				for i := range b.Events {
					ids = append(ids, b.Events[i].ID())
				}
				return nil
			},
			Expand: func(context.Context, Oversized) ([]byte, error) { return message, nil },
		}
		text := append(append([]byte(flowLogItem+"\n"), envelope...), []byte("\n"+flowLogItem)...)
		if _, err := reader.Read(t.Context(), Object{Name: "x"}, bytes.NewReader(text), sink); err != nil {
			t.Fatal(err)
		}
		const want = "111122223333/eu-west-1/AWS::EC2::FlowLog/fl-1/1772442845123"
		if len(ids) < 2 || ids[0] != want || ids[len(ids)-1] != want {
			t.Fatalf("read %q", ids)
		}
	})
}
