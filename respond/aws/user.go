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
	name, arn, id string
	refused       string
}

// user resolves a user and begins the plan about it. A user that does not exist
// or must not be touched is in refused.
func (c *Clients) user(ctx context.Context, client *iam.Client, p *respond.Plan, account, name string) (target, error) {
	p.Reads = append(p.Reads, call("iam", "GetUser", account, "", map[string]string{"UserName": name}))
	out, err := client.GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)})
	if is(err, "NoSuchEntity") {
		return target{name: name, refused: fmt.Sprintf("there is no user %s in account %s", name, account)}, nil
	}
	if err != nil {
		return target{}, fmt.Errorf("read user %s: %w", name, err)
	}
	t := target{name: name, arn: deref(out.User.Arn), id: deref(out.User.UserId)}
	tags := map[string]string{}
	for _, tag := range out.User.Tags {
		tags[deref(tag.Key)] = deref(tag.Value)
	}
	if why := c.protected(t.arn, tags); why != "" {
		t.refused = fmt.Sprintf("%s is protected: %s", t.arn, why)
	}
	p.Target, p.TargetID = event.Entity{Kind: "iam-user", ID: t.arn}, t.id
	return t, nil
}

// same refuses to act on a user that was deleted and made again since the plan.
func (c *Clients) same(ctx context.Context, client *iam.Client, p *respond.Plan, name string) error {
	out, err := client.GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)})
	if err != nil {
		return fmt.Errorf("read user %s: %w", name, err)
	}
	if id := deref(out.User.UserId); id != p.TargetID {
		return &respond.ConflictError{Target: p.Target.ID, What: fmt.Sprintf("the user was %s and is now %s", p.TargetID, id)}
	}
	return nil
}
