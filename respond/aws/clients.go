// Package aws holds the containment actions on AWS, one file each. Every one
// reads before it decides, acts by ids that AWS never gives to anything else,
// carries a marker or a whole-value write that is safe to repeat, and takes back
// only what it did.
package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"riposte/event"
	"riposte/respond"
)

// Config is how accounts are reached. AWS_ENDPOINT_URL and its forms by service
// are honoured, as everywhere in the SDK.
type Config struct {
	// Role is assumed in each account, {account} standing for its id:
	// arn:aws:iam::{account}:role/riposte-responder. Empty uses the ambient
	// credentials for every account.
	Role string `yaml:"role"`
	// ExternalID is passed when the role is assumed.
	ExternalID string `yaml:"external_id"`
	// Protected are ARNs, or patterns with *, of what no action may touch:
	// break-glass users, the responder's own role, the log archive.
	Protected []string `yaml:"protected"`
}

var roleForm = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\{account\}|\d{12}):role/.+$`)

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	if c.Role != "" && !roleForm.MatchString(c.Role) {
		errs = append(errs, fmt.Errorf("respond.aws.role %q: want arn:aws:iam::{account}:role/NAME", c.Role))
	}
	if c.ExternalID != "" && c.Role == "" {
		errs = append(errs, errors.New("respond.aws.external_id is given without a role"))
	}
	return errors.Join(errs...)
}

// attempts of one call: throttles and lost connections are retried with
// back-off by the SDK, for a few seconds.
const attempts = 6

// Clients makes the SDK's configuration for an account and region, once each.
type Clients struct {
	c    Config
	base aws.Config

	mu   sync.Mutex
	made map[string]aws.Config
	own  string // ARN of the ambient identity, once it is known

	// sleep waits between the reads of a verification.
	sleep func(ctx context.Context, d time.Duration) error
}

// Dial connects like net.Dialer.DialContext; see NewClients.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// NewClients loads the ambient configuration. dial replaces how endpoints are
// reached, for tests and the demo; nil is the network.
func NewClients(ctx context.Context, c Config, dial Dial, opts ...func(*config.LoadOptions) error) (*Clients, error) {
	opts = append(opts, config.WithAppID("riposte"), config.WithDefaultRegion("us-east-1"), config.WithRetryer(func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = attempts })
	}))
	if dial != nil {
		opts = append(opts, config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.DialContext, t.Proxy = dial, nil
		})))
	}
	base, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	base.Credentials = &ambient{inner: base.Credentials, now: time.Now}
	base.APIOptions = append(base.APIOptions, namePermission)
	return &Clients{c: c, base: base, made: map[string]aws.Config{}, sleep: wait}, nil
}

// For returns the configuration to reach an account in a region.
func (c *Clients) For(account, region string) (aws.Config, error) {
	if !validAccount(account) {
		return aws.Config{}, fmt.Errorf("%q is not an account id of 12 digits", account)
	}
	if region == "" {
		region = "us-east-1"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := account + "/" + region
	if cfg, ok := c.made[key]; ok {
		return cfg, nil
	}
	cfg := c.base.Copy()
	cfg.Region = region
	if c.c.Role != "" {
		role := strings.ReplaceAll(c.c.Role, "{account}", account)
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "riposte"
			if c.c.ExternalID != "" {
				o.ExternalID = aws.String(c.c.ExternalID)
			}
		}))
	}
	c.made[key] = cfg
	return cfg, nil
}

func validAccount(id string) bool { return len(id) == 12 && strings.Trim(id, "0123456789") == "" }

// Actions are the AWS actions by name.
func Actions(c *Clients) map[string]respond.Action {
	return map[string]respond.Action{
		"iam.access-key.disable":     &disableKey{c},
		"iam.user.deny-all":          &denyUser{c},
		"ec2.sg.revoke-rules":        &revokeRules{c},
		"s3.block-public-access":     &blockPublicAccess{c},
		"cloudtrail.restore-logging": &restoreLogging{c},
	}
}

// self returns who the ambient credentials are of, so that no action locks out
// riposte itself. It is asked once.
func (c *Clients) self(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == "" {
		out, err := sts.NewFromConfig(c.base).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", fmt.Errorf("find out who riposte is: %w", err)
		}
		c.own = deref(out.Arn)
	}
	return c.own, nil
}

// protected reports why a principal or resource must not be touched, "" when it may.
func (c *Clients) protected(arn string, tags map[string]string) string {
	switch {
	case strings.Contains(arn, ":role/aws-service-role/"):
		return "it is a service-linked role, which IAM does not let anybody edit"
	case strings.Contains(arn, ":role/aws-reserved/"):
		return "it belongs to IAM Identity Center: contain the user there"
	case strings.HasSuffix(arn, ":root"):
		return "the root user has no policies or keys that an action could touch"
	case c.c.Role != "" && strings.HasSuffix(arn, c.c.Role[strings.LastIndexByte(c.c.Role, ':'):]):
		return "it is riposte's own role"
	case tags["riposte:protected"] == "true":
		return "it is tagged riposte:protected"
	}
	for _, p := range c.c.Protected {
		if match(p, arn) {
			return fmt.Sprintf("the configuration protects %s", p)
		}
	}
	return ""
}

// match compares with a pattern in which * is any run of characters.
func match(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// split takes an ARN apart; ok is false for what is none.
func split(arn string) (partition, service, region, account, resource string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return "", "", "", "", "", false
	}
	return parts[1], parts[2], parts[3], parts[4], parts[5], true
}

// home is the region of a partition's global services.
func home(region string) string {
	return map[string]string{"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}[event.Partition(region)]
}

// yes reads a parameter that is true or false.
func yes(r *respond.Request, name string) (bool, error) {
	switch v := r.Params[name].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	default:
		return false, fmt.Errorf("%s is %v, want true or false", name, v)
	}
}

// list reads a parameter that is a list; one that is not given is empty.
func list[E any](r *respond.Request, name string) (out []E, ok bool) {
	all, isList := r.Params[name].([]any)
	if r.Params[name] != nil && !isList {
		return nil, false
	}
	for _, v := range all {
		e, ok := v.(E)
		if !ok {
			return nil, false
		}
		out = append(out, e)
	}
	return out, true
}

// is reports whether an AWS error has one of the codes.
func is(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}

// call renders an API call; what its input leaves open is left out.
func call(service, operation, account, region string, input any) respond.Call {
	var tree any
	if err := json.Unmarshal(mustJSON(input), &tree); err != nil {
		panic(err) // it was made of what can be read
	}
	return respond.Call{Service: service, Operation: operation, Account: account, Region: region, Input: mustJSON(given(tree))}
}

// given drops the members that are null.
func given(v any) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, inner any) bool { return given(inner) == nil })
	case []any:
		for i := range v {
			v[i] = given(v[i])
		}
	}
	return v
}

// mustJSON renders what is made of plain maps, texts and numbers.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// refuse is the plan that does nothing, and says why.
func refuse(p *respond.Plan, format string, args ...any) (*respond.Plan, error) {
	p.Decision, p.Reason = respond.Refuse, fmt.Sprintf(format, args...)
	p.Calls, p.Undo, p.Restore = nil, nil, ""
	return p, nil
}

// already is the plan for what is contained as it is.
func already(p *respond.Plan, format string, args ...any) (*respond.Plan, error) {
	p.Decision, p.Reason = respond.AlreadyContained, fmt.Sprintf(format, args...)
	p.Calls, p.Undo, p.Restore = nil, nil, ""
	return p, nil
}

// receipt keeps the request ids of every attempt at a call, by which CloudTrail's
// echo of it is known.
func receipt(p *respond.Plan, after any, results ...middleware.Metadata) *respond.Receipt {
	r := &respond.Receipt{Plan: *p, After: mustJSON(after)}
	for _, m := range results {
		r.RequestIDs = append(r.RequestIDs, requestIDs(m)...)
	}
	return r
}

func requestIDs(m middleware.Metadata) (ids []string) {
	add := func(m middleware.Metadata) {
		if id, ok := awsmiddleware.GetRequestIDMetadata(m); ok && id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if attempts, ok := retry.GetAttemptResults(m); ok {
		for _, a := range attempts.Results {
			add(a.ResponseMetadata)
		}
	}
	add(m)
	return ids
}

// marker names what a plan creates, so that a repeat overwrites itself and an
// undo knows its own.
func marker(key string) string { return "riposte-" + key[:min(8, len(key))] }

func deref(s *string) string { return aws.ToString(s) }
