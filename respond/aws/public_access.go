package aws

import (
	"context"
	"encoding/json"
	"fmt"
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
}

func (a *blockPublicAccess) Params() []respond.Param {
	return []respond.Param{
		{Name: "bucket", Doc: "bucket name or ARN"},
		{Name: "account", Doc: "true for the whole account instead of a bucket"},
	}
}

func (a *blockPublicAccess) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: r.Region}
	whole, _ := r.Params["account"].(bool)
	bucket := strings.TrimPrefix(r.Text("bucket"), "arn:aws:s3:::")
	bucket, _, _ = strings.Cut(bucket, "/")
	state := blockState{Bucket: bucket}
	service, input := "s3", map[string]any{"Bucket": bucket}
	switch {
	case whole:
		state.Bucket, service, input = "", "s3control", map[string]any{"AccountId": r.Account}
		p.Target = event.Entity{Kind: "account", ID: r.Account}
		p.Permissions = []string{"s3:PutAccountPublicAccessBlock"}
		p.Effect = "no bucket or access point of the account can be public, whatever its policy and ACLs say"
		p.Warnings = []string{"buckets that are public on purpose, such as web sites served straight from S3, stop being reachable"}
	case bucket == "":
		p.Target = event.Entity{Kind: "s3-bucket"}
		return refuse(p, "the finding names no bucket")
	default:
		p.Target = event.Entity{Kind: "s3-bucket", ID: "arn:aws:s3:::" + bucket}
		p.Permissions = []string{"s3:PutBucketPublicAccessBlock"}
		p.Effect = fmt.Sprintf("%s is not public any more, whatever its policy and ACLs say; access that its policy grants to named accounts stays", bucket)
		p.Warnings = []string{"a bucket that is public on purpose, such as a web site served straight from S3, stops being reachable"}
	}
	p.TargetID = p.Target.ID
	if why := a.protected(p.Target.ID, nil); why != "" {
		return refuse(p, "%s is protected: %s", p.Target.ID, why)
	}
	p.Reads = append(p.Reads, call(service, "GetPublicAccessBlock", r.Account, r.Region, input))
	now, err := a.read(ctx, p, state.Bucket)
	if is(err, "NoSuchBucket") {
		return refuse(p, "there is no bucket %s in account %s", bucket, r.Account)
	}
	if err != nil {
		return nil, err
	}
	state.Block = now
	p.Before = mustJSON(state)
	if now != nil && *now == blockAll {
		return already(p, "all four settings are on")
	}
	p.Decision, p.Reason = respond.Contain, "the public access block is off, or not all of it is on"
	put := map[string]any{"PublicAccessBlockConfiguration": blockAll}
	undo, undoInput := "DeletePublicAccessBlock", map[string]any{}
	if now != nil {
		undo, undoInput = "PutPublicAccessBlock", map[string]any{"PublicAccessBlockConfiguration": now}
	}
	for k, v := range input {
		put[k], undoInput[k] = v, v
	}
	p.Calls = []respond.Call{call(service, "PutPublicAccessBlock", r.Account, r.Region, put)}
	p.Undo = []respond.Call{call(service, undo, r.Account, r.Region, undoInput)}
	p.Restore = respond.RestoreApprove
	return p, nil
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

func (a *blockPublicAccess) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	var before blockState
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	all := blockAll
	r, err := a.write(ctx, p, before.Bucket, &all)
	if err != nil {
		return nil, fmt.Errorf("block public access of %s: %w", p.Target.ID, err)
	}
	return r, nil
}

func (a *blockPublicAccess) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	var before blockState
	if err := json.Unmarshal(r.Plan.Before, &before); err != nil {
		return respond.Unknown, fmt.Errorf("read the plan: %w", err)
	}
	now, err := a.read(ctx, &r.Plan, before.Bucket)
	if err != nil {
		return respond.Unknown, err
	}
	if now != nil && *now == blockAll {
		return respond.Effective, nil
	}
	return respond.NotEffective, nil
}

func (a *blockPublicAccess) Undo(ctx context.Context, r *respond.Receipt) error {
	p := &r.Plan
	var before blockState
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	now, err := a.read(ctx, p, before.Bucket)
	if err != nil {
		return err
	}
	switch {
	case now == nil && before.Block == nil, now != nil && before.Block != nil && *now == *before.Block:
		return nil
	case now == nil || *now != blockAll:
		return &respond.ConflictError{Target: p.Target.ID, What: fmt.Sprintf("the public access block is now %s", mustJSON(now))}
	}
	if _, err := a.write(ctx, p, before.Bucket, before.Block); err != nil {
		return fmt.Errorf("restore the public access block of %s: %w", p.Target.ID, err)
	}
	return nil
}
