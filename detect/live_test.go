package detect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"riposte/detect"
	"riposte/event"
)

func stopLogging(t testing.TB) event.Event {
	t.Helper()
	e, err := event.Decode(event.CloudTrail, []byte(`{"eventName":"StopLogging","eventSource":"cloudtrail.amazonaws.com","eventID":"e1"}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func count(t *testing.T, rs *detect.RuleSet, id string) detect.RuleCount {
	t.Helper()
	for _, c := range rs.Counters() {
		if c.Rule == id {
			return c
		}
	}
	t.Fatalf("no rule %s", id)
	return detect.RuleCount{}
}

// TestReload goes from good to better, to broken, which changes nothing but
// LastError, and to good again. A rule that stays goes on counting; one whose
// condition changes begins anew.
func TestReload(t *testing.T) {
	fsys := fstest.MapFS{"a.yaml": file(goodRule)}
	live, err := detect.NewLive(nil, func() (*detect.RuleSet, error) { return detect.Load(fsys, detect.Options{}) })
	if err != nil {
		t.Fatal(err)
	}
	e := stopLogging(t)
	eval := func() int { return len(detect.NewEngine(live.Current()).Eval(&e, nil)) }
	if eval() != 1 || live.LastError() != "" {
		t.Fatalf("the first set: %q", live.LastError())
	}

	fsys["b.yaml"] = file(strings.ReplaceAll(goodRule, "good.rule", "good.second"))
	fsys["a.yaml"] = file(strings.Replace(goodRule, "title: A good rule", "title: Other words", 1))
	if err := live.Reload(); err != nil {
		t.Fatal(err)
	}
	if n := eval(); n != 2 {
		t.Errorf("%d findings after a second rule came", n)
	}
	if c := count(t, live.Current(), "good.rule"); c.Hits != 2 || live.Current().Rule("good.rule").Title != "Other words" {
		t.Errorf("a rule with other words does not go on counting: %+v", c)
	}

	running := live.Current()
	fsys["b.yaml"] = file(strings.Replace(goodRule, "eventName", "eventNam", 1))
	err = live.Reload()
	if err == nil || live.LastError() != err.Error() || !strings.Contains(live.LastError(), `there is no "eventNam" here`) {
		t.Errorf("broken: %v, last error %q", err, live.LastError())
	}
	if live.Current() != running || eval() != 2 {
		t.Error("a set that does not load replaced the one that runs")
	}

	fsys["b.yaml"] = file(strings.ReplaceAll(strings.Replace(goodRule, `"StopLogging"`, `"StartLogging"`, 1), "good.rule", "good.second"))
	if err := live.Reload(); err != nil || live.LastError() != "" {
		t.Errorf("recovered: %v, last error %q", err, live.LastError())
	}
	if n := eval(); n != 1 {
		t.Errorf("%d findings after the second rule changed", n)
	}
	if a, b := count(t, live.Current(), "good.rule"), count(t, live.Current(), "good.second"); a.Hits != 4 || b.Hits != 0 || b.Evaluated != 0 {
		t.Errorf("the counts: %+v, %+v", a, b)
	}
	if _, err := detect.NewLive(nil, func() (*detect.RuleSet, error) { return nil, errors.New("broken") }); err == nil {
		t.Error("it starts with a broken set")
	}
}

// TestReloadWhileEvaluating: engines of old and new sets run beside reloads, and
// every event is judged by a whole set. The race detector has the last word.
func TestReloadWhileEvaluating(t *testing.T) {
	var mu sync.Mutex
	generation := 0
	live, err := detect.NewLive(nil, func() (*detect.RuleSet, error) {
		mu.Lock()
		generation++
		n := generation
		mu.Unlock()
		if n%5 == 0 {
			return nil, errors.New("every fifth is broken")
		}
		fsys := fstest.MapFS{"a.yaml": file(goodRule)}
		// Each generation has two more rules of its own, which must come and go together.
		for i := range 2 {
			id := fmt.Sprintf("gen.%d-%d", n, i)
			fsys[id+".yaml"] = file(strings.ReplaceAll(goodRule, "good.rule", id))
		}
		return detect.Load(fsys, detect.Options{})
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var evaluated [4]int64
	for w := range evaluated {
		wg.Go(func() {
			e := stopLogging(t)
			var set *detect.RuleSet
			var engine *detect.Engine
			for ctx.Err() == nil {
				if now := live.Current(); now != set {
					set, engine = now, detect.NewEngine(now)
				}
				found := engine.Eval(&e, nil)
				if len(found) != 3 || strings.Split(found[0].Rule, "-")[0] != strings.Split(found[1].Rule, "-")[0] {
					t.Errorf("judged by a set that never was: %v", found)
					return
				}
				evaluated[w]++
			}
		})
	}
	for range 40 {
		live.Reload()
		live.Current().Counters()
	}
	cancel()
	wg.Wait()
	total := int64(0)
	for _, n := range evaluated {
		total += n
	}
	if c := count(t, live.Current(), "good.rule"); c.Hits != total || total == 0 {
		t.Errorf("%d hits counted over all generations, want %d", c.Hits, total)
	}
}

// TestWatch edits real files and waits for what Watch tells.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		// As editors do: beside, then over.
		if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".tmp", path); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", goodRule)
	live, err := detect.NewLive([]string{dir}, func() (*detect.RuleSet, error) { return detect.Load(os.DirFS(dir), detect.Options{}) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tried := make(chan error, 100)
	ended := make(chan error, 1)
	go func() { ended <- live.Watch(ctx, func(err error) { tried <- err }) }()
	// Watching begins at some moment: touch until it is heard. One try may come
	// for several edits, so wait for the state and not for a number of tries.
	until := func(what string, edit func(), reached func() bool) {
		t.Helper()
		edit()
		again := time.NewTicker(time.Second)
		defer again.Stop()
		for !reached() {
			select {
			case <-tried:
			case <-again.C:
				edit()
			case <-t.Context().Done():
				t.Fatalf("%s: never", what)
			}
		}
	}
	until("a rule in a new folder", func() {
		write("new/b.yaml", strings.ReplaceAll(goodRule, "good.rule", "good.second"))
	}, func() bool { return len(live.Current().Rules()) == 2 })
	until("a broken rule", func() { write("new/b.yaml", "id: [\n") }, func() bool { return live.LastError() != "" })
	if len(live.Current().Rules()) != 2 {
		t.Error("the last good set is gone")
	}
	until("the rule removed", func() { os.Remove(filepath.Join(dir, "new", "b.yaml")) }, func() bool {
		return live.LastError() == "" && len(live.Current().Rules()) == 1
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
