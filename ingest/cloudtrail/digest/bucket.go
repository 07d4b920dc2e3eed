package digest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// Bucket is a trail's bucket itself: nothing is lost, so every signature is
// there and every name is checked in full.
type Bucket struct {
	client         *s3.Client
	bucket, prefix string
	region         string
}

// NewBucket takes an address such as s3://bucket/AWSLogs/ and finds out in which
// region the bucket is. Wanted are s3:GetBucketLocation, s3:ListBucket,
// s3:GetObject and, for a bucket with a KMS key, kms:Decrypt.
func NewBucket(ctx context.Context, client *s3.Client, address string) (*Bucket, error) {
	name, prefix, _ := strings.Cut(strings.TrimPrefix(address, "s3://"), "/")
	if name == "" || !strings.HasPrefix(address, "s3://") {
		return nil, fmt.Errorf("%s: want s3://bucket/prefix", address)
	}
	out, err := client.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &name})
	if err != nil {
		return nil, fmt.Errorf("%s: ask for its region: %w", address, err)
	}
	region := cmp.Or(string(out.LocationConstraint), "us-east-1") // the oldest region has no name
	if region == "EU" {
		region = "eu-west-1"
	}
	return &Bucket{client: client, bucket: name, prefix: prefix, region: region}, nil
}

func (b *Bucket) there(o *s3.Options) { o.Region = b.region }

// List lists all objects below the prefix.
func (b *Bucket) List(ctx context.Context) ([]Object, error) {
	var out []Object
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &b.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, b.there)
		if err != nil {
			return nil, fmt.Errorf("list s3://%s/%s: %w", b.bucket, b.prefix, err)
		}
		for _, o := range page.Contents {
			out = append(out, b.object(o))
		}
	}
	return out, nil
}

func (b *Bucket) object(o types.Object) Object {
	key := aws.ToString(o.Key)
	return Object{Name: "s3://" + b.bucket + "/" + key, Bucket: b.bucket, Key: key, Size: aws.ToInt64(o.Size), Written: aws.ToTime(o.LastModified)}
}

// Open reads an object as it is stored.
func (b *Bucket) Open(ctx context.Context, o Object) (io.ReadCloser, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key}, b.there)
	if err != nil {
		return nil, gone(err)
	}
	return out.Body, nil
}

// Metadata reads the signature of a digest where CloudTrail put it. One that has
// none is not CloudTrail's.
func (b *Bucket) Metadata(ctx context.Context, o Object) (Metadata, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key}, b.there)
	if err != nil {
		return Metadata{}, gone(err)
	}
	m := Metadata{Signature: out.Metadata["signature"], Algorithm: out.Metadata["signature-algorithm"], Generated: out.Metadata["backfill-generation-timestamp"]}
	if m.Signature == "" && m.Algorithm == "" {
		return Metadata{Name: o.Name}, fmt.Errorf("%w: the object has none", errSidecar)
	}
	if m, err = m.checked(); err != nil {
		return Metadata{Name: o.Name}, err
	}
	return m, nil
}

// gone tells an object that is not there from one that cannot be read.
func gone(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "NoSuchKey" || api.ErrorCode() == "NotFound") {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}
