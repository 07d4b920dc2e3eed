package s3sqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"riposte/ingest"
	"riposte/ingest/s3object"
)

// maxEnvelopes is how deep notifications lie in one another: EventBridge through
// SNS is two.
const maxEnvelopes = 3

// notification has the keys of every spelling; which are there says which it is.
type notification struct {
	// An SNS envelope.
	Type    string  `json:"Type"`
	Message *string `json:"Message"`
	// S3's own.
	Event   string `json:"Event"` // s3:TestEvent
	Records []struct {
		EventSource string `json:"eventSource"`
		EventName   string `json:"eventName"`
		AWSRegion   string `json:"awsRegion"`
		S3          struct {
			Bucket struct {
				Name string `json:"name"`
			} `json:"bucket"`
			Object struct {
				Key       string `json:"key"`
				VersionID string `json:"versionId"`
			} `json:"object"`
		} `json:"s3"`
	} `json:"Records"`
	// EventBridge's.
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Region     string `json:"region"`
	Detail     struct {
		place
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			VersionID string `json:"version-id"`
		} `json:"object"`
	} `json:"detail"`
	place
}

// place is how CloudTrail and Config name objects: a list of keys, or one.
type place struct {
	S3Bucket    *string         `json:"s3Bucket"`
	S3ObjectKey json.RawMessage `json:"s3ObjectKey"`
}

func (p place) named() bool { return p.S3Bucket != nil && p.S3ObjectKey != nil }

// errNoNotification says that a message tells of no object. It may be telemetry itself.
var errNoNotification = errors.New("the message is neither a notification of a new object (S3's own, EventBridge's, or CloudTrail's or Config's over SNS) nor telemetry that is known")

// objects reads a message's body. Those that are about no new object, such as
// S3's test event, have none; one that is not understood is an error.
func objects(body []byte) ([]s3object.Object, error) { return unwrap(body, 0) }

func unwrap(body []byte, depth int) ([]s3object.Object, error) {
	body = ingest.AfterWords(bytes.TrimSpace(body))
	if bytes.HasPrefix(body, []byte("CloudTrail validation message")) {
		return nil, nil // what CloudTrail sends when a trail gets its topic
	}
	var n notification
	if err := json.Unmarshal(body, &n); err != nil {
		return nil, fmt.Errorf("the message is no notification of a new object: %w", err)
	}
	switch {
	case n.Type == "SubscriptionConfirmation":
		return nil, errors.New("an SNS topic asks to confirm its subscription: confirm it in SNS, riposte follows no links")
	case n.Type != "" && n.Message != nil:
		if depth == maxEnvelopes {
			return nil, fmt.Errorf("the message has more than %d envelopes around it", maxEnvelopes)
		}
		return unwrap([]byte(*n.Message), depth+1)
	case n.Event == "s3:TestEvent":
		return nil, nil
	case n.Source == "aws.s3" && strings.HasPrefix(n.DetailType, "Object "):
		return n.eventBridge()
	case n.named():
		return n.place.keys()
	case n.Source == "aws.config" && n.Detail.named():
		return n.Detail.keys()
	case n.Records != nil && (len(n.Records) == 0 || n.Records[0].EventSource == "aws:s3"):
		return n.records()
	}
	return nil, errNoNotification
}

// records are of S3 event notifications. Their keys are encoded as forms are.
func (n *notification) records() ([]s3object.Object, error) {
	var out []s3object.Object
	for i, r := range n.Records {
		if r.EventSource != "aws:s3" {
			return nil, fmt.Errorf("in Records[%d] is of %q, not of aws:s3", i, r.EventSource)
		}
		if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
			continue
		}
		key, err := url.QueryUnescape(r.S3.Object.Key)
		if err != nil {
			return nil, fmt.Errorf("in Records[%d].s3.object.key: %w", i, err)
		}
		o, err := s3object.Of(r.S3.Bucket.Name, key, r.S3.Object.VersionID, r.AWSRegion)
		if err != nil {
			return nil, fmt.Errorf("in Records[%d]: %w", i, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// eventBridge is one object, its key as it is.
func (n *notification) eventBridge() ([]s3object.Object, error) {
	if n.DetailType != "Object Created" {
		return nil, nil
	}
	o, err := s3object.Of(n.Detail.Bucket.Name, n.Detail.Object.Key, n.Detail.Object.VersionID, n.Region)
	if err != nil {
		return nil, fmt.Errorf("detail: %w", err)
	}
	return []s3object.Object{o}, nil
}

// keys are the objects of CloudTrail, which names several, and of Config, which names one.
func (p place) keys() ([]s3object.Object, error) {
	var keys []string
	if err := json.Unmarshal(p.S3ObjectKey, &keys); err != nil {
		var key string
		if json.Unmarshal(p.S3ObjectKey, &key) != nil {
			return nil, fmt.Errorf("s3ObjectKey: %w", err)
		}
		keys = []string{key}
	}
	var out []s3object.Object
	for i, key := range keys {
		o, err := s3object.Of(*p.S3Bucket, key, "", "")
		if err != nil {
			return nil, fmt.Errorf("s3ObjectKey[%d]: %w", i, err)
		}
		out = append(out, o)
	}
	return out, nil
}
