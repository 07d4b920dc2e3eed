package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"riposte/event"
	"riposte/respond"
)

// revokeRules removes a security group's ingress rules that are open to the
// world, by their ids: revoking by properties is all or nothing and can hit a
// rule that somebody else has made since.
type revokeRules struct{ *Clients }

// ruleState is one ingress rule.
type ruleState struct {
	ID       string `json:"id"`
	Protocol string `json:"protocol"`
	From     int32  `json:"from"`
	To       int32  `json:"to"`
	IPv4     string `json:"ipv4,omitempty"`
	IPv6     string `json:"ipv6,omitempty"`
	Group    string `json:"group,omitempty"`
	Text     string `json:"description,omitempty"`
}

type groupState struct {
	Group string `json:"group"`
	// Rules are all ingress rules; Revoke the ids of those to remove.
	Rules  []ruleState `json:"rules"`
	Revoke []string    `json:"revoke"`
}

func (a *revokeRules) Params() []respond.Param {
	return []respond.Param{
		{Name: "group", Required: true, Doc: "security group id (sg-...) or its ARN"},
		{Name: "port", Doc: "only rules that cover this port; all when left out"},
	}
}

func (a *revokeRules) client(p *respond.Plan) (*ec2.Client, error) {
	cfg, err := a.For(p.Account, p.Region)
	return ec2.NewFromConfig(cfg), err
}

func (a *revokeRules) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: r.Region, Permissions: []string{"ec2:RevokeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupIngress"}}
	id := r.Text("group")
	id = id[strings.LastIndexByte(id, '/')+1:]
	arn := fmt.Sprintf("arn:aws:ec2:%s:%s:security-group/%s", r.Region, r.Account, id)
	p.Target, p.TargetID = event.Entity{Kind: "security-group", ID: arn}, id
	if !strings.HasPrefix(id, "sg-") {
		return refuse(p, "the finding names no security group: %q", id)
	}
	client, err := a.client(p)
	if err != nil {
		return nil, err
	}
	p.Reads = append(p.Reads, call("ec2", "DescribeSecurityGroups", r.Account, r.Region, map[string]any{"GroupIds": []string{id}}))
	groups, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	switch {
	case is(err, "InvalidGroup.NotFound", "InvalidGroupId.Malformed"):
		return refuse(p, "there is no security group %s in %s of account %s", id, r.Region, r.Account)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", id, err)
	case len(groups.SecurityGroups) != 1:
		return refuse(p, "%d security groups answer to %s", len(groups.SecurityGroups), id)
	}
	tags := map[string]string{}
	for _, t := range groups.SecurityGroups[0].Tags {
		tags[deref(t.Key)] = deref(t.Value)
	}
	if why := a.protected(arn, tags); why != "" {
		return refuse(p, "%s is protected: %s", arn, why)
	}
	p.Reads = append(p.Reads, call("ec2", "DescribeSecurityGroupRules", r.Account, r.Region, map[string]any{"Filters": []any{map[string]any{"Name": "group-id", "Values": []string{id}}}}))
	state := groupState{Group: id}
	if state.Rules, err = a.read(ctx, client, id); err != nil {
		return nil, err
	}
	port, limited := r.Params["port"].(int64)
	for _, rule := range state.Rules {
		if world(rule) && (!limited || covers(rule, port)) {
			state.Revoke = append(state.Revoke, rule.ID)
			if rule.Protocol == "-1" {
				p.Warnings = append(p.Warnings, rule.ID+" opens every port: whatever was reached through it is cut")
			}
		}
	}
	p.Before = mustJSON(state)
	if len(state.Revoke) == 0 {
		return already(p, "no ingress rule of %s is open to the world", id)
	}
	p.Warnings = append(p.Warnings, "connections that are open already go on: security groups track them")
	p.Decision = respond.Contain
	p.Reason = fmt.Sprintf("%d of %d ingress rules are open to the world", len(state.Revoke), len(state.Rules))
	p.Effect = "new connections from outside through these rules are dropped; the other rules stay"
	p.Calls = []respond.Call{call("ec2", "RevokeSecurityGroupIngress", r.Account, r.Region, map[string]any{"GroupId": id, "SecurityGroupRuleIds": state.Revoke})}
	p.Undo = []respond.Call{call("ec2", "AuthorizeSecurityGroupIngress", r.Account, r.Region, map[string]any{"GroupId": id, "IpPermissions": permissions(state)})}
	p.Restore = respond.RestoreApprove
	return p, nil
}

// world reports whether a rule admits everyone. Any /0 block does, whatever
// address stands before the slash.
func world(r ruleState) bool {
	return strings.HasSuffix(r.IPv4, "/0") || strings.HasSuffix(r.IPv6, "/0")
}

func covers(r ruleState, port int64) bool {
	return r.Protocol == "-1" || int64(r.From) <= port && port <= int64(r.To)
}

func (a *revokeRules) read(ctx context.Context, client *ec2.Client, id string) ([]ruleState, error) {
	var out []ruleState
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(client, &ec2.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{id}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the rules of %s: %w", id, err)
		}
		for _, r := range page.SecurityGroupRules {
			if aws.ToBool(r.IsEgress) {
				continue
			}
			s := ruleState{ID: deref(r.SecurityGroupRuleId), Protocol: deref(r.IpProtocol), From: aws.ToInt32(r.FromPort), To: aws.ToInt32(r.ToPort),
				IPv4: deref(r.CidrIpv4), IPv6: deref(r.CidrIpv6), Text: deref(r.Description)}
			if r.ReferencedGroupInfo != nil {
				s.Group = deref(r.ReferencedGroupInfo.GroupId)
			}
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(x, y ruleState) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}

// permissions are the revoked rules as they would be authorised again.
func permissions(s groupState) []types.IpPermission {
	var out []types.IpPermission
	for _, r := range s.Rules {
		if !slices.Contains(s.Revoke, r.ID) {
			continue
		}
		p := types.IpPermission{IpProtocol: aws.String(r.Protocol), FromPort: aws.Int32(r.From), ToPort: aws.Int32(r.To)}
		var text *string
		if r.Text != "" {
			text = aws.String(r.Text)
		}
		if r.IPv4 != "" {
			p.IpRanges = []types.IpRange{{CidrIp: aws.String(r.IPv4), Description: text}}
		}
		if r.IPv6 != "" {
			p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.IPv6), Description: text}}
		}
		out = append(out, p)
	}
	return out
}

func (a *revokeRules) begin(p *respond.Plan) (groupState, *ec2.Client, error) {
	var before groupState
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return before, nil, fmt.Errorf("read the plan: %w", err)
	}
	client, err := a.client(p)
	return before, client, err
}

func (a *revokeRules) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	before, client, err := a.begin(p)
	if err != nil {
		return nil, err
	}
	now, err := a.read(ctx, client, before.Group)
	if err != nil {
		return nil, err
	}
	// Rules that are gone already, by us before a crash or by somebody else, stay gone.
	var ids []string
	for _, r := range now {
		if slices.Contains(before.Revoke, r.ID) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return receipt(p, before.Revoke), nil
	}
	out, err := client.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: aws.String(before.Group), SecurityGroupRuleIds: ids})
	if err != nil && !is(err, "InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound") {
		return nil, fmt.Errorf("revoke %v of %s: %w", ids, before.Group, err)
	}
	if out == nil {
		return receipt(p, before.Revoke), nil
	}
	return receipt(p, before.Revoke, out.ResultMetadata), nil
}

func (a *revokeRules) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	before, client, err := a.begin(&r.Plan)
	if err != nil {
		return respond.Unknown, err
	}
	now, err := a.read(ctx, client, before.Group)
	if err != nil {
		return respond.Unknown, err
	}
	if slices.ContainsFunc(now, func(s ruleState) bool { return slices.Contains(before.Revoke, s.ID) }) {
		return respond.NotEffective, nil
	}
	return respond.Effective, nil
}

func (a *revokeRules) Undo(ctx context.Context, r *respond.Receipt) error {
	before, client, err := a.begin(&r.Plan)
	if err != nil {
		return err
	}
	now, err := a.read(ctx, client, before.Group)
	if err != nil {
		return err
	}
	// A rule that is there again, under whatever id, needs nothing.
	missing := before
	missing.Revoke = nil
	for _, r := range before.Rules {
		if !slices.Contains(before.Revoke, r.ID) {
			continue
		}
		if !slices.ContainsFunc(now, func(s ruleState) bool { s.ID, s.Text = r.ID, r.Text; return s == r }) {
			missing.Revoke = append(missing.Revoke, r.ID)
		}
	}
	if len(missing.Revoke) == 0 {
		return nil
	}
	_, err = client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(before.Group), IpPermissions: permissions(missing)})
	if is(err, "InvalidGroup.NotFound") {
		return &respond.ConflictError{Target: r.Plan.Target.ID, What: "the security group was deleted"}
	}
	if err != nil && !is(err, "InvalidPermission.Duplicate") {
		return fmt.Errorf("restore the rules of %s: %w", before.Group, err)
	}
	return nil
}
