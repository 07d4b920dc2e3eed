package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	control "github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"riposte/event"
	"riposte/respond"
)

// blockPublicAccess turns on all four settings of a bucket's public access
// block, or of the account's.
type blockPublicAccess struct{ *Clients }

// block is a public access block; nil in blockState is none.
type block struct {
	BlockPublicAcls       bool `json:"BlockPublicAcls"`
	IgnorePublicAcls      bool `json:"IgnorePublicAcls"`
	BlockPublicPolicy     bool `json:"BlockPublicPolicy"`
	RestrictPublicBuckets bool `json:"RestrictPublicBuckets"`
}

var blockAll = block{true, true, true, true}

type blockState struct {
	// Bucket is "" for the account's own block.
	Bucket string `json:"bucket,omitempty"`
	Block  *block `json:"block"`
	// PublicPolicy, PublicACL and Website are what makes the bucket public now.
	PublicPolicy bool `json:"publicPolicy,omitempty"`
	PublicACL    bool `json:"publicACL,omitempty"`
	Website      bool `json:"website,omitempty"`
}

func (a *blockPublicAccess) Params() []respond.Param {
	return []respond.Param{
		{Name: "bucket", Doc: "bucket name or ARN"},
		{Name: "account", Doc: "true for the whole account instead of a bucket"},
	}
}

func (a *blockPublicAccess) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: r.Region}
	name := r.Text("bucket")
	p.Target = event.Entity{Kind: "s3-bucket", ID: name}
	whole, err := yes(r, "account")
	switch {
	case err != nil:
		return refuse(p, "%v", err)
	case whole && name != "":
		return refuse(p, "bucket and account are both given: want one of them")
	case whole:
		p.Target, p.TargetID = event.Entity{Kind: "account", ID: r.Account}, r.Account
		p.Permissions = []string{"s3:PutAccountPublicAccessBlock"}
		p.Effect = "no bucket or access point of the account can be public, whatever its policy and ACLs say"
		p.Warnings = []string{"buckets that are public on purpose, such as web sites served straight from S3, stop being reachable"}
	default:
		if refused, err := a.bucket(ctx, p, name); refused != "" || err != nil {
			if err != nil {
				return nil, err
			}
			return refuse(p, "%s", refused)
		}
	}
	if why := a.protected(p.Target.ID, nil); why != "" {
		return refuse(p, "%s is protected: %s", p.Target.ID, why)
	}
	state := blockState{Bucket: bucketName(p)}
	service, input := "s3", map[string]any{"Bucket": state.Bucket, "ExpectedBucketOwner": p.Account}
	if whole {
		service, input = "s3control", map[string]any{"AccountId": r.Account}
	}
	p.Reads = append(p.Reads, call(service, "GetPublicAccessBlock", r.Account, p.Region, input))
	if state.Block, err = a.read(ctx, p, state.Bucket); err != nil {
		return nil, err
	}
	if !whole {
		if err := a.exposure(ctx, p, &state); err != nil {
			return nil, err
		}
	}
	p.Before = mustJSON(state)
	if state.Block != nil && *state.Block == blockAll {
		return already(p, "all four settings are on")
	}
	p.Decision, p.Reason = respond.Contain, "the public access block is off, or not all of it is on"
	put := map[string]any{"PublicAccessBlockConfiguration": blockAll}
	undo, undoInput := "DeletePublicAccessBlock", map[string]any{}
	if state.Block != nil {
		undo, undoInput = "PutPublicAccessBlock", map[string]any{"PublicAccessBlockConfiguration": state.Block}
	}
	maps.Copy(put, input)
	maps.Copy(undoInput, input)
	p.Calls = []respond.Call{call(service, "PutPublicAccessBlock", r.Account, p.Region, put)}
	p.Undo = []respond.Call{call(service, undo, r.Account, p.Region, undoInput)}
	// By itself it would only make public again what the finding is about.
	p.Restore = respond.RestoreApprove
	return p, nil
}

var bucketForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)

func bucketName(p *respond.Plan) string {
	if p.Target.Kind != "s3-bucket" {
		return ""
	}
	return p.Target.ID[strings.LastIndexByte(p.Target.ID, ':')+1:]
}

// bucket resolves a bucket to its owner and region, and begins the plan about it.
// S3 has no immutable id: that the account owns the bucket is checked in every call.
func (a *blockPublicAccess) bucket(ctx context.Context, p *respond.Plan, name string) (refused string, err error) {
	part := event.Partition(p.Region)
	if name == "" {
		return "the finding names no bucket", nil
	}
	if arn, service, region, account, resource, ok := split(name); ok {
		if service != "s3" || region != "" || account != "" {
			return fmt.Sprintf("%s is no bucket", name), nil
		}
		part, name = arn, resource
	}
	name, _, _ = strings.Cut(name, "/")
	switch {
	case !bucketForm.MatchString(name) || strings.Contains(name, ".."):
		return fmt.Sprintf("%q is no bucket's name", name), nil
	case strings.HasSuffix(name, "--x-s3"):
		return name + " is a directory bucket, which cannot be public", nil
	}
	p.Target = event.Entity{Kind: "s3-bucket", ID: "arn:" + part + ":s3:::" + name}
	p.TargetID = p.Target.ID
	p.Permissions = []string{"s3:PutBucketPublicAccessBlock"}
	p.Effect = fmt.Sprintf("%s is not public any more, whatever its policy and ACLs say; access that its policy grants to named accounts stays", name)

	input := map[string]string{"Bucket": name, "ExpectedBucketOwner": p.Account}
	here := home(p.Region)
	p.Reads = append(p.Reads, call("s3", "GetBucketLocation", p.Account, here, input))
	client, err := a.s3(&respond.Plan{Account: p.Account, Region: here})
	if err != nil {
		return "", err
	}
	at, err := client.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: aws.String(name), ExpectedBucketOwner: aws.String(p.Account)})
	switch {
	case is(err, "NoSuchBucket"):
		return fmt.Sprintf("there is no bucket %s in account %s", name, p.Account), nil
	case denied(err):
		// For a bucket of another account S3 answers as if it were not allowed.
		return fmt.Sprintf("%s is not of account %s, or it may not be looked up: %v", name, p.Account, err), nil
	case err != nil:
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	switch at.LocationConstraint {
	case "":
		p.Region = "us-east-1"
	case types.BucketLocationConstraintEu:
		p.Region = "eu-west-1"
	default:
		p.Region = string(at.LocationConstraint)
	}
	if client, err = a.s3(p); err != nil {
		return "", err
	}
	p.Reads = append(p.Reads, call("s3", "GetBucketTagging", p.Account, p.Region, input))
	tags := map[string]string{}
	tagging, err := client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: aws.String(name), ExpectedBucketOwner: aws.String(p.Account)})
	if err != nil && !is(err, "NoSuchTagSet") {
		return "", fmt.Errorf("read the tags of %s: %w", name, err)
	}
	if err == nil {
		for _, t := range tagging.TagSet {
			tags[deref(t.Key)] = deref(t.Value)
		}
	}
	if why := a.protected(p.Target.ID, tags); why != "" {
		return fmt.Sprintf("%s is protected: %s", p.Target.ID, why), nil
	}
	return "", nil
}

// exposure reads what makes a bucket public, for the people who decide.
func (a *blockPublicAccess) exposure(ctx context.Context, p *respond.Plan, state *blockState) error {
	client, err := a.s3(p)
	if err != nil {
		return err
	}
	bucket, owner := aws.String(state.Bucket), aws.String(p.Account)
	for _, op := range []string{"GetBucketPolicyStatus", "GetBucketAcl", "GetBucketWebsite"} {
		p.Reads = append(p.Reads, call("s3", op, p.Account, p.Region, map[string]string{"Bucket": state.Bucket, "ExpectedBucketOwner": p.Account}))
	}
	policy, err := client.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: bucket, ExpectedBucketOwner: owner})
	if err != nil && !is(err, "NoSuchBucketPolicy") {
		return fmt.Errorf("read the policy status of %s: %w", state.Bucket, err)
	}
	state.PublicPolicy = err == nil && policy.PolicyStatus != nil && aws.ToBool(policy.PolicyStatus.IsPublic)
	acl, err := client.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: bucket, ExpectedBucketOwner: owner})
	if err != nil {
		return fmt.Errorf("read the ACL of %s: %w", state.Bucket, err)
	}
	for _, g := range acl.Grants {
		if g.Grantee != nil && (strings.HasSuffix(deref(g.Grantee.URI), "/AllUsers") || strings.HasSuffix(deref(g.Grantee.URI), "/AuthenticatedUsers")) {
			state.PublicACL = true
		}
	}
	_, err = client.GetBucketWebsite(ctx, &s3.GetBucketWebsiteInput{Bucket: bucket, ExpectedBucketOwner: owner})
	if err != nil && !is(err, "NoSuchWebsiteConfiguration") {
		return fmt.Errorf("read the web site of %s: %w", state.Bucket, err)
	}
	state.Website = err == nil
	for _, w := range []struct {
		is   bool
		text string
	}{
		{state.Website, state.Bucket + " serves a web site straight from S3, which stops being reachable"},
		{state.PublicPolicy, "its policy is public, and whoever reads through it is cut off"},
		{state.PublicACL, "its ACL is public, and whoever reads through it is cut off"},
		{!state.PublicPolicy && !state.PublicACL, "neither its policy nor its ACL is public now; ACLs of single objects were not read"},
	} {
		if w.is {
			p.Warnings = append(p.Warnings, w.text)
		}
	}
	return nil
}

func (a *blockPublicAccess) s3(p *respond.Plan) (*s3.Client, error) {
	cfg, err := a.For(p.Account, p.Region)
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = cfg.BaseEndpoint != nil }), err
}

func (a *blockPublicAccess) control(p *respond.Plan) (*s3control.Client, error) {
	cfg, err := a.For(p.Account, p.Region)
	return s3control.NewFromConfig(cfg), err
}

// read returns the block of the bucket, or of the account when bucket is ""; nil is none.
func (a *blockPublicAccess) read(ctx context.Context, p *respond.Plan, bucket string) (*block, error) {
	if bucket == "" {
		client, err := a.control(p)
		if err != nil {
			return nil, err
		}
		out, err := client.GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{AccountId: aws.String(p.Account)})
		if is(err, "NoSuchPublicAccessBlockConfiguration") {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the account's public access block: %w", err)
		}
		c := out.PublicAccessBlockConfiguration
		return &block{aws.ToBool(c.BlockPublicAcls), aws.ToBool(c.IgnorePublicAcls), aws.ToBool(c.BlockPublicPolicy), aws.ToBool(c.RestrictPublicBuckets)}, nil
	}
	client, err := a.s3(p)
	if err != nil {
		return nil, err
	}
	out, err := client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: aws.String(bucket), ExpectedBucketOwner: aws.String(p.Account)})
	if is(err, "NoSuchPublicAccessBlockConfiguration") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the public access block of %s: %w", bucket, err)
	}
	c := out.PublicAccessBlockConfiguration
	return &block{aws.ToBool(c.BlockPublicAcls), aws.ToBool(c.IgnorePublicAcls), aws.ToBool(c.BlockPublicPolicy), aws.ToBool(c.RestrictPublicBuckets)}, nil
}

// write sets the block; nil removes it.
func (a *blockPublicAccess) write(ctx context.Context, p *respond.Plan, bucket string, b *block) (*respond.Receipt, error) {
	if bucket == "" {
		client, err := a.control(p)
		if err != nil {
			return nil, err
		}
		if b == nil {
			_, err := client.DeletePublicAccessBlock(ctx, &s3control.DeletePublicAccessBlockInput{AccountId: aws.String(p.Account)})
			return nil, err
		}
		out, err := client.PutPublicAccessBlock(ctx, &s3control.PutPublicAccessBlockInput{AccountId: aws.String(p.Account), PublicAccessBlockConfiguration: &control.PublicAccessBlockConfiguration{
			BlockPublicAcls: &b.BlockPublicAcls, IgnorePublicAcls: &b.IgnorePublicAcls, BlockPublicPolicy: &b.BlockPublicPolicy, RestrictPublicBuckets: &b.RestrictPublicBuckets,
		}})
		if err != nil {
			return nil, err
		}
		return receipt(p, b, out.ResultMetadata), nil
	}
	client, err := a.s3(p)
	if err != nil {
		return nil, err
	}
	owner := aws.String(p.Account) // a bucket of the same name in other hands is refused
	if b == nil {
		_, err := client.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String(bucket), ExpectedBucketOwner: owner})
		return nil, err
	}
	out, err := client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: aws.String(bucket), ExpectedBucketOwner: owner, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
		BlockPublicAcls: &b.BlockPublicAcls, IgnorePublicAcls: &b.IgnorePublicAcls, BlockPublicPolicy: &b.BlockPublicPolicy, RestrictPublicBuckets: &b.RestrictPublicBuckets,
	}})
	if err != nil {
		return nil, err
	}
	return receipt(p, b, out.ResultMetadata), nil
}

// begin opens a plan again: what it saw, and the block that is there now.
func (a *blockPublicAccess) begin(ctx context.Context, p *respond.Plan) (before blockState, now *block, err error) {
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return before, nil, fmt.Errorf("read the plan: %w", err)
	}
	now, err = a.read(ctx, p, before.Bucket)
	if is(err, "NoSuchBucket") {
		return before, nil, &respond.ConflictError{Target: p.Target.ID, What: "the bucket was deleted"}
	}
	return before, now, err
}

func (b *block) equal(o *block) bool { return b == nil && o == nil || b != nil && o != nil && *b == *o }

func (a *blockPublicAccess) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	before, now, err := a.begin(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case now.equal(&blockAll):
		return receipt(p, blockAll), nil // an earlier try
	case !now.equal(before.Block):
		return nil, &respond.ConflictError{Target: p.Target.ID, What: fmt.Sprintf("the public access block is now %s", mustJSON(now))}
	}
	all := blockAll
	r, err := a.write(ctx, p, before.Bucket, &all)
	if err != nil {
		return nil, fmt.Errorf("block public access of %s: %w", p.Target.ID, err)
	}
	return r, nil
}

func (a *blockPublicAccess) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	return a.verify(ctx, func(ctx context.Context) (respond.Outcome, error) {
		_, now, err := a.begin(ctx, &r.Plan)
		return shows(now.equal(&blockAll), err)
	})
}

func (a *blockPublicAccess) Undo(ctx context.Context, r *respond.Receipt) error {
	p := &r.Plan
	before, now, err := a.begin(ctx, p)
	switch {
	case err != nil:
		return err
	case now.equal(before.Block):
		return nil
	case !now.equal(&blockAll):
		return &respond.ConflictError{Target: p.Target.ID, What: fmt.Sprintf("the public access block is now %s", mustJSON(now))}
	}
	if _, err := a.write(ctx, p, before.Bucket, before.Block); err != nil {
		return fmt.Errorf("restore the public access block of %s: %w", p.Target.ID, err)
	}
	return nil
}
