package digest

import (
	"context"
	"fmt"
	"riposte/internal/awsaccess"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Place is an account and region that a trail delivers to a bucket.
type Place struct {
	// Base is the prefix of the account's folders: AWSLogs/o-abc123/111122223333/.
	Base                 string
	Org, Account, Region string
}

// Bounds of what a bucket may make us list.
const (
	maxPlaces  = 20_000
	maxDigests = 20_000
)

// Places finds the accounts and regions below the prefix, by asking for folders:
// one request for each account and kind of file.
func (b *Bucket) Places(ctx context.Context) ([]Place, error) {
	seen := map[Place]bool{}
	var out []Place
	err := b.descend(ctx, folderOf(b.prefix), 0, func(p Place) error {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
		if len(out) > maxPlaces {
			return fmt.Errorf("s3://%s/%s: more than %d accounts and regions: give each organization or account its own entry", b.bucket, b.prefix, maxPlaces)
		}
		return nil
	})
	return out, err
}

// folderOf makes a prefix end like a folder.
func folderOf(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}

// descend looks for accounts in a folder, and at most two unknown folders deep.
func (b *Bucket) descend(ctx context.Context, prefix string, unknown int, found func(Place) error) error {
	parts := strings.Split(strings.TrimSuffix(prefix, "/"), "/")
	if last := parts[len(parts)-1]; isAccount(last) {
		return b.regions(ctx, prefix, parts, found)
	}
	folders, err := b.folders(ctx, prefix)
	if err != nil {
		return err
	}
	for _, f := range folders {
		name := strings.TrimSuffix(strings.TrimPrefix(f, prefix), "/")
		depth := unknown
		if name != "AWSLogs" && !strings.HasPrefix(name, "o-") && !isAccount(name) {
			if depth++; depth > 2 {
				continue
			}
		}
		if err := b.descend(ctx, f, depth, found); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) regions(ctx context.Context, base string, parts []string, found func(Place) error) error {
	p := Place{Base: base, Account: parts[len(parts)-1]}
	if n := len(parts) - 2; n >= 0 && strings.HasPrefix(parts[n], "o-") {
		p.Org = parts[n]
	}
	for _, kind := range []string{kindDigest, kindLog} {
		folders, err := b.folders(ctx, base+kind+"/")
		if err != nil {
			return err
		}
		for _, f := range folders {
			p.Region = strings.TrimSuffix(strings.TrimPrefix(f, base+kind+"/"), "/")
			if !awsaccess.IsRegion(p.Region) {
				continue // anybody may have made that folder, and its name would go into a host's
			}
			if err := found(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Bucket) folders(ctx context.Context, prefix string) (out []string, err error) {
	err = b.pages(ctx, &s3.ListObjectsV2Input{Prefix: &prefix, Delimiter: aws.String("/")}, func(page *s3.ListObjectsV2Output) bool {
		for _, p := range page.CommonPrefixes {
			out = append(out, aws.ToString(p.Prefix))
		}
		return len(out) <= maxPlaces
	})
	return out, err
}

func (b *Bucket) pages(ctx context.Context, in *s3.ListObjectsV2Input, visit func(*s3.ListObjectsV2Output) bool) error {
	in.Bucket = &b.bucket
	pages := s3.NewListObjectsV2Paginator(b.client, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, b.there)
		if err != nil {
			return fmt.Errorf("list s3://%s/%s: %w", b.bucket, aws.ToString(in.Prefix), err)
		}
		if !visit(page) {
			return nil
		}
	}
	return nil
}

// Name is the bucket's.
func (b *Bucket) Name() string { return b.bucket }

// Region returns the files of one account and region.
func (b *Bucket) Region(p Place) Region { return &bucketRegion{Bucket: b, place: p} }

type bucketRegion struct {
	*Bucket
	place Place
}

const dayFolder = "2006/01/02/"

// Digests lists the folders of a day and after it: one request as a rule.
func (r *bucketRegion) Digests(ctx context.Context, day time.Time) (out []Object, err error) {
	prefix := r.place.Base + kindDigest + "/" + r.place.Region + "/"
	in := &s3.ListObjectsV2Input{Prefix: &prefix}
	if !day.IsZero() {
		in.StartAfter = aws.String(prefix + day.UTC().Format(dayFolder))
	}
	err = r.pages(ctx, in, func(page *s3.ListObjectsV2Output) bool {
		for _, o := range page.Contents {
			out = append(out, r.object(o))
		}
		return len(out) < maxDigests || day.IsZero()
	})
	return out, err
}

// Logs lists the folder of a day, and for a whole day also what lies loose above it.
func (r *bucketRegion) Logs(ctx context.Context, day, from time.Time, visit func(Object) bool) error {
	region := r.place.Base + kindLog + "/" + r.place.Region + "/"
	prefix := region + day.UTC().Format(dayFolder)
	in := &s3.ListObjectsV2Input{Prefix: &prefix}
	if !from.IsZero() {
		in.StartAfter = aws.String(prefix + r.place.Account + "_" + kindLog + "_" + r.place.Region + "_" + from.UTC().Format("20060102T1504Z"))
	}
	err := r.pages(ctx, in, func(page *s3.ListObjectsV2Output) bool {
		for _, o := range page.Contents {
			if !visit(r.object(o)) {
				return false
			}
		}
		return true
	})
	if err != nil || !from.IsZero() {
		return err
	}
	for _, above := range []string{"", "2006/", "2006/01/"} {
		prefix := region + day.UTC().Format(above)
		err := r.pages(ctx, &s3.ListObjectsV2Input{Prefix: &prefix, Delimiter: aws.String("/")}, func(page *s3.ListObjectsV2Output) bool {
			for _, o := range page.Contents {
				if at := aws.ToTime(o.LastModified); !at.Before(day) && at.Before(day.Add(24*time.Hour)) && !visit(r.object(o)) {
					return false
				}
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}
