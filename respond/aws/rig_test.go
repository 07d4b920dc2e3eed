package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"riposte/event"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
	"riposte/respond"
)

const (
	account = "111122223333"
	other   = "999999999999"
	ownKey  = "AKIARIPOSTESOWNKEY01"
	key     = "AKIAEXAMPLEMALLORY01"
	groupID = "sg-0123456789abcdef0"
)

func world() *awsfake.World {
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	user := func(id string, keys ...string) *awsfake.User {
		u := &awsfake.User{ID: id, Keys: map[string]*awsfake.AccessKey{}}
		for _, k := range keys {
			u.Keys[k] = &awsfake.AccessKey{Status: "Active", Created: made}
		}
		return u
	}
	w := &awsfake.World{Accounts: map[string]*awsfake.Account{
		account: {
			Users: map[string]*awsfake.User{
				"mallory": user("AIDAMALLORY", key), "twokeys": user("AIDATWOKEYS", "AKIAEXAMPLETWOKEYS01", "AKIAEXAMPLETWOKEYS02"),
				"full": user("AIDAFULL", "AKIAEXAMPLEFULLFULL1"), "inactive": user("AIDAINACTIVE", "AKIAEXAMPLEINACTIVE1"),
				"attached": user("AIDAATTACHED"), "denied": user("AIDADENIED"), "break-glass": user("AIDABREAKGLASS", "AKIAEXAMPLEBREAKGL01"),
				"listed": user("AIDALISTED", "AKIAEXAMPLELISTED001"), "bystander": user("AIDABYSTANDER", "AKIAEXAMPLEBYSTAND01"),
			},
			SecurityGroups: map[string]*awsfake.SecurityGroup{
				groupID: {Name: "web", VPC: "vpc-1", Region: "eu-west-1", Interfaces: 3, Rules: map[string]*awsfake.Rule{
					"sgr-ssh": {Protocol: "tcp", From: 22, To: 22, IPv4: "0.0.0.0/0", Text: "quick fix", Tags: map[string]string{"by": "mallory"}},
					"sgr-all": {Protocol: "-1", From: -1, To: -1, IPv6: "::/0"}, "sgr-half": {Protocol: "tcp", From: 80, To: 90, IPv4: "128.0.0.0/1"},
					"sgr-office": {Protocol: "tcp", From: 22, To: 22, IPv4: "198.51.100.0/24"}, "sgr-app": {Protocol: "tcp", From: 22, To: 22, Group: "sg-0app"},
					"sgr-list": {Protocol: "tcp", From: 443, To: 443, PrefixList: "pl-1"}, "sgr-out": {Egress: true, Protocol: "-1", IPv4: "0.0.0.0/0"},
				}},
				"sg-0web": {Name: "web", Region: "eu-west-1", Rules: map[string]*awsfake.Rule{
					"sgr-http": {Protocol: "tcp", From: 80, To: 80, IPv4: "0.0.0.0/0"}, "sgr-tls": {Protocol: "tcp", From: 443, To: 443, IPv6: "::/0"},
					"sgr-range": {Protocol: "tcp", From: 80, To: 443, IPv4: "0.0.0.0/0"}, "sgr-any": {Protocol: "-1", From: 443, To: 443, IPv6: "::/0"},
				}},
				"sg-0closed":    {Name: "closed", Region: "eu-west-1", Rules: map[string]*awsfake.Rule{"sgr-app2": {Protocol: "tcp", From: 22, To: 22, Group: groupID}}},
				"sg-0default":   {Name: "default", Region: "eu-west-1", Rules: map[string]*awsfake.Rule{"sgr-d": {Protocol: "tcp", From: 22, To: 22, IPv4: "0.0.0.0/0"}}},
				"sg-0protected": {Name: "p", Region: "eu-west-1", Tags: map[string]string{"riposte:protected": "true"}, Rules: map[string]*awsfake.Rule{"sgr-p": {Protocol: "tcp", From: 22, To: 22, IPv4: "0.0.0.0/0"}}},
				"sg-0shared":    {Name: "s", Region: "eu-west-1", Owner: other, Rules: map[string]*awsfake.Rule{"sgr-s": {Protocol: "tcp", From: 22, To: 22, IPv4: "0.0.0.0/0"}}},
			},
			Buckets: map[string]*awsfake.Bucket{
				"open": {Region: "eu-central-1", PublicPolicy: true, PublicACL: true, Website: true}, "half": {Region: "us-east-1", PublicAccess: &awsfake.PublicAccess{BlockPublicAcls: true}},
				"guarded": {Region: "eu-west-1", PublicAccess: &awsfake.PublicAccess{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}},
				"web":     {Region: "eu-west-1", Tags: map[string]string{"riposte:protected": "true"}},
			},
			Trails: map[string]*awsfake.Trail{
				"stopped":  {HomeRegion: "eu-central-1", Bucket: "logs", MultiRegion: true, GlobalEvents: true, Validation: true},
				"narrowed": {HomeRegion: "eu-west-1", Bucket: "logs", Logging: true}, "fine": {HomeRegion: "eu-west-1", Bucket: "logs", Logging: true, MultiRegion: true, GlobalEvents: true, Validation: true},
				"broken":    {HomeRegion: "eu-west-1", Bucket: "logs", Logging: true, DeliveryError: "AccessDenied"},
				"selective": {HomeRegion: "eu-west-1", Bucket: "logs", Logging: true, Management: "WriteOnly"},
				"org":       {HomeRegion: "eu-west-1", Bucket: "logs", Organization: true, Owner: other, MultiRegion: true},
				"ours":      {HomeRegion: "eu-west-1", Bucket: "logs", Organization: true, MultiRegion: true, GlobalEvents: true},
			},
		},
		"444455556666": {PublicAccess: &awsfake.PublicAccess{RestrictPublicBuckets: true}},
		other:          {Users: map[string]*awsfake.User{"mallory": user("AIDAFOREIGN", "AKIAEXAMPLEFOREIGN01")}, Buckets: map[string]*awsfake.Bucket{"foreign": {Region: "eu-west-1"}}},
	}}
	users := w.Accounts[account].Users
	users["mallory"].Inline = map[string]string{"s3": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`, "sessions": `{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}}}]}`}
	users["mallory"].Attached = []string{"arn:aws:iam::aws:policy/AdministratorAccess"}
	users["mallory"].Groups, users["mallory"].Boundary = []string{"developers"}, "arn:aws:iam::"+account+":policy/boundary"
	users["full"].Inline = map[string]string{"long": `{"Statement":"` + strings.Repeat("x", 2000) + `"}`}
	users["inactive"].Keys["AKIAEXAMPLEINACTIVE1"].Status = "Inactive"
	users["attached"].Attached = []string{awsDenyAll}
	users["denied"].Inline = map[string]string{"theirs": `{"Statement": {"Effect": "Deny", "Action": ["*"], "Resource": "*"}}`}
	users["break-glass"].Tags = map[string]string{"riposte:protected": "true"}
	return w
}

// rig is the actions over a world.
type rig struct {
	*awsfake.Server
	clients *Clients
	actions map[string]respond.Action
	slept   time.Duration
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{Server: awsfake.New(world(), account)}
	t.Cleanup(r.Close)
	var err error
	r.clients, err = NewClients(t.Context(), Config{Config: awsaccess.Config{Role: "arn:aws:iam::{account}:role/riposte-responder"}, Protected: []string{"arn:aws:iam::*:user/listed", "arn:aws:cloudtrail:*:trail/protected-*"}}, r.Dial,
		config.WithBaseEndpoint(r.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(ownKey, "fake", "")),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = attempts
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
				o.RateLimiter = unlimited{}
			})
		}))
	if err != nil {
		t.Fatal(err)
	}
	r.clients.sleep = func(ctx context.Context, d time.Duration) error { r.slept += d; return ctx.Err() }
	r.actions = Actions(r.clients)
	return r
}

type unlimited struct{}

func (unlimited) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (unlimited) AddTokens(uint) error { return nil }

// scenario is a target that is to be contained.
type scenario struct {
	name, action string
	account      string // "" is the account
	params       map[string]any
}

var scenarios = []scenario{
	{name: "key", action: "iam.access-key.disable", params: map[string]any{"key": key, "user": "mallory"}},
	{name: "key-of-two", action: "iam.access-key.disable", params: map[string]any{"key": "AKIAEXAMPLETWOKEYS01"}},
	{name: "key-leaked", action: "iam.access-key.disable", params: map[string]any{"key": key, "user": "mallory", "leaked": true}},
	{name: "deny", action: "iam.user.deny-all", params: map[string]any{"user": "mallory"}},
	{name: "deny-full", action: "iam.user.deny-all", params: map[string]any{"user": "full"}},
	{name: "group", action: "ec2.sg.revoke-rules", params: map[string]any{"group": groupID}},
	{name: "group-port", action: "ec2.sg.revoke-rules", params: map[string]any{"group": "arn:aws:ec2:eu-west-1:" + account + ":security-group/" + groupID, "port": int64(85)}},
	{name: "group-rules", action: "ec2.sg.revoke-rules", params: map[string]any{"group": groupID, "rules": []any{"sgr-ssh", "sgr-office", "sgr-gone"}}},
	{name: "group-keep", action: "ec2.sg.revoke-rules", params: map[string]any{"group": "sg-0web", "keep": []any{int64(80), int64(443)}}},
	{name: "group-default", action: "ec2.sg.revoke-rules", params: map[string]any{"group": "sg-0default"}},
	{name: "bucket", action: "s3.block-public-access", params: map[string]any{"bucket": "arn:aws:s3:::open"}},
	{name: "bucket-half", action: "s3.block-public-access", params: map[string]any{"bucket": "half"}},
	{name: "account", action: "s3.block-public-access", params: map[string]any{"account": true}},
	{name: "account-half", action: "s3.block-public-access", account: "444455556666", params: map[string]any{"account": true}},
	{name: "trail", action: "cloudtrail.restore-logging", params: map[string]any{"trail": "stopped"}},
	{name: "trail-narrowed", action: "cloudtrail.restore-logging", params: map[string]any{"trail": "narrowed", "multi_region": true, "validation": true}},
	{name: "trail-organization", action: "cloudtrail.restore-logging", params: map[string]any{"trail": "arn:aws:cloudtrail:eu-west-1:" + account + ":trail/ours"}},
}

func (s *scenario) request() *respond.Request {
	r := &respond.Request{Run: "run-1", Step: s.name, Account: account, Region: "eu-west-1", Params: s.params}
	if s.account != "" {
		r.Account = s.account
	}
	return r
}

// plan plans as the responder does.
func (r *rig) plan(t testing.TB, s *scenario) *respond.Plan {
	t.Helper()
	p, err := r.tryPlan(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (r *rig) tryPlan(ctx context.Context, s *scenario) (*respond.Plan, error) {
	req := s.request()
	p, err := r.actions[s.action].Plan(ctx, req)
	if err == nil {
		p.Action, p.Account = s.action, req.Account
		p.Key = event.Hash("plan", req.Run, req.Step, p.Target.ID)
	}
	return p, err
}

func (r *rig) apply(t testing.TB, p *respond.Plan) *respond.Receipt {
	t.Helper()
	// What is applied was in a journal.
	var read respond.Plan
	b, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(b, &read)
	}
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := r.actions[p.Action].Apply(t.Context(), &read)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// state is the world without the ids of rules, which are new when a rule is made again.
func (r *rig) state(t testing.TB) string {
	t.Helper()
	return canonical(t, r.Snapshot())
}

func canonical(t testing.TB, snapshot []byte) string {
	t.Helper()
	var w awsfake.World
	if err := json.Unmarshal(snapshot, &w); err != nil {
		t.Fatal(err)
	}
	for _, a := range w.Accounts {
		for _, g := range a.SecurityGroups {
			var rules []string
			for _, rule := range g.Rules {
				b, err := json.Marshal(rule)
				if err != nil {
					t.Fatal(err)
				}
				rules = append(rules, string(b))
			}
			slices.Sort(rules)
			g.Rules = map[string]*awsfake.Rule{}
			for i, rule := range rules {
				var v awsfake.Rule
				if err := json.Unmarshal([]byte(rule), &v); err != nil {
					t.Fatal(err)
				}
				g.Rules[fmt.Sprintf("%03d", i)] = &v
			}
		}
		for _, u := range a.Users {
			if len(u.Inline) == 0 {
				u.Inline = nil
			}
			if len(u.Attached) == 0 {
				u.Attached = nil
			}
		}
	}
	b, err := json.MarshalIndent(w, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func operations(calls []respond.Call) (out []string) {
	for _, c := range calls {
		out = append(out, c.Service+":"+c.Operation)
	}
	return out
}

func made(calls []awsfake.Call) (out []string) {
	for _, c := range calls {
		out = append(out, c.Service+":"+c.Operation)
	}
	return out
}

// wanted is the IAM action of a call to the fake.
func wanted(call string) string {
	service, op, _ := strings.Cut(call, ":")
	return permission(map[string]string{"s3": "S3", "s3control": "S3 Control"}[service]+map[string]string{"iam": "IAM", "ec2": "EC2", "sts": "STS", "cloudtrail": "CloudTrail"}[service], op)
}
