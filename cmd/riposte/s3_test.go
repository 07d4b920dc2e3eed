package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte/internal/awsfake"
	"riposte/samples"
)

// TestS3Source drives the real daemon against S3 and SQS: log files in, findings
// out; the queue is empty afterwards, and what cannot be read is in the dead letters.
func TestS3Source(t *testing.T) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{"example-logs": {Region: "eu-west-1", Versioned: true}}}}}, "111122223333")
	defer fake.Close()
	fake.CreateQueue("dead", awsfake.Queue{})
	queue := fake.CreateQueue("riposte", awsfake.Queue{Dead: "dead", MaxReceives: 5})
	notify := func(key string, body []byte) {
		version := fake.Store("example-logs", key, awsfake.Blob{Body: body})
		fake.Send("riposte", fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-west-1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"example-logs"},"object":{"key":%q,"versionId":%q}}}]}`, url.QueryEscape(key), version), 0)
	}
	attack, err := samples.FS.ReadFile("cloudtrail/stratus/aws.persistence.iam-backdoor-role.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	records := bytes.Split(bytes.TrimSpace(attack), []byte("\n"))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprintf(z, `{"Records":[%s]}`, bytes.Join(records, []byte(",")))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	fake.Send("riposte", `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"example-logs"}`, 0)
	notify("AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/02/broken.json.gz", packed.Bytes()[:packed.Len()/2])
	notify("AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/02/attack one.json.gz", packed.Bytes())

	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect]\ntelemetry: {log_format: json}\nsources: [{s3: {queue: \""+queue+"\"}}]\n")
	p := startWith(t, []string{"AWS_ENDPOINT_URL=" + fake.URL(), "AWS_CONFIG_FILE=" + filepath.Join(dir, "none"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(dir, "none")}, "run", "--config", config)
	for found, aside := false, false; !found || !aside; { // in whatever order
		line := p.until(`"msg":`)
		found = found || strings.Contains(line, `"msg":"finding"`)
		aside = aside || strings.Contains(line, `"msg":"record set aside"`) && strings.Contains(line, "broken.json.gz?versionId=") && strings.Contains(line, "cut short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := fake.Until(ctx, func() bool { return len(fake.Messages("riposte")) == 0 }); err != nil {
		t.Errorf("the queue still holds %+v", fake.Messages("riposte"))
	}
	if n := len(fake.Messages("dead")); n != 0 {
		t.Errorf("%d messages are dead", n)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.end()
}
