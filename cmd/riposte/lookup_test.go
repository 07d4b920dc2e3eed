package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte/internal/awsfake"
)

// TestDrainedLookup: a look into the past ends by itself when all is delivered.
func TestDrainedLookup(t *testing.T) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {}}}, "111122223333")
	defer fake.Close()
	at := time.Now().Add(-30 * 24 * time.Hour).UTC().Truncate(time.Second)
	for i, when := range []time.Time{at, at.Add(time.Hour), at.Add(2 * time.Hour)} {
		fake.Record("111122223333", "us-east-1", awsfake.Recorded{ID: fmt.Sprint(i), Time: when,
			Raw: fmt.Sprintf(`{"eventVersion":"1.11","eventID":"%d","eventTime":%q,"eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":"us-east-1"}`, i, when.Format(time.RFC3339))})
	}
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "riposte.yaml")
	write(t, file, fmt.Sprintf("data_dir: %s\nroles: [ingest]\nsources: [{lookup: {accounts: [\"111122223333\"], regions: [us-east-1], since: 721h, until: %q}}]\n", data, at.Add(time.Hour).Format(time.RFC3339)))
	p := startWith(t, reaching(fake, dir), "run", "--drain", "--config", file)
	p.end()
	if got := audit(t, data).events; !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("%q are stored, want what happened until then", got)
	}
}

// TestKilledLookup kills the real process with SIGKILL again and again while it
// looks up what is new and catches up with what is old in two accounts and two
// regions, at AWS's own limit, while events go on to appear: every event is in
// the stream exactly once.
func TestKilledLookup(t *testing.T) {
	accounts, regions := []string{"111122223333", "444455556666"}, []string{"us-east-1", "eu-west-1"}
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{accounts[0]: {}, accounts[1]: {}}}, accounts[0])
	defer fake.Close()
	fake.LimitLookups(2)
	var want []string
	record := func(account, region string, at time.Time) {
		id := fmt.Sprintf("%s-%s-%05d", account[:4], region, len(want))
		want = append(want, id)
		fake.Record(account, region, awsfake.Recorded{ID: id, Name: "GetUser", Source: "iam.amazonaws.com", Time: at,
			Raw: fmt.Sprintf(`{"eventVersion":"1.11","eventID":%q,"eventTime":%q,"eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":%q,"recipientAccountId":%q}`, id, at.UTC().Format(time.RFC3339), region, account)})
	}
	everywhere := func(n int, newest, step time.Duration) {
		for _, a := range accounts {
			for _, r := range regions {
				for i := range n {
					record(a, r, time.Now().Add(-newest-time.Duration(i)*step))
				}
			}
		}
	}
	everywhere(120, 10*time.Second, 5*time.Second)
	everywhere(160, 2*time.Hour, time.Minute)

	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "riposte.yaml")
	write(t, file, fmt.Sprintf("data_dir: %s\nroles: [ingest]\nsources: [{lookup: {accounts: [%q, %q], regions: [%s], role: \"arn:aws:iam::{account}:role/x\", every: 1s, since: 6h}}]\n", data, accounts[0], accounts[1], strings.Join(regions, ", ")))
	pages := answered(fake, "LookupEvents")
	runFor := func(more int, end os.Signal) { t.Helper(); runUntil(t, fake, file, pages, more, end) }
	rnd := rand.New(rand.NewPCG(7, 7))
	kills := 0
	for ; kills < 10; kills++ {
		runFor(3+rnd.IntN(12), os.Kill)
		everywhere(3, time.Duration(rnd.IntN(600))*time.Second, time.Second) // some of it late
	}
	runFor(70, os.Interrupt)
	got := audit(t, data)
	slices.Sort(want)
	t.Logf("%d events, %d kills, %d pages", len(want), kills, pages())
	if diff := cmp.Diff(want, got.events); diff != "" {
		t.Errorf("(-recorded +stored):\n%.3000s", diff)
	}
}

// reaching is the environment of a program whose AWS is the fake.
func reaching(fake *awsfake.Server, dir string) []string {
	none := filepath.Join(dir, "none")
	return []string{"AWS_ENDPOINT_URL=" + fake.URL(), "AWS_MAX_ATTEMPTS=", "AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none}
}

// answered counts the calls of an operation that were answered well.
func answered(fake *awsfake.Server, operation string) func() int {
	return func() (n int) {
		for _, c := range fake.Calls() {
			if c.Operation == operation && c.Outcome == "ok" {
				n++
			}
		}
		return n
	}
}

// runUntil runs the real program until a count has grown by more, and ends it.
func runUntil(t *testing.T, fake *awsfake.Server, config string, count func() int, more int, end os.Signal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a test that hangs says where
	defer cancel()
	before := count()
	cmd := realProgram(reaching(fake, filepath.Dir(config)), "run", "--config", config)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := fake.Until(ctx, func() bool { return count() >= before+more }); err != nil {
		t.Errorf("%d more do not come: %v", more, err)
	}
	if err := cmd.Process.Signal(end); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); end == os.Interrupt && err != nil {
		t.Fatalf("%v\n%.3000s", err, log.String())
	}
}
