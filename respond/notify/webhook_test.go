package notify

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"riposte/respond"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiver answers with the statuses in turn, then with 204, and keeps what it got.
type receiver struct {
	*httptest.Server
	answers []int
	header  http.Header // of every answer
	got     []*http.Request
	bodies  [][]byte
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	r := &receiver{answers: answers, header: http.Header{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.got, r.bodies = append(r.got, req), append(r.bodies, body)
		for k, v := range r.header {
			w.Header()[k] = v
		}
		status := http.StatusNoContent
		if n := len(r.got); n <= len(r.answers) {
			status = r.answers[n-1]
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

// hook is the action with one webhook, on this machine and without pauses.
func hook(url, secretRef string) *Webhook {
	w := NewWebhook(map[string]Config{"on-call": {URL: url, Secret: secretRef, AllowLoopback: true}})
	w.pauses = func() backoff.BackOff { return &backoff.ZeroBackOff{} }
	return w
}

func plan(t *testing.T, w *Webhook, params map[string]any) *respond.Plan {
	t.Helper()
	p, err := w.Plan(t.Context(), &respond.Request{Run: "run", Step: "tell", Account: "111122223333", Region: "eu-west-1", Params: params})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var params = map[string]any{"title": "a <trail> was stopped", "text": "by mallory", "severity": "critical"}

func TestSignedMessage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(hookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RIPOSTE_TEST_SECRET", hookSecret)
	for _, ref := range []string{"env:RIPOSTE_TEST_SECRET", "file:" + file} {
		r := newReceiver(t)
		w := hook(r.URL+"/token/in/path?key=hidden", ref)
		p := plan(t, w, params)
		if p.Decision != respond.Contain || p.Restore != respond.RestoreNever || len(r.got) > 0 {
			t.Fatalf("planned %s, %s, with %d posts", p.Decision, p.Restore, len(r.got))
		}
		receipt, err := w.Apply(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := standardwebhooks.NewWebhook(hookSecret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(r.bodies[0], r.got[0].Header); err != nil {
			t.Errorf("%s: the signature does not verify: %v", ref, err)
		}
		var m message
		if err := json.Unmarshal(r.bodies[0], &m); err != nil || m.Type != "incident.finding" || m.Data.Title != params["title"] || m.Data.Severity != "critical" || m.Data.Run != "run" {
			t.Errorf("the message is %s: %v", r.bodies[0], err)
		}
		var call struct{ Body json.RawMessage }
		if err := json.Unmarshal(p.Calls[0].Input, &call); err != nil || string(call.Body) != string(r.bodies[0]) {
			t.Errorf("planned %s, posted %s", call.Body, r.bodies[0])
		}
		both, err := json.Marshal([]any{p, receipt})
		if err != nil {
			t.Fatal(err)
		}
		for _, hidden := range []string{hookSecret, strings.TrimPrefix(hookSecret, "whsec_"), "hidden", "token/in/path"} {
			if strings.Contains(string(both), hidden) {
				t.Errorf("%q is in the plan or the receipt", hidden)
			}
		}
		if out, err := w.Verify(t.Context(), receipt); out != respond.Effective || err != nil {
			t.Errorf("verified as %s, %v", out, err)
		}
	}
}

func TestUnsigned(t *testing.T) {
	r := newReceiver(t)
	w := hook(r.URL, "")
	p := plan(t, w, params)
	if _, err := w.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if s := r.got[0].Header.Get("Webhook-Signature"); s != "" || strings.Contains(string(p.Calls[0].Input), "webhook-signature") {
		t.Errorf("signed %q without a secret", s)
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		answers []int
		posts   int
		err     string
	}{
		{nil, 1, ""},
		{[]int{500, 429, 503, 408}, 5, ""},
		{[]int{502, 502, 502, 502, 502, 502}, 5, "502 Bad Gateway"},
		{[]int{400}, 1, "400 Bad Request"}, {[]int{401}, 1, "401"}, {[]int{404}, 1, "404"}, {[]int{410}, 1, "410"},
		{[]int{500, 403}, 2, "403"}, {[]int{500, 500, 500, 500, 403}, 5, "403"},
		{[]int{301}, 1, "must not redirect"}, {[]int{307}, 1, "must not redirect"},
	} {
		r := newReceiver(t, c.answers...)
		elsewhere := newReceiver(t)
		r.header.Set("Location", elsewhere.URL)
		w := hook(r.URL+"/path-token", "")
		p := plan(t, w, params)
		_, err := w.Apply(t.Context(), p)
		if len(r.got) != c.posts || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: %d posts, %v; want %d and %q", c.answers, len(r.got), err, c.posts, c.err)
		}
		if err != nil && strings.Contains(err.Error(), "path-token") {
			t.Errorf("the error has the URL: %v", err)
		}
		if len(elsewhere.got) > 0 {
			t.Errorf("%v: the redirect was followed", c.answers)
		}
		ids := map[string]bool{}
		for i, req := range r.got {
			ids[req.Header.Get("Webhook-Id")] = true
			if string(r.bodies[i]) != string(r.bodies[0]) {
				t.Error("a retry has another body")
			}
		}
		if len(ids) != 1 || ids[""] {
			t.Errorf("%v: the retries have the ids %v", c.answers, ids)
		}
		if again := plan(t, w, params); string(again.Calls[0].Input) != string(p.Calls[0].Input) {
			t.Error("the same step plans another message")
		}
	}
}

type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestRetryAfterIsHeeded(t *testing.T) {
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "86400": longestPause} {
		synctest.Test(t, func(t *testing.T) {
			w := hook("https://hooks.example.com/x", "")
			start, posts := time.Now(), 0
			w.local = &http.Client{Transport: answer(func(r *http.Request) (*http.Response, error) {
				posts++
				res := &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody, Request: r}
				if posts == 1 {
					res.StatusCode = http.StatusTooManyRequests
					res.Header.Set("Retry-After", header)
				}
				return res, nil
			})}
			if _, err := w.Apply(t.Context(), plan(t, w, params)); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != want || posts != 2 {
				t.Errorf("asked to wait %s s: waited %s, %d posts", header, got, posts)
			}
		})
	}
}

func TestStopsWhenToldTo(t *testing.T) {
	r := newReceiver(t, 500, 500, 500, 500, 500)
	w := hook(r.URL, "")
	ctx, cancel := context.WithCancel(t.Context())
	w.pauses = func() backoff.BackOff { cancel(); return &backoff.ZeroBackOff{} }
	if _, err := w.Apply(ctx, plan(t, w, params)); err == nil || len(r.got) > 0 {
		t.Errorf("posted %d times with %v", len(r.got), err)
	}
}

func TestMissingSecret(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RIPOSTE_TEST_EMPTY", "")
	t.Setenv("RIPOSTE_TEST_BAD", "whsec_not base64!")
	for ref, want := range map[string]string{
		"env:RIPOSTE_TEST_UNSET": "missing or empty", "env:RIPOSTE_TEST_EMPTY": "missing or empty", "file:" + empty: "missing or empty",
		"file:" + empty + ".gone": "read the secret", "vault:x": "env:NAME or file:PATH", "env:RIPOSTE_TEST_BAD": "not a Standard Webhooks secret",
	} {
		r := newReceiver(t)
		w := hook(r.URL, ref)
		_, err := w.Apply(t.Context(), plan(t, w, params))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "not base64!") {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
		if len(r.got) > 0 {
			t.Errorf("%s: posted unsigned", ref)
		}
	}
}

// TestAddresses: it is the address connected to that counts, not the name.
func TestAddresses(t *testing.T) {
	for addr, want := range map[string][2]bool{ // allowed, allowed with loopback
		"127.0.0.1": {false, true}, "127.8.8.8": {false, true}, "::1": {false, true}, "0.0.0.0": {false, true}, "::ffff:127.0.0.1": {false, true},
		"169.254.169.254": {false, false}, "fe80::1": {false, false}, "fd00:ec2::254": {false, false}, "::ffff:169.254.169.254": {false, false}, "224.0.0.1": {false, false},
		"10.0.0.1": {true, true}, "203.0.113.9": {true, true}, "2001:db8::1": {true, true},
	} {
		a := netip.MustParseAddr(addr)
		if got := [2]bool{forbidden(a, false) == "", forbidden(a, true) == ""}; got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	r := newReceiver(t)
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// A name that passed the configuration and resolves to this machine.
	w := NewWebhook(map[string]Config{"on-call": {URL: "http://localhost:" + port + "/path-token"}})
	w.pauses = func() backoff.BackOff { return &backoff.ZeroBackOff{} }
	_, err = w.Apply(t.Context(), plan(t, w, params))
	if err == nil || !strings.Contains(err.Error(), "is this machine") || len(r.got) > 0 || strings.Contains(err.Error(), "path-token") {
		t.Errorf("posted %d times to this machine: %v", len(r.got), err)
	}
}

func TestPlanRefuses(t *testing.T) {
	two := map[string]Config{"b": {URL: "https://b.example.com"}, "a": {URL: "https://a.example.com"}}
	for _, c := range []struct {
		hooks  map[string]Config
		to     string
		reason string
	}{{nil, "", "no webhook is configured"}, {nil, "x", "no webhook is configured"}, {two, "", "one of a, b"}, {two, "c", `no webhook "c"`}} {
		p := plan(t, NewWebhook(c.hooks), map[string]any{"to": c.to, "title": "x"})
		if p.Decision != respond.Refuse || !strings.Contains(p.Reason, c.reason) || p.Calls != nil || p.Restore != "" {
			t.Errorf("%v to %q: %s, %q", c.hooks, c.to, p.Decision, p.Reason)
		}
	}
	if p := plan(t, NewWebhook(two), map[string]any{"to": "b", "title": "x"}); p.Decision != respond.Contain || p.TargetID != "https://b.example.com" {
		t.Errorf("%s to %s", p.Decision, p.TargetID)
	}
	w := NewWebhook(two)
	p := plan(t, w, map[string]any{"to": "b", "title": "x"})
	if _, err := NewWebhook(nil).Apply(t.Context(), p); err == nil || !strings.Contains(err.Error(), "not configured any more") {
		t.Errorf("applied without its webhook: %v", err)
	}
}

func TestTextIsPlainAndBounded(t *testing.T) {
	p := plan(t, hook("https://h.example.com", ""), map[string]any{"title": "safe\u202egnp.exe\x1b[31m\r\n" + strings.Repeat("é", 1000), "text": strings.Repeat("x", 1<<20)})
	var call struct{ Body message }
	if err := json.Unmarshal(p.Calls[0].Input, &call); err != nil {
		t.Fatal(err)
	}
	if title := call.Body.Data.Title; strings.ContainsAny(title, "\u202e\x1b\r") || len([]rune(title)) != 301 || !strings.HasPrefix(title, "safe\uFFFDgnp.exe") {
		t.Errorf("the title is %q", title)
	}
	if len(call.Body.Data.Text) > 4010 {
		t.Errorf("the text has %d bytes", len(call.Body.Data.Text))
	}
}

func TestValidate(t *testing.T) {
	for url, want := range map[string]string{
		"https://hooks.example.com/x": "", "http://10.0.0.1/x": "", "": "want http(s)", "ftp://x": "want http(s)", "https://": "want http(s)", "https://user:pw@x/": "credentials",
		"http://localhost/": "names this machine", "http://LOCALHOST./": "names this machine", "http://127.0.0.1:80/": "names this machine", "http://[::1]/": "names this machine", "http://0.0.0.0/": "names this machine",
		"http://169.254.169.254/latest": "its link",
	} {
		if err := (Config{URL: url}).Validate("x"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
	}
	if err := (Config{URL: "http://localhost/", AllowLoopback: true, Secret: "env:X"}).Validate("x"); err != nil {
		t.Error(err)
	}
	if err := (Config{URL: "https://x/", Secret: hookSecret}).Validate("x"); err == nil || strings.Contains(err.Error(), hookSecret) {
		t.Errorf("a secret in the configuration: %v", err)
	}
	var names []string
	for _, p := range NewWebhook(nil).Params() {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"to", "title", "text", "severity"}) {
		t.Errorf("parameters %v", names)
	}
}
