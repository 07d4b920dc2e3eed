package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
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
	// Group and PrefixList are what other rules admit instead of addresses.
	Group      string            `json:"group,omitempty"`
	PrefixList string            `json:"prefixList,omitempty"`
	Text       string            `json:"description,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
}

// admits is what a rule lets in, without its id, description and tags.
func (r ruleState) admits() ruleState {
	r.ID, r.Text, r.Tags = "", "", nil
	return r
}

// equal compares what two rules admit.
func (r ruleState) equal(o ruleState) bool { return reflect.DeepEqual(r.admits(), o.admits()) }

type groupState struct {
	Group string `json:"group"`
	// Rules are all ingress rules; Revoke the ids of those to remove.
	Rules  []ruleState `json:"rules"`
	Revoke []string    `json:"revoke"`
	// Interfaces is how many network interfaces are in the group.
	Interfaces int `json:"interfaces"`
}

// groupAfter is what applying a plan did.
type groupAfter struct {
	Revoked []string `json:"revoked"`
}

// revoked are the rules that the plan removes.
func (s *groupState) revoked() []ruleState {
	return slices.DeleteFunc(slices.Clone(s.Rules), func(r ruleState) bool { return !slices.Contains(s.Revoke, r.ID) })
}

func (a *revokeRules) Params() []respond.Param {
	return []respond.Param{
		{Name: "group", Required: true, Doc: "security group id (sg-...) or its ARN"},
		{Name: "port", Doc: "only rules that cover this TCP or UDP port; all when left out"},
		{Name: "keep", Doc: "ports that may be open to the world, such as [80, 443]: a rule for just one of them stays"},
		{Name: "rules", Doc: "only the rules with these ids (sgr-...); all when the list is empty or left out"},
	}
}

func (a *revokeRules) client(p *respond.Plan) (*ec2.Client, error) {
	cfg, err := a.For(p.Account, p.Region)
	return ec2.NewFromConfig(cfg), err
}

func (a *revokeRules) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: r.Region, Permissions: []string{"ec2:RevokeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupIngress"}}
	id := r.Text("group")
	p.Target = event.Entity{Kind: "security-group", ID: id}
	if _, service, region, account, resource, ok := split(id); ok {
		if account != r.Account {
			return refuse(p, "%s is of account %s, the finding of %s", id, account, r.Account)
		}
		if service != "ec2" || !strings.HasPrefix(resource, "security-group/") {
			return refuse(p, "%s is no security group", id)
		}
		p.Region, id = region, strings.TrimPrefix(resource, "security-group/")
	}
	if !groupForm.MatchString(id) {
		return refuse(p, "the finding names no security group: %q", id)
	}
	arn := fmt.Sprintf("arn:%s:ec2:%s:%s:security-group/%s", event.Partition(p.Region), p.Region, r.Account, id)
	p.Target, p.TargetID = event.Entity{Kind: "security-group", ID: arn}, id
	port, limited := r.Params["port"].(int64)
	if v, given := r.Params["port"]; given && (!limited || port < 0 || port > 65535) {
		return refuse(p, "port is %v, want a number from 0 to 65535", v)
	}
	keep, ok := list[int64](r, "keep")
	if !ok {
		return refuse(p, "keep is %v, want a list of port numbers", r.Params["keep"])
	}
	only, ok := list[string](r, "rules")
	if !ok {
		return refuse(p, "rules is %v, want a list of rule ids", r.Params["rules"])
	}
	client, err := a.client(p)
	if err != nil {
		return nil, err
	}
	p.Reads = append(p.Reads, call("ec2", "DescribeSecurityGroups", r.Account, p.Region, map[string]any{"GroupIds": []string{id}}))
	group, err := a.group(ctx, client, id)
	if err != nil {
		return nil, err
	}
	if group == nil {
		return refuse(p, "there is no security group %s in %s of account %s", id, p.Region, r.Account)
	}
	tags := map[string]string{}
	for _, t := range group.Tags {
		tags[deref(t.Key)] = deref(t.Value)
	}
	if why := a.protected(arn, tags); why != "" {
		return refuse(p, "%s is protected: %s", arn, why)
	}
	if owner := deref(group.OwnerId); owner != r.Account {
		return refuse(p, "%s belongs to account %s, which shares its VPC", id, owner)
	}
	filter := map[string]any{"Filters": []any{map[string]any{"Name": "group-id", "Values": []string{id}}}}
	p.Reads = append(p.Reads, call("ec2", "DescribeSecurityGroupRules", r.Account, p.Region, filter))
	state := groupState{Group: id}
	if state.Rules, err = a.read(ctx, client, id); err != nil {
		return nil, err
	}
	tagged := false
	for _, rule := range state.Rules {
		if (!limited || rule.covers(port)) && (len(only) == 0 || slices.Contains(only, rule.ID)) {
			switch {
			case rule.world() && rule.From == rule.To && rule.covers(int64(rule.From)) && slices.Contains(keep, int64(rule.From)):
				p.Warnings = append(p.Warnings, fmt.Sprintf("%s opens port %d to the world, which may be", rule.ID, rule.From))
			case rule.world():
				state.Revoke = append(state.Revoke, rule.ID)
				tagged = tagged || len(rule.Tags) > 0
				if rule.Protocol == "-1" {
					p.Warnings = append(p.Warnings, rule.ID+" opens every port: whatever was reached through it is cut")
				}
			case rule.PrefixList != "":
				p.Warnings = append(p.Warnings, fmt.Sprintf("%s admits the prefix list %s, which was not looked into", rule.ID, rule.PrefixList))
			}
		}
	}
	p.Before = mustJSON(state)
	if len(state.Revoke) == 0 {
		return already(p, "no ingress rule of %s is open to the world that should not be", id)
	}
	p.Reads = append(p.Reads, call("ec2", "DescribeNetworkInterfaces", r.Account, p.Region, filter))
	if state.Interfaces, err = a.interfaces(ctx, client, id); err != nil {
		return nil, err
	}
	p.Before = mustJSON(state)
	if deref(group.GroupName) == "default" {
		p.Warnings = append(p.Warnings, "it is the VPC's default group: whatever was made without naming a group is in it")
	}
	if tagged {
		p.Permissions = append(p.Permissions, "ec2:CreateTags")
	}
	p.Warnings = append(p.Warnings, "connections that are open already go on: security groups track them")
	p.Decision = respond.Contain
	p.Reason = fmt.Sprintf("%d of %d ingress rules are open to the world", len(state.Revoke), len(state.Rules))
	p.Effect = fmt.Sprintf("new connections from outside through these rules are dropped, for %d network interfaces; the other rules stay", state.Interfaces)
	p.Calls = []respond.Call{call("ec2", "RevokeSecurityGroupIngress", r.Account, p.Region, map[string]any{"GroupId": id, "SecurityGroupRuleIds": state.Revoke})}
	for _, rule := range state.revoked() {
		p.Undo = append(p.Undo, call("ec2", "AuthorizeSecurityGroupIngress", r.Account, p.Region, rule.authorize(id)))
	}
	// By itself it would only open the hole again that the finding is about.
	p.Restore = respond.RestoreApprove
	return p, nil
}

var groupForm = regexp.MustCompile(`^sg-[0-9a-zA-Z]{1,40}$`)

// world reports whether a rule admits everyone, whatever address stands before
// the slash: /0, the halves that make it up, and what holds all public IPv6 addresses.
func (r ruleState) world() bool {
	_, v4, _ := strings.Cut(r.IPv4, "/")
	_, v6, _ := strings.Cut(r.IPv6, "/")
	return v4 == "0" || v4 == "1" || v6 == "0" || v6 == "1" || v6 == "2" || v6 == "3"
}

func (r ruleState) covers(port int64) bool {
	switch r.Protocol {
	case "-1":
		return true
	case "tcp", "udp", "6", "17":
		return int64(r.From) <= port && port <= int64(r.To)
	}
	return false
}

// group returns the security group, nil when there is none.
func (a *revokeRules) group(ctx context.Context, client *ec2.Client, id string) (*types.SecurityGroup, error) {
	out, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	switch {
	case is(err, "InvalidGroup.NotFound", "InvalidGroupId.Malformed"):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", id, err)
	case len(out.SecurityGroups) != 1:
		return nil, nil
	}
	return &out.SecurityGroups[0], nil
}

func (a *revokeRules) interfaces(ctx context.Context, client *ec2.Client, id string) (n int, err error) {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(client, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{id}}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, fmt.Errorf("count the network interfaces of %s: %w", id, err)
		}
		n += len(page.NetworkInterfaces)
	}
	return n, nil
}

// read returns the ingress rules, none for a group that does not exist.
func (a *revokeRules) read(ctx context.Context, client *ec2.Client, id string) ([]ruleState, error) {
	out := []ruleState{}
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
				IPv4: deref(r.CidrIpv4), IPv6: deref(r.CidrIpv6), PrefixList: deref(r.PrefixListId), Text: deref(r.Description)}
			if r.ReferencedGroupInfo != nil {
				s.Group = deref(r.ReferencedGroupInfo.GroupId)
			}
			for _, t := range r.Tags {
				if s.Tags == nil {
					s.Tags = map[string]string{}
				}
				s.Tags[deref(t.Key)] = deref(t.Value)
			}
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(x, y ruleState) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}

// authorize is what makes the rule again. Each rule is a call of its own: a call
// with several is all or nothing, and fails when one of them is there already.
func (r ruleState) authorize(group string) *ec2.AuthorizeSecurityGroupIngressInput {
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
	in := &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(group), IpPermissions: []types.IpPermission{p}}
	if len(r.Tags) > 0 {
		spec := types.TagSpecification{ResourceType: types.ResourceTypeSecurityGroupRule}
		for _, k := range slices.Sorted(maps.Keys(r.Tags)) {
			spec.Tags = append(spec.Tags, types.Tag{Key: aws.String(k), Value: aws.String(r.Tags[k])})
		}
		in.TagSpecifications = []types.TagSpecification{spec}
	}
	return in
}

// begin opens a plan again: what it saw, and the rules that are there now.
func (a *revokeRules) begin(ctx context.Context, p *respond.Plan) (before groupState, now []ruleState, client *ec2.Client, err error) {
	if err = json.Unmarshal(p.Before, &before); err != nil {
		return before, nil, nil, fmt.Errorf("read the plan: %w", err)
	}
	if client, err = a.client(p); err != nil {
		return before, nil, nil, err
	}
	now, err = a.read(ctx, client, before.Group)
	return before, now, client, err
}

// revokeTries is how often rules are read again because one went away meanwhile.
const revokeTries = 5

func (a *revokeRules) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	r := receipt(p, nil)
	for try := range revokeTries {
		before, now, client, err := a.begin(ctx, p)
		if err != nil {
			return nil, err
		}
		// A rule that is gone already stays gone. One that kept its id and admits something else is not what was planned.
		var ids []string
		for _, planned := range before.revoked() {
			i := slices.IndexFunc(now, func(s ruleState) bool { return s.ID == planned.ID })
			if i < 0 {
				continue
			}
			if !now[i].equal(planned) {
				return nil, &respond.ConflictError{Target: p.Target.ID, What: fmt.Sprintf("the rule %s now admits %s", planned.ID, mustJSON(now[i].admits()))}
			}
			ids = append(ids, planned.ID)
		}
		if len(ids) == 0 {
			// All were revoked by an earlier try; or, on this one, by somebody else.
			if try == 0 {
				r.After = mustJSON(groupAfter{before.Revoke})
			}
			return r, nil
		}
		// All are revoked in one call: where some are gone, it was not by us, and an
		// undo does not bring them back.
		r.After = mustJSON(groupAfter{ids})
		out, err := client.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: aws.String(before.Group), SecurityGroupRuleIds: ids})
		if out != nil {
			r.RequestIDs = append(r.RequestIDs, requestIDs(out.ResultMetadata)...)
		}
		switch {
		case err == nil:
			return r, nil
		case is(err, "InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound", "InvalidGroup.NotFound"):
			// All or nothing: one is gone since it was read, so none was revoked. Read again.
			r.After = mustJSON(groupAfter{[]string{}})
		default:
			return nil, fmt.Errorf("revoke %v of %s: %w", ids, before.Group, err)
		}
	}
	return nil, fmt.Errorf("revoke the rules of %s: they change faster than they can be read", p.TargetID)
}

func (a *revokeRules) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	return a.verify(ctx, func(ctx context.Context) (respond.Outcome, error) {
		before, now, _, err := a.begin(ctx, &r.Plan)
		return shows(!slices.ContainsFunc(now, func(s ruleState) bool { return slices.Contains(before.Revoke, s.ID) }), err)
	})
}

func (a *revokeRules) Undo(ctx context.Context, r *respond.Receipt) error {
	before, now, client, err := a.begin(ctx, &r.Plan)
	if err != nil {
		return err
	}
	var after groupAfter
	if err := json.Unmarshal(r.After, &after); err != nil {
		return fmt.Errorf("read the receipt: %w", err)
	}
	// A rule that is there again, under whatever id, needs nothing. Where somebody
	// has put another rule on the same ports since, he has decided.
	var missing []ruleState
	for _, rule := range before.revoked() {
		if !slices.Contains(after.Revoked, rule.ID) || slices.ContainsFunc(now, rule.equal) {
			continue
		}
		for _, n := range now {
			known := slices.ContainsFunc(before.Rules, n.equal)
			if !known && n.Protocol == rule.Protocol && n.From == rule.From && n.To == rule.To {
				return &respond.ConflictError{Target: r.Plan.Target.ID, What: fmt.Sprintf("%s is in the place of %s", n.ID, rule.ID)}
			}
		}
		missing = append(missing, rule)
	}
	if len(missing) == 0 {
		return nil
	}
	if group, err := a.group(ctx, client, before.Group); err != nil {
		return err
	} else if group == nil {
		return &respond.ConflictError{Target: r.Plan.Target.ID, What: "the security group was deleted"}
	}
	for _, rule := range missing {
		_, err := client.AuthorizeSecurityGroupIngress(ctx, rule.authorize(before.Group))
		if err != nil && !is(err, "InvalidPermission.Duplicate") {
			return fmt.Errorf("restore %s of %s: %w", rule.ID, before.Group, err)
		}
	}
	return nil
}
