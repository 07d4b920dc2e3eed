package expr

import (
	"encoding/json"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"riposte/event"
)

// member is one field of an object type, or one variable.
type member struct {
	typ *cel.Type
	get func(*Input) ref.Val
	has func(*Input) bool
	// field is the hot field that the member reads, or none: what the rule
	// index may look up.
	field event.Field
	text  bool // field holds text, or a whole number in its one spelling
	flag  bool // field holds a bool
	// free says that the member is the free-form object of the field from.
	free bool
	from event.Field
}

const none event.Field = 255

// objectType is a struct of the environment: its members read from the Input.
type objectType struct {
	name    string
	typ     *cel.Type
	members map[string]member
}

// schema is what an environment declares.
type schema struct {
	variables map[string]member
	objects   map[string]*objectType
}

func newSchema() *schema {
	return &schema{variables: map[string]member{}, objects: map[string]*objectType{}}
}

// object declares an object type and the member through which it is reached.
func (s *schema) object(name string, members map[string]member) member {
	o := &objectType{name: name, typ: cel.ObjectType(name), members: members}
	s.objects[name] = o
	return member{
		typ: o.typ, field: none,
		get: func(in *Input) ref.Val { return in.object(o) },
		has: func(in *Input) bool { return true },
	}
}

// present replaces when an object member counts as present.
func (m member) present(has func(*Input) bool) member {
	m.has = has
	return m
}

func textField(f event.Field) member {
	return member{
		typ: cel.StringType, field: f, text: true,
		get: func(in *Input) ref.Val { return in.text(f) },
		has: func(in *Input) bool { return in.event.Has(f) },
	}
}

func boolField(f event.Field) member {
	return member{
		typ: cel.BoolType, field: f, flag: true,
		get: func(in *Input) ref.Val { return types.Bool(in.event.Bool(f)) },
		has: func(in *Input) bool { return in.event.Has(f) },
	}
}

// intField is a whole number. Only its one canonical spelling counts as present,
// so that the index may look it up as text.
func intField(f event.Field) member {
	return member{
		typ: cel.IntType, field: f, text: true,
		get: func(in *Input) ref.Val {
			if !canonicalInt(in.event.Text(f)) {
				return types.IntZero
			}
			n, _ := in.event.Int(f)
			return types.Int(n)
		},
		has: func(in *Input) bool { return canonicalInt(in.event.Text(f)) },
	}
}

func canonicalInt(s string) bool {
	if s == "" || len(s) > 18 || s[0] == '0' && len(s) > 1 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// dynField is a free-form object; absent and null are the empty map.
func dynField(f event.Field) member {
	return member{
		typ: cel.DynType, field: none, free: true, from: f,
		get: func(in *Input) ref.Val { return in.free(f) },
		has: func(in *Input) bool { return in.event.Has(f) },
	}
}

// listField is a free-form list; absent and null are the empty list.
func listField(f event.Field) member {
	return member{
		typ: cel.ListType(cel.DynType), field: none,
		get: func(in *Input) ref.Val { return in.freeList(f) },
		has: func(in *Input) bool { return in.event.Has(f) },
	}
}

// innerText reads a text member that is not a hot field, by its path below one.
func innerText(f event.Field, path ...string) member {
	get := func(in *Input) (string, bool) {
		v := in.event.Value(f)
		for _, p := range path {
			m, ok := v.(map[string]any)
			if !ok {
				return "", false
			}
			v = m[p]
		}
		switch v := v.(type) {
		case string:
			return v, true
		case json.Number:
			return string(v), true
		case bool:
			if v {
				return "true", true
			}
			return "false", true
		}
		return "", false
	}
	return member{
		typ: cel.StringType, field: none,
		get: func(in *Input) ref.Val { s, _ := get(in); return types.String(s) },
		has: func(in *Input) bool { _, ok := get(in); return ok },
	}
}

func innerDyn(f event.Field, path ...string) member {
	get := func(in *Input) (any, bool) {
		v := in.event.Value(f)
		for _, p := range path {
			m, ok := v.(map[string]any)
			if !ok {
				return nil, false
			}
			v = m[p]
		}
		return v, v != nil
	}
	return member{
		typ: cel.DynType, field: none,
		get: func(in *Input) ref.Val {
			if v, ok := get(in); ok {
				return adapt(v)
			}
			return emptyMap
		},
		has: func(in *Input) bool { _, ok := get(in); return ok },
	}
}

func innerObject(s *schema, name string, f event.Field, path []string, texts ...string) member {
	members := map[string]member{}
	for _, t := range texts {
		members[t] = innerText(f, append(append([]string(nil), path...), t)...)
	}
	return s.object(name, members).present(innerDyn(f, path...).has)
}

// addCommon declares what every kind of event has: event and actor.
func (s *schema) addCommon() {
	own := func(get func(*event.Event) string) member {
		return member{typ: cel.StringType, field: none,
			get: func(in *Input) ref.Val { return types.String(get(in.event)) },
			has: func(in *Input) bool { return get(in.event) != "" }}
	}
	s.variables["event"] = s.object("riposte.Event", map[string]member{
		"id":      own((*event.Event).ID),
		"name":    own((*event.Event).Name),
		"account": own((*event.Event).Account),
		"region":  own((*event.Event).Region),
		"kind":    own(func(e *event.Event) string { return e.Kind.String() }),
		"time": {typ: cel.TimestampType, field: none,
			get: func(in *Input) ref.Val { return types.Timestamp{Time: in.event.Time()} },
			has: func(in *Input) bool { return !in.event.Time().IsZero() }},
	})
	s.variables["actor"] = s.actorObject(func(in *Input) *event.Actor { return in.who() })
}

func (s *schema) actorObject(actor func(*Input) *event.Actor) member {
	part := func(get func(*event.Actor) string) member {
		return member{typ: cel.StringType, field: none,
			get: func(in *Input) ref.Val { return types.String(get(actor(in))) },
			has: func(in *Input) bool { return get(actor(in)) != "" }}
	}
	return s.object("riposte.Actor", map[string]member{
		"type":           part(func(a *event.Actor) string { return a.Type }),
		"arn":            part(func(a *event.Actor) string { return a.ARN }),
		"name":           part(func(a *event.Actor) string { return a.Name }),
		"account":        part(func(a *event.Actor) string { return a.Account }),
		"principalId":    part(func(a *event.Actor) string { return a.PrincipalID }),
		"session":        part(func(a *event.Actor) string { return a.Session }),
		"accessKey":      part(func(a *event.Actor) string { return a.AccessKey }),
		"sourceIdentity": part(func(a *event.Actor) string { return a.SourceIdentity }),
		"ip":             part(func(a *event.Actor) string { return a.IP }),
		"userAgent":      part(func(a *event.Actor) string { return a.UserAgent }),
		"mfa": {typ: cel.BoolType, field: none,
			get: func(in *Input) ref.Val { return types.Bool(actor(in).MFA) },
			has: func(in *Input) bool { return actor(in).MFA }},
	})
}

// cloudTrailSchema follows the record contents and user identity references of
// the CloudTrail user guide, event version 1.11.
func cloudTrailSchema() *schema {
	s := newSchema()
	s.addCommon()
	v := s.variables
	for name, f := range map[string]event.Field{
		"eventVersion": event.EventVersion, "eventSource": event.EventSource, "eventName": event.EventName,
		"awsRegion": event.AWSRegion, "sourceIPAddress": event.SourceIPAddress, "userAgent": event.UserAgent,
		"errorCode": event.ErrorCode, "errorMessage": event.ErrorMessage, "requestID": event.RequestID,
		"eventID": event.EventID, "eventType": event.EventType, "apiVersion": event.APIVersion,
		"recipientAccountId": event.RecipientAccountID, "sharedEventID": event.SharedEventID,
		"vpcEndpointId": event.VPCEndpointID, "vpcEndpointAccountId": event.VPCEndpointAccountID,
		"eventCategory": event.EventCategory,
	} {
		v[name] = textField(f)
	}
	v["eventTime"] = s.objects["riposte.Event"].members["time"]
	for name, f := range map[string]event.Field{
		"managementEvent": event.ManagementEvent, "readOnly": event.ReadOnly,
		"sessionCredentialFromConsole": event.SessionCredentialFromConsole,
	} {
		v[name] = boolField(f)
	}
	for name, f := range map[string]event.Field{
		"requestParameters": event.RequestParameters, "responseElements": event.ResponseElements,
		"additionalEventData": event.AdditionalEventData, "serviceEventDetails": event.ServiceEventDetails,
		"addendum": event.Addendum, "edgeDeviceDetails": event.EdgeDeviceDetails,
		"eventContext": event.EventContext, "insightDetails": event.InsightDetails,
	} {
		v[name] = dynField(f)
	}
	v["resources"] = listField(event.Resources)
	v["tlsDetails"] = innerObject(s, "aws.TLSDetails", event.TLSDetails, nil,
		"tlsVersion", "cipherSuite", "clientProvidedHostHeader", "keyExchange")
	v["userIdentity"] = s.userIdentity()
	return s
}

func (s *schema) userIdentity() member {
	ui := event.UserIdentity
	has := func(f event.Field) func(*Input) bool { return func(in *Input) bool { return in.event.Has(f) } }
	issuer := s.object("aws.SessionIssuer", map[string]member{
		"type": textField(event.IssuerType), "userName": textField(event.IssuerUserName),
		"principalId": textField(event.IssuerPrincipalID), "arn": textField(event.IssuerARN), "accountId": textField(event.IssuerAccountID),
	}).present(has(event.SessionIssuer))
	attributes := s.object("aws.SessionAttributes", map[string]member{
		"mfaAuthenticated": textField(event.MFAAuthenticated),
		"creationDate":     innerText(ui, "sessionContext", "attributes", "creationDate"),
	}).present(has(event.SessionAttributes))
	federation := s.object("aws.WebIDFederationData", map[string]member{
		"federatedProvider": innerText(ui, "sessionContext", "webIdFederationData", "federatedProvider"),
		"attributes":        innerDyn(ui, "sessionContext", "webIdFederationData", "attributes"),
	}).present(innerDyn(ui, "sessionContext", "webIdFederationData").has)
	session := s.object("aws.SessionContext", map[string]member{
		"sessionIssuer": issuer, "attributes": attributes, "webIdFederationData": federation,
		"sourceIdentity":   textField(event.SourceIdentity),
		"ec2RoleDelivery":  innerText(ui, "sessionContext", "ec2RoleDelivery"),
		"assumedRoot":      innerText(ui, "sessionContext", "assumedRoot"),
		"signInSessionArn": innerText(ui, "sessionContext", "signInSessionArn"),
	}).present(has(event.SessionContext))
	return s.object("aws.UserIdentity", map[string]member{
		"type": textField(event.UserType), "principalId": textField(event.UserPrincipalID), "arn": textField(event.UserARN),
		"accountId": textField(event.UserAccountID), "accessKeyId": textField(event.UserAccessKeyID),
		"userName": textField(event.UserName), "invokedBy": textField(event.UserInvokedBy),
		"identityProvider": innerText(ui, "identityProvider"), "credentialId": innerText(ui, "credentialId"),
		"sessionContext":    session,
		"inScopeOf":         innerObject(s, "aws.InScopeOf", ui, []string{"inScopeOf"}, "sourceArn", "sourceAccount", "issuerType", "credentialsIssuedTo"),
		"onBehalfOf":        innerObject(s, "aws.OnBehalfOf", ui, []string{"onBehalfOf"}, "userId", "identityStoreArn"),
		"invokedByDelegate": innerObject(s, "aws.InvokedByDelegate", ui, []string{"invokedByDelegate"}, "accountId"),
	}).present(has(event.UserIdentity))
}

// flowSchema has the fields of the user guides, versions 2 to 10, as members
// of flow with underscores for dashes.
func flowSchema() *schema {
	s := newSchema()
	s.addCommon()
	members := map[string]member{}
	for f := event.FlowVersion; event.FlowFieldName(f) != ""; f++ {
		name := strings.ReplaceAll(event.FlowFieldName(f), "-", "_")
		if event.FlowNumber(f) {
			members[name] = intField(f)
		} else {
			members[name] = textField(f)
		}
	}
	members["extra"] = member{
		typ: cel.MapType(cel.StringType, cel.StringType), field: none,
		get: func(in *Input) ref.Val {
			out := map[string]string{}
			if in.event.Format != nil {
				for _, name := range in.event.Format.Extras() {
					if v, ok := in.event.Extra(name); ok && v != "-" {
						out[name] = v
					}
				}
			}
			return adapt(out)
		},
		has: func(in *Input) bool { return in.event.Format != nil && len(in.event.Format.Extras()) > 0 },
	}
	s.variables["flow"] = s.object("aws.FlowRecord", members)
	return s
}

// configSchema has a configuration item as item.
func configSchema() *schema {
	s := newSchema()
	s.addCommon()
	s.variables["item"] = s.object("aws.ConfigItem", map[string]member{
		"resourceType": textField(event.ConfigResourceType), "resourceId": textField(event.ConfigResourceID),
		"resourceName": textField(event.ConfigResourceName), "arn": textField(event.ConfigARN),
		"awsAccountId": textField(event.ConfigAccountID), "awsRegion": textField(event.ConfigRegion),
		"availabilityZone": textField(event.ConfigAvailabilityZone), "status": textField(event.ConfigStatus),
		"stateId": textField(event.ConfigStateID), "captureTime": textField(event.ConfigCaptureTime),
		"resourceCreationTime": textField(event.ConfigResourceCreationTime), "messageType": textField(event.ConfigMessageType),
		"configuration": dynField(event.ConfigConfiguration), "supplementaryConfiguration": dynField(event.ConfigSupplementaryConfiguration),
		"tags": dynField(event.ConfigTags), "diff": dynField(event.ConfigDiff), "relationships": listField(event.ConfigRelationships),
		"change": {typ: cel.StringType, field: none,
			get: func(in *Input) ref.Val { kind, _ := in.whatChanged(); return types.String(kind) },
			has: func(in *Input) bool { kind, _ := in.whatChanged(); return kind != "" }},
		"changed": {typ: cel.ListType(cel.StringType), field: none,
			get: func(in *Input) ref.Val { _, properties := in.whatChanged(); return adapt(properties) },
			has: func(in *Input) bool { _, properties := in.whatChanged(); return len(properties) > 0 }},
		"incomplete": {typ: cel.BoolType, field: none,
			get: func(in *Input) ref.Val { return types.Bool(in.event.Incomplete()) },
			has: func(in *Input) bool { return in.event.Incomplete() }},
	})
	s.variables["before"] = member{typ: resourceType, field: none,
		get: func(in *Input) ref.Val { return in.before() },
		has: func(in *Input) bool { r, ok := in.before().(*resourceValue); return ok && r.known }}
	return s
}

// entrySchema has what a mapping reads of a record as entry, and the whole of it as record.
func entrySchema() *schema {
	s := newSchema()
	s.addCommon()
	s.variables["entry"] = s.object("riposte.Entry", map[string]member{
		"id": textField(event.EntryID), "revision": textField(event.EntryRevision), "kind": textField(event.EntryKind),
		"account": textField(event.EntryAccount), "region": textField(event.EntryRegion), "actor": textField(event.EntryActor),
		"principal": textField(event.EntryPrincipal), "accessKey": textField(event.EntryAccessKey), "ip": textField(event.EntryIP),
		"userAgent": textField(event.EntryUserAgent), "target": textField(event.EntryTarget),
		"severity": textField(event.EntrySeverity), "outcome": textField(event.EntryOutcome),
	})
	s.variables["record"] = dynField(event.EntryRecord)
	return s
}

// findingSchema is what playbooks see.
func findingSchema() *schema {
	s := newSchema()
	part := func(get func(*event.Finding) string) member {
		return member{typ: cel.StringType, field: none,
			get: func(in *Input) ref.Val { return types.String(get(in.finding)) },
			has: func(in *Input) bool { return get(in.finding) != "" }}
	}
	list := func(typ *cel.Type, get func(*event.Finding) any) member {
		return member{typ: typ, field: none,
			get: func(in *Input) ref.Val { return adapt(get(in.finding)) },
			has: func(in *Input) bool { return true }}
	}
	s.variables["finding"] = s.object("riposte.Finding", map[string]member{
		"id": part(func(f *event.Finding) string { return f.ID }), "rule": part(func(f *event.Finding) string { return f.Rule }),
		"severity": part(func(f *event.Finding) string { return f.Severity.String() }),
		"account":  part(func(f *event.Finding) string { return f.Account }), "region": part(func(f *event.Finding) string { return f.Region }),
		"title": part(func(f *event.Finding) string { return f.Title }), "key": part(func(f *event.Finding) string { return f.Key }),
		"level": {typ: cel.IntType, field: none,
			get: func(in *Input) ref.Val { return types.Int(in.finding.Severity) },
			has: func(in *Input) bool { return in.finding.Severity > 0 }},
		"time": {typ: cel.TimestampType, field: none,
			get: func(in *Input) ref.Val { return types.Timestamp{Time: in.finding.Time} },
			has: func(in *Input) bool { return !in.finding.Time.IsZero() }},
		"tags":   list(cel.ListType(cel.StringType), func(f *event.Finding) any { return f.Tags }),
		"events": list(cel.ListType(cel.StringType), func(f *event.Finding) any { return f.Events }),
		"entities": list(cel.ListType(cel.MapType(cel.StringType, cel.StringType)), func(f *event.Finding) any {
			out := make([]map[string]string, len(f.Entities))
			for i, e := range f.Entities {
				out[i] = map[string]string{"kind": e.Kind, "id": e.ID}
			}
			return out
		}),
		"actor": s.actorObject(func(in *Input) *event.Actor { return &in.finding.Actor }),
	})
	s.variables["event"] = member{typ: cel.DynType, field: none,
		get: func(in *Input) ref.Val { return in.evidence() }, has: func(*Input) bool { return true }}
	s.variables["incident"] = extra("incident")
	s.variables["steps"] = extra("steps")
	return s
}

// extra is a variable that the caller sets with Input.Set; unset it is the empty map.
func extra(name string) member {
	return member{typ: cel.DynType, field: none,
		get: func(in *Input) ref.Val {
			if v, ok := in.extra[name]; ok {
				return adapt(v)
			}
			return emptyMap
		},
		has: func(in *Input) bool { _, ok := in.extra[name]; return ok }}
}
