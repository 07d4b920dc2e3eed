package event

import (
	"slices"
	"strings"
)

// entityRule makes an entity from a request parameter or response element: the
// placeholders of arn are the value, the account, the region and the partition.
type entityRule struct {
	service string // prefix of eventSource, "" is any
	key     string
	kind    string
	arn     string // "" when the value is the id as it stands
}

// entityRules name what a request touched, by the parameter names that AWS's
// services use. A value that is itself an ARN is taken as it is.
var entityRules = []entityRule{
	{"iam", "userName", "iam-user", "arn:{partition}:iam::{account}:user/{value}"},
	{"iam", "roleName", "iam-role", "arn:{partition}:iam::{account}:role/{value}"},
	{"iam", "groupName", "iam-group", "arn:{partition}:iam::{account}:group/{value}"},
	{"iam", "policyArn", "iam-policy", ""},
	{"iam", "accessKeyId", "access-key", ""},
	{"iam", "instanceProfileName", "instance-profile", "arn:{partition}:iam::{account}:instance-profile/{value}"},
	{"iam", "sAMLProviderArn", "saml-provider", ""},
	{"sts", "roleArn", "iam-role", ""},
	{"s3", "bucketName", "s3-bucket", "arn:{partition}:s3:::{value}"},
	{"ec2", "groupId", "security-group", "arn:{partition}:ec2:{region}:{account}:security-group/{value}"},
	{"ec2", "instanceId", "instance", "arn:{partition}:ec2:{region}:{account}:instance/{value}"},
	{"ec2", "snapshotId", "snapshot", "arn:{partition}:ec2:{region}::snapshot/{value}"},
	{"ec2", "imageId", "image", "arn:{partition}:ec2:{region}::image/{value}"},
	{"ec2", "volumeId", "volume", "arn:{partition}:ec2:{region}:{account}:volume/{value}"},
	{"ec2", "vpcId", "vpc", "arn:{partition}:ec2:{region}:{account}:vpc/{value}"},
	{"ec2", "flowLogId", "flow-log", "arn:{partition}:ec2:{region}:{account}:vpc-flow-log/{value}"},
	{"ec2-instance-connect", "instanceId", "instance", "arn:{partition}:ec2:{region}:{account}:instance/{value}"},
	{"ssm", "target", "instance", "arn:{partition}:ec2:{region}:{account}:instance/{value}"},
	{"ssm", "instanceIds", "instance", "arn:{partition}:ec2:{region}:{account}:instance/{value}"},
	{"ssm", "names", "ssm-parameter", ""},
	{"ssm", "documentName", "ssm-document", ""},
	{"cloudtrail", "name", "trail", "arn:{partition}:cloudtrail:{region}:{account}:trail/{value}"},
	{"cloudtrail", "trailName", "trail", "arn:{partition}:cloudtrail:{region}:{account}:trail/{value}"},
	{"kms", "keyId", "kms-key", "arn:{partition}:kms:{region}:{account}:key/{value}"},
	{"lambda", "functionName", "lambda-function", "arn:{partition}:lambda:{region}:{account}:function:{value}"},
	{"secretsmanager", "secretId", "secret", ""},
	{"rds", "dBInstanceIdentifier", "rds-instance", "arn:{partition}:rds:{region}:{account}:db:{value}"},
	{"rds", "dBClusterIdentifier", "rds-cluster", "arn:{partition}:rds:{region}:{account}:cluster:{value}"},
	{"rds", "dBSnapshotIdentifier", "rds-snapshot", "arn:{partition}:rds:{region}:{account}:snapshot:{value}"},
	{"guardduty", "detectorId", "guardduty-detector", "arn:{partition}:guardduty:{region}:{account}:detector/{value}"},
	{"logs", "logGroupName", "log-group", "arn:{partition}:logs:{region}:{account}:log-group:{value}"},
	{"config", "configurationRecorderName", "config-recorder", ""},
	{"dynamodb", "tableName", "dynamodb-table", "arn:{partition}:dynamodb:{region}:{account}:table/{value}"},
	{"eks", "name", "eks-cluster", "arn:{partition}:eks:{region}:{account}:cluster/{value}"},
	{"ecr", "repositoryName", "ecr-repository", "arn:{partition}:ecr:{region}:{account}:repository/{value}"},
	{"sns", "topicArn", "sns-topic", ""},
	{"sqs", "queueUrl", "sqs-queue", ""},
	{"route53resolver", "resolverQueryLogConfigId", "resolver-query-log", ""},
	{"rolesanywhere", "trustAnchorId", "trust-anchor", ""},
	{"sagemaker", "notebookInstanceLifecycleConfigName", "notebook-lifecycle", ""},
}

// arnKinds names the entity of an ARN by its service and the type in its resource.
var arnKinds = map[string]string{
	"iam/user": "iam-user", "iam/role": "iam-role", "iam/group": "iam-group", "iam/policy": "iam-policy",
	"iam/saml-provider": "saml-provider", "iam/instance-profile": "instance-profile", "sts/assumed-role": "role-session",
	"ec2/instance": "instance", "ec2/security-group": "security-group", "ec2/snapshot": "snapshot", "ec2/image": "image",
	"ec2/volume": "volume", "ec2/vpc": "vpc", "ec2/subnet": "subnet", "ec2/network-interface": "network-interface",
	"cloudtrail/trail": "trail", "kms/key": "kms-key", "kms/alias": "kms-alias", "lambda/function": "lambda-function",
	"rds/db": "rds-instance", "rds/cluster": "rds-cluster", "rds/snapshot": "rds-snapshot", "ssm/parameter": "ssm-parameter",
	"secretsmanager/secret": "secret", "logs/log-group": "log-group", "dynamodb/table": "dynamodb-table", "eks/cluster": "eks-cluster",
	"guardduty/detector": "guardduty-detector", "rolesanywhere/trust-anchor": "trust-anchor", "rolesanywhere/profile": "roles-anywhere-profile",
	"ecr/repository": "ecr-repository",
}

// maxEntities bounds what one event may name: a single call can list a thousand.
const maxEntities = 50

// Entities returns what the event touched, ARNs where they can be derived, in
// the order found and each once. It aliases nothing.
func (e *Event) Entities() []Entity {
	var out []Entity
	add := func(kind, id string) {
		if id == "" || len(out) >= maxEntities {
			return
		}
		n := Entity{Kind: kind, ID: strings.Clone(id)}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	switch e.Kind {
	case CloudTrail:
		e.requestEntities(add)
		if list, ok := e.Value(Resources).([]any); ok {
			for _, r := range list {
				if m, ok := r.(map[string]any); ok {
					if arn, ok := m["ARN"].(string); ok {
						add(arnKind(arn), arn)
					}
				}
			}
		}
	case ConfigItem:
		id := e.Text(ConfigARN)
		if id == "" {
			id = e.Text(ConfigResourceID)
		}
		kind := arnKind(id)
		if kind == "resource" {
			kind = configKind(e.Text(ConfigResourceType))
		}
		add(kind, id)
	case FlowLog:
		e.flowEntities(add)
	default:
		e.entryEntities(add)
	}
	return out
}

func (e *Event) requestEntities(add func(kind, id string)) {
	service, _, _ := strings.Cut(e.Text(EventSource), ".")
	request, _ := e.Value(RequestParameters).(map[string]any)
	// Some EC2 actions nest their parameters under the request's own name.
	if inner, ok := request[e.Text(EventName)+"Request"].(map[string]any); ok && service == "ec2" {
		request = lowerFirst(inner)
	}
	for _, r := range entityRules {
		if r.service != service {
			continue
		}
		for _, v := range texts(request[r.key]) {
			add(r.kind, e.entityID(r, v))
		}
	}
	// EC2 wraps ids in sets of items; a new key or group is named by the answer.
	for _, set := range []string{"instancesSet", "snapshotSet"} {
		for _, id := range setItems(request[set], "instanceId", "snapshotId") {
			for _, r := range entityRules {
				if r.service == service && (r.kind == "instance" && strings.HasPrefix(id, "i-") || r.kind == "snapshot" && strings.HasPrefix(id, "snap-")) {
					add(r.kind, e.entityID(r, id))
				}
			}
		}
	}
	response, _ := e.Value(ResponseElements).(map[string]any)
	if key, ok := response["accessKey"].(map[string]any); ok {
		if id, ok := key["accessKeyId"].(string); ok {
			add("access-key", id)
		}
	}
	if id, ok := response["groupId"].(string); ok && service == "ec2" {
		add("security-group", e.entityID(entityRule{arn: "arn:{partition}:ec2:{region}:{account}:security-group/{value}"}, id))
	}
}

func (e *Event) entityID(r entityRule, value string) string {
	if r.arn == "" || value == "" || strings.HasPrefix(value, "arn:") {
		return value
	}
	return strings.NewReplacer("{partition}", Partition(e.Region()), "{account}", e.Account(), "{region}", e.Region(), "{value}", value).Replace(r.arn)
}

// lowerFirst renames GroupId to groupId: nested requests spell as the query API does.
func lowerFirst(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if k != "" {
			k = strings.ToLower(k[:1]) + k[1:]
		}
		out[k] = v
	}
	return out
}

// texts returns a string, or the strings of a list.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// setItems returns the named members of {"items":[{...}]}.
func setItems(v any, keys ...string) []string {
	set, _ := v.(map[string]any)
	items, _ := set["items"].([]any)
	var out []string
	for _, it := range items {
		m, _ := it.(map[string]any)
		for _, k := range keys {
			if s, ok := m[k].(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// configKinds names the entity of a Config resource type as CloudTrail's are named.
var configKinds = map[string]string{
	"AWS::IAM::User": "iam-user", "AWS::IAM::Role": "iam-role", "AWS::IAM::Group": "iam-group", "AWS::IAM::Policy": "iam-policy",
	"AWS::EC2::Instance": "instance", "AWS::EC2::SecurityGroup": "security-group", "AWS::EC2::Volume": "volume", "AWS::EC2::VPC": "vpc",
	"AWS::EC2::NetworkAcl": "network-acl", "AWS::EC2::FlowLog": "flow-log", "AWS::S3::Bucket": "s3-bucket", "AWS::KMS::Key": "kms-key",
	"AWS::CloudTrail::Trail": "trail", "AWS::RDS::DBInstance": "rds-instance", "AWS::RDS::DBCluster": "rds-cluster",
	"AWS::Lambda::Function": "lambda-function", "AWS::EKS::Cluster": "eks-cluster", "AWS::DynamoDB::Table": "dynamodb-table",
}

func configKind(resourceType string) string {
	if k, ok := configKinds[resourceType]; ok {
		return k
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(resourceType, "AWS::"), "::", "-"))
}

// arnKind names what an ARN is of, "resource" when the table does not know.
func arnKind(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return "resource"
	}
	if parts[2] == "s3" {
		if strings.Contains(parts[5], "/") {
			return "s3-object"
		}
		return "s3-bucket"
	}
	kind, _, _ := strings.Cut(parts[5], "/")
	kind, _, _ = strings.Cut(kind, ":")
	if k, ok := arnKinds[parts[2]+"/"+kind]; ok {
		return k
	}
	return "resource"
}
