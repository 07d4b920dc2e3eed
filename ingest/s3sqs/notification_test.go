package s3sqs

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// spelling writes a notification as one of the roads does.
type spelling func(t testing.TB, all ...s3object.Object) string

// spellings are all the roads by name. Those that carry one object take the first.
func spellings() map[string]spelling {
	out := map[string]spelling{}
	for name, bare := range map[string]spelling{"s3": s3Event, "eventbridge": eventBridge, "cloudtrail": cloudTrail, "config": awsConfig} {
		out[name] = bare
		out[name+" through sns"] = func(t testing.TB, all ...s3object.Object) string { return envelope(t, bare(t, all...)) }
	}
	return out
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func s3Event(_ testing.TB, all ...s3object.Object) string {
	var records []string
	for _, o := range all {
		version := ""
		if o.Version != "" {
			version = `"versionId":` + quoted(o.Version) + `,`
		}
		records = append(records, fmt.Sprintf(`{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-west-1","eventTime":"2026-01-02T03:04:05.678Z","eventName":"ObjectCreated:Put",
			"userIdentity":{"principalId":"AWS:AIDAEXAMPLE"},"requestParameters":{"sourceIPAddress":"192.0.2.7"},"responseElements":{"x-amz-request-id":"EXAMPLE","x-amz-id-2":"EXAMPLE"},
			"s3":{"s3SchemaVersion":"1.0","configurationId":"riposte","bucket":{"name":%s,"ownerIdentity":{"principalId":"A1"},"arn":%s},
			"object":{"key":%s,"size":1024,"eTag":"d41d8cd98f00b204e9800998ecf8427e",%s"sequencer":"0055AED6DCD90281E5"}}}`,
			quoted(o.Bucket), quoted("arn:aws:s3:::"+o.Bucket), quoted(strings.ReplaceAll(url.QueryEscape(o.Key), "%2F", "/")), version))
	}
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

func eventBridge(_ testing.TB, all ...s3object.Object) string {
	o := all[0]
	version := ""
	if o.Version != "" {
		version = `"version-id":` + quoted(o.Version) + `,`
	}
	return fmt.Sprintf(`{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":"Object Created","source":"aws.s3","account":"111122223333","time":"2026-01-02T03:04:05Z",
		"region":"eu-west-1","resources":[%s],"detail":{"version":"0","bucket":{"name":%s},"object":{"key":%s,"size":5,"etag":"b1946ac92492d2347c6235b4d2611184",%s"sequencer":"00617F08299329D189"},
		"request-id":"N4N7GDK58NMKJ12R","requester":"cloudtrail.amazonaws.com","source-ip-address":"192.0.2.7","reason":"PutObject"}}`,
		quoted("arn:aws:s3:::"+o.Bucket), quoted(o.Bucket), quoted(o.Key), version)
}

func cloudTrail(t testing.TB, all ...s3object.Object) string {
	var keys []string
	for _, o := range all {
		keys = append(keys, o.Key)
	}
	return text(t, map[string]any{"s3Bucket": all[0].Bucket, "s3ObjectKey": keys})
}

func awsConfig(t testing.TB, all ...s3object.Object) string {
	return text(t, map[string]any{"s3Bucket": all[0].Bucket, "s3ObjectKey": all[0].Key, "messageType": "ConfigurationHistoryDeliveryCompleted", "notificationCreationTime": "2026-01-02T03:04:05.678Z", "recordVersion": "1.1"})
}

func envelope(t testing.TB, message string) string {
	return text(t, map[string]any{"Type": "Notification", "MessageId": "3a1b", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:trail", "Subject": "S3 Notification",
		"Message": message, "Timestamp": "2026-01-02T03:04:05.678Z", "SignatureVersion": "1", "Signature": "x", "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem", "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/x"})
}

const oddKey = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/02/a b+c%20d=é&(1).json.gz"

func TestEverySpelling(t *testing.T) {
	for name, write := range spellings() {
		o := s3object.Object{Bucket: "logs.example", Key: oddKey, Version: "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"}
		got, err := objects([]byte(write(t, o)))
		if strings.HasPrefix(name, "s3") || strings.HasPrefix(name, "eventbridge") {
			o.Region = "eu-west-1"
		} else {
			o.Version = "" // they do not tell
		}
		if diff := cmp.Diff([]s3object.Object{o}, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestSpellingsByHand(t *testing.T) {
	record := func(name, rest string) string {
		return `{"eventVersion":"2.4","eventSource":"aws:s3","awsRegion":"us-gov-west-1","eventName":"` + name + `","s3":{"bucket":{"name":"logs"},"object":{"key":"k"` + rest + `}}}`
	}
	plain := []s3object.Object{{Bucket: "logs", Key: "k", Region: "us-gov-west-1"}}
	for _, c := range []struct {
		name, body string
		want       []s3object.Object
		err        string
	}{
		{"an upload in parts", `{"Records":[` + record("ObjectCreated:CompleteMultipartUpload", "") + `]}`, plain, ""},
		{"with its prefix", `{"Records":[` + record("s3:ObjectCreated:Copy", "") + `]}`, plain, ""},
		{"the null version is none", `{"Records":[` + record("ObjectCreated:Put", `,"versionId":"null"`) + `]}`, plain, ""},
		{"a removal is no object", `{"Records":[` + record("ObjectRemoved:Delete", "") + `,` + record("ObjectCreated:Post", "") + `]}`, plain, ""},
		{"no records", `{"Records":[]}`, nil, ""},
		{"the test event", `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-01-02T03:04:05.678Z","Bucket":"logs","RequestId":"A","HostId":"B"}`, nil, ""},
		{"the test event through SNS", envelope(t, `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"logs"}`), nil, ""},
		{"CloudTrail's validation", envelope(t, "CloudTrail validation message."), nil, ""},
		{"CloudTrail's validation, raw", "CloudTrail validation message.", nil, ""},
		{"two keys", `{"s3Bucket":"logs","s3ObjectKey":["a","b"]}`, []s3object.Object{{Bucket: "logs", Key: "a"}, {Bucket: "logs", Key: "b"}}, ""},
		{"another event of EventBridge", `{"source":"aws.s3","detail-type":"Object Deleted","detail":{"bucket":{"name":"logs"},"object":{"key":"k"}}}`, nil, ""},
		{"EventBridge through SNS twice", envelope(t, envelope(t, eventBridge(t, s3object.Object{Bucket: "logs", Key: "k"}))), []s3object.Object{{Bucket: "logs", Key: "k", Region: "eu-west-1"}}, ""},
		{"too many envelopes", envelope(t, envelope(t, envelope(t, envelope(t, `{"Records":[]}`)))), nil, "more than 3 envelopes"},
		{"a subscription", `{"Type":"SubscriptionConfirmation","Message":"You have chosen to subscribe","SubscribeURL":"https://x"}`, nil, "confirm its subscription"},
		{"CloudTrail records themselves", `{"Records":[{"eventSource":"iam.amazonaws.com","eventName":"GetUser"}]}`, nil, "nor telemetry"},
		{"not JSON", `hello`, nil, "no notification"},
		{"nothing", ``, nil, "no notification"},
		{"another JSON", `{"a":1}`, nil, "neither a notification"},
		{"a call of S3's API", `{"source":"aws.s3","detail-type":"AWS API Call via CloudTrail","detail":{"eventSource":"s3.amazonaws.com","eventName":"PutBucketPolicy"}}`, nil, "neither a notification"},
		{"Config's history, by EventBridge", `{"source":"aws.config","detail-type":"Config Configuration History Delivery Status","detail":{"s3Bucket":"logs","s3ObjectKey":"k"}}`, []s3object.Object{{Bucket: "logs", Key: "k"}}, ""},
		{"a key that cannot be decoded", `{"Records":[` + strings.Replace(record("ObjectCreated:Put", ""), `"key":"k"`, `"key":"%zz"`, 1) + `]}`, nil, "Records[0].s3.object.key"},
		{"an empty key", `{"s3Bucket":"logs","s3ObjectKey":[""]}`, nil, "s3ObjectKey[0]"},
		{"a key of the wrong type", `{"s3Bucket":"logs","s3ObjectKey":7}`, nil, "s3ObjectKey"},
		{"a bucket that leads elsewhere", `{"s3Bucket":"x.example/y?","s3ObjectKey":["k"]}`, nil, "no name of a bucket"},
		{"a region that leads elsewhere", `{"source":"aws.s3","detail-type":"Object Created","region":"evil.example/","detail":{"bucket":{"name":"logs"},"object":{"key":"k"}}}`, nil, "is no region"},
	} {
		got, err := objects([]byte(c.body))
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v; want %v, %q", c.name, got, err, c.want, c.err)
		}
	}
}

func FuzzObjects(f *testing.F) {
	for _, write := range spellings() {
		f.Add([]byte(write(f, s3object.Object{Bucket: "logs", Key: oddKey, Version: "v1"})))
	}
	f.Add([]byte(`{"Event":"s3:TestEvent"}`))
	f.Add([]byte(`CloudTrail validation message.`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := objects(body)
		if err != nil && got != nil {
			t.Errorf("%v and an error: %v", got, err)
		}
		for _, o := range got {
			if !s3object.IsBucket(o.Bucket) || o.Key == "" || len(o.Key) > 1024 || o.Version == "null" || o.Region != "" && !awsaccess.IsRegion(o.Region) {
				t.Errorf("%+v came through", o)
			}
		}
		// SNS around it changes nothing, where JSON can carry it.
		if json.Valid(body) {
			inside, insideErr := objects([]byte(envelope(t, string(body))))
			if err == nil && insideErr == nil && !slices.Equal(got, inside) {
				t.Errorf("bare %v, through SNS %v", got, inside)
			}
		}
	})
}
