package awsaccess

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"riposte/internal/awsfake"
)

// local reaches the fake, whatever the machine's AWS configuration says.
func local(fake *awsfake.Server) []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
	}
}

func world() *awsfake.World {
	return &awsfake.World{Accounts: map[string]*awsfake.Account{
		"111122223333": {Buckets: map[string]*awsfake.Bucket{"logs": {Region: "us-east-1"}}}, "444455556666": {},
	}}
}

func TestRolePerAccount(t *testing.T) {
	fake := awsfake.New(world(), "111122223333")
	defer fake.Close()
	a, err := New(t.Context(), Config{Role: "arn:aws:iam::{account}:role/riposte", ExternalID: "tenant", Region: "eu-west-1"}, Options{Load: local(fake)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from what was made
		cfg, err := a.For("444455556666", "")
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Region != "eu-west-1" || a.Region() != "eu-west-1" {
			t.Errorf("region %q", cfg.Region)
		}
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
		if err != nil || aws.ToString(out.Account) != "444455556666" {
			t.Errorf("we are %+v, %v", out, err)
		}
	}
	assumed := 0
	for _, c := range fake.Calls() {
		if c.Operation == "AssumeRole" {
			assumed++
		}
	}
	if assumed != 1 {
		t.Errorf("assumed %d times", assumed)
	}
	if out, err := sts.NewFromConfig(a.Ambient()).GetCallerIdentity(t.Context(), nil); err != nil || aws.ToString(out.Account) != "111122223333" {
		t.Errorf("ambient: %+v, %v", out, err)
	}
	for _, bad := range [][2]string{{"", ""}, {"12", ""}, {"44445555666a", ""}, {"444455556666", "evil.example/"}} {
		if _, err := a.For(bad[0], bad[1]); err == nil {
			t.Errorf("%q is reached", bad)
		}
	}
}

func TestOneRole(t *testing.T) {
	fake := awsfake.New(world(), "111122223333")
	defer fake.Close()
	a, err := New(t.Context(), Config{Role: "arn:aws:iam::444455556666:role/riposte"}, Options{Adaptive: true, Load: local(fake)})
	if err != nil {
		t.Fatal(err)
	}
	one, err := a.For("", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := a.For("999999999999", "")
	if err != nil || one.Credentials != two.Credentials {
		t.Errorf("the role is the same and its credentials are not: %v", err)
	}
	client := S3(one)
	if _, ok := client.Options().Retryer.(*retry.AdaptiveMode); !ok || !client.Options().UsePathStyle {
		t.Errorf("retries by %T, by path %v", client.Options().Retryer, client.Options().UsePathStyle)
	}
	if _, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("logs")}); Code(err) != "AccessDenied" {
		t.Errorf("another account's bucket: %v", err) // by path, or it would not be found at all
	}
	if opt := S3(a.Ambient()).Options(); opt.Region != "us-east-1" {
		t.Errorf("region %q where there is none", opt.Region)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	fake := awsfake.New(world(), "111122223333")
	defer fake.Close()
	a, err := New(t.Context(), Config{Role: "arn:aws:iam::{account}:role/x"}, Options{Load: local(fake)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range most + 10 {
		account := []byte("100000000000")
		for n, at := i, len(account)-1; n > 0; n, at = n/10, at-1 {
			account[at] = byte('0' + n%10)
		}
		if _, err := a.For(string(account), ""); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.made) > most {
		t.Errorf("%d are kept", len(a.made))
	}
}

func TestValidate(t *testing.T) {
	err := Config{Role: "role", ExternalID: "x", Region: "Mars"}.Validate("s3")
	for _, want := range []string{"s3.role", "s3.external_id", "s3.region"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
	if err := (Config{ExternalID: "tenant"}).Validate("x"); err == nil || !strings.Contains(err.Error(), "without a role") {
		t.Errorf("%v", err)
	}
	for _, good := range []Config{{}, {Role: "arn:aws-us-gov:iam::{account}:role/path/name", ExternalID: "ab", Region: "us-gov-west-1"}, {Role: "arn:aws:iam::111122223333:role/a"}} {
		if err := good.Validate("x"); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestExplain(t *testing.T) {
	a := &Access{c: Config{Role: "arn:aws:iam::{account}:role/x"}}
	api := func(code string) error { return &smithy.GenericAPIError{Code: code, Message: "no"} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"}, {api("Throttling"), "api error Throttling: no"},
		{api("AccessDenied"), "s3:ListBucket is not allowed: allow it on arn:aws:s3:::logs, see deploy/iam/x.json"},
		{api("InvalidClientTokenId"), "does not know these credentials"},
		{&smithy.OperationError{ServiceID: "S3", OperationName: "GetObject", Err: &smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRole", Err: api("AccessDenied")}}, "cannot be assumed: allow sts:AssumeRole"},
	} {
		got := a.Explain(c.err, "s3:ListBucket", "arn:aws:s3:::logs", "deploy/iam/x.json")
		if !strings.Contains(got.Error(), c.want) || !errors.Is(got, c.err) {
			t.Errorf("%v: %v, want %q", c.err, got, c.want)
		}
	}
}

// TestDial: where endpoints are reached otherwise, no proxy is in the way.
func TestDial(t *testing.T) {
	fake := awsfake.New(world(), "111122223333")
	defer fake.Close()
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	load := append(local(fake), config.WithBaseEndpoint("http://sts.example.com"))
	a, err := New(t.Context(), Config{}, Options{Dial: fake.Dial, Load: load})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sts.NewFromConfig(a.Ambient()).GetCallerIdentity(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if c, ok := a.Ambient().HTTPClient.(interface {
		Do(*http.Request) (*http.Response, error)
	}); !ok {
		t.Errorf("the client is %T", c)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Sleep(gone, 1<<40); !errors.Is(err, context.Canceled) {
		t.Errorf("slept on: %v", err)
	}
}
