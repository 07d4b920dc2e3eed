package respond_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"riposte/event"
	"riposte/internal/store"
	"riposte/respond"
)

var errCut = errors.New("cut")

// knife fails one write, before or after it is done.
type knife struct {
	at    int64 // 1 is the first write; 0 never
	after bool
	n     atomic.Int64
}

func (k *knife) write(do func() error) error {
	n := k.n.Add(1)
	if n == k.at && !k.after {
		return errCut
	}
	err := do()
	if n == k.at && err == nil {
		return errCut
	}
	return err
}

type cutTable struct {
	*store.Memory
	k *knife
}

func (c cutTable) Create(ctx context.Context, key string, value []byte) (rev uint64, err error) {
	err = c.k.write(func() error { rev, err = c.Memory.Create(ctx, key, value); return err })
	return rev, err
}

func (c cutTable) Update(ctx context.Context, key string, value []byte, revision uint64) (rev uint64, err error) {
	err = c.k.write(func() error { rev, err = c.Memory.Update(ctx, key, value, revision); return err })
	return rev, err
}

func (c cutTable) Append(ctx context.Context, key string, after uint64, entry []byte) (seq uint64, err error) {
	err = c.k.write(func() error { seq, err = c.Memory.Append(ctx, key, after, entry); return err })
	return seq, err
}

// world is the state of a responder, with whatever was announced.
type world struct {
	incidents, books, runs, journal *store.Memory
	k                               *knife
	actions                         map[string]respond.Action
	playbooks                       *respond.Playbooks

	mu        sync.Mutex
	announced map[string]respond.Incident // last announcement by incident
	failAt    int                         // which announcement fails; 0 none
	count     int
}

func newWorld(t testing.TB, playbook string, actions map[string]respond.Action) *world {
	t.Helper()
	w := &world{
		incidents: store.NewMemory(), books: store.NewMemory(), runs: store.NewMemory(), journal: store.NewMemory(),
		k: &knife{}, actions: actions, announced: map[string]respond.Incident{},
	}
	w.playbooks = load(t, actions, playbook)
	return w
}

// load reads playbooks, one a text.
func load(t testing.TB, actions map[string]respond.Action, texts ...string) *respond.Playbooks {
	t.Helper()
	files := fstest.MapFS{}
	for i, text := range texts {
		if text != "" {
			files[fmt.Sprintf("p%d.yaml", i)] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	p, err := respond.LoadPlaybooks([]respond.Folder{{Name: "playbooks", FS: files}}, actions, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const window = time.Hour

// responder is one more process over the world's state.
func (w *world) responder(t testing.TB) *respond.Responder {
	t.Helper()
	r, err := respond.New(respond.Config{
		Mode: respond.DryRun, Window: window, Playbooks: w.playbooks, Actions: w.actions,
		Incidents: cutTable{w.incidents, w.k}, Books: cutTable{w.books, w.k}, Runs: cutTable{w.runs, w.k}, Journal: cutTable{w.journal, w.k},
		NotFound: store.ErrNotFound, Conflict: store.ErrConflict,
		Now: func() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) },
		Changed: func(_ context.Context, in *respond.Incident) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.count++; w.count == w.failAt {
				return errCut
			}
			// What is heard must not change later.
			var own respond.Incident
			if err := json.Unmarshal(mustJSON(in), &own); err != nil {
				return err
			}
			w.announced[in.ID] = own
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// handle delivers a finding until it is taken, as the bus does.
func (w *world) handle(t testing.TB, r *respond.Responder, f *event.Finding) (deliveries int) {
	t.Helper()
	for deliveries = 1; ; deliveries++ {
		err := r.HandleFinding(t.Context(), f)
		if err == nil {
			return deliveries
		}
		if !errors.Is(err, errCut) && !errors.Is(err, store.ErrConflict) {
			t.Error(err)
			return deliveries
		}
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// dump is all state as text, to compare.
func (w *world) dump(t testing.TB) string {
	t.Helper()
	var lines []string
	for name, tab := range map[string]*store.Memory{"incident": w.incidents, "book": w.books, "run": w.runs} {
		keys, err := tab.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			v, _, err := tab.Get(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("%s %s %s", name, k, v))
			if name == "run" {
				entries, _, err := w.journal.Read(t.Context(), k)
				if err != nil {
					t.Fatal(err)
				}
				for i, e := range entries {
					lines = append(lines, fmt.Sprintf("journal %s %03d %s", k, i, e))
				}
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// stored returns the incidents by id, those that were merged only when all is set.
func (w *world) stored(t testing.TB, all bool) map[string]respond.Incident {
	t.Helper()
	keys, err := w.incidents.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]respond.Incident{}
	for _, k := range keys {
		v, _, err := w.incidents.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		var in respond.Incident
		if err := json.Unmarshal(v, &in); err != nil {
			t.Fatal(err)
		}
		if all || in.Merged == "" {
			out[k] = in
		}
	}
	return out
}

func (w *world) run(t testing.TB, id string) respond.Run {
	t.Helper()
	v, _, err := w.runs.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var run respond.Run
	if err := json.Unmarshal(v, &run); err != nil {
		t.Fatal(err)
	}
	return run
}

// act is an action that only plans.
type act struct {
	plan func(ctx context.Context, r *respond.Request) (*respond.Plan, error)
	n    atomic.Int64
}

func (*act) Params() []respond.Param {
	return []respond.Param{{Name: "who", Required: true, Doc: "whom"}, {Name: "port", Doc: "which"}}
}

func (a *act) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	a.n.Add(1)
	if a.plan != nil {
		return a.plan(ctx, r)
	}
	return &respond.Plan{Target: event.Entity{Kind: "iam-user", ID: r.Text("who")}, Decision: respond.Contain, Reason: "it is there"}, nil
}

func (*act) Apply(context.Context, *respond.Plan) (*respond.Receipt, error) {
	return nil, errors.New("a dry run must not apply")
}

func (*act) Verify(context.Context, *respond.Receipt) (respond.Outcome, error) {
	return respond.Unknown, errors.New("a dry run must not verify")
}

const twoSteps = `
id: contain
title: Contain
match: finding.level >= 4
steps:
  - {id: first, action: fake.act, with: {who: finding.actor.name}}
  - {id: second, action: fake.act, when: 'steps.first.decision == "contain"', with: {who: '"two " + finding.actor.name'}}
`

// at is a finding by an actor on targets, minutes after the start.
func at(id string, severity event.Severity, actor string, minutes int, targets ...string) event.Finding {
	f := event.Finding{
		ID: event.Hash("test", id), Rule: "test." + id, Severity: severity, Account: "111122223333", Region: "eu-west-1", Title: "finding " + id,
		Time: time.Date(2026, 2, 1, 0, minutes, 0, 0, time.UTC), Events: []string{id},
	}
	if actor != "" {
		f.Actor = event.Actor{Type: "IAMUser", Name: actor, ARN: "arn:aws:iam::111122223333:user/" + actor}
	}
	for _, target := range targets {
		f.Entities = append(f.Entities, event.Entity{Kind: "s3-bucket", ID: "arn:aws:s3:::" + target})
	}
	return f
}
