package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// policies are what each source is allowed with; a source that has none calls nothing of AWS.
var policies = map[string][]string{
	"files": nil, "receiver": nil, "s3": {"s3sqs.json", "awsconfig.json"}, "backfill": {"backfill.json"}, "lookup": {"lookup.json", "accounts.json"},
	"trail": {"trail.json"}, "kinesis": {"kinesis.json"},
}

// others are no source's: EventBridge posts with it.
var others = []string{"eventbridge.json"}

// TestPolicies: every source has its policy among those that are shipped, every
// policy is somebody's, and the documentation names both.
func TestPolicies(t *testing.T) {
	read := func(file string) string {
		data, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	sources, deploy := read("docs/sources.md"), read("deploy/README.md")
	files, err := filepath.Glob("../../deploy/iam/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	orphans := map[string]bool{}
	for _, f := range files {
		orphans[filepath.Base(f)] = true
	}
	for _, k := range sourceTable {
		list, known := policies[k.name]
		if !known {
			t.Errorf("%s has no policy: put one into deploy/iam, or say that it needs none", k.name)
		}
		if !strings.Contains(sources, "`"+k.name+"`") || !strings.Contains(deploy, "`"+k.name+"`") {
			t.Errorf("docs/sources.md or deploy/README.md does not name %s", k.name)
		}
		for _, p := range list {
			if !strings.Contains(deploy, p) || !strings.Contains(sources, "deploy/iam/"+p) {
				t.Errorf("docs/sources.md or deploy/README.md does not name %s, the policy of %s", p, k.name)
			}
			if read("deploy/iam/" + p); p != "" {
				delete(orphans, p)
			}
		}
	}
	for _, p := range others {
		delete(orphans, p)
	}
	for p := range orphans {
		t.Errorf("deploy/iam/%s is no source's", p)
	}
}
