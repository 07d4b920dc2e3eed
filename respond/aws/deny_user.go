package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

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
	// inlineQuota is what a user's inline policies may come to, in characters,
	// white space aside; attachedQuota is how many managed policies AWS lets a
	// user have unless it was asked for more.
	inlineQuota   = 2048
	attachedQuota = 10
)

// denyUser puts an explicit deny of everything on a user.
type denyUser struct{ *Clients }

// userState is what is recorded of a user's policies.
type userState struct {
	User     string            `json:"user"`
	Inline   map[string]string `json:"inline"`
	Attached []string          `json:"attached"`
	Groups   []string          `json:"groups"`
	Boundary string            `json:"boundary,omitempty"`
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
	p := &respond.Plan{Account: r.Account, Region: home(r.Region)}
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
	state, err := a.read(ctx, client, name, &p.Reads, r.Account)
	if err != nil {
		return nil, err
	}
	state.Boundary = t.boundary
	// The name is derived from the run and the user, so that a repeat finds its own.
	state.Policy = marker(event.Hash(r.Run, r.Step, t.id)) + "-deny"
	p.Before = mustJSON(state)
	if slices.Contains(state.Attached, awsDenyAll) {
		return already(p, "AWSDenyAll is attached to the user")
	}
	size := written(denyAll)
	for _, policy := range slices.Sorted(maps.Keys(state.Inline)) {
		if deniesAll(state.Inline[policy]) {
			return already(p, "the inline policy %s denies everything", policy)
		}
		size += written(state.Inline[policy])
	}
	p.Decision, p.Reason = respond.Contain, "nothing denies the user"
	p.Effect = fmt.Sprintf("every call of %s is denied within seconds to minutes, with every key, session and console login; an explicit deny wins over every allow", name)
	p.Warnings = []string{
		"roles that the user has assumed already go on until their sessions end: look at what this finding's incident names",
		"sts:GetCallerIdentity cannot be denied: seeing it succeed does not mean that the deny has no effect",
	}
	p.Restore = respond.RestoreApprove
	if size > inlineQuota {
		state.Policy = ""
		p.Permissions = []string{"iam:AttachUserPolicy", "iam:DetachUserPolicy"}
		p.Calls = []respond.Call{call("iam", "AttachUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyArn": awsDenyAll})}
		p.Undo = []respond.Call{call("iam", "DetachUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyArn": awsDenyAll})}
		p.Warnings = append(p.Warnings, "the user's inline policies leave no room: AWSDenyAll is attached instead")
		if len(state.Attached) >= attachedQuota {
			p.Warnings = append(p.Warnings, fmt.Sprintf("the user has %d managed policies, AWS allows %d unless the quota was raised: attaching may be refused", len(state.Attached), attachedQuota))
		}
	} else {
		p.Permissions = []string{"iam:PutUserPolicy", "iam:DeleteUserPolicy"}
		p.Calls = []respond.Call{call("iam", "PutUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyName": state.Policy, "PolicyDocument": denyAll})}
		p.Undo = []respond.Call{call("iam", "DeleteUserPolicy", r.Account, "", map[string]string{"UserName": name, "PolicyName": state.Policy})}
	}
	p.Before = mustJSON(state)
	return p, nil
}

// written is a policy's size as the quota counts it: without white space.
func written(doc string) int { return len(strings.Join(strings.Fields(doc), "")) }

// deniesAll reports whether a policy denies everything, always: a condition, an
// exception or a narrower deny does not.
func deniesAll(doc string) bool {
	var policy struct{ Statement json.RawMessage }
	if json.Unmarshal([]byte(doc), &policy) != nil {
		return false
	}
	var statements []map[string]any
	if json.Unmarshal(policy.Statement, &statements) != nil {
		statements = make([]map[string]any, 1)
		if json.Unmarshal(policy.Statement, &statements[0]) != nil {
			return false
		}
	}
	all := func(v any) bool {
		list, ok := v.([]any)
		return v == "*" || ok && slices.Contains(list, any("*"))
	}
	return slices.ContainsFunc(statements, func(s map[string]any) bool {
		return s["Effect"] == "Deny" && all(s["Action"]) && all(s["Resource"]) && s["Condition"] == nil
	})
}

// read reads a user's policies; the calls it makes are added to reads when that is not nil.
func (a *denyUser) read(ctx context.Context, client *iam.Client, name string, reads *[]respond.Call, account string) (userState, error) {
	state := userState{User: name, Inline: map[string]string{}, Attached: []string{}, Groups: []string{}}
	user := aws.String(name)
	note := func(operation, policy string) {
		in := map[string]string{"UserName": name}
		if policy != "" {
			in["PolicyName"] = policy
		}
		if reads != nil {
			*reads = append(*reads, call("iam", operation, account, "", in))
		}
	}
	note("ListUserPolicies", "")
	pages := iam.NewListUserPoliciesPaginator(client, &iam.ListUserPoliciesInput{UserName: user})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list the policies of %s: %w", name, err)
		}
		for _, policy := range out.PolicyNames {
			note("GetUserPolicy", policy)
			got, err := client.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: user, PolicyName: aws.String(policy)})
			if is(err, "NoSuchEntity") {
				continue // removed since it was listed
			}
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
	note("ListAttachedUserPolicies", "")
	attached := iam.NewListAttachedUserPoliciesPaginator(client, &iam.ListAttachedUserPoliciesInput{UserName: user})
	for attached.HasMorePages() {
		out, err := attached.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list what is attached to %s: %w", name, err)
		}
		for _, policy := range out.AttachedPolicies {
			state.Attached = append(state.Attached, deref(policy.PolicyArn))
		}
	}
	note("ListGroupsForUser", "")
	groups := iam.NewListGroupsForUserPaginator(client, &iam.ListGroupsForUserInput{UserName: user})
	for groups.HasMorePages() {
		out, err := groups.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list the groups of %s: %w", name, err)
		}
		for _, g := range out.Groups {
			state.Groups = append(state.Groups, deref(g.GroupName))
		}
	}
	return state, nil
}

// begin opens a plan again: what it saw, what is there now, and that the user is still the same.
func (a *denyUser) begin(ctx context.Context, p *respond.Plan) (before, now userState, client *iam.Client, err error) {
	if err = json.Unmarshal(p.Before, &before); err != nil {
		return before, now, nil, fmt.Errorf("read the plan: %w", err)
	}
	if client, err = a.client(p); err != nil {
		return before, now, nil, err
	}
	if err = a.same(ctx, client, p, before.User); err != nil {
		return before, now, nil, err
	}
	now, err = a.read(ctx, client, before.User, nil, p.Account)
	return before, now, client, err
}

// done reports whether what the plan puts on the user is there.
func (s *userState) done(now *userState) bool {
	if s.Policy == "" {
		return slices.Contains(now.Attached, awsDenyAll)
	}
	return now.Inline[s.Policy] == denyAll
}

func (a *denyUser) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	before, now, client, err := a.begin(ctx, p)
	if err != nil {
		return nil, err
	}
	r := receipt(p, map[string]string{"policy": before.Policy})
	if before.done(&now) {
		return r, nil // an earlier try
	}
	if before.Policy == "" {
		out, err := client.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String(before.User), PolicyArn: aws.String(awsDenyAll)})
		if err != nil {
			return nil, fmt.Errorf("attach AWSDenyAll to %s: %w", before.User, err)
		}
		r.RequestIDs = requestIDs(out.ResultMetadata)
	} else {
		out, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String(before.User), PolicyName: aws.String(before.Policy), PolicyDocument: aws.String(denyAll)})
		if err != nil {
			return nil, fmt.Errorf("deny %s: %w", before.User, err)
		}
		r.RequestIDs = requestIDs(out.ResultMetadata)
	}
	// IAM writes by name. When another user has the name since a moment ago, what
	// was put on him is taken off.
	if err := a.same(ctx, client, p, before.User); err != nil {
		if stranger := new(respond.ConflictError); errors.As(err, &stranger) {
			return nil, errors.Join(err, a.remove(ctx, client, &before))
		}
	}
	return r, nil
}

// remove takes off what the plan puts on; nothing there is no error.
func (a *denyUser) remove(ctx context.Context, client *iam.Client, s *userState) error {
	var err error
	if s.Policy == "" {
		_, err = client.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: aws.String(s.User), PolicyArn: aws.String(awsDenyAll)})
	} else {
		_, err = client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String(s.User), PolicyName: aws.String(s.Policy)})
	}
	if err != nil && !is(err, "NoSuchEntity") {
		return fmt.Errorf("remove the deny of %s: %w", s.User, err)
	}
	return nil
}

func (a *denyUser) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	return a.verify(ctx, func(ctx context.Context) (respond.Outcome, error) {
		before, now, _, err := a.begin(ctx, &r.Plan)
		return shows(before.done(&now), err)
	})
}

func (a *denyUser) Undo(ctx context.Context, r *respond.Receipt) error {
	before, now, client, err := a.begin(ctx, &r.Plan)
	if err != nil {
		return err
	}
	doc, there := now.Inline[before.Policy]
	switch {
	case before.done(&now):
		return a.remove(ctx, client, &before)
	case before.Policy != "" && there:
		return &respond.ConflictError{Target: r.Plan.Target.ID, What: fmt.Sprintf("the policy %s now says %s", before.Policy, doc)}
	}
	return nil // somebody has taken it off
}
