package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"riposte/event"
	"riposte/respond"
)

const (
	// denyAll is what the inline policy says.
	denyAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`
	// awsDenyAll is AWS's own policy that says the same, for users without room.
	awsDenyAll = "arn:aws:iam::aws:policy/AWSDenyAll"
	// inlineQuota is what a user's inline policies may come to, in characters.
	inlineQuota = 2048
)

// denyUser puts an explicit deny of everything on a user.
type denyUser struct{ *Clients }

// userState is what is recorded of a user's policies.
type userState struct {
	User     string            `json:"user"`
	Inline   map[string]string `json:"inline"`
	Attached []string          `json:"attached"`
	// Policy is the inline policy to write, "" when AWSDenyAll is attached instead.
	Policy string `json:"policy"`
}

func (a *denyUser) Params() []respond.Param {
	return []respond.Param{{Name: "user", Required: true, Doc: "user name"}}
}

func (a *denyUser) client(p *respond.Plan) (*iam.Client, error) {
	cfg, err := a.For(p.Account, p.Region)
	return iam.NewFromConfig(cfg), err
}

func (a *denyUser) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{
		Account: r.Account, Region: "us-east-1",
		Permissions: []string{"iam:PutUserPolicy", "iam:DeleteUserPolicy", "iam:AttachUserPolicy", "iam:DetachUserPolicy"},
	}
	name := r.Text("user")
	p.Target = event.Entity{Kind: "iam-user", ID: name}
	if name == "" {
		return refuse(p, "the finding names no IAM user")
	}
	client, err := a.client(p)
	if err != nil {
		return nil, err
	}
	t, err := a.user(ctx, client, p, r.Account, name)
	if err != nil {
		return nil, err
	}
	if t.refused != "" {
		return refuse(p, "%s", t.refused)
	}
	// The name is derived from the run and the user, so that a repeat finds its own.
	state, err := a.read(ctx, client, name)
	if err != nil {
		return nil, err
	}
	state.Policy = marker(event.Hash(r.Run, r.Step, t.id)) + "-deny"
	for _, op := range []string{"ListUserPolicies", "GetUserPolicy", "ListAttachedUserPolicies"} {
		p.Reads = append(p.Reads, call("iam", op, r.Account, "", map[string]string{"UserName": name}))
	}
	if slices.Contains(state.Attached, awsDenyAll) {
		p.Before = mustJSON(state)
		return already(p, "AWSDenyAll is attached to the user")
	}
	size := len(denyAll)
	for policy, doc := range state.Inline {
		if doc == denyAll {
			p.Before = mustJSON(state)
			return already(p, "the inline policy %s denies everything", policy)
		}
		size += len(doc)
	}
	p.Decision, p.Reason = respond.Contain, "nothing denies the user"
	p.Effect = fmt.Sprintf("every call of %s is denied within seconds to minutes, with every key, session and console login; an explicit deny wins over every allow", name)
	p.Warnings = []string{"roles that the user has assumed already go on until their sessions end: look at what this finding's incident names"}
	p.Restore = respond.RestoreApprove
	if size > inlineQuota {
		state.Policy = ""
		p.Calls = []respond.Call{call("iam", "AttachUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyArn": awsDenyAll})}
		p.Undo = []respond.Call{call("iam", "DetachUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyArn": awsDenyAll})}
		p.Warnings = append(p.Warnings, "the user's inline policies leave no room: AWSDenyAll is attached instead")
	} else {
		p.Calls = []respond.Call{call("iam", "PutUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyName": state.Policy, "PolicyDocument": denyAll})}
		p.Undo = []respond.Call{call("iam", "DeleteUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyName": state.Policy})}
	}
	p.Before = mustJSON(state)
	return p, nil
}

func (a *denyUser) read(ctx context.Context, client *iam.Client, name string) (userState, error) {
	state := userState{User: name, Inline: map[string]string{}, Attached: []string{}}
	pages := iam.NewListUserPoliciesPaginator(client, &iam.ListUserPoliciesInput{UserName: aws.String(name)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list the policies of %s: %w", name, err)
		}
		for _, policy := range out.PolicyNames {
			got, err := client.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: aws.String(name), PolicyName: aws.String(policy)})
			if err != nil {
				return state, fmt.Errorf("read the policy %s of %s: %w", policy, name, err)
			}
			doc, err := url.QueryUnescape(deref(got.PolicyDocument))
			if err != nil {
				return state, fmt.Errorf("read the policy %s of %s: %w", policy, name, err)
			}
			state.Inline[policy] = doc
		}
	}
	attached := iam.NewListAttachedUserPoliciesPaginator(client, &iam.ListAttachedUserPoliciesInput{UserName: aws.String(name)})
	for attached.HasMorePages() {
		out, err := attached.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list what is attached to %s: %w", name, err)
		}
		for _, policy := range out.AttachedPolicies {
			state.Attached = append(state.Attached, deref(policy.PolicyArn))
		}
	}
	return state, nil
}

// begin opens a plan again: its state, the client and a check that the user is still the same.
func (a *denyUser) begin(ctx context.Context, p *respond.Plan) (userState, *iam.Client, error) {
	var before userState
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return before, nil, fmt.Errorf("read the plan: %w", err)
	}
	client, err := a.client(p)
	if err != nil {
		return before, nil, err
	}
	return before, client, a.same(ctx, client, p, before.User)
}

func (a *denyUser) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	before, client, err := a.begin(ctx, p)
	if err != nil {
		return nil, err
	}
	if before.Policy == "" {
		out, err := client.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String(before.User), PolicyArn: aws.String(awsDenyAll)})
		if err != nil {
			return nil, fmt.Errorf("attach AWSDenyAll to %s: %w", before.User, err)
		}
		return receipt(p, awsDenyAll, out.ResultMetadata), nil
	}
	out, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String(before.User), PolicyName: aws.String(before.Policy), PolicyDocument: aws.String(denyAll)})
	if err != nil {
		return nil, fmt.Errorf("deny %s: %w", before.User, err)
	}
	return receipt(p, denyAll, out.ResultMetadata), nil
}

func (a *denyUser) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	before, client, err := a.begin(ctx, &r.Plan)
	if err != nil {
		return respond.Unknown, err
	}
	now, err := a.read(ctx, client, before.User)
	if err != nil {
		return respond.Unknown, err
	}
	if before.Policy == "" && slices.Contains(now.Attached, awsDenyAll) || before.Policy != "" && now.Inline[before.Policy] == denyAll {
		return respond.Effective, nil
	}
	return respond.NotEffective, nil
}

func (a *denyUser) Undo(ctx context.Context, r *respond.Receipt) error {
	before, client, err := a.begin(ctx, &r.Plan)
	if err != nil {
		return err
	}
	if before.Policy == "" {
		_, err := client.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: aws.String(before.User), PolicyArn: aws.String(awsDenyAll)})
		if err != nil && !is(err, "NoSuchEntity") {
			return fmt.Errorf("detach AWSDenyAll from %s: %w", before.User, err)
		}
		return nil
	}
	now, err := a.read(ctx, client, before.User)
	if err != nil {
		return err
	}
	switch doc, ok := now.Inline[before.Policy]; {
	case !ok:
		return nil
	case doc != denyAll:
		return &respond.ConflictError{Target: r.Plan.Target.ID, What: fmt.Sprintf("the policy %s now says %s", before.Policy, doc)}
	}
	_, err = client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String(before.User), PolicyName: aws.String(before.Policy)})
	if err != nil && !is(err, "NoSuchEntity") {
		return fmt.Errorf("remove the deny of %s: %w", before.User, err)
	}
	return nil
}
