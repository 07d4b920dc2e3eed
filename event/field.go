package event

// Field is a hot field: one whose place in the record is noted while decoding.
// Which fields an event has depends on its Kind.
type Field uint8

// Fields of a CloudTrail record, named as in the record. Those under "user
// identity" are members of userIdentity, sessionContext and sessionIssuer.
const (
	EventVersion Field = iota
	EventTime
	EventSource
	EventName
	AWSRegion
	SourceIPAddress
	UserAgent
	ErrorCode
	ErrorMessage
	RequestParameters // free-form
	ResponseElements  // free-form
	AdditionalEventData
	RequestID
	EventID
	EventType
	APIVersion
	ManagementEvent
	ReadOnly
	Resources
	RecipientAccountID
	ServiceEventDetails
	SharedEventID
	VPCEndpointID
	VPCEndpointAccountID
	EventCategory
	Addendum
	SessionCredentialFromConsole
	EdgeDeviceDetails
	TLSDetails
	EventContext
	InsightDetails

	UserIdentity
	UserType
	UserPrincipalID
	UserARN
	UserAccountID
	UserAccessKeyID
	UserName
	UserInvokedBy
	SessionContext
	SessionIssuer
	IssuerType
	IssuerUserName
	IssuerPrincipalID
	IssuerARN
	IssuerAccountID
	SessionAttributes
	MFAAuthenticated
	SourceIdentity

	numCloudTrailFields
)

// Fields of an AWS Config item. Both spellings (notification and API) of a key
// fill the same field.
const (
	ConfigMessageType Field = iota
	ConfigDiff              // configurationItemDiff, beside the item in a notification
	ConfigItemVersion
	ConfigCaptureTime
	ConfigStatus
	ConfigStateID
	ConfigAccountID
	ConfigARN
	ConfigResourceType
	ConfigResourceID
	ConfigResourceName
	ConfigRegion
	ConfigAvailabilityZone
	ConfigResourceCreationTime
	ConfigTags
	ConfigRelationships
	ConfigConfiguration              // free-form; a JSON string of an object is opened
	ConfigSupplementaryConfiguration // free-form
	ConfigNotified                   // when the notification was made
	ConfigChangeType                 // of an oversized notification's summary: CREATE, UPDATE, DELETE
	ConfigS3Location                 // where an oversized item lies: bucket/key
	ConfigDeliveryError              // why it does not

	numConfigFields
)

// Fields of a flow log record, versions 2 to 10, in the order of their versions. The
// names are those of the VPC and Transit Gateway user guides; a record fills those
// that its format has.
const (
	FlowVersion Field = iota
	FlowAccountID
	FlowInterfaceID
	FlowSrcAddr
	FlowDstAddr
	FlowSrcPort
	FlowDstPort
	FlowProtocol
	FlowPackets
	FlowBytes
	FlowStart
	FlowEnd
	FlowAction
	FlowLogStatus
	FlowVPCID
	FlowSubnetID
	FlowInstanceID
	FlowTCPFlags
	FlowType
	FlowPktSrcAddr
	FlowPktDstAddr
	FlowRegion
	FlowAZID
	FlowSublocationType
	FlowSublocationID
	FlowPktSrcAWSService
	FlowPktDstAWSService
	FlowDirection
	FlowTrafficPath
	FlowResourceType // version 6, as all of Transit Gateway's
	FlowTGWID
	FlowTGWAttachmentID
	FlowTGWSrcVPCAccountID
	FlowTGWDstVPCAccountID
	FlowTGWSrcVPCID
	FlowTGWDstVPCID
	FlowTGWSrcSubnetID
	FlowTGWDstSubnetID
	FlowTGWSrcENI
	FlowTGWDstENI
	FlowTGWSrcAZID
	FlowTGWDstAZID
	FlowTGWPairAttachmentID
	FlowPacketsLostNoRoute
	FlowPacketsLostBlackhole
	FlowPacketsLostMTUExceeded
	FlowPacketsLostTTLExpired
	FlowECSClusterARN // version 7, of tasks that have an interface of their own
	FlowECSClusterName
	FlowECSContainerInstanceARN
	FlowECSContainerInstanceID
	FlowECSContainerID
	FlowECSSecondContainerID
	FlowECSServiceName
	FlowECSTaskDefinitionARN
	FlowECSTaskARN
	FlowECSTaskID
	FlowRejectReason
	FlowResourceID
	FlowEncryptionStatus

	numFlowFields
)

// Fields of the kinds that a Mapping reads: Insight, GuardDuty, SecurityHub,
// Compliance and Log.
const (
	EntryTime Field = iota
	EntryID
	EntryRevision
	EntryKind
	EntryAccount
	EntryRegion
	EntryActor
	EntryPrincipal
	EntryAccessKey
	EntryIP
	EntryUserAgent
	EntryTarget
	EntrySeverity
	EntryOutcome

	numEntryFields
)

// EntryRecord is the whole record, free-form.
const EntryRecord = numEntryFields

// maxFields is the size of an index: the most fields any kind of JSON record has.
// A flow log record has none, its format says where its columns are.
const maxFields = int(max(numCloudTrailFields, numConfigFields, numEntryFields+1))
