// Package awsfake is an AWS endpoint for tests and for the demo: an HTTP server
// that the real SDK talks to, with a small world of accounts behind it. It speaks
// the protocols of the services it has (the query protocol of IAM, EC2 and STS,
// JSON of CloudTrail, Organizations, Kinesis and SQS, XML over REST of S3 and
// S3 Control) and behaves badly when it is told to: it throttles, loses replies after doing the work, shows writes
// late, refuses, answers with HTML, cuts bodies short, delivers twice. It checks no
// signatures and evaluates no policies; Authorize asks the test instead.
//
// Objects stream. The queues' clock runs with the real one and can be moved on, so
// that a test waits for nothing.
package awsfake

import (
	"maps"
	"slices"
	"time"
)

// World is everything behind the endpoint, by account id. Its JSON form seeds a world.
type World struct {
	Accounts map[string]*Account `json:"accounts"`
	// PublicKeys are those that CloudTrail signs digests with, by region.
	PublicKeys map[string][]PublicKey `json:"publicKeys,omitempty"`
}

// Account is one AWS account.
type Account struct {
	Users          map[string]*User          `json:"users,omitempty"`
	SecurityGroups map[string]*SecurityGroup `json:"securityGroups,omitempty"`
	Buckets        map[string]*Bucket        `json:"buckets,omitempty"`
	Trails         map[string]*Trail         `json:"trails,omitempty"`
	// Regions are those that are enabled; nil is us-east-1 and eu-west-1.
	Regions []string `json:"regions,omitempty"`
	// PublicAccess is the account's own public access block; nil is none.
	PublicAccess *PublicAccess `json:"publicAccess,omitempty"`
}

// User is an IAM user.
type User struct {
	ID       string                `json:"id"`
	Path     string                `json:"path,omitempty"`
	Keys     map[string]*AccessKey `json:"keys,omitempty"`
	Inline   map[string]string     `json:"inline,omitempty"` // policy name to document
	Attached []string              `json:"attached,omitempty"`
	Groups   []string              `json:"groups,omitempty"`
	Boundary string                `json:"boundary,omitempty"` // ARN of the permissions boundary
	Tags     map[string]string     `json:"tags,omitempty"`
}

// AccessKey is a user's access key.
type AccessKey struct {
	Status  string    `json:"status"`
	Created time.Time `json:"created"`
}

// SecurityGroup is a security group in a region.
type SecurityGroup struct {
	Name   string            `json:"name"`
	VPC    string            `json:"vpc,omitempty"`
	Region string            `json:"region"`
	Rules  map[string]*Rule  `json:"rules,omitempty"`
	Tags   map[string]string `json:"tags,omitempty"`
	// Interfaces is how many network interfaces are in the group.
	Interfaces int `json:"interfaces,omitempty"`
	// Owner is the owning account of a group in a shared VPC, "" this one.
	Owner string `json:"owner,omitempty"`
}

// Rule is one rule of a security group.
type Rule struct {
	Egress     bool              `json:"egress,omitempty"`
	Protocol   string            `json:"protocol"`
	From       int               `json:"from"`
	To         int               `json:"to"`
	IPv4       string            `json:"ipv4,omitempty"`
	IPv6       string            `json:"ipv6,omitempty"`
	Group      string            `json:"group,omitempty"`
	PrefixList string            `json:"prefixList,omitempty"`
	Text       string            `json:"text,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
}

// Bucket is an S3 bucket.
type Bucket struct {
	Region       string            `json:"region"`
	PublicAccess *PublicAccess     `json:"publicAccess,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	// PublicPolicy, PublicACL and Website are what makes a bucket's content public.
	PublicPolicy bool `json:"publicPolicy,omitempty"`
	PublicACL    bool `json:"publicACL,omitempty"`
	Website      bool `json:"website,omitempty"`
	// Versioned keeps every version of an object.
	Versioned bool `json:"versioned,omitempty"`
}

// PublicAccess is a public access block.
type PublicAccess struct {
	BlockPublicAcls       bool `json:"blockPublicAcls" xml:"BlockPublicAcls"`
	IgnorePublicAcls      bool `json:"ignorePublicAcls" xml:"IgnorePublicAcls"`
	BlockPublicPolicy     bool `json:"blockPublicPolicy" xml:"BlockPublicPolicy"`
	RestrictPublicBuckets bool `json:"restrictPublicBuckets" xml:"RestrictPublicBuckets"`
}

// Trail is a CloudTrail trail.
type Trail struct {
	HomeRegion   string `json:"homeRegion"`
	Bucket       string `json:"bucket"`
	Logging      bool   `json:"logging"`
	MultiRegion  bool   `json:"multiRegion"`
	GlobalEvents bool   `json:"globalEvents"`
	Validation   bool   `json:"validation"`
	Organization bool   `json:"organization,omitempty"`
	// Owner is the account of an organization's trail, "" this one.
	Owner string `json:"owner,omitempty"`
	// Management is which management events the trail records: "" is all, else
	// ReadOnly, WriteOnly or None.
	Management string `json:"management,omitempty"`
	// DeliveryError is why files do not arrive; Undelivered says that none has
	// arrived since logging began.
	DeliveryError string `json:"deliveryError,omitempty"`
	Undelivered   bool   `json:"undelivered,omitempty"`
}

// account returns the account, making it when it is new.
func (w *World) account(id string) *Account {
	if w.Accounts == nil {
		w.Accounts = map[string]*Account{}
	}
	a := w.Accounts[id]
	if a == nil {
		a = &Account{}
		w.Accounts[id] = a
	}
	return a
}

// sorted ranges over a map in the order of its keys, so that answers do not vary.
func sorted[V any](m map[string]V) func(func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
