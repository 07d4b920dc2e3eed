package s3sqs

import (
	"strings"
	"testing"

	"riposte/event"
	"riposte/internal/awsfake"
)

// TestFlowFormat: the format that is configured names the columns of flow logs
// without a header, as Firehose writes them.
func TestFlowFormat(t *testing.T) {
	const fields, line = "${start} ${srcaddr} ${dstaddr} ${bytes}", "1772442840 10.0.0.1 10.0.0.2 77"
	format, err := event.ParseFlowFormat(fields)
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	if err := e.ScanFlow(format, []byte(line)); err != nil {
		t.Fatal(err)
	}
	for configured, want := range map[string][]string{fields: {e.ID()}, "": nil} {
		r := newRig(t, awsfake.Queue{}, func(c *Config) { c.FlowFormat = configured })
		r.fake.Send("q", s3Event(t, r.store("firehose/flow", gzipped(t, line+"\n"))), 0)
		r.drain()
		r.want(want...)
		if configured == "" && (len(r.broken) != 1 || !strings.Contains(r.broken[0].Reason, "set flow_format")) {
			t.Errorf("set aside: %+v", r.broken)
		}
	}
	if err := (Config{Queue: "https://sqs.eu-west-1.amazonaws.com/111122223333/q", FlowFormat: "hello"}).Validate(); err == nil || !strings.Contains(err.Error(), "s3.flow_format") {
		t.Errorf("%v", err)
	}
}
