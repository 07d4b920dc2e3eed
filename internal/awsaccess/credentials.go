package awsaccess

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// noCredentialsFor is how long it is believed that there are no credentials.
const noCredentialsFor = 30 * time.Second

// ambient are the credentials of the process. Looking for those of a machine that has none
// takes seconds; while it is known that there are none, plans do not wait for it
// again, and say what to do.
type ambient struct {
	inner aws.CredentialsProvider
	now   func() time.Time

	mu    sync.Mutex
	err   error
	until time.Time
}

// Retrieve implements aws.CredentialsProvider.
func (c *ambient) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil && c.now().Before(c.until) {
		return aws.Credentials{}, c.err
	}
	got, err := c.inner.Retrieve(ctx)
	if err == nil {
		c.err = nil
		return got, nil
	}
	err = fmt.Errorf("riposte has no AWS credentials: give it a role, a profile or the environment, and check with riposte doctor --aws: %w", err)
	if ctx.Err() == nil {
		c.err, c.until = err, c.now().Add(noCredentialsFor)
	}
	return aws.Credentials{}, err
}
