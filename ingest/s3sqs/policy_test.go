package s3sqs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"riposte/ingest/s3object"
	"riposte/internal/awsfake"
	"riposte/internal/awsfake/policytest"
)

// needs are what calls need whose actions are not their names.
var needs = map[string][]string{
	"sqs:ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
	"s3:GetObject":                     {"s3:GetObject", "s3:GetObjectVersion"},
}

// everyCall makes the source do everything it ever does to AWS, with what is allowed.
func everyCall(t *testing.T, allowed policytest.Policy) (r *rig, ran error) {
	r = newRig(t, awsfake.Queue{}, nil)
	r.src.extend = 1 // all the time
	r.fake.Authorize(allowed.AllowsAction)
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
	all := policytest.Load(t, "../../deploy/iam/s3sqs.json")
	r, err := everyCall(t, all)
	if err != nil || len(r.fake.Messages("q")) != 0 {
		t.Fatalf("with the shipped policy: %v\n%s", err, r.log)
	}
	all.Covers(t, r.fake.Calls(), needs)
	for _, a := range all.Actions() {
		r, err := everyCall(t, all.Without(a))
		told := r.log.String()
		if err != nil {
			told += err.Error()
		}
		if !strings.Contains(told, a+" is not ") {
			t.Errorf("without %s nothing says that it is missing: %v\n%s", a, err, r.log)
		}
	}
}
