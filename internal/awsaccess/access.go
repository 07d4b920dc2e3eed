// Package awsaccess is the one home of how AWS is reached: the SDK's ambient
// configuration with riposte's name and limits on it, the role that is assumed
// in an account, and what its refusals mean. Sources, containment actions and
// the command line take their aws.Config from here.
//
// Endpoints are AWS's own, or those of AWS_ENDPOINT_URL and its forms by service
// (AWS_ENDPOINT_URL_S3); profiles, web identities and container credentials are
// found as the SDK finds them.
package awsaccess

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Config is who riposte is in AWS. It is embedded in the configuration of what
// calls AWS, which has its keys then.
type Config struct {
	// Role is assumed before anything is called: arn:aws:iam::111122223333:role/riposte.
	// {account} in it stands for the id of the account that is reached. Empty uses
	// the ambient credentials.
	Role string `yaml:"role"`
	// ExternalID is passed when the role is assumed.
	ExternalID string `yaml:"external_id"`
	// Region is where calls go that are for no region in particular; empty is the
	// ambient region, and us-east-1 where there is none.
	Region string `yaml:"region"`
}

// forAccount stands in a role for the id of an account.
const forAccount = "{account}"

var (
	roleForm   = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\{account\}|\d{12}):role/[\w+=,.@/-]+$`)
	regionForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-\d+$`)
)

// IsRegion reports whether a text has the form of a region's name. Only such go
// into host names.
func IsRegion(s string) bool { return len(s) <= 32 && regionForm.MatchString(s) }

// IsAccount reports whether a text has the form of an account's id.
func IsAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

// Validate says all that is wrong at once; key is where the configuration stands.
func (c Config) Validate(key string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(key+"."+format, args...)) }
	if c.Role != "" && !roleForm.MatchString(c.Role) {
		bad("role %q: want arn:aws:iam::111122223333:role/NAME, or {account} in place of the id for a role in each account", c.Role)
	}
	if c.ExternalID != "" && c.Role == "" {
		bad("external_id is given without a role")
	}
	if c.ExternalID != "" && (len(c.ExternalID) < 2 || len(c.ExternalID) > 1224) {
		bad("external_id has %d characters: want 2 to 1224", len(c.ExternalID))
	}
	if c.Region != "" && !IsRegion(c.Region) {
		bad("region %q: want a region such as eu-west-1", c.Region)
	}
	return errors.Join(errs...)
}

// PerAccount reports whether the role is another in each account.
func (c Config) PerAccount() bool { return strings.Contains(c.Role, forAccount) }

// Attempts of one call, made by the SDK: throttles and lost connections are
// retried with back-off for a few seconds.
const Attempts = 6

// Dial connects like net.Dialer.DialContext.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Options are how calls are made. The zero value is for few and urgent calls.
type Options struct {
	// Adaptive slows a client down where AWS throttles it: for reading at length,
	// not for what is urgent.
	Adaptive bool
	// Connections are kept open to each host; 0 is the SDK's 10.
	Connections int
	// Silence is how long an answer may take to begin; 0 is no limit.
	Silence time.Duration
	// Dial replaces how endpoints are reached, for tests and the demo; nil is the
	// network.
	Dial Dial
	// Load are the SDK's own options, after ours.
	Load []func(*config.LoadOptions) error
}

// most bounds the configurations that are kept: accounts are named by events too.
const most = 10_000

// Access makes the SDK's configuration for each account and region, once.
type Access struct {
	c    Config
	base aws.Config

	mu   sync.Mutex
	made map[place]aws.Config
}

type place struct{ account, region string }

// New loads the ambient configuration.
func New(ctx context.Context, c Config, o Options) (*Access, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		if o.Connections > 0 {
			t.MaxIdleConnsPerHost = o.Connections
			t.MaxIdleConns = max(t.MaxIdleConns, 2*o.Connections)
		}
		t.ResponseHeaderTimeout = o.Silence
		if o.Dial != nil {
			t.DialContext, t.Proxy = o.Dial, nil
		}
	})
	load := []func(*config.LoadOptions) error{
		config.WithAppID("riposte"), config.WithDefaultRegion("us-east-1"), config.WithHTTPClient(client), config.WithRetryer(o.retryer),
	}
	if c.Region != "" {
		load = append(load, config.WithRegion(c.Region))
	}
	base, err := config.LoadDefaultConfig(ctx, append(load, o.Load...)...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w; mend the profile, the environment or ~/.aws of this user", err)
	}
	base.Credentials = &ambient{inner: base.Credentials, now: time.Now}
	return &Access{c: c, base: base, made: map[place]aws.Config{}}, nil
}

func (o Options) retryer() aws.Retryer {
	attempts := func(o *retry.StandardOptions) { o.MaxAttempts = Attempts }
	if o.Adaptive {
		return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) { o.StandardOptions = append(o.StandardOptions, attempts) })
	}
	return retry.NewStandard(attempts)
}

// Region is where calls go that are for no region in particular.
func (a *Access) Region() string { return a.base.Region }

// Role is what is assumed to reach an account, "" for nothing.
func (a *Access) Role(account string) string {
	return strings.ReplaceAll(a.c.Role, forAccount, account)
}

// Ambient returns the configuration with the process's own credentials.
func (a *Access) Ambient() aws.Config { return a.base.Copy() }

// For returns the configuration to reach an account in a region. The account may
// be "" where the role is the same for all, the region for Region.
func (a *Access) For(account, region string) (aws.Config, error) {
	if account == "" && a.c.PerAccount() {
		return aws.Config{}, fmt.Errorf("the role %s is another in each account: name the account", a.c.Role)
	}
	if account != "" && !IsAccount(account) {
		return aws.Config{}, fmt.Errorf("%q is not an account id of 12 digits", account)
	}
	if region != "" && !IsRegion(region) {
		return aws.Config{}, fmt.Errorf("%q is no region", region)
	}
	if region == "" {
		region = a.base.Region
	}
	if !a.c.PerAccount() {
		account = ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at := place{account, region}
	if cfg, ok := a.made[at]; ok {
		return cfg, nil
	}
	cfg := a.base.Copy()
	cfg.Region = region
	if role := a.Role(account); role != "" {
		// Asked of the region's own STS: a region that is down takes no other along.
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "riposte"
			if a.c.ExternalID != "" {
				o.ExternalID = aws.String(a.c.ExternalID)
			}
		}))
	}
	if len(a.made) >= most {
		clear(a.made)
	}
	a.made[at] = cfg
	return cfg, nil
}

// S3 makes a client of S3 that reads objects as they are stored.
func S3(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = o.BaseEndpoint != nil // an endpoint of one's own has no name for each bucket
		o.DisableLogOutputChecksumValidationSkipped = true
	})
}

// Sleep waits, or returns why it cannot.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
