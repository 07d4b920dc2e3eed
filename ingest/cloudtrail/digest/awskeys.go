package digest

import (
	"context"
	"fmt"
	"riposte/internal/awsaccess"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
)

// AWSKeys asks CloudTrail for its keys: cloudtrail:ListPublicKeys in the region
// of the digests.
type AWSKeys struct{ Client *cloudtrail.Client }

// Keys lists the keys of a region. A digest may be signed some time after its
// end, with the key of that time: two hours more are asked for.
func (a AWSKeys) Keys(ctx context.Context, region string, from, to time.Time) ([]Key, error) {
	if !awsaccess.IsRegion(region) {
		return nil, fmt.Errorf("%.40q is no region: whose folder is this?", region)
	}
	var keys []Key
	in := &cloudtrail.ListPublicKeysInput{StartTime: aws.Time(from), EndTime: aws.Time(to.Add(2 * time.Hour))}
	pages := cloudtrail.NewListPublicKeysPaginator(a.Client, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, func(o *cloudtrail.Options) { o.Region = region })
		if err != nil {
			return nil, fmt.Errorf("list CloudTrail's public keys in %s: %w", region, err)
		}
		for _, k := range page.PublicKeyList {
			public, err := parsePublic(k.Value)
			if err != nil {
				return nil, fmt.Errorf("public key %s of %s: %w", aws.ToString(k.Fingerprint), region, err)
			}
			keys = append(keys, Key{Fingerprint: aws.ToString(k.Fingerprint), Public: public})
		}
	}
	return keys, nil
}
