// Package s3object reads telemetry from single objects in S3, for whatever tells
// of them: a queue, or a listing.
//
// An object is streamed: memory does not grow with it, and a limit on its bytes
// uncompressed ends a zip bomb. A body that breaks off, a throttle or an error of
// S3's costs another try from the start; what was delivered before is not
// delivered again. What can never be read is a Poison, with its reason. Batches
// are named after bucket, key and version (or ETag) as S3 gives them: the same
// object, by whatever road it was found, makes the same batches with the same ids.
package s3object

import (
	"fmt"
	"net/url"
	"strings"

	"riposte/internal/awsaccess"
)

// Object is where an object is.
type Object struct {
	Bucket, Key string
	// Version is "" in a bucket that keeps none, and where it is not known: then it
	// is the latest.
	Version string
	// Region is the bucket's, "" where it is not known.
	Region string
}

// Of checks what goes into an address: names come from messages that others wrote.
func Of(bucket, key, version, region string) (Object, error) {
	switch {
	case !IsBucket(bucket):
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

// String is the object's place, for people and for dead letters.
func (o Object) String() string {
	s := "s3://" + o.Bucket + "/" + o.Key
	if o.Version != "" {
		s += "?versionId=" + url.QueryEscape(o.Version)
	}
	return s
}

// IsBucket takes the names of today and of before 2018.
func IsBucket(name string) bool {
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

// DefaultSkip are the parts of keys that no source reads unless it is told to:
// digests are no telemetry, and Insights have a schema of their own.
func DefaultSkip() []string { return []string{"/CloudTrail-Digest/"} }
