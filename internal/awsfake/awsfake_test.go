package awsfake_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"riposte/internal/awsfake"
)

const account = "111122223333"

func start(t *testing.T) (*awsfake.Server, aws.Config) {
	t.Helper()
	var w awsfake.World
	if err := json.Unmarshal([]byte(`{"accounts": {
		"111122223333": {"users": {"kim": {"id": "AIDAKIM", "keys": {"AKIAKIM": {"status": "Active", "created": "2026-01-01T00:00:00Z"}}}},
			"buckets": {"ours": {"region": "eu-west-1"}}},
		"444455556666": {"users": {"kim": {"id": "AIDAOTHERKIM"}}, "buckets": {"theirs": {"region": "eu-west-1"}}}}}`), &w); err != nil {
		t.Fatal(err)
	}
	s := awsfake.New(&w, account)
	t.Cleanup(s.Close)
	return s, aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(s.URL()), Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "x", ""),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
}

func user(t *testing.T, c *iam.Client) (string, error) {
	t.Helper()
	out, err := c.GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("kim")})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.User.UserId), nil
}

func status(t *testing.T, c *iam.Client) string {
	t.Helper()
	out, err := c.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: aws.String("kim")})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.AccessKeyMetadata[0].Status)
}

func disable(t *testing.T, c *iam.Client) error {
	t.Helper()
	_, err := c.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{UserName: aws.String("kim"), AccessKeyId: aws.String("AKIAKIM"), Status: "Inactive"})
	return err
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestFaultsPass(t *testing.T) {
	for kind, want := range map[string]string{awsfake.Throttle: "ThrottlingException", awsfake.Deny: "AccessDenied", awsfake.HTML500: "UnknownError"} {
		s, cfg := start(t)
		c := iam.NewFromConfig(cfg)
		s.Fail(awsfake.Fault{Service: "iam", Operation: "GetUser", Kind: kind, Times: 2})
		for i := range 3 {
			id, err := user(t, c)
			if i < 2 && code(err) != want {
				t.Errorf("%s: call %d: %v, want %s", kind, i+1, err, want)
			}
			if i == 2 && (err != nil || id != "AIDAKIM") {
				t.Errorf("%s: the fault does not pass: %v", kind, err)
			}
		}
		if status(t, c) != "Active" {
			t.Errorf("%s: another operation is hit", kind)
		}
		if got := s.Calls()[0].Outcome; got != kind {
			t.Errorf("recorded as %s", got)
		}
	}
}

func TestLostReplyIsDone(t *testing.T) {
	s, cfg := start(t)
	c := iam.NewFromConfig(cfg)
	s.Fail(awsfake.Fault{Operation: "UpdateAccessKey", Kind: awsfake.LostReply, Times: 1})
	if err := disable(t, c); err == nil {
		t.Error("a lost reply is no error")
	}
	if got := status(t, c); got != "Inactive" {
		t.Errorf("the work was not done: %s", got)
	}
	if w := s.Writes(); len(w) != 1 || w[0].Operation != "UpdateAccessKey" || w[0].Outcome != awsfake.LostReply || w[0].RequestID == "" {
		t.Errorf("the writes are %+v", w)
	}
}

func TestLagShowsTheWorldBefore(t *testing.T) {
	s, cfg := start(t)
	c := iam.NewFromConfig(cfg)
	s.Lag(2)
	if err := disable(t, c); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		got = append(got, status(t, c))
	}
	if !slices.Equal(got, []string{"Active", "Active", "Inactive"}) {
		t.Errorf("the reads show %v", got)
	}
}

func TestSecondActor(t *testing.T) {
	s, cfg := start(t)
	c := iam.NewFromConfig(cfg)
	s.Fail(awsfake.Fault{Operation: "UpdateAccessKey", Kind: awsfake.Before, Times: 1, Do: func(w *awsfake.World) {
		w.Accounts[account].Users["kim"] = &awsfake.User{ID: "AIDANEWKIM"}
	}})
	if err := disable(t, c); code(err) != "NoSuchEntity" {
		t.Errorf("the key of a user who is gone is disabled: %v", err)
	}
	if id, err := user(t, c); id != "AIDANEWKIM" || err != nil {
		t.Errorf("the user is %s, %v", id, err)
	}
}

func TestAccountsByRole(t *testing.T) {
	s, cfg := start(t)
	out, err := sts.NewFromConfig(cfg).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::444455556666:role/x"), RoleSessionName: aws.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, "x", *out.Credentials.SessionToken)
	if id, err := user(t, iam.NewFromConfig(cfg)); id != "AIDAOTHERKIM" || err != nil {
		t.Errorf("the user is %s, %v", id, err)
	}
	if c := s.Calls(); c[len(c)-1].Account != "444455556666" || time.Until(*out.Credentials.Expiration) <= 0 {
		t.Errorf("the call was made in %s", c[len(c)-1].Account)
	}
}

func TestBucketsAreOneNamespace(t *testing.T) {
	_, cfg := start(t)
	read := func(region, bucket string) string {
		c := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle, o.Region = true, region })
		_, err := c.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: aws.String(bucket)})
		return code(err)
	}
	for _, c := range [][3]string{
		{"eu-west-1", "ours", "NoSuchPublicAccessBlockConfiguration"}, {"us-east-1", "ours", "PermanentRedirect"},
		{"eu-west-1", "theirs", "AccessDenied"}, {"eu-west-1", "nobodys", "NoSuchBucket"},
	} {
		if got := read(c[0], c[1]); got != c[2] {
			t.Errorf("%s in %s: %s, want %s", c[1], c[0], got, c[2])
		}
	}
}

func TestSnapshotAndEdit(t *testing.T) {
	s, cfg := start(t)
	before := s.Snapshot()
	s.Edit(func(w *awsfake.World) { delete(w.Accounts[account].Users, "kim") })
	if _, err := user(t, iam.NewFromConfig(cfg)); code(err) != "NoSuchEntity" {
		t.Errorf("the edit does not show: %v", err)
	}
	if string(before) == string(s.Snapshot()) || !strings.Contains(string(before), "AIDAKIM") {
		t.Error("the snapshot moves with the world")
	}
}
