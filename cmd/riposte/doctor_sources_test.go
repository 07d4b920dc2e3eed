package main

import (
	"path/filepath"
	"regexp"
	"testing"

	"riposte/internal/awsfake"
)

// TestDoctorLooksAtSources: what a person would find out in the AWS console.
func TestDoctorLooksAtSources(t *testing.T) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{"example-logs": {Region: "eu-west-1"}}}}}, "111122223333")
	defer fake.Close()
	fake.CreateQueue("dead", awsfake.Queue{})
	good := fake.CreateQueue("good", awsfake.Queue{Dead: "dead", MaxReceives: 5})
	bare := fake.CreateQueue("bare", awsfake.Queue{})
	fake.Send("good", "{}", 0)
	fake.Send("dead", "{}", 0)
	fake.Store("example-logs", "AWSLogs/one.json", awsfake.Blob{Body: []byte("{}")})
	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	write(t, config, "data_dir: "+dir+"/data\nsources:\n  - s3: {queue: \""+good+"\"}\n  - s3: {queue: \""+bare+"\"}\n  - s3: {queue: \""+bare+"-not\"}\n"+
		"  - backfill: {from: s3://example-logs/AWSLogs/}\n  - backfill: {from: s3://example-logs/other/}\n  - backfill: {from: s3://nowhere/}\n")
	out, _ := realProgram(inAWS(t, fake), "doctor", "--config", config).Output() // and it fails
	for _, want := range []string{
		`ok +queue good +1 wait, 0 are worked on`, `warn +queue good +1 message in its dead-letter queue, after 5 receives each`,
		`warn +queue bare .*no redrive policy`, `FAIL +queue bare-not .*does not exist in eu-west-1`,
		`ok +backfill +s3://example-logs/AWSLogs/ can be listed; its first object is AWSLogs/one.json`,
		`warn +backfill +s3://example-logs/other/ has nothing that is wanted`, `FAIL +backfill +.*there is no bucket nowhere`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	fake.Authorize(func(string, string) bool { return false })
	out, _ = realProgram(inAWS(t, fake), "doctor", "--config", config).Output()
	for _, want := range []string{`FAIL +queue good +.*sqs:GetQueueAttributes is not allowed`, `FAIL +backfill +.*s3:ListBucket is not allowed`, `give the permission to the role`} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}
