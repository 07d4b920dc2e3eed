package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte/internal/awsfake"
)

// TestTrailSource drives the real daemon over a trail's bucket: what is no digest
// is found at the start, and another as soon as the queue of an s3 source tells of
// it, long before the next look.
func TestTrailSource(t *testing.T) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{"example-logs": {Region: "eu-west-1"}}}}}, "111122223333")
	defer fake.Close()
	queue := fake.CreateQueue("riposte", awsfake.Queue{})
	put := func(age time.Duration) string {
		end := time.Now().Add(-age).UTC()
		key := fmt.Sprintf("AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/%s/111122223333_CloudTrail-Digest_eu-west-1_main_eu-west-1_%s.json.gz",
			end.Format("2006/01/02"), end.Format("20060102T150405Z"))
		fake.Store("example-logs", key, awsfake.Blob{Body: []byte("no digest")})
		return key
	}
	first := put(3 * time.Hour)
	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+filepath.Join(dir, "data")+"\nroles: [ingest, detect]\ntelemetry: {log_format: json}\nsources:\n"+
		"  - trail: {address: \"s3://example-logs/AWSLogs/\", every: 1h}\n  - s3: {queue: \""+queue+"\"}\n")
	p := startWith(t, []string{"AWS_ENDPOINT_URL=" + fake.URL(), "AWS_CONFIG_FILE=" + filepath.Join(dir, "none"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(dir, "none")}, "run", "--config", config)
	if line := p.until(`"msg":"finding"`); !strings.Contains(line, "integrity.digest-broken") || !strings.Contains(line, "critical") {
		t.Errorf("found %s, for %s", line, first)
	}
	second := put(time.Hour)
	fake.Send("riposte", fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-west-1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"example-logs"},"object":{"key":%q}}}]}`, url.QueryEscape(second)), 0)
	if line := p.until(`"msg":"finding"`); !strings.Contains(line, "integrity.digest-broken") {
		t.Errorf("found %s, for %s", line, second)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.end()
}
