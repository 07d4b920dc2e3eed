package s3sqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"riposte/internal/awsaccess"
)

// Object is what a notification names.
type Object struct {
	Bucket, Key string
	// Version is "" in a bucket that keeps none, and where the notification does not tell.
	Version string
	// Region is the bucket's, "" where the notification does not tell.
	Region string
}

// String is the object's place, for people and for dead letters.
func (o Object) String() string {
	s := "s3://" + o.Bucket + "/" + o.Key
	if o.Version != "" {
		s += "?versionId=" + url.QueryEscape(o.Version)
	}
	return s
}

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
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			VersionID string `json:"version-id"`
		} `json:"object"`
	} `json:"detail"`
	// CloudTrail's and Config's: a list of keys, or one.
	S3Bucket    *string         `json:"s3Bucket"`
	S3ObjectKey json.RawMessage `json:"s3ObjectKey"`
}

// objects reads a message's body. Those that are about no new object, such as
// S3's test event, have none; one that is not understood is an error.
func objects(body []byte) ([]Object, error) { return unwrap(body, 0) }

func unwrap(body []byte, depth int) ([]Object, error) {
	body = bytes.TrimSpace(body)
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
	case n.Source == "aws.s3":
		return n.eventBridge()
	case n.S3Bucket != nil && n.S3ObjectKey != nil:
		return n.keys()
	case n.Records != nil:
		return n.records()
	}
	return nil, errors.New("the message is no notification of a new object: want S3's own, EventBridge's, or CloudTrail's or Config's over SNS")
}

// records are of S3 event notifications. Their keys are encoded as forms are.
func (n *notification) records() ([]Object, error) {
	var out []Object
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
		o, err := object(r.S3.Bucket.Name, key, r.S3.Object.VersionID, r.AWSRegion)
		if err != nil {
			return nil, fmt.Errorf("in Records[%d]: %w", i, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// eventBridge is one object, its key as it is.
func (n *notification) eventBridge() ([]Object, error) {
	if n.DetailType != "Object Created" {
		return nil, nil
	}
	o, err := object(n.Detail.Bucket.Name, n.Detail.Object.Key, n.Detail.Object.VersionID, n.Region)
	if err != nil {
		return nil, fmt.Errorf("detail: %w", err)
	}
	return []Object{o}, nil
}

// keys are of CloudTrail, which names several, and of Config, which names one.
func (n *notification) keys() ([]Object, error) {
	var keys []string
	if err := json.Unmarshal(n.S3ObjectKey, &keys); err != nil {
		var key string
		if json.Unmarshal(n.S3ObjectKey, &key) != nil {
			return nil, fmt.Errorf("s3ObjectKey: %w", err)
		}
		keys = []string{key}
	}
	var out []Object
	for i, key := range keys {
		o, err := object(*n.S3Bucket, key, "", "")
		if err != nil {
			return nil, fmt.Errorf("s3ObjectKey[%d]: %w", i, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// object checks what goes into an address.
func object(bucket, key, version, region string) (Object, error) {
	switch {
	case !bucketForm(bucket):
		return Object{}, fmt.Errorf("%q is no name of a bucket", bucket)
	case key == "" || len(key) > 1024:
		return Object{}, fmt.Errorf("an object's key has 1 to 1024 bytes, not %d", len(key))
	case region != "" && !awsaccess.IsRegion(region):
		return Object{}, fmt.Errorf("%q is no region", region)
	}
	if version == "null" {
		version = "" // what an object has from before its bucket kept versions
	}
	return Object{Bucket: bucket, Key: key, Version: version, Region: region}, nil
}

// bucketForm takes the names of today and of before 2018.
func bucketForm(name string) bool {
	if len(name) < 3 || len(name) > 255 || strings.Contains(name, "..") {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
