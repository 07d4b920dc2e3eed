package detect

import (
	"strings"

	"riposte/event"
	"riposte/internal/expr"
)

// telling chooses the clause of a predicate that the fewest events pass, nil
// when none can be looked up.
func telling(kind event.Kind, p expr.Predicate) expr.Clause {
	var best expr.Clause
	least := 0.0
	for _, c := range p {
		likely, ok := 0.0, true
		for _, a := range c {
			// An absent field is not looked up, what is mentioned somewhere has
			// no text to look up, nor has a number that is at least another, and a literal of one or two
			// bytes occurs in nearly every text.
			if a.Value == "" || a.Op == expr.Mentions || a.Op == expr.AtLeast || len(a.Value) < 3 && (a.Op != expr.Equals || a.Fold) {
				ok = false
				break
			}
			likely += likelihood(kind, a)
		}
		if ok && (best == nil || likely < least) {
			best, least = c, likely
		}
	}
	return best
}

// likelihood guesses the share of events that pass a test. Guesses decide only
// where a rule is filed, that is, its speed.
func likelihood(kind event.Kind, a expr.Atom) float64 {
	if a.Op != expr.Equals || a.Fold {
		value := strings.ToLower(a.Value)
		switch {
		case strings.Contains(commonplace, value):
			return 0.25
		case len(value) < 5:
			return 0.02
		}
		return 0.001
	}
	if share, ok := frequent[a.Value]; ok {
		return share
	}
	if share, ok := shares[kind][a.Field]; ok {
		return share
	}
	return 0.002
}

// shares are how many events have one value of a field in common, of the fields
// that have few values.
var shares = map[event.Kind]map[event.Field]float64{
	event.CloudTrail: {
		event.EventName: 0.002, event.EventSource: 0.02, event.AWSRegion: 0.2, event.EventType: 0.2, event.UserType: 0.2,
		event.EventCategory: 0.2, event.ErrorCode: 0.01, event.RecipientAccountID: 0.2, event.UserAccountID: 0.2,
		event.ReadOnly: 0.5, event.ManagementEvent: 0.9, event.MFAAuthenticated: 0.3, event.EventVersion: 0.5,
		event.SessionCredentialFromConsole: 0.05, event.IssuerType: 0.5, event.UserInvokedBy: 0.02,
	},
	event.FlowLog: {
		event.FlowVersion: 0.5, event.FlowAccountID: 0.2, event.FlowProtocol: 0.1, event.FlowLogStatus: 0.01, event.FlowTCPFlags: 0.2,
		event.FlowType: 0.5, event.FlowRegion: 0.2, event.FlowAZID: 0.2, event.FlowDirection: 0.5, event.FlowTrafficPath: 0.1,
		event.FlowVPCID: 0.1, event.FlowSubnetID: 0.1, event.FlowPktSrcAWSService: 0.05, event.FlowPktDstAWSService: 0.05,
		event.FlowRejectReason: 0.01, event.FlowEncryptionStatus: 0.3, event.FlowSublocationType: 0.01,
	},
	event.ConfigItem: {
		event.ConfigMessageType: 0.5, event.ConfigItemVersion: 0.5, event.ConfigStatus: 0.05, event.ConfigAccountID: 0.2,
		event.ConfigRegion: 0.2, event.ConfigAvailabilityZone: 0.1, event.ConfigResourceType: 0.03,
	},
}

// frequent are values that many events have.
var frequent = map[string]float64{
	"sts.amazonaws.com": 0.2, "ec2.amazonaws.com": 0.2, "s3.amazonaws.com": 0.15, "kms.amazonaws.com": 0.1, "iam.amazonaws.com": 0.05,
	"logs.amazonaws.com": 0.05, "monitoring.amazonaws.com": 0.05, "AssumeRole": 0.1, "Decrypt": 0.05, "GenerateDataKey": 0.05,
	"GetObject": 0.05, "DescribeInstances": 0.03, "GetCallerIdentity": 0.02, "AccessDenied": 0.05, "AwsApiCall": 0.9, "Management": 0.9,
	"AssumedRole": 0.7, "us-east-1": 0.5, "443": 0.3, "80": 0.1, "53": 0.1, "6": 0.8, "ACCEPT": 0.9, "REJECT": 0.1, "OK": 0.95,
}

// commonplace is what the text of many events holds, in lower case.
const commonplace = "aws-cli/2.15.30 md/awscrt#0.19.19 ua/2.0 os/linux#5.10.205 md/arch#x86_64 lang/python#3.11.8 md/pyimpl#cpython cfg/retry-mode#standard " +
	"botocore/1.34.11 boto3/1.34.11 python/3.11.8 linux/5.10 darwin windows apn/1.0 hashicorp/1.0 terraform/1.7.4 (+https://www.terraform.io) " +
	"terraform-provider-aws/5.37.0 aws-sdk-go-v2/1.24.1 aws-sdk-go/1.44 go/1.21 aws-sdk-java/2.20 openjdk exec-env/aws_lambda_python3.11 aws-internal/3 " +
	"mozilla/5.0 (macintosh; intel mac os x 10_15_7) (windows nt 10.0; win64; x64) applewebkit/537.36 (khtml, like gecko) chrome/122.0.0.0 safari/537.36 " +
	"console.amazonaws.com signin.amazonaws.com .amazonaws.com aws internal arn:aws:iam::111122223333:user/ arn:aws:iam::111122223333:role/ " +
	"arn:aws:sts::111122223333:assumed-role/ awsservicerolefor role/aws-reserved/sso.amazonaws.com/ admin prod deploy " +
	"user: is not authorized to perform: on resource: because no identity-based policy allows the action"
