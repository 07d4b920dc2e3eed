// Package bustest is what every bus must do, wherever its streams live: what is
// acknowledged is there, what is handled is decided by the handler's return
// value, and what cannot be handled is set aside where a person finds it.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte/event"
	"riposte/internal/bus"
)

// Bus is what the roles of riposte need of a bus.
type Bus interface {
	PublishEvents(ctx context.Context, id string, events []event.Event) error
	PublishFinding(ctx context.Context, f *event.Finding) (isNew bool, err error)
	PublishFindings(ctx context.Context, findings []*event.Finding) (isNew []bool, err error)
	PublishIncident(ctx context.Context, id string, body []byte) error
	ConsumeEvents(ctx context.Context, durable string, workers int, h func(context.Context, *bus.Batch) error) error
	ConsumeFindings(ctx context.Context, durable string, workers int, h func(context.Context, *event.Finding) error) error
	WatchIncidents(ctx context.Context, h func(id string, body []byte)) error
	DeadLetter(ctx context.Context, d bus.DeadLetter) error
	DeadLetters(ctx context.Context, from uint64, limit int) ([]bus.DeadLetter, error)
	Replay(ctx context.Context, seq uint64) error
	Health(ctx context.Context) (bus.Health, error)
	Idle(ctx context.Context, durables ...string) (bool, error)
	Close() error
}

// Backend is one place for streams, empty at first. Its streams may hold 1 MiB each.
type Backend struct {
	Bus Bus
	// Restart stops the server and starts it again with the same streams. It
	// returns the bus to use then: the same, or, where bus and server are one, a
	// new one. What the old one was asked meanwhile may have failed.
	Restart func(t *testing.T) Bus
}

type test struct {
	name string
	run  func(t *testing.T, b *Backend)
}

// brief are the tests that use all that a bus asks of its server.
var brief = []test{
	{"nil acknowledges", nilAcknowledges},
	{"dead letters are replayed", deadLettersAreReplayed},
	{"incidents are announced", incidentsAreAnnounced},
	{"a restart goes on", restartGoesOn},
}

// Brief tests the connection of a bus that is otherwise tested by Test.
func Brief(t *testing.T, open func(t *testing.T) *Backend) {
	for _, c := range brief {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// Test tests a bus; open returns an empty one.
func Test(t *testing.T, open func(t *testing.T) *Backend) {
	Brief(t, open)
	for _, c := range []test{
		{"an error comes again while others go on", errorComesAgain},
		{"permanent is set aside", permanentIsSetAside},
		{"a panic is tried three times", panicIsTried},
		{"broken records are set aside one by one", brokenRecords},
		{"dead letters are listed", deadLettersAreListed},
		{"poison after a replay is set aside again", poisonAgain},
		{"the same batch is one", sameBatch},
		{"the same finding is one", sameFinding},
		{"full streams wait and lose nothing", fullStreams},
		{"ctx ends everything", ctxEnds},
		{"consumers share the work", sharedWork},
		{"who stops gives back", givesBack},
		{"trace context passes", tracePasses},
		{"one worker keeps the order", oneWorkerKeepsOrder},
		{"large batches are split", largeBatches},
		{"any text is an id", anyTextIsAnID},
		{"a closed bus says so", closedSaysSo},
		{"random failures and restarts", func(t *testing.T, b *Backend) { randomFailures(t, b, 1, 40, 3) }},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// Random is the last of Test alone, for longer runs and other seeds.
func Random(t *testing.T, b *Backend, seed uint64, batches, restarts int) {
	randomFailures(t, b, seed, batches, restarts)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		case <-again.C:
		}
	}
}

func idle(t *testing.T, b Bus, durables ...string) {
	t.Helper()
	eventually(t, fmt.Sprint(durables, " idle"), func() bool {
		ok, err := b.Idle(t.Context(), durables...)
		return err == nil && ok
	})
}

// running starts f and returns what ends it and checks that it ends well.
func running(t *testing.T, f func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, bus.ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("did not end with its context")
		}
	})
	t.Cleanup(stop)
	return stop
}

// seen is what handlers saw, in order.
type seen struct {
	mu  sync.Mutex
	ids []string
}

func (s *seen) add(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.ids = append(s.ids, strings.Clone(id)) // it may alias a buffer
	}
}

func (s *seen) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

func (s *seen) count(id string) (n int) {
	for _, x := range s.list() {
		if x == id {
			n++
		}
	}
	return n
}

// record is a small CloudTrail record with an id.
func record(t *testing.T, id string) event.Event {
	t.Helper()
	return decoded(t, fmt.Appendf(nil, `{"eventVersion":"1.08","eventID":%q,"eventName":"GetUser","eventSource":"iam.amazonaws.com","eventTime":"2025-01-01T00:00:00Z"}`, id))
}

// bulky is a record that hardly compresses, of about size bytes.
func bulky(t *testing.T, id string, size int) event.Event {
	t.Helper()
	rnd := rand.New(rand.NewPCG(uint64(size), uint64(len(id))+uint64(id[len(id)-1])<<8))
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = ' ' + byte(rnd.IntN(94))
		if noise[i] == '"' || noise[i] == '\\' {
			noise[i] = '.'
		}
	}
	return decoded(t, fmt.Appendf(nil, `{"eventID":%q,"userAgent":"%s"}`, id, noise))
}

func decoded(t *testing.T, raw []byte) event.Event {
	t.Helper()
	e, err := event.Decode(event.CloudTrail, raw)
	if err != nil {
		t.Fatal(err)
	}
	e.Ingested = time.Unix(1735689600, 5).UTC()
	e.Origin = event.Origin{Source: "test", Object: "o", Line: 7}
	return e
}

func publish(t *testing.T, b Bus, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := b.PublishEvents(t.Context(), "batch-"+id, []event.Event{record(t, id)}); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%03d", prefix, i)
	}
	return out
}

func finding(id string) *event.Finding {
	return &event.Finding{ID: id, Rule: "r", Version: "v", Severity: event.Low, Title: "T", Time: time.Unix(1735689600, 0).UTC(), Events: []string{"e"}}
}

func letters(t *testing.T, b Bus) []bus.DeadLetter {
	t.Helper()
	var list []bus.DeadLetter
	eventually(t, "the dead letters are listed", func() bool { // the server may be just away
		var err error
		list, err = b.DeadLetters(t.Context(), 0, 1000)
		return err == nil
	})
	return list
}

func once(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d, want each of %d once: %.400q", what, len(got), len(want), got)
	}
}
