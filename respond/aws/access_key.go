package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"riposte/event"
	"riposte/respond"
)

// disableKey makes a user's access key inactive.
type disableKey struct{ *Clients }

// keyState is what is recorded of a user's keys.
type keyState struct {
	User string             `json:"user"`
	Key  string             `json:"key"`
	Keys map[string]keyInfo `json:"keys"`
	// Leaked keys are not given back.
	Leaked bool `json:"leaked,omitempty"`
}

type keyInfo struct {
	Status  string    `json:"status"`
	Created time.Time `json:"created"`
}

var (
	active   = string(types.StatusTypeActive)
	inactive = string(types.StatusTypeInactive)
	keyForm  = regexp.MustCompile(`^AKIA\w{12,124}$`)
)

func (a *disableKey) Params() []respond.Param {
	return []respond.Param{
		{Name: "key", Required: true, Doc: "access key id (AKIA...)"},
		{Name: "user", Doc: "the key's user; found by the key when left out"},
		{Name: "leaked", Doc: "true when the key is known to be in wrong hands: it is never given back then"},
	}
}

func (a *disableKey) client(p *respond.Plan) (*iam.Client, error) {
	cfg, err := a.For(p.Account, p.Region)
	return iam.NewFromConfig(cfg), err
}

func (a *disableKey) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: home(r.Region), Permissions: []string{"iam:UpdateAccessKey"}}
	key, name := r.Text("key"), r.Text("user")
	p.Target = event.Entity{Kind: "access-key", ID: key}
	leaked, err := yes(r, "leaked")
	switch {
	case err != nil:
		return refuse(p, "%v", err)
	case key == "":
		return refuse(p, "the finding names no access key")
	case strings.HasPrefix(key, "ASIA"):
		return refuse(p, "%s is a session's temporary key, which cannot be disabled: deny its principal instead", key)
	case !keyForm.MatchString(key):
		return refuse(p, "%q is not the id of a user's access key", key)
	}
	if own, err := a.access.Ambient().Credentials.Retrieve(ctx); err == nil && own.AccessKeyID == key {
		return refuse(p, "%s is protected: it is the key that riposte itself signs with", key)
	}
	client, err := a.client(p)
	if err != nil {
		return nil, err
	}
	if name == "" {
		p.Reads = append(p.Reads, call("iam", "GetAccessKeyLastUsed", r.Account, "", map[string]string{"AccessKeyId": key}))
		out, err := client.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: aws.String(key)})
		if denied(err) || is(err, "NoSuchEntity") {
			// For a key of another account AWS answers as if it were not allowed.
			return refuse(p, "nobody in account %s has the key %s, or it may not be looked up: %v", r.Account, key, err)
		}
		if err != nil {
			return nil, fmt.Errorf("find the owner of %s: %w", key, err)
		}
		if name = deref(out.UserName); name == "" {
			return refuse(p, "%s is no user's: the root user's keys can be disabled by the root user only", key)
		}
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
	state.Leaked = leaked
	p.Reads = append(p.Reads, call("iam", "ListAccessKeys", r.Account, "", map[string]string{"UserName": name}))
	p.Before = mustJSON(state)
	now, ok := state.Keys[key]
	switch {
	case !ok:
		return refuse(p, "user %s has no key %s: it was deleted or belongs to somebody else", name, key)
	case now.Status == inactive:
		return already(p, "the key is inactive")
	}
	for _, other := range slices.Sorted(maps.Keys(state.Keys)) {
		if k := state.Keys[other]; other != key && k.Status == active {
			p.Warnings = append(p.Warnings, fmt.Sprintf("user %s has another active key, %s, made at %s: was it made by the same hand?", name, other, k.Created.Format(time.RFC3339)))
		}
	}
	p.Warnings = append(p.Warnings, "sessions that were made with this key (GetSessionToken, AssumeRole) live on until they end: deny the user too")
	p.Decision, p.Reason = respond.Contain, "the key is active"
	p.Effect = fmt.Sprintf("everything that signs with %s is refused within seconds to minutes; other keys and the console of %s keep working", key, name)
	p.Calls = []respond.Call{a.set(p, name, key, inactive)}
	p.Restore = respond.RestoreNever
	if !leaked {
		p.Undo, p.Restore = []respond.Call{a.set(p, name, key, active)}, respond.RestoreApprove
	}
	return p, nil
}

func (a *disableKey) set(p *respond.Plan, user, key, status string) respond.Call {
	return call("iam", "UpdateAccessKey", p.Account, "", map[string]any{"UserName": user, "AccessKeyId": key, "Status": status})
}

func (a *disableKey) read(ctx context.Context, client *iam.Client, user, key string) (keyState, error) {
	state := keyState{User: user, Key: key, Keys: map[string]keyInfo{}}
	pages := iam.NewListAccessKeysPaginator(client, &iam.ListAccessKeysInput{UserName: aws.String(user)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("list the keys of %s: %w", user, err)
		}
		for _, k := range out.AccessKeyMetadata {
			state.Keys[deref(k.AccessKeyId)] = keyInfo{string(k.Status), aws.ToTime(k.CreateDate)}
		}
	}
	return state, nil
}

// begin opens a plan again: what it saw, what is there now, and that the user is still the same.
func (a *disableKey) begin(ctx context.Context, p *respond.Plan) (before, now keyState, client *iam.Client, err error) {
	if err = json.Unmarshal(p.Before, &before); err != nil {
		return before, now, nil, fmt.Errorf("read the plan: %w", err)
	}
	if client, err = a.client(p); err != nil {
		return before, now, nil, err
	}
	if err = a.same(ctx, client, p, before.User); err != nil {
		return before, now, nil, err
	}
	now, err = a.read(ctx, client, before.User, before.Key)
	return before, now, client, err
}

func (a *disableKey) update(ctx context.Context, client *iam.Client, s *keyState, status types.StatusType) (*iam.UpdateAccessKeyOutput, error) {
	out, err := client.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String(s.User), AccessKeyId: aws.String(s.Key), Status: status})
	if is(err, "NoSuchEntity") {
		return nil, &respond.ConflictError{Target: s.Key, What: "the key was deleted"}
	}
	return out, err
}

func (a *disableKey) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	_, now, client, err := a.begin(ctx, p)
	if err != nil {
		return nil, err
	}
	after := map[string]string{now.Key: inactive}
	switch k, ok := now.Keys[now.Key]; {
	case !ok:
		return nil, &respond.ConflictError{Target: now.Key, What: "the key was deleted"}
	case k.Status == inactive:
		return receipt(p, after), nil // an earlier try
	}
	out, err := a.update(ctx, client, &now, types.StatusTypeInactive)
	if err != nil {
		return nil, fmt.Errorf("disable %s: %w", now.Key, err)
	}
	return receipt(p, after, out.ResultMetadata), nil
}

func (a *disableKey) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	return a.verify(ctx, func(ctx context.Context) (respond.Outcome, error) {
		_, now, _, err := a.begin(ctx, &r.Plan)
		if gone := new(respond.ConflictError); errors.As(err, &gone) {
			return respond.Effective, nil // the user is gone, and his keys with him
		}
		k, ok := now.Keys[now.Key]
		return shows(!ok || k.Status == inactive, err)
	})
}

func (a *disableKey) Undo(ctx context.Context, r *respond.Receipt) error {
	before, now, client, err := a.begin(ctx, &r.Plan)
	if err != nil {
		return err
	}
	switch k, ok := now.Keys[now.Key]; {
	case before.Leaked:
		return fmt.Errorf("%s is known to be in wrong hands and is not given back: make another key", now.Key)
	case !ok:
		return &respond.ConflictError{Target: now.Key, What: "the key was deleted"}
	case k.Status == active:
		return nil // somebody has given it back
	}
	if _, err := a.update(ctx, client, &now, types.StatusTypeActive); err != nil {
		return fmt.Errorf("enable %s: %w", now.Key, err)
	}
	return nil
}
