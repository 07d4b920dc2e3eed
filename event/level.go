package event

// A level is one object of a record that has hot members. The tables below are
// the declared schemas: what facts a rule may read without parsing.
type level struct {
	// byLength holds the members by the length of their key, so that most keys
	// of a record are dismissed without comparing a byte.
	byLength [40][]*member
}

// member is a hot key.
type member struct {
	name  string
	level *level // when the value is an object with hot members of its own
	field Field
	rank  uint8 // from 1, of one among several that may fill the field; 0 is the only one
}

const noField Field = 255

// find returns the member that key names, or nil. A key with escapes is rare
// and is unescaped first.
func (l *level) find(key []byte, escaped bool) *member {
	if escaped {
		key = []byte(unescape(key))
	}
	if len(key) >= len(l.byLength) {
		return nil
	}
	for _, m := range l.byLength[len(key)] {
		if string(key) == m.name {
			return m
		}
	}
	return nil
}

func newLevel(members ...*member) *level {
	l := &level{}
	for _, m := range members {
		l.byLength[len(m.name)] = append(l.byLength[len(m.name)], m)
	}
	return l
}

func hot(name string, f Field) *member { return &member{name: name, field: f} }

func nested(name string, f Field, l *level) *member { return &member{name: name, field: f, level: l} }

func levelOf(k Kind) *level {
	switch k {
	case CloudTrail:
		return cloudTrailLevel
	case ConfigItem:
		return configLevel
	}
	if m := mappings[k]; m != nil {
		return m.level
	}
	return nil
}

// cloudTrailLevel follows the record contents reference of the CloudTrail user
// guide, event version 1.11.
var cloudTrailLevel = newLevel(
	hot("eventVersion", EventVersion), hot("eventTime", EventTime), hot("eventSource", EventSource),
	hot("eventName", EventName), hot("awsRegion", AWSRegion), hot("sourceIPAddress", SourceIPAddress),
	hot("userAgent", UserAgent), hot("errorCode", ErrorCode), hot("errorMessage", ErrorMessage),
	hot("requestParameters", RequestParameters), hot("responseElements", ResponseElements),
	hot("additionalEventData", AdditionalEventData), hot("requestID", RequestID), hot("eventID", EventID),
	hot("eventType", EventType), hot("apiVersion", APIVersion), hot("managementEvent", ManagementEvent),
	hot("readOnly", ReadOnly), hot("resources", Resources), hot("recipientAccountId", RecipientAccountID),
	hot("serviceEventDetails", ServiceEventDetails), hot("sharedEventID", SharedEventID),
	hot("vpcEndpointId", VPCEndpointID), hot("vpcEndpointAccountId", VPCEndpointAccountID),
	hot("eventCategory", EventCategory), hot("addendum", Addendum),
	hot("sessionCredentialFromConsole", SessionCredentialFromConsole), hot("edgeDeviceDetails", EdgeDeviceDetails),
	hot("tlsDetails", TLSDetails), hot("eventContext", EventContext), hot("insightDetails", InsightDetails),
	nested("userIdentity", UserIdentity, newLevel(
		hot("type", UserType), hot("principalId", UserPrincipalID), hot("arn", UserARN), hot("accountId", UserAccountID),
		hot("accessKeyId", UserAccessKeyID), hot("userName", UserName), hot("invokedBy", UserInvokedBy),
		nested("sessionContext", SessionContext, newLevel(
			nested("sessionIssuer", SessionIssuer, newLevel(
				hot("type", IssuerType), hot("userName", IssuerUserName), hot("principalId", IssuerPrincipalID),
				hot("arn", IssuerARN), hot("accountId", IssuerAccountID),
			)),
			nested("attributes", SessionAttributes, newLevel(hot("mfaAuthenticated", MFAAuthenticated))),
			hot("sourceIdentity", SourceIdentity),
		)),
	)),
)

// configItemMembers are the keys of a configuration item in both spellings: the
// notification's and the API's.
func configItemMembers() []*member {
	return []*member{
		hot("configurationItemVersion", ConfigItemVersion), hot("version", ConfigItemVersion),
		hot("configurationItemCaptureTime", ConfigCaptureTime), hot("configurationItemStatus", ConfigStatus),
		hot("configurationStateId", ConfigStateID), hot("awsAccountId", ConfigAccountID), hot("accountId", ConfigAccountID),
		hot("ARN", ConfigARN), hot("arn", ConfigARN), hot("resourceType", ConfigResourceType),
		hot("resourceId", ConfigResourceID), hot("resourceName", ConfigResourceName), hot("awsRegion", ConfigRegion),
		hot("availabilityZone", ConfigAvailabilityZone), hot("resourceCreationTime", ConfigResourceCreationTime),
		hot("tags", ConfigTags), hot("relationships", ConfigRelationships), hot("configuration", ConfigConfiguration),
		hot("supplementaryConfiguration", ConfigSupplementaryConfiguration),
	}
}

// configLevel takes an item bare, or inside its change notification; a
// notification too large for SNS has a summary in the item's place, and where the
// whole lies.
var configLevel = newLevel(append(configItemMembers(),
	hot("messageType", ConfigMessageType), hot("configurationItemDiff", ConfigDiff),
	hot("notificationCreationTime", ConfigNotified), hot("notificationCreateTime", ConfigNotified), hot("NotificationCreateTime", ConfigNotified),
	nested("configurationItem", noField, newLevel(configItemMembers()...)),
	nested("configurationItemSummary", noField, newLevel(append(configItemMembers(), hot("changeType", ConfigChangeType))...)),
	nested("s3DeliverySummary", noField, newLevel(hot("s3BucketLocation", ConfigS3Location), hot("errorCode", ConfigDeliveryError))),
)...)
