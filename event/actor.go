package event

// Actor is who did something, read from the record's identity.
type Actor struct {
	// Type is AWS's userIdentity.type: Root, IAMUser, AssumedRole, AWSService, ...
	Type string `json:"type,omitempty"`
	// ARN is the stable principal: for an assumed role the role's own ARN
	// (with its path, where the record tells it), not the session's.
	ARN string `json:"arn,omitempty"`
	// Name is what people call it: user name, role name, service.
	Name string `json:"name,omitempty"`
	// Account is the account the actor belongs to (12 digits).
	Account string `json:"account,omitempty"`
	// PrincipalID is the immutable id (AIDA..., AROA..., without the session name).
	PrincipalID string `json:"principalId,omitempty"`
	// Session is the role session name, or the federated user's name.
	Session string `json:"session,omitempty"`
	// AccessKey is the key id the call was signed with (AKIA... or ASIA...).
	AccessKey string `json:"accessKey,omitempty"`
	// SourceIdentity survives role chaining and cannot be changed inside it.
	SourceIdentity string `json:"sourceIdentity,omitempty"`
	// MFA reports whether the session was made with MFA.
	MFA bool `json:"mfa,omitempty"`
	// IP and UserAgent are as the record has them; UserAgent is the caller's own word.
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
	// Root is the human, workload or outside identity at the start of the
	// chain of role sessions; nil when it is not known.
	Root *Actor `json:"root,omitempty"`
}

// Identity returns the strongest name the actor has: ARN, else type and name,
// else the account; "unknown" when the record says nothing.
func (a *Actor) Identity() string {
	switch {
	case a.ARN != "":
		return a.ARN
	case a.Name != "":
		return a.Type + ":" + a.Name
	case a.Account != "":
		return a.Type + ":" + a.Account
	}
	return "unknown"
}

// Entity is something an event touched: an ARN where there is one, else the
// service's own id.
type Entity struct {
	// Kind is a short word: "iam-user", "iam-role", "access-key", "s3-bucket",
	// "security-group", "instance", "trail", ... as in the table of entities.go.
	Kind string `json:"kind"`
	ID   string `json:"id"`
}
