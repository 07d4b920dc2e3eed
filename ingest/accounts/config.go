package accounts

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"riposte/internal/awsaccess"
)

// Config says which accounts and regions there are, and how they are reached. It
// is embedded in the configuration of what goes through them.
type Config struct {
	// Config is whose role is assumed in each account, {account} standing for its
	// id, and from which region AWS is asked for accounts and regions.
	awsaccess.Config `yaml:",inline"`
	// Accounts are ids of accounts.
	Accounts []string `yaml:"accounts"`
	// Organization takes every active account of the organization, found again
	// every hour, instead of a list.
	Organization bool `yaml:"organization"`
	// OrganizationRole is assumed to list the organization's accounts: a role in
	// the management account or in a delegated administrator's. Empty asks with
	// the ambient credentials.
	OrganizationRole string `yaml:"organization_role"`
	// Exclude are ids of accounts that are left out.
	Exclude []string `yaml:"exclude"`
	// ExternalIDs are passed instead of external_id in single accounts.
	ExternalIDs map[string]string `yaml:"external_ids"`
	// Regions are those that are visited; empty is every region that is enabled
	// in an account.
	Regions []string `yaml:"regions"`
}

var orgRoleForm = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)

// Validate says all that is wrong at once; key is where the configuration stands.
func (c Config) Validate(key string) error {
	errs := []error{c.Config.Validate(key)}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(key+"."+format, args...)) }
	switch {
	case len(c.Accounts) == 0 && !c.Organization:
		bad(`accounts is empty: want a list such as ["111122223333"], or organization: true`)
	case len(c.Accounts) > 0 && c.Organization:
		bad("accounts and organization: want one of them; exclude leaves out accounts of an organization")
	}
	if c.OrganizationRole != "" && !c.Organization {
		bad("organization_role is given without organization: true")
	}
	if c.OrganizationRole != "" && !orgRoleForm.MatchString(c.OrganizationRole) {
		bad("organization_role %q: want arn:aws:iam::111122223333:role/NAME, in the management account or a delegated administrator's", c.OrganizationRole)
	}
	if (len(c.Accounts) > 1 || c.Organization) && !c.PerAccount() {
		bad("role %q leads to one account: want {account} in it, as in arn:aws:iam::{account}:role/riposte-ingest", c.Role)
	}
	for name, list := range map[string][]string{"accounts": c.Accounts, "exclude": c.Exclude, "external_ids": slices.Sorted(maps.Keys(c.ExternalIDs))} {
		for i, id := range list {
			if !awsaccess.IsAccount(id) {
				bad("%s: %q is no account id: want 12 digits, in quotes", name, id)
			}
			if slices.Contains(list[:i], id) {
				bad("%s: %s is there twice", name, id)
			}
		}
	}
	if len(c.ExternalIDs) > 0 && c.Role == "" {
		bad("external_ids are given without a role")
	}
	for _, id := range slices.Sorted(maps.Keys(c.ExternalIDs)) {
		if n := len(c.ExternalIDs[id]); n < 2 || n > 1224 {
			bad("external_ids: that of %s has %d characters: want 2 to 1224", id, n)
		}
	}
	for i, r := range c.Regions {
		if !awsaccess.IsRegion(r) {
			bad("regions: %q: want a region such as eu-west-1", r)
		}
		if slices.Contains(c.Regions[:i], r) {
			bad("regions: %s is there twice", r)
		}
	}
	return errors.Join(errs...)
}
