package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"riposte/event"
	"riposte/respond"
)

// disableKey makes a user's access key inactive.
type disableKey struct{ *Clients }

// keyState is what is recorded of a user's keys: status by key id.
type keyState struct {
	User string            `json:"user"`
	Key  string            `json:"key"`
	Keys map[string]string `json:"keys"`
}

func (a *disableKey) Params() []respond.Param {
	return []respond.Param{
		{Name: "key", Required: true, Doc: "access key id (AKIA...)"},
		{Name: "user", Doc: "the key's user; found by the key when left out"},
	}
}

func (a *disableKey) client(p *respond.Plan) (*iam.Client, error) {
	cfg, err := a.For(p.Account, p.Region)
	return iam.NewFromConfig(cfg), err
}

func (a *disableKey) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: "us-east-1", Permissions: []string{"iam:UpdateAccessKey"}}
	key, name := r.Text("key"), r.Text("user")
	p.Target = event.Entity{Kind: "access-key", ID: key}
	switch {
	case key == "":
		return refuse(p, "the finding names no access key")
	case strings.HasPrefix(key, "ASIA"):
		return refuse(p, "%s is a session's temporary key, which cannot be disabled: deny its principal instead", key)
	}
	client, err := a.client(p)
	if err != nil {
		return nil, err
	}
	if name == "" {
		p.Reads = append(p.Reads, call("iam", "GetAccessKeyLastUsed", r.Account, "", map[string]string{"AccessKeyId": key}))
		out, err := client.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: aws.String(key)})
		if is(err, "AccessDenied", "NoSuchEntity") {
			return refuse(p, "nobody in account %s has the key %s, or it may not be looked up: %v", r.Account, key, err)
		}
		if err != nil {
			return nil, fmt.Errorf("find the owner of %s: %w", key, err)
		}
		name = deref(out.UserName)
	}
	t, err := a.user(ctx, client, p, r.Account, name)
	if err != nil {
		return nil, err
	}
	p.Target = event.Entity{Kind: "access-key", ID: key}
	if t.refused != "" {
		return refuse(p, "%s", t.refused)
	}
	state, err := a.read(ctx, client, name, key)
	if err != nil {
		return nil, err
	}
	p.Reads = append(p.Reads, call("iam", "ListAccessKeys", r.Account, "", map[string]string{"UserName": name}))
	p.Before = mustJSON(state)
	status, ok := state.Keys[key]
	switch {
	case !ok:
		return refuse(p, "user %s has no key %s: it was deleted or belongs to somebody else", name, key)
	case status == string(types.StatusTypeInactive):
		return already(p, "the key is inactive")
	}
	for other, s := range state.Keys {
		if other != key && s == string(types.StatusTypeActive) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("user %s has another active key, %s: was it made by the same hand?", name, other))
		}
	}
	p.Warnings = append(p.Warnings, "sessions that were made with this key (GetSessionToken, AssumeRole) live on until they end: deny the user too")
	p.Decision, p.Reason = respond.Contain, "the key is active"
	p.Effect = fmt.Sprintf("everything that signs with %s is refused within seconds to minutes; other keys and the console of %s keep working", key, name)
	p.Calls = []respond.Call{a.set(p, name, key, types.StatusTypeInactive)}
	p.Undo = []respond.Call{a.set(p, name, key, types.StatusTypeActive)}
	p.Restore = respond.RestoreApprove
	return p, nil
}

func (a *disableKey) set(p *respond.Plan, user, key string, s types.StatusType) respond.Call {
	return call("iam", "UpdateAccessKey", p.Account, "", map[string]any{"UserName": user, "AccessKeyId": key, "Status": s})
}

func (a *disableKey) read(ctx context.Context, client *iam.Client, user, key string) (keyState, error) {
	state := keyState{User: user, Key: key, Keys: map[string]string{}}
	pages := iam.NewListAccessKeysPaginator(client, &iam.ListAccessKeysInput{UserName: aws.String(user)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list the keys of %s: %w", user, err)
		}
		for _, k := range out.AccessKeyMetadata {
			state.Keys[deref(k.AccessKeyId)] = string(k.Status)
		}
	}
	return state, nil
}

func (a *disableKey) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	var before keyState
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	client, err := a.client(p)
	if err != nil {
		return nil, err
	}
	if err := a.same(ctx, client, p, before.User); err != nil {
		return nil, err
	}
	out, err := client.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String(before.User), AccessKeyId: aws.String(before.Key), Status: types.StatusTypeInactive})
	if err != nil {
		return nil, fmt.Errorf("disable %s: %w", before.Key, err)
	}
	return receipt(p, map[string]string{before.Key: string(types.StatusTypeInactive)}, out.ResultMetadata), nil
}

func (a *disableKey) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	state, err := a.now(ctx, &r.Plan)
	if err != nil {
		return respond.Unknown, err
	}
	if s, ok := state.Keys[state.Key]; !ok || s == string(types.StatusTypeInactive) {
		return respond.Effective, nil
	}
	return respond.NotEffective, nil
}

func (a *disableKey) now(ctx context.Context, p *respond.Plan) (keyState, error) {
	var before keyState
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return before, fmt.Errorf("read the plan: %w", err)
	}
	client, err := a.client(p)
	if err != nil {
		return before, err
	}
	return a.read(ctx, client, before.User, before.Key)
}

func (a *disableKey) Undo(ctx context.Context, r *respond.Receipt) error {
	p := &r.Plan
	state, err := a.now(ctx, p)
	if err != nil {
		return err
	}
	switch s, ok := state.Keys[state.Key]; {
	case !ok:
		return &respond.ConflictError{Target: state.Key, What: "the key was deleted"}
	case s == string(types.StatusTypeActive):
		return nil // somebody has given it back
	}
	client, err := a.client(p)
	if err != nil {
		return err
	}
	if err := a.same(ctx, client, p, state.User); err != nil {
		return err
	}
	if _, err := client.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String(state.User), AccessKeyId: aws.String(state.Key), Status: types.StatusTypeActive}); err != nil {
		return fmt.Errorf("enable %s: %w", state.Key, err)
	}
	return nil
}
