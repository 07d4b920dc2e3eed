package rules_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConfigSamples says what is wrong with each sample item, and nothing else.
func TestConfigSamples(t *testing.T) {
	want := map[string][]string{
		"config/custodian-rule-event-security-group.json": {"posture.security-group-open"},
		"config/eventbridge-security-group.json":          {"posture.security-group-open"},
		"config/rdk-AWS_EC2_Instance.json":                {"posture.instance-imdsv1"},
		"config/rdk-AWS_EC2_NetworkAcl.json":              {"posture.network-acl-open"},
		"config/rdk-AWS_EC2_SecurityGroup.json":           {"posture.security-group-open"},
		"config/rdk-AWS_IAM_User.json":                    {"posture.user-is-administrator"},
		"config/rdk-AWS_RDS_DBInstance.json":              {"posture.database-public"},
	}
	h := newHits(t)
	got := map[string][]string{}
	for _, r := range configSamples(t) {
		if ids := h.of(r); len(ids) > 0 {
			got[r.name] = ids
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings on the Config samples (-want +got):\n%s", diff)
	}
}

// TestFlowSamples says which lines raise what. Lines from inside, to HTTPS,
// rejected ones and those without traffic are quiet.
func TestFlowSamples(t *testing.T) {
	h := newHits(t)
	got := map[string][]string{}
	for _, r := range flowSamples(t) {
		for _, id := range h.of(r) {
			got[id] = append(got[id], strings.TrimPrefix(r.name, "flow/")+" "+string(r.raw))
		}
	}
	want := map[string]int{"flow.ssh-from-internet": 3, "flow.records-lost": 2, "flow.dns-to-public-resolver": 1}
	count := map[string]int{}
	for id, where := range got {
		slices.Sort(where)
		count[id] = len(where)
	}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("findings on the flow samples (-want +got):\n%s", diff)
	}
	for _, id := range slices.Sorted(maps.Keys(got)) {
		t.Logf("%s:\n  %s", id, strings.Join(got[id], "\n  "))
	}
}
