package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"riposte/internal/awsfake"
	"riposte/samples"
)

// inAWS is the environment of a program whose AWS is the fake.
func inAWS(t *testing.T, fake *awsfake.Server) []string {
	none := filepath.Join(t.TempDir(), "none")
	return []string{"AWS_ENDPOINT_URL=" + fake.URL(), "AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_ACCESS_KEY_ID=AKIAFAKE", "AWS_SECRET_ACCESS_KEY=fake"}
}

// TestHuntS3: a hunt through a bucket finds what one through the same files finds,
// in the same order with any number of workers, though S3 breaks off bodies.
func TestHuntS3(t *testing.T) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{"example-logs": {Region: "eu-west-1"}}}}}, "111122223333")
	defer fake.Close()
	attack, err := samples.FS.ReadFile("cloudtrail/stratus/aws.persistence.iam-backdoor-role.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(key string, body []byte) {
		fake.Store("example-logs", key, awsfake.Blob{Body: body})
		file := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(body))
	}
	for i := range 30 {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		text := strings.ReplaceAll(string(bytes.TrimSpace(attack)), `"eventID":"`, fmt.Sprintf(`"eventID":"%02d`, i))
		fmt.Fprintf(z, `{"Records":[%s]}`, strings.ReplaceAll(text, "\n", ","))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		put(fmt.Sprintf("AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/%02d/%d.json.gz", 1+i%28, i), packed.Bytes())
	}
	put("AWSLogs/notes.txt", []byte("nothing\n"))
	put("AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/05/torn.json.gz", []byte("\x1f\x8b\x08"))
	hunt := func(args ...string) (findings []string, stderr string) {
		t.Helper()
		for i := range 6 {
			fake.Fail(awsfake.Fault{Operation: "GetObject", Kind: []string{awsfake.Truncated, awsfake.Reset, awsfake.Throttle}[i%3], Times: 1, After: int64(300 * i)})
		}
		var out, log bytes.Buffer
		cmd := realProgram(inAWS(t, fake), append([]string{"hunt", "--output", "json"}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &log
		_ = cmd.Run() // the torn file makes it fail, after all
		for line := range strings.Lines(out.String()) {
			var f map[string]any
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if f["file"] = strings.TrimPrefix(strings.TrimPrefix(fmt.Sprint(f["file"]), dir+"/"), "s3://example-logs/"); f["evidence"] != nil {
				delete(f, "evidence")
			}
			b, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			findings = append(findings, string(b))
		}
		return findings, log.String()
	}
	want, _ := hunt("--workers", "1", dir)
	if len(want) < 30 {
		t.Fatalf("%d findings in files", len(want))
	}
	for _, workers := range []string{"1", "8"} {
		got, log := hunt("--workers", workers, "s3://example-logs/")
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s workers: %d findings, want %d in the same order\n%s", workers, len(got), len(want), log)
		}
		if !strings.Contains(log, "torn.json.gz") || strings.Contains(log, "notes.txt") {
			t.Errorf("it says %q", log)
		}
	}
	mixed, _ := hunt("s3://example-logs/AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/0", dir, "s3://example-logs/AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/1")
	if len(mixed) < len(want)+20 {
		t.Errorf("%d findings of a bucket, files and a bucket", len(mixed))
	}
	before, gets := len(fake.Calls()), 0
	if got, _ := hunt("--region", "eu-west-1", "--account", "111122223333", "s3://example-logs/"); len(got) != 0 {
		t.Errorf("another region has %d findings", len(got))
	}
	for _, c := range fake.Calls()[before:] {
		if c.Operation == "GetObject" && c.Outcome == "ok" {
			gets++
		}
	}
	if gets > 1 { // the notes
		t.Errorf("%d objects of another region were read", gets)
	}
	if _, log := hunt("s3://nowhere/x"); !strings.Contains(log, "there is no bucket nowhere") {
		t.Errorf("it says %q", log)
	}
	fake.Authorize(func(action, _ string) bool { return action != "s3:ListBucket" })
	if _, log := hunt("s3://example-logs/x"); !strings.Contains(log, "s3:ListBucket is not allowed: allow it on arn:aws:s3:::example-logs") {
		t.Errorf("it says %q", log)
	}
}
