package accounts

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
)

const (
	management = "111122223333"
	audit      = "222233334444"
	prod       = "444455556666"
)

const perAccount = "arn:aws:iam::{account}:role/riposte"

func directory(t *testing.T, c Config) (*awsfake.Server, *Directory) {
	t.Helper()
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{
		management: {}, audit: {Regions: []string{"eu-central-1"}}, prod: {Regions: []string{"us-east-1", "eu-west-1", "ap-southeast-2"}},
	}}, management)
	t.Cleanup(fake.Close)
	fake.SetOrganization(awsfake.Organization{Management: management, Delegated: []string{audit}, Page: 2, Members: []awsfake.Member{
		{ID: prod, Name: "prod"}, {ID: "999999999999", Name: "gone", State: "SUSPENDED"}, {ID: management, Name: "root"},
		{ID: audit, Name: "audit"}, {ID: "888888888888", Name: "closing", State: "PENDING_CLOSURE"},
	}})
	if err := c.Validate("x"); err != nil {
		t.Fatal(err)
	}
	d, err := New(t.Context(), c, awsaccess.Options{Load: []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(fake.URL()), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}), config.WithRetryMaxAttempts(1),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return fake, d
}

func places(t *testing.T, d *Directory) (out []string) {
	t.Helper()
	all, err := d.Places(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		out = append(out, p.String()+" "+p.Account.Name)
	}
	return out
}

func TestOrganization(t *testing.T) {
	_, d := directory(t, Config{Config: awsaccess.Config{Role: perAccount}, Organization: true, OrganizationRole: "arn:aws:iam::" + audit + ":role/list", Exclude: []string{management}})
	want := []string{audit + "/eu-central-1 audit", prod + "/ap-southeast-2 prod", prod + "/eu-west-1 prod", prod + "/us-east-1 prod"}
	if diff := cmp.Diff(want, places(t, d)); diff != "" {
		t.Error(diff)
	}
}

func TestList(t *testing.T) {
	fake, d := directory(t, Config{Config: awsaccess.Config{Role: perAccount}, Accounts: []string{prod, audit}, Regions: []string{"us-east-1", "eu-west-1"}})
	want := []string{audit + "/eu-west-1 ", audit + "/us-east-1 ", prod + "/eu-west-1 ", prod + "/us-east-1 "}
	if diff := cmp.Diff(want, places(t, d)); diff != "" {
		t.Error(diff)
	}
	if n := len(fake.Calls()); n != 0 {
		t.Errorf("%d calls for what is written down", n)
	}
}

// TestWhatIsKnownStays: what was found is kept while AWS does not answer, an
// account that cannot be reached costs that account, and both are found again.
func TestWhatIsKnownStays(t *testing.T) {
	fake, d := directory(t, Config{Config: awsaccess.Config{Role: perAccount}, Organization: true})
	now := time.Now()
	d.Now = func() time.Time { return now }
	fake.Fail(awsfake.Fault{Service: "ec2", Operation: "DescribeRegions", Times: 1, Kind: awsfake.Deny})
	some, err := d.Places(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ec2:DescribeRegions is not allowed") || len(some) == 0 {
		t.Errorf("%v, %v", some, err)
	}
	all := places(t, d)
	if len(all) != 6 || len(some) >= len(all) {
		t.Errorf("%d places, then %d", len(some), len(all))
	}
	calls := len(fake.Calls())
	places(t, d)
	if n := len(fake.Calls()); n != calls {
		t.Errorf("%d calls for what is fresh", n-calls)
	}
	now = now.Add(2 * Fresh)
	fake.SetOrganization(awsfake.Organization{Management: audit})
	known, err := d.Places(t.Context())
	if err == nil || !strings.Contains(err.Error(), "organization_role") || len(known) != len(all) {
		t.Errorf("%d places, %v", len(known), err)
	}
	fake.SetOrganization(awsfake.Organization{Management: management, Members: []awsfake.Member{{ID: prod}}})
	if n := len(places(t, d)); n != 3 {
		t.Errorf("%d places of one account", n)
	}
}

func TestExternalIDs(t *testing.T) {
	_, d := directory(t, Config{Config: awsaccess.Config{Role: perAccount, ExternalID: "common"}, Accounts: []string{prod, audit}, ExternalIDs: map[string]string{audit: "its own"}})
	if d.Access(prod) == d.Access(audit) || d.Access(prod) != d.Access(management) {
		t.Error("the external ids are not their accounts'")
	}
	for _, id := range []string{prod, audit} {
		if err := d.Check(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck(t *testing.T) {
	_, d := directory(t, Config{Accounts: []string{prod}})
	if err := d.Check(t.Context(), prod); err == nil || !strings.Contains(err.Error(), "the credentials are of account "+management) {
		t.Errorf("%v", err)
	}
}

func TestValidate(t *testing.T) {
	c := Config{Config: awsaccess.Config{Role: "arn:aws:iam::111122223333:role/x"}, Accounts: []string{"1", prod, prod}, Organization: true, OrganizationRole: "x",
		Exclude: []string{"x"}, ExternalIDs: map[string]string{"y": ""}, Regions: []string{"here", "eu-west-1", "eu-west-1"}}
	err := c.Validate("lookup")
	for _, want := range []string{"want one of them", "organization_role", "{account}", `accounts: "1"`, "there twice", `exclude: "x"`, `external_ids: "y"`, "0 characters", `"here"`, "eu-west-1 is there twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %s: %v", want, err)
		}
	}
}

// TestPolicy: the shipped policy allows what is called, and without any of its
// actions something breaks, which names it.
func TestPolicy(t *testing.T) {
	data, err := os.ReadFile("../../deploy/iam/accounts.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Statement []struct {
			Effect string
			Action []string
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range doc.Statement {
		all = append(all, s.Action...)
	}
	run := func(allowed []string) (*awsfake.Server, error) {
		fake, d := directory(t, Config{Config: awsaccess.Config{Role: perAccount}, Organization: true})
		fake.Authorize(func(action, _ string) bool { return slices.Contains(allowed, action) })
		_, err := d.Places(context.WithoutCancel(t.Context()))
		return fake, err
	}
	fake, err := run(all)
	if err != nil {
		t.Error(err)
	}
	for _, c := range fake.Calls() {
		if need := c.Service + ":" + c.Operation; c.Service != "sts" && !slices.Contains(all, need) {
			t.Errorf("%s is called, which the policy does not allow", need)
		}
	}
	for _, a := range all {
		if _, err := run(slices.DeleteFunc(slices.Clone(all), func(o string) bool { return o == a })); err == nil || !strings.Contains(err.Error(), a+" is not allowed") {
			t.Errorf("without %s: %v", a, err)
		}
	}
}
