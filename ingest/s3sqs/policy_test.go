package s3sqs

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"riposte/ingest/s3object"
	"riposte/internal/awsfake"
)

// actions are what each call needs, after the service authorization reference.
var actions = map[string][]string{
	"sqs:GetQueueAttributes": {"sqs:GetQueueAttributes"}, "sqs:ReceiveMessage": {"sqs:ReceiveMessage"}, "sqs:DeleteMessage": {"sqs:DeleteMessage"},
	"sqs:ChangeMessageVisibility": {"sqs:ChangeMessageVisibility"}, "sqs:ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
	"s3:GetObject": {"s3:GetObject", "s3:GetObjectVersion"}, "kms:Decrypt": {"kms:Decrypt"},
}

// policy returns the actions that the shipped policy allows.
func policy(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../../deploy/iam/s3sqs.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Statement []struct {
			Effect   string
			Action   any
			Resource string
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range doc.Statement {
		if s.Effect != "Allow" || s.Resource == "*" {
			t.Errorf("a statement is %s on %s", s.Effect, s.Resource)
		}
		switch a := s.Action.(type) {
		case string:
			out = append(out, a)
		case []any:
			for _, v := range a {
				out = append(out, v.(string))
			}
		}
	}
	return out
}

// everyCall makes the source do everything it ever does to AWS, with what is allowed.
func everyCall(t *testing.T, allowed []string) (r *rig, ran error) {
	r = newRig(t, awsfake.Queue{}, nil)
	r.src.extend = 1 // all the time
	r.fake.Authorize(func(action, _ string) bool { return slices.Contains(allowed, action) })
	blob := awsfake.Blob{Body: file(t, record("one", "")), KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}
	version := r.fake.Store(bucketName, "k", blob)
	r.fake.Store("flat", "k", blob)
	r.fake.Send("q", s3Event(t, s3object.Object{Bucket: bucketName, Key: "k", Version: version}), 0)
	r.fake.Send("q", s3Event(t, s3object.Object{Bucket: "flat", Key: "k"}), 0)
	refused := false
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.before = func(context.Context) error {
		r.until("an extension", func() bool {
			return slices.ContainsFunc(r.fake.Calls(), func(c awsfake.Call) bool { return c.Operation == "ChangeMessageVisibilityBatch" })
		})
		if !refused {
			refused = true
			return errors.New("the stream is away") // so that a message is given back
		}
		return nil
	}
	r.src.cfg.Receivers = 1
	ended := make(chan error, 1)
	go func() { ended <- r.src.Run(ctx, r.sink()) }()
	r.until("the end of it", func() bool {
		select {
		case ran = <-ended:
			ended <- ran
			return true
		default:
		}
		if r.fake.Advance(0); strings.Contains(r.log.String(), "is not allowed") || strings.Contains(r.log.String(), "is not possible") {
			return true
		}
		return len(r.fake.Messages("q")) == 0
	})
	cancel()
	return r, <-ended
}

// TestPolicy: the shipped policy allows all that the source calls, and without
// any of its actions something breaks, which names that action.
func TestPolicy(t *testing.T) {
	all := policy(t)
	r, err := everyCall(t, all)
	if err != nil || len(r.fake.Messages("q")) != 0 {
		t.Fatalf("with the shipped policy: %v\n%s", err, r.log)
	}
	used := map[string]bool{}
	for _, c := range r.fake.Calls() {
		need := actions[c.Service+":"+c.Operation]
		if need == nil {
			t.Errorf("the source calls %s:%s, for which no action is known", c.Service, c.Operation)
		}
		for _, a := range need {
			used[a] = true
			if !slices.Contains(all, a) {
				t.Errorf("%s:%s needs %s, which the policy does not allow", c.Service, c.Operation, a)
			}
		}
	}
	for _, a := range all {
		if !used[a] {
			t.Errorf("the policy allows %s, which nothing needs", a)
		}
		r, err := everyCall(t, slices.DeleteFunc(slices.Clone(all), func(o string) bool { return o == a }))
		told := r.log.String()
		if err != nil {
			told += err.Error()
		}
		if !strings.Contains(told, a+" is not ") {
			t.Errorf("without %s nothing says that it is missing: %v\n%s", a, err, r.log)
		}
	}
}
