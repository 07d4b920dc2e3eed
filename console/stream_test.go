package console

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"riposte/event"
)

// messages reads the data of server-sent events.
func messages(t *testing.T, s *Server, web *httptest.Server, path string) <-chan string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", web.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, ct)
	}
	out := make(chan string, 16)
	go func() { // ends with the stream
		defer close(out)
		defer res.Body.Close()
		var b strings.Builder
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			switch line := lines.Text(); {
			case line == "" && b.Len() > 0:
				out <- b.String()
				b.Reset()
			case strings.HasPrefix(line, "data: "):
				b.WriteString(line[len("data: "):] + "\n")
			case line != "" && !strings.HasPrefix(line, ":"):
				out <- "a field that nobody sent: " + line
			}
		}
	}()
	return out
}

func next(t *testing.T, ch <-chan string) string {
	t.Helper()
	select {
	case m, ok := <-ch:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return ""
}

func TestStreams(t *testing.T) {
	f := newFake()
	evil, runs := hostile()
	f.runs[evil.ID] = runs
	s := newServer(t, f)
	web := httptest.NewServer(s)
	defer web.Close()
	defer s.Close()

	list, critical := messages(t, s, web, "/live"), messages(t, s, web, "/live?severity=critical")
	page, health := messages(t, s, web, incidentPath(id("takeover"))+"/live"), messages(t, s, web, "/health/live")
	for _, ch := range []<-chan string{list, critical, page, health} {
		if m := next(t, ch); strings.Contains(m, "<html") || len(m) < 200 {
			t.Errorf("the first message is %q", m)
		}
	}

	f.put(evil)
	m := next(t, list)
	if !strings.Contains(m, `id="in-`+evil.ID+`" class="row card edge-high fresh-b"`) || strings.Contains(m, "nobody sent") {
		t.Errorf("the new incident is not there: %s", m)
	}

	in, _ := takeover()
	in.Findings = append(in.Findings, finding("t4", "x.y", "m.rossi deleted the trail", event.Critical, 5*time.Minute))
	in.Updated = in.Findings[3].Time
	f.put(in)
	if m := next(t, page); !strings.Contains(m, "m.rossi deleted the trail") {
		t.Errorf("the finding is not there: %s", m)
	}
	// Not a word of the high one before it came, and after it only what matches.
	for m := next(t, critical); ; m = next(t, critical) {
		if strings.Contains(m, evil.ID) {
			t.Error("the filter is forgotten")
		}
		if strings.Contains(m, "4 findings") {
			break
		}
	}

	f.mu.Lock()
	f.state.DeadLetters = 4711
	f.mu.Unlock()
	if m := next(t, health); !strings.Contains(m, "4\u202f711") {
		t.Errorf("health is not told: %s", m)
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	s := newServer(t, newFake())
	web := httptest.NewServer(s)
	web.Config.RegisterOnShutdown(s.Close)
	ch := messages(t, s, web, "/live")
	next(t, ch)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := web.Config.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	for range ch {
	}
}
