package event

import (
	"slices"
	"testing"
	"time"
)

func TestChange(t *testing.T) {
	diff := func(kind, properties string) string {
		return `{"messageType":"ConfigurationItemChangeNotification","configurationItem":{"resourceType":"T","configurationItemStatus":"OK"},"configurationItemDiff":{"changeType":"` + kind + `","changedProperties":{` + properties + `}}}`
	}
	for name, c := range map[string]struct {
		raw        string
		kind       string
		properties []string
	}{
		"created":                         {diff("CREATE", ""), Created, nil},
		"updated":                         {diff("UPDATE", `"Configuration.Mfa":{"previousValue":true,"updatedValue":false,"changeType":"UPDATE"}`), Updated, []string{"Configuration.Mfa"}},
		"deleted, as its status says":     {`{"resourceType":"T","configurationItemStatus":"ResourceDeleted","configuration":null}`, Deleted, nil},
		"deleted and not recorded":        {`{"resourceType":"T","configurationItemStatus":"ResourceDeletedNotRecorded"}`, Deleted, nil},
		"deleted, as its difference says": {diff("DELETE", `"Configuration":{"previousValue":{"a":1},"updatedValue":null,"changeType":"DELETE"}`), Deleted, []string{"Configuration"}},
		"a neighbour changed":             {diff("UPDATE", `"Relationships.0":{"previousValue":null,"updatedValue":{"resourceId":"i-1"},"changeType":"CREATE"},"Relationships.3":{"previousValue":{"resourceId":"i-2"},"updatedValue":null,"changeType":"DELETE"}`), Related, []string{"Relationships.0", "Relationships.3"}},
		"a neighbour and itself":          {diff("UPDATE", `"Relationships.0":{"updatedValue":{"resourceId":"i-1"}},"Tags.env":{"updatedValue":"prod"}`), Updated, []string{"Relationships.0", "Tags.env"}},
		"a list in another order":         {diff("UPDATE", `"Configuration.IpPermissions.0":{"previousValue":{"a":1,"b":[2]},"updatedValue":null,"changeType":"DELETE"},"Configuration.IpPermissions.1":{"previousValue":null,"updatedValue":{"b":[2],"a":1},"changeType":"CREATE"}`), Unchanged, nil},
		"two that changed places":         {diff("UPDATE", `"Configuration.L.0":{"previousValue":"a","updatedValue":"b"},"Configuration.L.1":{"previousValue":"b","updatedValue":"a"}`), Unchanged, nil},
		"another order, and one more":     {diff("UPDATE", `"Configuration.L.0":{"previousValue":"a","updatedValue":null},"Configuration.L.1":{"previousValue":null,"updatedValue":"a"},"Configuration.L.2":{"updatedValue":"c"}`), Updated, []string{"Configuration.L.2"}},
		"one of two alike left":           {diff("UPDATE", `"Configuration.L.0":{"previousValue":"a"},"Configuration.L.1":{"previousValue":"a"},"Configuration.L.2":{"updatedValue":"a"}`), Updated, []string{"Configuration.L.1"}},
		"alike in different lists":        {diff("UPDATE", `"Configuration.Egress.0":{"previousValue":"a"},"Configuration.Ingress.0":{"updatedValue":"a"}`), Updated, []string{"Configuration.Egress.0", "Configuration.Ingress.0"}},
		"an object as text and as object": {diff("UPDATE", `"SupplementaryConfiguration.L.0":{"previousValue":"{\"b\":1,\"a\":2}"},"SupplementaryConfiguration.L.1":{"updatedValue":{"a":2,"b":1}}`), Unchanged, nil},
		"how is not said":                 {diff("UPDATE", `"Configuration.X":{"changeType":"UPDATE"}`), Updated, []string{"Configuration.X"}},
		"no properties":                   {diff("UPDATE", ""), Updated, nil},
		"nothing":                         {diff("NONE", ""), Unchanged, nil},
		"a snapshot's item":               {`{"resourceType":"T","configurationItemStatus":"OK","configuration":{}}`, "", nil},
		"a summary":                       {`{"messageType":"OversizedConfigurationItemChangeNotification","configurationItemSummary":{"changeType":"CREATE","resourceType":"T","configurationItemStatus":"OK"}}`, Created, nil},
	} {
		e, err := Decode(ConfigItem, []byte(c.raw))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if kind, properties := e.Change(); kind != c.kind || !slices.Equal(properties, c.properties) {
			t.Errorf("%s: %q %q, want %q %q", name, kind, properties, c.kind, c.properties)
		}
	}
}

// TestConfigSpellings: an item is the same whichever of Config's roads it came by.
func TestConfigSpellings(t *testing.T) {
	for name, raw := range map[string]string{
		"notification": `{"messageType":"ConfigurationItemChangeNotification","notificationCreationTime":"2022-02-22T09:40:00.000Z","recordVersion":"1.3","configurationItem":{"configurationItemVersion":"1.3","configurationItemCaptureTime":"2022-02-22T09:38:19.227Z","configurationItemStatus":"OK","configurationStateId":1645522699227,"awsAccountId":"123456789012","ARN":"arn:aws:ec2:us-east-2:123456789012:flow-log/fl-1","resourceType":"AWS::EC2::FlowLog","resourceId":"fl-1","awsRegion":"us-east-2","configuration":{"flowLogStatus":"ACTIVE"},"relatedEvents":[],"configurationItemMD5Hash":""}}`,
		"the oldest":   `{"messageType":"ConfigurationItemChangeNotification","NotificationCreateTime":"2022-02-22T09:40:00.000Z","configurationItem":[{"configurationItemVersion":"1.0","configurationItemCaptureTime":"2022-02-22T09:38:19.227Z","configurationItemStatus":"OK","configurationStateId":"1645522699227","accountId":"123456789012","arn":"arn:aws:ec2:us-east-2:123456789012:flow-log/fl-1","resourceType":"AWS::EC2::FlowLog","resourceId":"fl-1","awsRegion":"us-east-2","configuration":{"flowLogStatus":"ACTIVE"}}]}`,
		"API":          `{"version":"1.3","accountId":"123456789012","configurationItemCaptureTime":1645522699.227,"configurationItemStatus":"OK","configurationStateId":"1645522699227","arn":"arn:aws:ec2:us-east-2:123456789012:flow-log/fl-1","resourceType":"AWS::EC2::FlowLog","resourceId":"fl-1","awsRegion":"us-east-2","configuration":"{\"flowLogStatus\":\"ACTIVE\"}"}`,
	} {
		e, err := Decode(ConfigItem, []byte(raw))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := "123456789012/us-east-2/AWS::EC2::FlowLog/fl-1/1645522699227"; e.ID() != want {
			t.Errorf("%s: id %s", name, e.ID())
		}
		if want := time.UnixMilli(1645522699227).UTC(); !e.Time().Equal(want) {
			t.Errorf("%s: time %s, want %s", name, e.Time(), want)
		}
		if arn := e.Text(ConfigARN); arn != "arn:aws:ec2:us-east-2:123456789012:flow-log/fl-1" {
			t.Errorf("%s: ARN %q", name, arn)
		}
		if m, _ := e.Value(ConfigConfiguration).(map[string]any); m["flowLogStatus"] != "ACTIVE" {
			t.Errorf("%s: configuration %v", name, e.Value(ConfigConfiguration))
		}
	}
	if _, err := Decode(ConfigItem, []byte(`{"configurationItem":[{"resourceId":"a"},{"resourceId":"b"}]}`)); err == nil {
		t.Error("two items in one notification are read as one")
	}
}

func TestIncomplete(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"messageType":"OversizedConfigurationItemChangeNotification","configurationItemSummary":{"resourceType":"T"}}`:         true,
		`{"messageType":"OversizedConfigurationItemChangeDeliveryFailed","configurationItemSummary":{"resourceType":"T"}}`:       true,
		`{"messageType":"ConfigurationItemChangeNotification","configurationItem":{"resourceType":"T","configuration":null}}`:    false,
		`{"messageType":"OversizedConfigurationItemChangeNotification","configurationItem":{"configuration":{"of":"the file"}}}`: false,
	} {
		e, err := Decode(ConfigItem, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if e.Incomplete() != want {
			t.Errorf("%s: incomplete is %v", raw, !want)
		}
	}
}
