package aws

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"riposte/event"
	"riposte/respond"
)

// target is an IAM user, resolved to the id that AWS never gives to another.
type target struct {
	name, arn, id, boundary string
	refused                 string
}

// user resolves a user and begins the plan about it. A user that does not exist
// or must not be touched is in refused.
func (c *Clients) user(ctx context.Context, client *iam.Client, p *respond.Plan, account, name string) (target, error) {
	own, err := c.self(ctx)
	if err != nil {
		return target{}, err
	}
	p.Reads = append(p.Reads, call("iam", "GetUser", account, "", map[string]string{"UserName": name}))
	out, err := client.GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)})
	if is(err, "NoSuchEntity", "ValidationError") {
		return target{name: name, refused: fmt.Sprintf("there is no user %s in account %s", name, account)}, nil
	}
	if err != nil {
		return target{}, fmt.Errorf("read user %s: %w", name, err)
	}
	t := target{name: name, arn: deref(out.User.Arn), id: deref(out.User.UserId)}
	if b := out.User.PermissionsBoundary; b != nil {
		t.boundary = deref(b.PermissionsBoundaryArn)
	}
	tags := map[string]string{}
	for _, tag := range out.User.Tags {
		tags[deref(tag.Key)] = deref(tag.Value)
	}
	if why := c.protected(t.arn, tags); why != "" {
		t.refused = fmt.Sprintf("%s is protected: %s", t.arn, why)
	} else if t.arn == own {
		t.refused = fmt.Sprintf("%s is protected: it is the user that riposte runs as", t.arn)
	}
	p.Target, p.TargetID = event.Entity{Kind: "iam-user", ID: t.arn}, t.id
	return t, nil
}

// same refuses to act on a user that was deleted, or deleted and made again, since the plan.
func (c *Clients) same(ctx context.Context, client *iam.Client, p *respond.Plan, name string) error {
	out, err := client.GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)})
	if is(err, "NoSuchEntity") {
		return &respond.ConflictError{Target: p.Target.ID, What: fmt.Sprintf("the user %s was deleted", name)}
	}
	if err != nil {
		return fmt.Errorf("read user %s: %w", name, err)
	}
	if id := deref(out.User.UserId); id != p.TargetID {
		return &respond.ConflictError{Target: p.Target.ID, What: fmt.Sprintf("the user was %s and is now %s", p.TargetID, id)}
	}
	return nil
}
