package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"riposte/internal/awsfake"
)

// TestKilledStream kills the real process with SIGKILL again and again while it
// reads a data stream whose shards are split and merged: every record is stored
// exactly once.
func TestKilledStream(t *testing.T) {
	fake := awsfake.New(&awsfake.World{Accounts: map[string]*awsfake.Account{"111122223333": {}}}, "111122223333")
	defer fake.Close()
	fake.LimitReads(5, 10)
	arn := fake.CreateStream("s", 2)
	var want []string
	fill := func(shard, n int) {
		for range n {
			id := fmt.Sprintf("%d-%05d", shard, len(want))
			want = append(want, id)
			fake.Put("s", shard, []byte(`{"eventVersion":"1.11","eventID":"`+id+`","eventTime":"2026-01-02T03:04:05Z","eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":"us-east-1"}`))
		}
	}
	fill(0, 120)
	fill(1, 80)
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "riposte.yaml")
	write(t, file, fmt.Sprintf("data_dir: %s\nroles: [ingest]\nsources: [{kinesis: {stream: %q, poll: 200ms}}]\n", data, arn))
	reads := answered(fake, "GetRecords")
	rnd := rand.New(rand.NewPCG(3, 3))
	for i := range 8 {
		runUntil(t, fake, file, reads, 1+rnd.IntN(6), os.Kill)
		if i == 3 {
			one, two := fake.Split("s", 0)
			fill(one, 40)
			fill(two, 40)
			fill(fake.Merge("s", two, 1), 40)
		}
	}
	runUntil(t, fake, file, reads, 60, os.Interrupt)
	got := audit(t, data)
	slices.Sort(want)
	t.Logf("%d records, %d reads", len(want), reads())
	if diff := cmp.Diff(want, got.events); diff != "" {
		t.Errorf("(-put +stored):\n%.3000s", diff)
	}
}
