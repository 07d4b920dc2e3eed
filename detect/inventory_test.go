package detect_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"riposte/detect"
	"riposte/event"
	"riposte/internal/expr"
	"riposte/inventory"
)

const asking = `id: r
title: t
severity: low
source: cloudtrail
when: eventName == "DeleteFlowLogs" && resource("AWS::EC2::VPC", path(requestParameters, "vpc", "")).tag("env") == "prod"
tests:
  - name: fires
    fires: true
    event: {eventName: DeleteFlowLogs, eventTime: "2026-03-02T09:00:00Z", awsRegion: eu-west-1, recipientAccountId: "111122223333", requestParameters: {vpc: vpc-1}}
    inventory:
      - {resourceType: "AWS::EC2::VPC", resourceId: vpc-1, tags: {env: prod}}
  - name: tagged later
    fires: false
    event: {eventName: DeleteFlowLogs, eventTime: "2026-03-02T09:00:00Z", awsRegion: eu-west-1, recipientAccountId: "111122223333", requestParameters: {vpc: vpc-1}}
    inventory:
      - {resourceType: "AWS::EC2::VPC", resourceId: vpc-1, tags: {env: prod}, configurationItemCaptureTime: "2026-03-02T09:00:01Z"}
  - name: in another account
    fires: false
    event: {eventName: DeleteFlowLogs, eventTime: "2026-03-02T09:00:00Z", awsRegion: eu-west-1, recipientAccountId: "111122223333", requestParameters: {vpc: vpc-1}}
    inventory:
      - {resourceType: "AWS::EC2::VPC", resourceId: vpc-1, tags: {env: prod}, accountId: "999999999999"}
  - name: nothing is known
    fires: false
    event: {eventName: DeleteFlowLogs, requestParameters: {vpc: vpc-1}}
`

// TestRulesWithInventory: what a rule's test says of resources is what the rule
// learns, as of the event's time.
func TestRulesWithInventory(t *testing.T) {
	of := func(items []event.Event) (expr.Resources, error) {
		return inventory.Of(t.Context(), inventory.DefaultConfig(), items)
	}
	load := func(text string) *detect.RuleSet {
		rs, err := detect.Load(fstest.MapFS{"r.yaml": {Data: []byte(text)}}, detect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	rs := load(asking)
	if !rs.ReadsResources() || load(strings.Split(asking, ` && resource`)[0]+"\n").ReadsResources() {
		t.Error("which rules ask of resources is not told")
	}
	for _, r := range rs.Test(of) {
		if !r.Passed {
			t.Errorf("%s: %s", r.Test, r.Reason)
		}
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"an item without an id":   {"resourceId: vpc-1, tags: {env: prod}}", "tags: {env: prod}}", "item 1: want resourceType"},
		"an event without a time": {`eventTime: "2026-03-02T09:00:00Z", awsRegion`, "awsRegion", "has no time"},
	} {
		results := load(strings.Replace(asking, c.old, c.new, 1)).Test(of)
		if results[0].Passed || !strings.Contains(results[0].Reason, c.want) {
			t.Errorf("%s: %+v", name, results[0])
		}
	}
	if results := rs.Test(nil); results[0].Passed || !results[3].Passed {
		t.Errorf("without an inventory: %+v", results)
	}
}
