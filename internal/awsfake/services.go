package awsfake

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// iam is IAM's query protocol.
var iam = map[string]handler{
	"GetUser": func(w *World, r *request) (any, error) {
		name, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		tags := ""
		for k, v := range sorted(u.Tags) {
			tags += "<member>" + element("Key", k) + element("Value", v) + "</member>"
		}
		return "<User>" + element("UserName", name) + element("UserId", u.ID) + element("Path", pathOf(u)) +
			element("Arn", fmt.Sprintf("arn:aws:iam::%s:user%s%s", r.account, pathOf(u), name)) + element("CreateDate", "2024-01-01T00:00:00Z") + "<Tags>" + tags + "</Tags>" + boundary(u) + "</User>", nil
	},
	"ListGroupsForUser": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		out := ""
		for _, g := range u.Groups {
			out += "<member>" + element("GroupName", g) + element("GroupId", "AGPA"+g) + element("Path", "/") + element("Arn", "arn:aws:iam::"+r.account+":group/"+g) + element("CreateDate", "2024-01-01T00:00:00Z") + "</member>"
		}
		return "<Groups>" + out + "</Groups><IsTruncated>false</IsTruncated>", nil
	},
	"ListAccessKeys": func(w *World, r *request) (any, error) {
		name, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		out := ""
		for id, k := range sorted(u.Keys) {
			out += "<member>" + element("UserName", name) + element("AccessKeyId", id) + element("Status", k.Status) + element("CreateDate", timestamp(k.Created)) + "</member>"
		}
		return "<AccessKeyMetadata>" + out + "</AccessKeyMetadata><IsTruncated>false</IsTruncated>", nil
	},
	"GetAccessKeyLastUsed": func(w *World, r *request) (any, error) {
		id := r.form.Get("AccessKeyId")
		for name, u := range sorted(w.account(r.account).Users) {
			if _, ok := u.Keys[id]; ok {
				return element("UserName", name) + "<AccessKeyLastUsed>" + element("ServiceName", "iam") + element("Region", "us-east-1") + element("LastUsedDate", timestamp(time.Unix(1_767_225_600, 0))) + "</AccessKeyLastUsed>", nil
			}
		}
		return nil, fail(http.StatusForbidden, "AccessDenied", "no access key %s in this account", id)
	},
	"UpdateAccessKey": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		k := u.Keys[r.form.Get("AccessKeyId")]
		if k == nil {
			return nil, fail(http.StatusNotFound, "NoSuchEntity", "The Access Key with id %s cannot be found.", r.form.Get("AccessKeyId"))
		}
		k.Status = r.form.Get("Status")
		return "", nil
	},
	"ListUserPolicies": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		out := ""
		for name := range sorted(u.Inline) {
			out += element("member", name)
		}
		return "<PolicyNames>" + out + "</PolicyNames><IsTruncated>false</IsTruncated>", nil
	},
	"GetUserPolicy": func(w *World, r *request) (any, error) {
		name, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		doc, ok := u.Inline[r.form.Get("PolicyName")]
		if !ok {
			return nil, fail(http.StatusNotFound, "NoSuchEntity", "The user policy with name %s cannot be found.", r.form.Get("PolicyName"))
		}
		return element("UserName", name) + element("PolicyName", r.form.Get("PolicyName")) + element("PolicyDocument", url.QueryEscape(doc)), nil
	},
	"PutUserPolicy": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		size := written(r.form.Get("PolicyDocument"))
		for n, doc := range u.Inline {
			if n != r.form.Get("PolicyName") {
				size += written(doc)
			}
		}
		if size > 2048 {
			return nil, fail(http.StatusConflict, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user")
		}
		if u.Inline == nil {
			u.Inline = map[string]string{}
		}
		u.Inline[r.form.Get("PolicyName")] = r.form.Get("PolicyDocument")
		return "", nil
	},
	"DeleteUserPolicy": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		if _, ok := u.Inline[r.form.Get("PolicyName")]; !ok {
			return nil, fail(http.StatusNotFound, "NoSuchEntity", "The user policy with name %s cannot be found.", r.form.Get("PolicyName"))
		}
		delete(u.Inline, r.form.Get("PolicyName"))
		return "", nil
	},
	"ListAttachedUserPolicies": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		out := ""
		for _, arn := range u.Attached {
			out += "<member>" + element("PolicyName", arn[strings.LastIndexByte(arn, '/')+1:]) + element("PolicyArn", arn) + "</member>"
		}
		return "<AttachedPolicies>" + out + "</AttachedPolicies><IsTruncated>false</IsTruncated>", nil
	},
	"AttachUserPolicy": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		if arn := r.form.Get("PolicyArn"); !slices.Contains(u.Attached, arn) {
			u.Attached = append(u.Attached, arn)
		}
		return "", nil
	},
	"DetachUserPolicy": func(w *World, r *request) (any, error) {
		_, u, err := user(w, r)
		if err != nil {
			return nil, err
		}
		i := slices.Index(u.Attached, r.form.Get("PolicyArn"))
		if i < 0 {
			return nil, fail(http.StatusNotFound, "NoSuchEntity", "Policy %s was not found.", r.form.Get("PolicyArn"))
		}
		u.Attached = slices.Delete(u.Attached, i, i+1)
		return "", nil
	},
}

func user(w *World, r *request) (string, *User, error) {
	name := r.form.Get("UserName")
	u := w.account(r.account).Users[name]
	if u == nil {
		return "", nil, fail(http.StatusNotFound, "NoSuchEntity", "The user with name %s cannot be found.", name)
	}
	return name, u, nil
}

// written is a policy's size as the quota counts it: without white space.
func written(doc string) int { return len(strings.Join(strings.Fields(doc), "")) }

func boundary(u *User) string {
	if u.Boundary == "" {
		return ""
	}
	return "<PermissionsBoundary>" + element("PermissionsBoundaryType", "Policy") + element("PermissionsBoundaryArn", u.Boundary) + "</PermissionsBoundary>"
}

func pathOf(u *User) string {
	if u.Path == "" {
		return "/"
	}
	return u.Path
}

// sts is STS's query protocol: a role's credentials carry its account.
var sts = map[string]handler{
	"AssumeRole": func(_ *World, r *request) (any, error) {
		parts := strings.Split(r.form.Get("RoleArn"), ":")
		if len(parts) < 6 {
			return nil, fail(http.StatusBadRequest, "ValidationError", "%s is not a role", r.form.Get("RoleArn"))
		}
		return "<Credentials>" + element("AccessKeyId", "ASIA"+parts[4]) + element("SecretAccessKey", "fake") + element("SessionToken", "fake") +
			element("Expiration", timestamp(time.Now().Add(time.Hour))) + "</Credentials>", nil
	},
	"GetCallerIdentity": func(_ *World, r *request) (any, error) {
		return element("Account", r.account) + element("Arn", "arn:aws:sts::"+r.account+":assumed-role/riposte/x") + element("UserId", "AROAFAKE:x"), nil
	},
}

// ec2 is EC2's query protocol.
var ec2 = map[string]handler{
	"DescribeSecurityGroups": func(w *World, r *request) (any, error) {
		id := r.form.Get("GroupId.1")
		g, err := group(w, r, id)
		if err != nil {
			return nil, err
		}
		tags := ""
		for k, v := range sorted(g.Tags) {
			tags += "<item>" + element("key", k) + element("value", v) + "</item>"
		}
		return "<securityGroupInfo><item>" + element("groupId", id) + element("groupName", g.Name) + element("ownerId", cmp.Or(g.Owner, r.account)) + element("vpcId", g.VPC) +
			element("groupDescription", g.Name) + "<tagSet>" + tags + "</tagSet></item></securityGroupInfo>", nil
	},
	"DescribeSecurityGroupRules": func(w *World, r *request) (any, error) {
		id := r.form.Get("Filter.1.Value.1")
		g, err := group(w, r, id)
		if err != nil {
			return "<securityGroupRuleSet/>", nil // a filter that nothing meets
		}
		out := ""
		for rid, rule := range sorted(g.Rules) {
			out += "<item>" + element("securityGroupRuleId", rid) + element("groupId", id) + element("groupOwnerId", r.account) + element("isEgress", strconv.FormatBool(rule.Egress)) +
				element("ipProtocol", rule.Protocol) + element("fromPort", strconv.Itoa(rule.From)) + element("toPort", strconv.Itoa(rule.To))
			if rule.IPv4 != "" {
				out += element("cidrIpv4", rule.IPv4)
			}
			if rule.IPv6 != "" {
				out += element("cidrIpv6", rule.IPv6)
			}
			if rule.Group != "" {
				out += "<referencedGroupInfo>" + element("groupId", rule.Group) + "</referencedGroupInfo>"
			}
			if rule.PrefixList != "" {
				out += element("prefixListId", rule.PrefixList)
			}
			if rule.Text != "" {
				out += element("description", rule.Text)
			}
			out += "<tagSet>"
			for k, v := range sorted(rule.Tags) {
				out += "<item>" + element("key", k) + element("value", v) + "</item>"
			}
			out += "</tagSet></item>"
		}
		return "<securityGroupRuleSet>" + out + "</securityGroupRuleSet>", nil
	},
	"DescribeNetworkInterfaces": func(w *World, r *request) (any, error) {
		g, err := group(w, r, r.form.Get("Filter.1.Value.1"))
		if err != nil {
			return "<networkInterfaceSet/>", nil
		}
		out := ""
		for i := range g.Interfaces {
			out += "<item>" + element("networkInterfaceId", fmt.Sprintf("eni-%017d", i)) + "</item>"
		}
		return "<networkInterfaceSet>" + out + "</networkInterfaceSet>", nil
	},
	"RevokeSecurityGroupIngress": func(w *World, r *request) (any, error) {
		g, err := group(w, r, r.form.Get("GroupId"))
		if err != nil {
			return nil, err
		}
		var ids []string
		for i := 1; r.form.Get(fmt.Sprintf("SecurityGroupRuleId.%d", i)) != ""; i++ {
			ids = append(ids, r.form.Get(fmt.Sprintf("SecurityGroupRuleId.%d", i)))
		}
		for _, id := range ids { // all or nothing, as AWS does
			if g.Rules[id] == nil {
				return nil, fail(http.StatusBadRequest, "InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
			}
		}
		for _, id := range ids {
			delete(g.Rules, id)
		}
		return "<return>true</return>", nil
	},
	"AuthorizeSecurityGroupIngress": func(w *World, r *request) (any, error) {
		g, err := group(w, r, r.form.Get("GroupId"))
		if err != nil {
			return nil, err
		}
		var rules []*Rule
		for i := 1; r.form.Get(fmt.Sprintf("IpPermissions.%d.IpProtocol", i)) != ""; i++ {
			at := func(rest string) string { return r.form.Get(fmt.Sprintf("IpPermissions.%d.%s", i, rest)) }
			from, _ := strconv.Atoi(at("FromPort"))
			to, _ := strconv.Atoi(at("ToPort"))
			rules = append(rules, &Rule{
				Protocol: at("IpProtocol"), From: from, To: to, IPv4: at("IpRanges.1.CidrIp"), IPv6: at("Ipv6Ranges.1.CidrIpv6"),
				PrefixList: at("PrefixListIds.1.PrefixListId"), Group: at("Groups.1.GroupId"), Tags: ruleTags(r.form), Text: at("IpRanges.1.Description") + at("Ipv6Ranges.1.Description") + at("Groups.1.Description"),
			})
		}
		for _, rule := range rules {
			for _, have := range g.Rules {
				a, b := *have, *rule
				a.Text, b.Text, a.Tags, b.Tags = "", "", nil, nil
				if reflect.DeepEqual(a, b) {
					return nil, fail(http.StatusBadRequest, "InvalidPermission.Duplicate", "the specified rule already exists")
				}
			}
		}
		if g.Rules == nil {
			g.Rules = map[string]*Rule{}
		}
		for i, rule := range rules {
			g.Rules[fmt.Sprintf("sgr-%s%d", strings.TrimPrefix(r.id, "req-"), i)] = rule
		}
		return "<return>true</return>", nil
	},
}

// ruleTags are the tags that a request gives to the rules it makes.
func ruleTags(form url.Values) map[string]string {
	var tags map[string]string
	for i := 1; form.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Key", i)) != ""; i++ {
		if tags == nil {
			tags = map[string]string{}
		}
		tags[form.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Key", i))] = form.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Value", i))
	}
	return tags
}

func group(w *World, r *request, id string) (*SecurityGroup, error) {
	g := w.account(r.account).SecurityGroups[id]
	if g == nil || g.Region != r.region {
		return nil, fail(http.StatusBadRequest, "InvalidGroup.NotFound", "The security group '%s' does not exist", id)
	}
	return g, nil
}

// cloudTrail is CloudTrail's JSON protocol.
var cloudTrail = map[string]handler{
	"GetTrail": func(w *World, r *request) (any, error) {
		name, t, err := trail(w, r)
		if err != nil {
			return nil, err
		}
		return map[string]any{"Trail": map[string]any{
			"Name": name, "TrailARN": trailARN(r.account, name, t), "HomeRegion": t.HomeRegion, "S3BucketName": t.Bucket, "IsMultiRegionTrail": t.MultiRegion,
			"IncludeGlobalServiceEvents": t.GlobalEvents, "LogFileValidationEnabled": t.Validation, "IsOrganizationTrail": t.Organization,
		}}, nil
	},
	"GetTrailStatus": func(w *World, r *request) (any, error) {
		_, t, err := trail(w, r)
		if err != nil {
			return nil, err
		}
		const began = 1_767_225_600
		out := map[string]any{"IsLogging": t.Logging, "StartLoggingTime": began, "LatestDeliveryTime": began + 300}
		if t.Undelivered || t.DeliveryError != "" {
			out["LatestDeliveryTime"] = began - 3600
		}
		if t.DeliveryError != "" {
			out["LatestDeliveryError"] = t.DeliveryError
		}
		return out, nil
	},
	"GetEventSelectors": func(w *World, r *request) (any, error) {
		name, t, err := trail(w, r)
		if err != nil {
			return nil, err
		}
		selector := map[string]any{"ReadWriteType": cmp.Or(t.Management, "All"), "IncludeManagementEvents": true}
		if t.Management == "None" {
			selector = map[string]any{"ReadWriteType": "All", "IncludeManagementEvents": false}
		}
		return map[string]any{"TrailARN": trailARN(r.account, name, t), "EventSelectors": []any{selector}}, nil
	},
	"StartLogging": func(w *World, r *request) (any, error) {
		_, t, err := trail(w, r)
		if err != nil {
			return nil, err
		}
		if r.region != t.HomeRegion {
			return nil, fail(http.StatusBadRequest, "InvalidHomeRegionException", "the trail's home region is %s", t.HomeRegion)
		}
		t.Logging = true
		return map[string]any{}, nil
	},
	"UpdateTrail": func(w *World, r *request) (any, error) {
		name, t, err := trail(w, r)
		if err != nil {
			return nil, err
		}
		if multi, _ := r.json["IsMultiRegionTrail"].(bool); multi && !t.GlobalEvents && r.json["IncludeGlobalServiceEvents"] != true {
			return nil, fail(http.StatusBadRequest, "InvalidParameterCombinationException", "Multi-Region trail must include global service events.")
		}
		for key, field := range map[string]*bool{"IsMultiRegionTrail": &t.MultiRegion, "IncludeGlobalServiceEvents": &t.GlobalEvents, "EnableLogFileValidation": &t.Validation} {
			if v, ok := r.json[key].(bool); ok {
				*field = v
			}
		}
		return map[string]any{"Name": name, "TrailARN": trailARN(r.account, name, t)}, nil
	},
}

func trail(w *World, r *request) (string, *Trail, error) {
	name, _ := r.json["Name"].(string)
	if name == "" {
		name, _ = r.json["TrailName"].(string)
	}
	name = name[strings.LastIndexByte(name, '/')+1:]
	t := w.account(r.account).Trails[name]
	if t == nil || !t.MultiRegion && t.HomeRegion != r.region {
		return "", nil, fail(http.StatusBadRequest, "TrailNotFoundException", "Unknown trail: %s", name)
	}
	return name, t, nil
}

func trailARN(account, name string, t *Trail) string {
	return fmt.Sprintf("arn:aws:cloudtrail:%s:%s:trail/%s", t.HomeRegion, cmp.Or(t.Owner, account), name)
}

// s3 is the little of S3 that containment needs.
var s3 = map[string]handler{
	"GetPublicAccessBlock": func(w *World, r *request) (any, error) {
		b, err := bucket(w, r)
		if err != nil {
			return nil, err
		}
		return publicAccess(b.PublicAccess)
	},
	"PutPublicAccessBlock": func(w *World, r *request) (any, error) {
		b, err := bucket(w, r)
		if err != nil {
			return nil, err
		}
		b.PublicAccess, err = readPublicAccess(r)
		return nil, err
	},
	"DeletePublicAccessBlock": func(w *World, r *request) (any, error) {
		b, err := bucket(w, r)
		if err != nil {
			return nil, err
		}
		b.PublicAccess = nil
		return nil, nil
	},
	"GetBucketTagging": func(w *World, r *request) (any, error) {
		b, err := bucket(w, r)
		if err != nil {
			return nil, err
		}
		if len(b.Tags) == 0 {
			return nil, fail(http.StatusNotFound, "NoSuchTagSet", "The TagSet does not exist")
		}
		out := ""
		for k, v := range sorted(b.Tags) {
			out += "<Tag>" + element("Key", k) + element("Value", v) + "</Tag>"
		}
		return "<Tagging><TagSet>" + out + "</TagSet></Tagging>", nil
	},
	"GetBucketLocation": func(w *World, r *request) (any, error) {
		b, err := bucketAnywhere(w, r)
		if err != nil {
			return nil, err
		}
		region := b.Region
		if region == "us-east-1" {
			region = ""
		}
		return element("LocationConstraint", region), nil
	},
	"GetBucketPolicyStatus": func(w *World, r *request) (any, error) {
		b, err := bucket(w, r)
		if err != nil {
			return nil, err
		}
		if !b.PublicPolicy {
			return nil, fail(http.StatusNotFound, "NoSuchBucketPolicy", "The bucket policy does not exist")
		}
		return "<PolicyStatus><IsPublic>true</IsPublic></PolicyStatus>", nil
	},
	"GetBucketAcl": func(w *World, r *request) (any, error) {
		b, err := bucket(w, r)
		if err != nil {
			return nil, err
		}
		grant := ""
		if b.PublicACL {
			grant = `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>`
		}
		return "<AccessControlPolicy><Owner><ID>owner</ID></Owner><AccessControlList>" + grant + "</AccessControlList></AccessControlPolicy>", nil
	},
	"GetBucketWebsite": func(w *World, r *request) (any, error) {
		b, err := bucket(w, r)
		if err != nil {
			return nil, err
		}
		if !b.Website {
			return nil, fail(http.StatusNotFound, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
		}
		return "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>", nil
	},
	"HeadBucket": func(w *World, r *request) (any, error) {
		_, err := bucket(w, r)
		return nil, err
	},
}

func bucket(w *World, r *request) (*Bucket, error) {
	b, err := bucketAnywhere(w, r)
	if err == nil && b.Region != "" && b.Region != r.region {
		return nil, fail(http.StatusMovedPermanently, "PermanentRedirect", "the bucket is in %s", b.Region)
	}
	return b, err
}

// bucketAnywhere finds a bucket, whose name is one in the whole world.
func bucketAnywhere(w *World, r *request) (*Bucket, error) {
	for account, a := range sorted(w.Accounts) {
		if b := a.Buckets[r.path[0]]; b != nil {
			if account != r.account || r.owner != "" && r.owner != account {
				return nil, fail(http.StatusForbidden, "AccessDenied", "Access Denied")
			}
			return b, nil
		}
	}
	return nil, fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
}

func publicAccess(p *PublicAccess) (any, error) {
	if p == nil {
		return nil, fail(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	}
	b, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"PublicAccessBlockConfiguration"`
		*PublicAccess
	}{PublicAccess: p})
	if err != nil {
		return nil, fail(http.StatusInternalServerError, "InternalError", "%v", err)
	}
	return string(b), nil
}

func readPublicAccess(r *request) (*PublicAccess, error) {
	var p PublicAccess
	if err := xml.Unmarshal(r.body, &p); err != nil {
		return nil, fail(http.StatusBadRequest, "MalformedXML", "%v", err)
	}
	return &p, nil
}

// s3Control is the account's public access block.
var s3Control = map[string]handler{
	"GetPublicAccessBlock": func(w *World, r *request) (any, error) { return publicAccess(w.account(r.account).PublicAccess) },
	"PutPublicAccessBlock": func(w *World, r *request) (_ any, err error) {
		w.account(r.account).PublicAccess, err = readPublicAccess(r)
		return nil, err
	},
	"DeletePublicAccessBlock": func(w *World, r *request) (any, error) {
		w.account(r.account).PublicAccess = nil
		return nil, nil
	},
}
