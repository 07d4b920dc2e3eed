package awsaccess

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestMissingCredentialsAreNotLookedForAgainAndAgain(t *testing.T) {
	asked, now := 0, time.Unix(0, 0)
	var answer error = errors.New("nobody here")
	c := &ambient{now: func() time.Time { return now }, inner: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		asked++
		return aws.Credentials{AccessKeyID: "AKIA"}, answer
	})}
	for range 3 {
		if _, err := c.Retrieve(t.Context()); !errors.Is(err, answer) || !strings.Contains(err.Error(), "riposte doctor --aws") {
			t.Fatalf("%v", err)
		}
	}
	if asked != 1 {
		t.Errorf("looked %d times", asked)
	}
	now, answer = now.Add(noCredentialsFor), nil
	for range 2 {
		if got, err := c.Retrieve(t.Context()); err != nil || got.AccessKeyID != "AKIA" {
			t.Errorf("%v %v", got, err)
		}
	}
	if asked != 3 {
		t.Errorf("looked %d times: what is there is the SDK's to cache", asked)
	}
	// Who gives up has found out nothing.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	answer = context.Canceled
	if _, err := c.Retrieve(gone); err == nil {
		t.Error("no error")
	}
	answer = nil
	if _, err := c.Retrieve(t.Context()); err != nil {
		t.Errorf("remembered: %v", err)
	}
}
