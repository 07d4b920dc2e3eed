// Package awsconfig fetches the configuration items that AWS Config could not put
// into their notification: from the object that the notification names, and where
// there is none from Config's own history.
//
// An item is only taken for the one that was asked for when type, id and version
// say so. What cannot be read now, for a throttle or a permission that is
// missing, is an error, and the notification is to be read again; what nobody has
// any more leaves its summary, which is counted and logged.
package awsconfig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	"github.com/aws/aws-sdk-go-v2/service/configservice/types"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// PolicyFile holds the permissions that fetching needs.
const PolicyFile = "deploy/iam/awsconfig.json"

// What a Meter counts.
const (
	Fetched = "config-items-fetched" // whole items, from S3 or from Config
	Lost    = "config-items-lost"    // items of which nobody has more than the summary
)

// maxItem bounds an item, uncompressed. Config's own items have at most some MB.
const maxItem = 16 << 20

// Options of a fetcher.
type Options struct {
	Log   *slog.Logger // nil is silent
	Meter s3object.Meter
}

// Fetcher is safe for concurrent use.
type Fetcher struct {
	Options
	access  *awsaccess.Access
	store   *s3object.Store
	readers sync.Pool // of *s3object.Reader
}

// New makes a fetcher that reads objects through store, and Config as access.
func New(access *awsaccess.Access, store *s3object.Store, o Options) *Fetcher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fetcher{Options: o, access: access, store: store}
	f.readers.New = func() any { return store.NewReader() }
	return f
}

var _ ingest.Expand = (*Fetcher)(nil).Expand

// Expand returns the whole of an oversized change; see ingest.Expand.
func (f *Fetcher) Expand(ctx context.Context, o ingest.Oversized) ([]byte, error) {
	item, inS3 := f.fromS3(ctx, o)
	if item == nil && passing(inS3) {
		return nil, inS3
	}
	if item == nil {
		var err error
		if item, err = f.fromHistory(ctx, o); err != nil {
			return nil, err
		}
	}
	if item == nil && awsaccess.Denied(inS3) {
		return nil, inS3 // it may be there
	}
	if item == nil {
		f.count(ctx, Lost)
		f.Log.WarnContext(ctx, "of an oversized Config item only the summary is left", "account", o.Account, "resource", o.Type+" "+o.ID, "object", o.Location, "code", o.Error, "err", inS3)
		return nil, nil
	}
	f.count(ctx, Fetched)
	return item, nil
}

func (f *Fetcher) count(ctx context.Context, what string) {
	if f.Meter != nil {
		f.Meter.Count(ctx, what, 1)
	}
}

// passing reports whether an error may be another the next time.
func passing(err error) bool {
	var bad *s3object.Poison
	var no *noObject
	return err != nil && !errors.As(err, &bad) && !errors.As(err, &no) && !awsaccess.Denied(err)
}

// noObject says why there is no object to ask S3 for.
type noObject struct{ reason string }

func (e *noObject) Error() string { return e.reason }

// ofOversized is in the key of every object of Config's that holds such an item;
// no other is read for whoever may write into the queue.
const ofOversized = "/OversizedChangeNotification/"

// fromS3 reads the object that the notification names.
func (f *Fetcher) fromS3(ctx context.Context, o ingest.Oversized) ([]byte, error) {
	if o.Location == "" || o.Error != "" {
		return nil, &noObject{"Config put it into no object"}
	}
	bucket, key, _ := strings.Cut(o.Location, "/")
	at, err := s3object.Of(bucket, key, "", "")
	if err != nil {
		return nil, &noObject{fmt.Sprintf("s3BucketLocation: %v", err)}
	}
	if !strings.Contains("/"+key, ofOversized) {
		return nil, &noObject{fmt.Sprintf("s3BucketLocation %q is no object of Config's for oversized items", o.Location)}
	}
	r := f.readers.Get().(*s3object.Reader)
	defer f.readers.Put(r)
	var found []byte
	_, err = r.Read(ctx, at, ingest.Sink{Emit: func(_ context.Context, b ingest.Batch) error {
		for i := range b.Events {
			if e := &b.Events[i]; found == nil && is(e, o) {
				found = append([]byte{}, e.Raw...)
			}
		}
		return nil
	}})
	if found == nil && err == nil {
		return nil, &noObject{fmt.Sprintf("%s holds another item", at)}
	}
	return found, err
}

// is reports whether an item is the one that was asked for.
func is(e *event.Event, o ingest.Oversized) bool {
	if e.Kind != event.ConfigItem || e.Incomplete() || len(e.Raw) > maxItem || e.Text(event.ConfigResourceType) != o.Type || e.Text(event.ConfigResourceID) != o.ID {
		return false
	}
	return sameVersion(e.Text(event.ConfigStateID), e.Time(), o)
}

// sameVersion compares capture times, and state ids where they are told.
// Old summaries have 0 for one.
func sameVersion(state string, captured time.Time, o ingest.Oversized) bool {
	if state != "" && state != "0" && o.StateID != "" && o.StateID != "0" {
		return state == o.StateID
	}
	return captured.Sub(o.Captured).Abs() < time.Second
}

// margin is how far around its capture time Config is asked for an item.
const margin = time.Second

// fromHistory asks Config; nil without an error when it has none.
func (f *Fetcher) fromHistory(ctx context.Context, o ingest.Oversized) ([]byte, error) {
	region := o.Region
	if region == "global" {
		region = "" // IAM's are recorded in the region that the role calls by default
	}
	cfg, err := f.access.For(o.Account, region)
	if err != nil || o.Captured.IsZero() {
		return nil, nil // what the summary says is no account or region
	}
	out, err := configservice.NewFromConfig(cfg).GetResourceConfigHistory(ctx, &configservice.GetResourceConfigHistoryInput{
		ResourceType: types.ResourceType(o.Type), ResourceId: &o.ID,
		EarlierTime: aws.Time(o.Captured.Add(-margin)), LaterTime: aws.Time(o.Captured.Add(margin)),
	})
	switch {
	case err == nil:
	case awsaccess.Is(err, "ResourceNotDiscoveredException", "NoAvailableConfigurationRecorderException", "InvalidTimeRangeException", "ValidationException"):
		return nil, nil
	case awsaccess.Denied(err):
		// A fallback that nobody allowed is none; the summary goes on.
		f.Log.WarnContext(ctx, "Config's history is not asked", "err", f.access.Explain(err, "config:GetResourceConfigHistory", "*", PolicyFile))
		return nil, nil
	default:
		return nil, fmt.Errorf("ask Config for %s %s as of %s: %w", o.Type, o.ID, o.Captured.Format(time.RFC3339), err)
	}
	for i := range out.ConfigurationItems {
		item := &out.ConfigurationItems[i]
		if a := aws.ToString(item.AccountId); a != "" && a != o.Account {
			continue // the role is another account's
		}
		if aws.ToString(item.ResourceId) == o.ID && string(item.ResourceType) == o.Type && sameVersion(aws.ToString(item.ConfigurationStateId), aws.ToTime(item.ConfigurationItemCaptureTime), o) {
			return write(item)
		}
	}
	return nil, nil
}

// write spells an item of the API's as the API itself does on the wire.
func write(i *types.ConfigurationItem) ([]byte, error) {
	type relationship struct {
		Name string `json:"name,omitempty"`
		ID   string `json:"resourceId,omitempty"`
		As   string `json:"resourceName,omitempty"`
		Type string `json:"resourceType,omitempty"`
	}
	out := struct {
		Version       string            `json:"version,omitempty"`
		Captured      string            `json:"configurationItemCaptureTime,omitempty"`
		Status        string            `json:"configurationItemStatus,omitempty"`
		State         string            `json:"configurationStateId,omitempty"`
		Account       string            `json:"accountId,omitempty"`
		ARN           string            `json:"arn,omitempty"`
		Type          string            `json:"resourceType"`
		ID            string            `json:"resourceId"`
		Name          string            `json:"resourceName,omitempty"`
		Region        string            `json:"awsRegion,omitempty"`
		Zone          string            `json:"availabilityZone,omitempty"`
		Created       string            `json:"resourceCreationTime,omitempty"`
		Tags          map[string]string `json:"tags,omitempty"`
		Relationships []relationship    `json:"relationships,omitempty"`
		Configuration *string           `json:"configuration"`
		Supplementary map[string]string `json:"supplementaryConfiguration,omitempty"`
	}{
		Version: aws.ToString(i.Version), Status: string(i.ConfigurationItemStatus), State: aws.ToString(i.ConfigurationStateId),
		Account: aws.ToString(i.AccountId), ARN: aws.ToString(i.Arn), Type: string(i.ResourceType), ID: aws.ToString(i.ResourceId),
		Name: aws.ToString(i.ResourceName), Region: aws.ToString(i.AwsRegion), Zone: aws.ToString(i.AvailabilityZone),
		Tags: i.Tags, Configuration: i.Configuration, Supplementary: i.SupplementaryConfiguration,
	}
	if i.ConfigurationItemCaptureTime != nil {
		out.Captured = i.ConfigurationItemCaptureTime.UTC().Format(time.RFC3339Nano)
	}
	if i.ResourceCreationTime != nil {
		out.Created = i.ResourceCreationTime.UTC().Format(time.RFC3339Nano)
	}
	for _, r := range i.Relationships {
		out.Relationships = append(out.Relationships, relationship{
			Name: aws.ToString(r.RelationshipName), ID: aws.ToString(r.ResourceId), As: aws.ToString(r.ResourceName), Type: string(r.ResourceType),
		})
	}
	return json.Marshal(out)
}
