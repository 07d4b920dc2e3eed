// Package accounts knows which accounts and regions are watched: those of a list,
// or of AWS Organizations, in the regions of a list or in all that an account has
// enabled, and how each is reached.
//
// What it has found it keeps for an hour, and longer while AWS does not answer:
// an organization that cannot be listed for a while loses no account. An account
// that cannot be reached costs that account; the others are there all the same.
package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"riposte/internal/awsaccess"
)

// Account is an account that is watched.
type Account struct {
	ID string
	// Name is the organization's name for it, "" for one of a list.
	Name string
}

// Place is a region of an account.
type Place struct {
	Account Account
	Region  string
}

// String is account/region.
func (p Place) String() string { return p.Account.ID + "/" + p.Region }

// Fresh is how long what was found counts as true.
const Fresh = time.Hour

// policy is where the permissions are that this package needs.
const policy = "deploy/iam/accounts.json"

// Directory finds accounts and regions. It is safe for concurrent use.
type Directory struct {
	c Config
	// org lists the organization's accounts.
	org *awsaccess.Access
	// Now is the clock by which what was found grows old; tests move it.
	Now func() time.Time

	mu       sync.Mutex
	access   map[string]*awsaccess.Access // by external id
	accounts found[[]Account]
	regions  map[string]*found[[]string] // by account
}

// found is what was found, and when.
type found[T any] struct {
	mu    sync.Mutex
	value T
	at    time.Time
}

// get returns what was found within the last hour, or finds it. When that fails
// it returns what was known before, beside the error.
func (f *found[T]) get(now time.Time, find func() (T, error)) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.at.IsZero() && now.Sub(f.at) < Fresh {
		return f.value, nil
	}
	value, err := find()
	if err != nil {
		return f.value, err
	}
	f.value, f.at = value, now
	return value, nil
}

// New makes a directory of a valid configuration. AWS is asked later.
func New(ctx context.Context, c Config, o awsaccess.Options) (*Directory, error) {
	d := &Directory{c: c, Now: time.Now, access: map[string]*awsaccess.Access{}, regions: map[string]*found[[]string]{}}
	ids := []string{c.ExternalID}
	for _, id := range c.ExternalIDs {
		ids = append(ids, id)
	}
	for _, id := range ids {
		one := c.Config
		one.ExternalID = id
		a, err := awsaccess.New(ctx, one, o)
		if err != nil {
			return nil, err
		}
		d.access[id] = a
	}
	if c.Organization {
		var err error
		if d.org, err = awsaccess.New(ctx, awsaccess.Config{Role: c.OrganizationRole, Region: c.Region}, o); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Access is how an account is reached.
func (d *Directory) Access(account string) *awsaccess.Access {
	if id, ok := d.c.ExternalIDs[account]; ok {
		return d.access[id]
	}
	return d.access[d.c.ExternalID]
}

// For returns the SDK's configuration for a place.
func (d *Directory) For(account, region string) (aws.Config, error) {
	return d.Access(account).For(account, region)
}

// Accounts returns the accounts, by id. With an error they are those known before.
func (d *Directory) Accounts(ctx context.Context) ([]Account, error) {
	return d.accounts.get(d.Now(), func() ([]Account, error) {
		if !d.c.Organization {
			return d.listed(), nil
		}
		return d.members(ctx)
	})
}

// listed are the accounts of the list.
func (d *Directory) listed() (out []Account) {
	for _, id := range d.c.Accounts {
		if !slices.Contains(d.c.Exclude, id) {
			out = append(out, Account{ID: id})
		}
	}
	slices.SortFunc(out, byID)
	return out
}

// members are the active accounts of the organization.
func (d *Directory) members(ctx context.Context) (out []Account, err error) {
	cfg, err := d.org.For("", "")
	if err != nil {
		return nil, err
	}
	pages := organizations.NewListAccountsPaginator(organizations.NewFromConfig(cfg), &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			if awsaccess.Is(err, "AWSOrganizationsNotInUseException") {
				return nil, fmt.Errorf("list the organization's accounts: this account is in no organization: name accounts instead of organization: true: %w", err)
			}
			return nil, fmt.Errorf("list the organization's accounts: %w",
				d.org.Explain(err, "organizations:ListAccounts", "* for a role in the management account or a delegated administrator's (organization_role)", policy))
		}
		for _, a := range page.Accounts {
			id := aws.ToString(a.Id)
			if !awsaccess.IsAccount(id) || slices.Contains(d.c.Exclude, id) {
				continue
			}
			// State replaced Status; an older endpoint has the one and not the other.
			if a.State == orgtypes.AccountStateActive || a.State == "" && a.Status == orgtypes.AccountStatusActive {
				out = append(out, Account{ID: id, Name: aws.ToString(a.Name)})
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("list the organization's accounts: none of them is active")
	}
	slices.SortFunc(out, byID)
	return out, nil
}

func byID(a, b Account) int { return cmp.Compare(a.ID, b.ID) }

// Regions returns the regions of an account that are watched, by name. With an
// error they are those known before.
func (d *Directory) Regions(ctx context.Context, account string) ([]string, error) {
	d.mu.Lock()
	f := d.regions[account]
	if f == nil {
		f = &found[[]string]{}
		d.regions[account] = f
	}
	d.mu.Unlock()
	return f.get(d.Now(), func() ([]string, error) {
		if len(d.c.Regions) > 0 {
			return slices.Sorted(slices.Values(d.c.Regions)), nil
		}
		return d.enabled(ctx, account)
	})
}

// enabled are the regions that an account has not switched off.
func (d *Directory) enabled(ctx context.Context, account string) (out []string, err error) {
	cfg, err := d.For(account, "")
	if err != nil {
		return nil, err
	}
	got, err := ec2.NewFromConfig(cfg).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return nil, fmt.Errorf("find the regions of %s: %w", account, d.Access(account).Explain(err, "ec2:DescribeRegions", "* in account "+account+" (or name regions)", policy))
	}
	for _, r := range got.Regions {
		if name := aws.ToString(r.RegionName); awsaccess.IsRegion(name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("find the regions of %s: EC2 names none", account)
	}
	slices.Sort(out)
	return out, nil
}

// asked is how many accounts are asked for their regions at a time.
const asked = 8

// Places returns every region of every account. The error joins what went wrong,
// account by account; the places are those that are known in spite of it.
func (d *Directory) Places(ctx context.Context) ([]Place, error) {
	accounts, err := d.Accounts(ctx)
	errs := make([]error, len(accounts)+1)
	errs[len(accounts)] = err
	regions := make([][]string, len(accounts))
	var g errgroup.Group
	g.SetLimit(asked)
	for i, a := range accounts {
		g.Go(func() error {
			regions[i], errs[i] = d.Regions(ctx, a.ID)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	var out []Place
	for i, a := range accounts {
		for _, r := range regions[i] {
			out = append(out, Place{a, r})
		}
	}
	return out, errors.Join(errs...)
}

// Check asks a listed account who we are in it, so that a role which leads to
// another account is found before its events are taken for this one's.
func (d *Directory) Check(ctx context.Context, account string) error {
	cfg, err := d.For(account, "")
	if err != nil {
		return err
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return fmt.Errorf("reach account %s: %w", account, d.Access(account).Explain(err, "sts:GetCallerIdentity", "*", policy))
	}
	if got := aws.ToString(out.Account); got != account {
		return fmt.Errorf("reach account %s: the credentials are of account %s: set role, with {account} in it, to one that lies in %s", account, got, account)
	}
	return nil
}
