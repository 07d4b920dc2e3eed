package event

import "strings"

// Actor reads who did it from a CloudTrail record's identity, after the user
// identity reference of the CloudTrail user guide. For an assumed role the actor
// is the role and Session says which session of it. A Config item and a flow log
// record name nobody: their actor is empty. The result aliases nothing.
func (e *Event) Actor() Actor {
	if e.Kind.mapped() {
		return e.entryActor()
	}
	if e.Kind != CloudTrail {
		return Actor{}
	}
	text := func(f Field) string { return strings.Clone(e.Text(f)) }
	a := Actor{
		Type: text(UserType), ARN: text(UserARN), Name: text(UserName), Account: text(UserAccountID),
		AccessKey: text(UserAccessKeyID), SourceIdentity: text(SourceIdentity), MFA: e.Bool(MFAAuthenticated),
		IP: text(SourceIPAddress), UserAgent: text(UserAgent),
	}
	a.PrincipalID, a.Session, _ = strings.Cut(text(UserPrincipalID), ":")
	invoker := text(UserInvokedBy)
	switch a.Type {
	case "AssumedRole":
		a.assumedRole(text(IssuerARN), text(IssuerUserName), text(IssuerAccountID))
	case "FederatedUser":
		if a.Name == "" {
			a.Name = lastSegment(a.ARN)
		}
		a.Session = lastSegment(a.ARN)
		if issuer := text(IssuerARN); issuer != "" {
			a.ARN, a.Name = issuer, firstOf(text(IssuerUserName), lastSegment(issuer))
		}
	case "Root":
		a.Name = "root"
		if a.ARN == "" && a.Account != "" {
			a.ARN = "arn:" + Partition(e.Region()) + ":iam::" + a.Account + ":root"
		}
	case "AWSService":
		a.Name = firstOf(invoker, a.Name)
	case "SAMLUser", "WebIdentityUser":
		a.Name = firstOf(a.Name, text(UserPrincipalID))
	case "AWSAccount":
		a.Name = firstOf(a.Name, text(UserPrincipalID))
	case "":
		if invoker != "" {
			a.Type, a.Name = "AWSService", invoker
		}
	}
	if a.Name == "" {
		a.Name = lastSegment(a.ARN)
	}
	return a
}

// assumedRole turns the session's ARN, which has lost the role's path, into the
// role's own.
func (a *Actor) assumedRole(issuer, name, account string) {
	if a.Session == "" {
		a.Session = lastSegment(a.ARN)
	}
	if issuer == "" {
		// arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION
		head, rest, ok := strings.Cut(a.ARN, ":assumed-role/")
		if ok {
			role, _, _ := strings.Cut(rest, "/")
			issuer = strings.Replace(head, ":sts:", ":iam:", 1) + ":role/" + role
		}
	}
	if issuer != "" {
		a.ARN = issuer
	}
	a.Name = firstOf(name, lastSegment(issuer), a.Name)
	a.Account = firstOf(account, a.Account)
}

func lastSegment(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// Partition is the ARN partition that a region lies in.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
