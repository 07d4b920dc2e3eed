package awsfake_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"riposte/internal/awsfake"
)

func buckets(t *testing.T, versioned bool) (*awsfake.Server, *s3.Client) {
	t.Helper()
	s, cfg := start(t)
	s.Edit(func(w *awsfake.World) { w.Accounts[account].Buckets["ours"].Versioned = versioned })
	return s, s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
}

func put(t *testing.T, c *s3.Client, key, body string) string {
	t.Helper()
	out, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("ours"), Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.VersionId)
}

func get(t *testing.T, c *s3.Client, in s3.GetObjectInput) (string, error) {
	t.Helper()
	in.Bucket = aws.String("ours")
	out, err := c.GetObject(t.Context(), &in)
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	return string(b), err
}

func TestObjectsAndVersions(t *testing.T) {
	s, c := buckets(t, true)
	first := put(t, c, "a key/with +and ü.gz", "one")
	second := put(t, c, "a key/with +and ü.gz", "three")
	key := aws.String("a key/with +and ü.gz")
	for _, want := range []struct {
		in   s3.GetObjectInput
		text string
	}{{s3.GetObjectInput{Key: key}, "three"}, {s3.GetObjectInput{Key: key, VersionId: &first}, "one"}, {s3.GetObjectInput{Key: key, Range: aws.String("bytes=1-3")}, "hre"}, {s3.GetObjectInput{Key: key, Range: aws.String("bytes=3-")}, "ee"}} {
		if got, err := get(t, c, want.in); got != want.text || err != nil {
			t.Errorf("%+v: %q, %v, want %q", want.in, got, err, want.text)
		}
	}
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("ours"), Key: key})
	if err != nil || *head.ContentLength != 5 || *head.VersionId != second {
		t.Errorf("head: %v, %v", head, err)
	}
	s.Remove("ours", *key)
	for _, gone := range []struct {
		in   s3.GetObjectInput
		code string
	}{{s3.GetObjectInput{Key: key}, "NoSuchKey"}, {s3.GetObjectInput{Key: key, VersionId: aws.String("v9")}, "NoSuchVersion"}} {
		if _, err := get(t, c, gone.in); code(err) != gone.code {
			t.Errorf("%v, want %s", err, gone.code)
		}
	}
	if got, err := get(t, c, s3.GetObjectInput{Key: key, VersionId: &second}); got != "three" || err != nil {
		t.Errorf("a version outlives the marker: %q, %v", got, err)
	}
}

func TestListing(t *testing.T) {
	_, c := buckets(t, false)
	for _, key := range []string{"logs/1", "logs/2", "logs/3", "other"} {
		put(t, c, key, "x")
	}
	var got []string
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String("ours"), Prefix: aws.String("logs/"), MaxKeys: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			got = append(got, *o.Key)
		}
	}
	if strings.Join(got, " ") != "logs/1 logs/2 logs/3" {
		t.Errorf("listed %v", got)
	}
}

func TestBodiesBreakOff(t *testing.T) {
	s, c := buckets(t, false)
	s.Store("ours", "k", awsfake.Blob{Body: bytes.Repeat([]byte("x"), 1<<20)})
	for _, kind := range []string{awsfake.Truncated, awsfake.Reset} {
		s.Fail(awsfake.Fault{Operation: "GetObject", Kind: kind, Times: 1, After: 1000})
		if got, err := get(t, c, s3.GetObjectInput{Key: aws.String("k")}); err == nil || len(got) > 1000 {
			t.Errorf("%s: %d bytes and %v", kind, len(got), err)
		}
		if got, err := get(t, c, s3.GetObjectInput{Key: aws.String("k")}); err != nil || len(got) != 1<<20 {
			t.Errorf("after %s: %d bytes and %v", kind, len(got), err)
		}
	}
}

func TestPermissionsAreAsked(t *testing.T) {
	s, c := buckets(t, true)
	s.Store("ours", "k", awsfake.Blob{Body: []byte("x"), KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/k"})
	s.Authorize(func(action, _ string) bool { return action != "kms:Decrypt" })
	if _, err := get(t, c, s3.GetObjectInput{Key: aws.String("k")}); code(err) != "AccessDenied" || !strings.Contains(err.Error(), "kms:Decrypt on resource: arn:aws:kms:eu-west-1:111122223333:key/k") {
		t.Errorf("the key's refusal is %v", err)
	}
	s.Authorize(nil)
	if _, err := get(t, c, s3.GetObjectInput{Key: aws.String("k")}); err != nil {
		t.Error(err)
	}
}

func receive(t *testing.T, c *sqs.Client, url string) []sqstypes.Message {
	t.Helper()
	out, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: 30,
		MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"All"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

func TestQueueHidesRedeliversAndRedrives(t *testing.T) {
	s, cfg := start(t)
	c := sqs.NewFromConfig(cfg)
	s.CreateQueue("dead", awsfake.Queue{})
	url := s.CreateQueue("q", awsfake.Queue{Dead: "dead", MaxReceives: 2})
	if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("hello"), DelaySeconds: 5}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c, url); len(got) != 0 {
		t.Fatalf("a delayed message is seen: %v", got)
	}
	s.Advance(5 * time.Second)
	first := receive(t, c, url)
	if len(first) != 1 || *first[0].Body != "hello" || first[0].Attributes["ApproximateReceiveCount"] != "1" {
		t.Fatalf("received %v", first)
	}
	if got := receive(t, c, url); len(got) != 0 {
		t.Error("a message in flight is seen")
	}
	hide := func(handle *string, seconds int32) error {
		_, err := c.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: handle, VisibilityTimeout: seconds})
		return err
	}
	if err := hide(first[0].ReceiptHandle, 60); err != nil {
		t.Fatal(err)
	}
	s.Advance(59 * time.Second)
	if got := receive(t, c, url); len(got) != 0 {
		t.Error("the extension does not hold")
	}
	s.Advance(2 * time.Second)
	second := receive(t, c, url)
	if len(second) != 1 {
		t.Fatal("the message is not seen again")
	}
	// An old handle is taken and does nothing.
	if _, err := c.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: first[0].ReceiptHandle}); err != nil || len(s.Messages("q")) != 1 {
		t.Errorf("an old handle: %v, %d messages", err, len(s.Messages("q")))
	}
	var notInFlight *sqstypes.MessageNotInflight
	if err := hide(first[0].ReceiptHandle, 1); !errors.As(err, &notInFlight) {
		t.Errorf("an old handle hides: %v", err)
	}
	if err := hide(second[0].ReceiptHandle, 0); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c, url); len(got) != 0 || len(s.Messages("q")) != 0 || len(s.Messages("dead")) != 1 {
		t.Errorf("after two receives it is dead: %v, %v", got, s.Messages("dead"))
	}
}

func TestQueueMisbehaves(t *testing.T) {
	s, cfg := start(t)
	c := sqs.NewFromConfig(cfg)
	url := s.CreateQueue("q", awsfake.Queue{Pick: func(n int) int { return n - 1 }})
	s.Send("q", "a", 0)
	s.Send("q", "b", 0)
	s.Fail(awsfake.Fault{Operation: "ReceiveMessage", Kind: awsfake.Duplicate, Times: 1})
	got := receive(t, c, url)
	if len(got) != 2 || *got[0].Body != "b" {
		t.Errorf("the order is the queue's to choose: %v", got)
	}
	again := receive(t, c, url)
	if len(again) != 2 {
		t.Errorf("a duplicate delivery has %d messages", len(again))
	}
	s.Fail(awsfake.Fault{Operation: "DeleteMessage", Kind: awsfake.ExpiredHandle, Times: 1})
	del := &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: again[0].ReceiptHandle}
	if _, err := c.DeleteMessage(t.Context(), del); code(err) != "ReceiptHandleIsInvalid" {
		t.Errorf("an expired handle: %v", err)
	}
	if _, err := c.DeleteMessage(t.Context(), del); err != nil || len(s.Messages("q")) != 1 {
		t.Errorf("the fault does not pass: %v", err)
	}
	batch, err := c.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: []sqstypes.DeleteMessageBatchRequestEntry{
		{Id: aws.String("1"), ReceiptHandle: again[1].ReceiptHandle}, {Id: aws.String("2"), ReceiptHandle: aws.String("rubbish")}}})
	if err != nil || len(batch.Successful) != 1 || len(batch.Failed) != 1 {
		t.Errorf("a batch: %+v, %v", batch, err)
	}
	if _, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: aws.String(url + "x")}); err == nil {
		t.Error("a queue that is not there has attributes")
	} else if missing := (*sqstypes.QueueDoesNotExist)(nil); !errors.As(err, &missing) {
		t.Errorf("a queue that is not there: %v", err)
	}
}
