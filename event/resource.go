package event

import (
	"fmt"
	"strings"
	"time"
)

// Resource is what AWS Config has recorded of a resource as of a time.
type Resource struct {
	Account string `json:"account"`
	// Region is "global" for the resources of IAM.
	Region           string `json:"region"`
	Type             string `json:"type"` // AWS::EC2::SecurityGroup
	ID               string `json:"id"`
	Name             string `json:"name,omitempty"`
	ARN              string `json:"arn,omitempty"`
	AvailabilityZone string `json:"availabilityZone,omitempty"`
	// Status is Config's: OK, ResourceDiscovered, ResourceNotRecorded,
	// ResourceDeleted, ResourceDeletedNotRecorded.
	Status string `json:"status,omitempty"`
	// StateID and Captured say which version this is.
	StateID  string    `json:"stateId,omitempty"`
	Captured time.Time `json:"captured"`
	// Exists is false once the resource was deleted; the configuration is then the
	// last one that was recorded.
	Exists bool `json:"exists"`
	// Incomplete says that the version's own configuration was not delivered, or
	// was too large to keep: what is here is of the last version that has one.
	Incomplete bool           `json:"incomplete,omitempty"`
	Tags       map[string]any `json:"tags,omitempty"`
	// Configuration and SupplementaryConfiguration are as Config writes them for
	// the type, with secrets redacted and JSON inside strings opened.
	Configuration              map[string]any `json:"configuration,omitempty"`
	SupplementaryConfiguration map[string]any `json:"supplementaryConfiguration,omitempty"`
	Relationships              []any          `json:"relationships,omitempty"`
}

// Key is the ARN, and where there is none the type and id.
func (r *Resource) Key() string {
	if r.ARN != "" {
		return r.ARN
	}
	return r.Type + " " + r.ID
}

// Tag returns the value of the tag with the key, whatever the case of its letters.
func (r *Resource) Tag(key string) string {
	if v, ok := r.Tags[key]; ok {
		return fmt.Sprint(v)
	}
	// Of several keys that differ in case, the first in order: maps have none.
	best, value := "", ""
	for k, v := range r.Tags {
		if strings.EqualFold(k, key) && (best == "" || k < best) {
			best, value = k, fmt.Sprint(v)
		}
	}
	return value
}
