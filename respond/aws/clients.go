// Package aws holds the containment actions on AWS, one file each. Every one
// reads before it decides, acts by ids that AWS never gives to anything else,
// carries a marker or a whole-value write that is safe to repeat, and takes back
// only what it did.
package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"riposte/event"
	"riposte/internal/awsaccess"
	"riposte/respond"
)

// Config is how accounts are reached, and what is left alone in them.
type Config struct {
	// The role is assumed in each account, {account} standing for its id:
	// arn:aws:iam::{account}:role/riposte-responder.
	awsaccess.Config `yaml:",inline"`
	// Protected are ARNs, or patterns with *, of what no action may touch:
	// break-glass users, the responder's own role, the log archive.
	Protected []string `yaml:"protected"`
}

// Validate says all that is wrong at once.
func (c Config) Validate() error { return c.Config.Validate("respond.aws") }

// attempts of one call.
const attempts = awsaccess.Attempts

// Clients reach each account and region.
type Clients struct {
	c      Config
	access *awsaccess.Access

	mu  sync.Mutex
	own string // ARN of the ambient identity, once it is known

	// sleep waits between the reads of a verification.
	sleep func(ctx context.Context, d time.Duration) error
}

// NewClients loads the ambient configuration. dial replaces how endpoints are
// reached, for tests and the demo; nil is the network.
func NewClients(ctx context.Context, c Config, dial awsaccess.Dial, opts ...func(*config.LoadOptions) error) (*Clients, error) {
	named := config.WithAPIOptions([]func(*middleware.Stack) error{namePermission})
	access, err := awsaccess.New(ctx, c.Config, awsaccess.Options{Dial: dial, Load: append(opts, named)})
	if err != nil {
		return nil, err
	}
	return &Clients{c: c, access: access, sleep: awsaccess.Sleep}, nil
}

// For returns the configuration to reach an account in a region.
func (c *Clients) For(account, region string) (aws.Config, error) {
	if !awsaccess.IsAccount(account) {
		return aws.Config{}, fmt.Errorf("%q is not an account id of 12 digits", account)
	}
	return c.access.For(account, cmp.Or(region, "us-east-1"))
}

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
		out, err := sts.NewFromConfig(c.access.Ambient()).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
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
func is(err error, codes ...string) bool { return awsaccess.Is(err, codes...) }

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
