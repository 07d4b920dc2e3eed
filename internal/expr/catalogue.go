package expr

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"riposte/internal/problem"
)

//go:embed catalogue.txt.gz
var catalogueData []byte

// catalogue knows AWS's services and their actions, by CloudTrail's names.
type catalogue struct {
	services map[string]map[string]bool // "iam" -> actions
	actions  map[string]bool
}

// shippedCatalogue is read once; it costs a few milliseconds, and only a load
// that names an event pays.
var shippedCatalogue = sync.OnceValue(func() *catalogue {
	c := &catalogue{services: map[string]map[string]bool{}, actions: map[string]bool{}}
	r, err := gzip.NewReader(bytes.NewReader(catalogueData))
	if err != nil {
		panic(err) // the embedded file
	}
	data, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		c.add(words[0], words[1:]...)
	}
	for service, actions := range recorded {
		c.add(service, strings.Fields(actions)...)
	}
	return c
})

func (c *catalogue) add(service string, actions ...string) {
	if c.services[service] == nil {
		c.services[service] = map[string]bool{}
	}
	for _, a := range actions {
		c.services[service][a] = true
		c.actions[a] = true
	}
}

// recorded are names that CloudTrail records and no API model has: console
// actions, service events, S3's own spellings and younger services.
var recorded = map[string]string{
	"signin":               "ConsoleLogin CheckMfa SwitchRole ExitRole RenewRole PasswordRecoveryRequested PasswordRecoveryCompleted PasswordUpdated EmailUpdated GetSigninToken UserAuthentication CredentialChallenge CredentialVerification CreateOAuth2Token",
	"sso":                  "Authenticate Federate Logout ListProfilesForApplication CreateToken DisassociateDirectory StartSSO",
	"sts":                  "AssumeRoot",
	"s3":                   "ListBucket HeadBucket HeadObject DeleteBucketPublicAccessBlock PutBucketPublicAccessBlock GetBucketPublicAccessBlock GetAccountPublicAccessBlock PutAccountPublicAccessBlock DeleteAccountPublicAccessBlock PutObjectLockConfiguration PutBucketObjectLockConfiguration DeleteBucketLifecycle PutBucketLifecycle GetBucketLifecycle PutBucketReplication DeleteMultipleObjects REST.GET.OBJECT",
	"kms":                  "SynchronizeMultiRegionKey RotateKey DeleteKey ImportKeyMaterial",
	"health":               "AWS_EC2_INSTANCE_STOP",
	"ec2":                  "BidEvictedEvent SharedSnapshotCopyInitiated SharedSnapshotVolumeCreated EnableImageBlockPublicAccess DisableImageBlockPublicAccess DisableSnapshotBlockPublicAccess",
	"monitoring":           "PutMetricAlarm DeleteAlarms DisableAlarmActions PutDashboard DeleteDashboards",
	"bedrock":              "InvokeModel InvokeModelWithResponseStream Converse ConverseStream PutUseCaseForModelAccess CreateFoundationModelAgreement PutFoundationModelEntitlement PutModelInvocationLoggingConfiguration DeleteModelInvocationLoggingConfiguration PutEnforcedGuardrailConfiguration DeleteEnforcedGuardrailConfiguration DeleteAutomatedReasoningPolicy UpdateAutomatedReasoningPolicy CreateGuardrail UpdateGuardrail DeleteGuardrail CallWithBearerToken",
	"ec2-instance-connect": "SendSSHPublicKey SendSerialConsoleSSHPublicKey OpenTunnel CloseTunnel",
	"account":              "CloseAccount EnableRegion DisableRegion PutContactInformation",
	"organizations":        "CloseAccountResult CreateAccountResult",
	"secretsmanager":       "SecretVersionDeletion RotationStarted RotationSucceeded RotationFailed RotationAbandoned CancelSecretVersionDelete StartSecretVersionDelete EndSecretVersionDelete",
	"ssmmessages":          "OpenDataChannel OpenControlChannel CreateDataChannel CreateControlChannel",
	"ecr":                  "PolicyExecutionEvent",
	"eks":                  "CreateAccessEntry AssociateAccessPolicy UpdateAccessEntry DeleteAccessEntry",
	"rds":                  "CreateDBInstanceReadReplica",
}

// versionSuffix is what Lambda and CloudFront append to an action's name.
var versionSuffix = regexp.MustCompile(`(?:_?\d{4}_?\d{2}_?\d{2}(?:v\d+)?)$`)

func known(actions map[string]bool, name string) bool {
	return actions[name] || actions[versionSuffix.ReplaceAllString(name, "")]
}

// nameUse is a constant that an expression compares eventName or eventSource
// with, and the services that the same conjunction names.
type nameUse struct {
	expr     ast.Expr
	variable string
	value    string
	services []string
}

// check says what is wrong with a name, "" when nothing is, and a suggestion.
func (c *catalogue) check(u nameUse) (message, suggestion string) {
	if u.variable == "eventSource" {
		service, ok := strings.CutSuffix(u.value, ".amazonaws.com")
		if ok && c.services[service] != nil {
			return "", ""
		}
		if !ok && c.services[u.value] != nil {
			return fmt.Sprintf("no event has the source %q", u.value), fmt.Sprintf("did you mean %q?", u.value+".amazonaws.com")
		}
		near := problem.Suggest(strings.TrimSuffix(u.value, ".amazonaws.com"), sortedKeys(c.services))
		return fmt.Sprintf("no AWS service that is known here has the source %q", u.value), near
	}
	scope := map[string]bool{}
	for _, s := range u.services {
		service := strings.TrimSuffix(s, ".amazonaws.com")
		if c.services[service] == nil {
			return "", "" // the source itself is already reported
		}
		for a := range c.services[service] {
			scope[a] = true
		}
	}
	where := "no AWS service that is known here"
	if len(u.services) == 0 {
		scope = c.actions
	} else {
		where = strings.Join(u.services, " or ") + ", as known here,"
	}
	if known(scope, u.value) {
		return "", ""
	}
	return fmt.Sprintf("%s has no action %q", where, u.value), problem.Suggest(u.value, sortedKeys(scope))
}

// namesUsed collects the constants compared with eventName and eventSource.
func namesUsed(root ast.NavigableExpr) []nameUse {
	var out []nameUse
	collectNames(root, nil, &out)
	return out
}

// collectNames walks the connectives; services are the sources named beside.
func collectNames(e ast.Expr, services []string, out *[]nameUse) {
	if e.Kind() != ast.CallKind {
		return
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		for _, side := range call.Args() {
			services = append(services[:len(services):len(services)], sourcesOf(side)...)
		}
		for _, side := range call.Args() {
			collectNames(side, services, out)
		}
	case operators.LogicalOr, operators.LogicalNot, operators.Conditional:
		for _, side := range call.Args() {
			collectNames(side, services, out)
		}
	case operators.Equals, operators.NotEquals, operators.In:
		if len(call.Args()) != 2 {
			return
		}
		variable, values := comparison(call)
		for _, v := range values {
			value, _ := constant(v)
			*out = append(*out, nameUse{expr: v, variable: variable, value: value, services: services})
		}
	}
}

// comparison returns the variable and the constants of a comparison with
// eventName or eventSource; no values when it is not one.
func comparison(call ast.CallExpr) (variable string, values []ast.Expr) {
	left, right := call.Args()[0], call.Args()[1]
	if left.Kind() != ast.IdentKind {
		left, right = right, left
	}
	if left.Kind() != ast.IdentKind {
		return "", nil
	}
	variable = left.AsIdent()
	if variable != "eventName" && variable != "eventSource" {
		return "", nil
	}
	candidates := []ast.Expr{right}
	if right.Kind() == ast.ListKind {
		candidates = right.AsList().Elements()
	}
	for _, c := range candidates {
		if _, ok := constant(c); ok {
			values = append(values, c)
		}
	}
	return variable, values
}

// sourcesOf returns the sources that an operand of && names positively.
func sourcesOf(e ast.Expr) []string {
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return append(sourcesOf(call.Args()[0]), sourcesOf(call.Args()[1])...)
	case operators.Equals, operators.In:
		if variable, values := comparison(call); variable == "eventSource" {
			var out []string
			for _, v := range values {
				s, _ := constant(v)
				out = append(out, s)
			}
			return out
		}
	}
	return nil
}

// Names returns the actions that are known here by the eventSource that records
// them, both sorted where they are lists: for completion and for generated rules.
func Names() map[string][]string {
	c := shippedCatalogue()
	out := make(map[string][]string, len(c.services))
	for service, actions := range c.services {
		out[service+".amazonaws.com"] = sortedKeys(actions)
	}
	return out
}
