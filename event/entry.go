package event

import (
	"strconv"
	"strings"
	"time"
)

// An entry is a record of a kind that a mapping reads. The mappings of the kinds
// that AWS defines stand here; that of a Log comes with it.

// mapped reports whether a mapping says where records of the kind keep their fields.
func (k Kind) mapped() bool { return k >= Insight && int(k) < len(kindNames) }

// mappings are those of AWS's own kinds.
var mappings = map[Kind]*Mapping{
	// CloudTrail user guide, "CloudTrail record contents for Insights events".
	Insight: fixed(MappingSpec{
		Log: "insight", Time: "eventTime", ID: "eventID", Account: "recipientAccountId", Region: "awsRegion",
		Kind: "insightDetails.eventName", Target: "insightDetails.eventSource", Outcome: "insightDetails.state",
	}),
	// GuardDuty user guide, "GuardDuty finding format".
	GuardDuty: fixed(MappingSpec{
		Log: "guardduty", Time: "updatedAt | UpdatedAt", ID: "id | Id", Account: "accountId | AccountId", Region: "region | Region",
		Kind: "type | Type", Severity: "severity | Severity", Target: "arn | Arn", Outcome: "service.archived | Service.Archived",
		Actor:     "resource.accessKeyDetails.userName | Resource.AccessKeyDetails.UserName",
		Principal: "resource.accessKeyDetails.principalId | Resource.AccessKeyDetails.PrincipalId",
		AccessKey: "resource.accessKeyDetails.accessKeyId | Resource.AccessKeyDetails.AccessKeyId",
		IP: "service.action.awsApiCallAction.remoteIpDetails.ipAddressV4 | service.action.networkConnectionAction.remoteIpDetails.ipAddressV4 | " +
			"service.action.kubernetesApiCallAction.remoteIpDetails.ipAddressV4 | service.action.rdsLoginAttemptAction.remoteIpDetails.ipAddressV4",
	}),
	// Security Hub user guide, "AWS Security Finding Format", and behind the bars
	// the OCSF of Security Hub's newer findings.
	SecurityHub: fixed(MappingSpec{
		Log: "securityhub", Time: "UpdatedAt | time", ID: "Id | finding_info.uid", Account: "AwsAccountId | cloud.account.uid",
		Region: "Region | cloud.region", Kind: "Types | finding_info.types | class_name", Severity: "Severity.Label | severity",
		Target: "ProductArn | metadata.product.uid", Outcome: "Compliance.Status | compliance.status",
	}),
	// AWS Config developer guide, "Example Compliance Change Notification".
	Compliance: fixed(MappingSpec{
		Log: "compliance", Time: "newEvaluationResult.resultRecordedTime | notificationCreationTime", Account: "awsAccountId", Region: "awsRegion",
		Kind: "configRuleName", Target: "resourceId", Outcome: "newEvaluationResult.complianceType",
	}),
}

func fixed(s MappingSpec) *Mapping {
	m, err := NewMapping(s)
	if err != nil {
		panic(err) // the table above
	}
	return m
}

// entryID is the record's id; findings that are sent again when they change are
// as many events as they have changes. "" when the record has none.
func (e *Event) entryID() string {
	id := e.Text(EntryID)
	switch {
	case e.Kind == Compliance:
		tree, _ := e.Value(EntryRecord).(map[string]any)
		kind, _ := tree["resourceType"].(string)
		return "compliance-" + Hash(e.Account(), e.Region(), e.Name(), kind, e.Text(EntryTarget), e.Text(EntryTime), e.Text(EntryOutcome))
	case id == "":
		return ""
	case e.Kind == GuardDuty || e.Kind == SecurityHub:
		return id + "@" + e.Text(EntryTime)
	case e.Has(EntryRevision):
		return id + "@" + e.Text(EntryRevision)
	}
	return strings.Clone(id)
}

// entryActor is who a log says did it.
func (e *Event) entryActor() Actor {
	text := func(f Field) string { return strings.Clone(e.Text(f)) }
	a := Actor{Name: text(EntryActor), PrincipalID: text(EntryPrincipal), AccessKey: text(EntryAccessKey), IP: text(EntryIP), UserAgent: text(EntryUserAgent)}
	if strings.HasPrefix(a.Name, "arn:") {
		a.ARN, a.Name = a.Name, lastSegment(a.Name)
	}
	if a.Name == "" && a.PrincipalID == "" && a.AccessKey == "" {
		return a
	}
	a.Account = text(EntryAccount)
	if a.Type = e.Kind.String(); e.Mapping != nil {
		a.Type = e.Mapping.Log()
	}
	if e.Kind == GuardDuty {
		tree, _ := e.Value(EntryRecord).(map[string]any)
		a.Type, _ = at(tree, "resource", "accessKeyDetails", "userType").(string)
		a.PrincipalID, a.Session, _ = strings.Cut(a.PrincipalID, ":")
	}
	return a
}

// entryEntities names what an entry is about.
func (e *Event) entryEntities(add func(kind, id string)) {
	tree, _ := e.Value(EntryRecord).(map[string]any)
	text := func(path ...string) string { s, _ := at(tree, path...).(string); return s }
	arn := func(resource string, id string) string {
		if id == "" {
			return ""
		}
		return "arn:" + Partition(e.Region()) + ":" + strings.NewReplacer("{account}", e.Account(), "{region}", e.Region()).Replace(resource) + id
	}
	switch e.Kind {
	case GuardDuty:
		add("access-key", text("resource", "accessKeyDetails", "accessKeyId"))
		switch user := text("resource", "accessKeyDetails", "userName"); text("resource", "accessKeyDetails", "userType") {
		case "IAMUser":
			add("iam-user", arn("iam::{account}:user/", user))
		case "AssumedRole", "Role":
			add("iam-role", arn("iam::{account}:role/", user))
		}
		add("instance", arn("ec2:{region}:{account}:instance/", text("resource", "instanceDetails", "instanceId")))
		for _, b := range objects(at(tree, "resource", "s3BucketDetails")) {
			id, _ := b["arn"].(string)
			add("s3-bucket", id)
		}
		add("eks-cluster", text("resource", "eksClusterDetails", "arn"))
		add("lambda-function", text("resource", "lambdaDetails", "functionArn"))
		add("rds-instance", text("resource", "rdsDbInstanceDetails", "dbInstanceArn"))
		add("address", e.Text(EntryIP))
	case SecurityHub:
		for _, r := range objects(tree["Resources"]) {
			id, _ := r["Id"].(string)
			add(arnKind(id), id)
		}
		for _, r := range objects(tree["resources"]) {
			id, _ := r["uid"].(string)
			add(arnKind(id), id)
		}
	case Compliance:
		add(configKind(text("resourceType")), e.Text(EntryTarget))
	case Insight:
		add("service", e.Text(EntryTarget))
	default:
		if id := e.Text(EntryTarget); strings.HasPrefix(id, "arn:") {
			add(arnKind(id), id)
		} else {
			add("target", id)
		}
		add("address", e.Text(EntryIP))
	}
}

// at follows names into a parsed value; nil where they lead nowhere.
func at(v any, path ...string) any {
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// objects are the objects of a list.
func objects(v any) []map[string]any {
	list, _ := v.([]any)
	var out []map[string]any
	for _, x := range list {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// timeForms are how logs write times, besides numbers; those without a zone are in UTC.
var timeForms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999 -0700 MST", time.RFC1123Z, time.RFC1123,
}

// entryTime reads a time, or a number since 1970 whose size tells its unit:
// seconds up to 1e11 (the year 5138), then milli-, micro- and nanoseconds.
func entryTime(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	if c := text[0]; (c < '0' || c > '9') && c != '-' && (c < 'A' || c > 'Z') {
		return time.Time{}
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC()
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch {
		case n <= 0:
			return time.Time{}
		case n < 1e11:
			return time.Unix(n, 0).UTC()
		case n < 1e14:
			return time.UnixMilli(n).UTC()
		case n < 1e17:
			return time.UnixMicro(n).UTC()
		}
		return time.Unix(0, n).UTC()
	}
	// Seconds with a fraction, as a float64 tells them: to a microsecond.
	if f, err := strconv.ParseFloat(text, 64); err == nil && f > 0 && f < 1e11 {
		return time.UnixMicro(int64(f * 1e6)).UTC()
	}
	return time.Time{}
}
