// Package notify tells people and their tools about incidents.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/cenkalti/backoff/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"riposte/event"
	"riposte/internal/secret"
	"riposte/respond"
)

// Config is one named webhook.
type Config struct {
	// URL receives a POST with a JSON body.
	URL string `yaml:"url"`
	// Secret signs the body after the Standard Webhooks specification; it is a
	// reference: env:NAME or file:PATH.
	Secret string `yaml:"secret"`
	// AllowLoopback lets the URL lead to this machine, by whatever name; also to a
	// proxy on it. Link-local addresses, where clouds keep credentials, are never
	// posted to; other inside addresses are the network's to guard.
	AllowLoopback bool `yaml:"allow_loopback"`
}

// Validate says what is wrong.
func (c Config) Validate(name string) error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("respond.webhooks.%s.url: want http(s)://host/path", name)
	case u.User != nil:
		return fmt.Errorf("respond.webhooks.%s.url: credentials do not belong in it: use secret", name)
	case !c.AllowLoopback && loopback(u.Hostname()):
		return fmt.Errorf("respond.webhooks.%s.url names this machine or its link: set allow_loopback if this machine is meant", name)
	case c.Secret != "" && secret.Ref(c.Secret).Validate() != nil:
		return fmt.Errorf("respond.webhooks.%s.secret: %w", name, secret.Ref(c.Secret).Validate())
	}
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && forbidden(a, false) != ""
}

// forbidden says why an address must not be posted to, "" when it may.
func forbidden(a netip.Addr, allowLoopback bool) string {
	a = a.Unmap()
	switch {
	case a.IsLinkLocalUnicast() || a.IsMulticast() || a == netip.MustParseAddr("fd00:ec2::254"):
		return "is link-local, where credentials are served"
	case !allowLoopback && (a.IsLoopback() || a.IsUnspecified()):
		return "is this machine: set allow_loopback if that is meant"
	}
	return ""
}

// Webhook is the action notify.webhook.
type Webhook struct {
	hooks map[string]Config
	// client posts to hooks, local to those that may be on this machine.
	client, local *http.Client
	// pauses are between the tries of one message.
	pauses func() backoff.BackOff
}

// tries of one message, and how long a receiver may ask to be left alone.
const (
	tries        = 5
	longestPause = time.Minute
)

// NewWebhook returns the action over the configured webhooks, by name.
func NewWebhook(hooks map[string]Config) *Webhook {
	return &Webhook{
		hooks: hooks, client: newClient(false), local: newClient(true),
		pauses: func() backoff.BackOff { return backoff.NewExponentialBackOff() },
	}
}

// newClient follows no redirect, and looks at the address that it connects to:
// a name may resolve to another one than when the configuration was read.
func newClient(allowLoopback bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if why := forbidden(to.Addr(), allowLoopback); why != "" {
			return &addressError{to.Addr(), why}
		}
		return nil
	}}
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// addressError refuses an address; trying again does not help.
type addressError struct {
	addr netip.Addr
	why  string
}

func (e *addressError) Error() string { return fmt.Sprintf("%s %s", e.addr, e.why) }

// Params declares to, title, text and severity.
func (w *Webhook) Params() []respond.Param {
	return []respond.Param{
		{Name: "to", Doc: "name of a configured webhook; the only one when left out"},
		{Name: "title", Required: true, Doc: "what happened, in a line"},
		{Name: "text", Doc: "more about it"},
		{Name: "severity", Doc: "info to critical"},
	}
}

// message is the body.
type message struct {
	Type string `json:"type"`
	Data struct {
		Run      string `json:"run"`
		Account  string `json:"account"`
		Region   string `json:"region,omitempty"`
		Severity string `json:"severity,omitempty"`
		Title    string `json:"title"`
		Text     string `json:"text,omitempty"`
	} `json:"data"`
}

// Plan says what would be posted and where.
func (w *Webhook) Plan(_ context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: r.Region, Restore: respond.RestoreNever, Target: event.Entity{Kind: "webhook"}}
	name := r.Text("to")
	if name == "" && len(w.hooks) == 1 {
		for only := range w.hooks {
			name = only
		}
	}
	hook, ok := w.hooks[name]
	p.Target.ID = name
	if !ok {
		p.Decision, p.Restore = respond.Refuse, ""
		p.Reason = fmt.Sprintf("no webhook %q is configured under respond.webhooks", name)
		switch {
		case len(w.hooks) == 0:
			p.Reason = "no webhook is configured under respond.webhooks"
		case name == "":
			p.Reason = "several webhooks are configured: say in to which, one of " + strings.Join(slices.Sorted(maps.Keys(w.hooks)), ", ")
		}
		return p, nil
	}
	var m message
	m.Type = "incident.finding"
	m.Data.Run, m.Data.Account, m.Data.Region = r.Run, r.Account, r.Region
	m.Data.Severity, m.Data.Title, m.Data.Text = plain(r.Text("severity"), 20), plain(r.Text("title"), 300), plain(r.Text("text"), 4000)
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the message: %w", err)
	}
	headers := map[string]string{"content-type": "application/json", "webhook-id": "msg_" + event.Hash(r.Run, r.Step)}
	if hook.Secret != "" {
		headers["webhook-signature"] = "v1,(made when it is sent)"
	}
	input, err := json.Marshal(map[string]any{"method": "POST", "url": shown(hook.URL), "headers": headers, "body": json.RawMessage(body)})
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	p.TargetID = shown(hook.URL)
	p.Decision, p.Reason = respond.Contain, "people are to be told"
	p.Effect = fmt.Sprintf("one message to %s", name)
	p.Calls = []respond.Call{{Service: "http", Operation: "POST", Input: input, Account: r.Account}}
	p.Before = json.RawMessage(`{"hook":` + string(mustJSON(name)) + `,"id":` + string(mustJSON(headers["webhook-id"])) + `,"body":` + string(body) + `}`)
	return p, nil
}

// shown is a URL without its path and query: with many services they are the secret.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(no URL)"
	}
	if u.Path == "" && u.RawQuery == "" {
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + "://" + u.Host + "/..."
}

// plain is a text that a chat may show: at most n characters, without control
// characters and without those that reorder what is read.
func plain(s string, n int) string {
	var b strings.Builder
	for _, r := range s {
		if n--; n < 0 {
			b.WriteString("…")
			break
		}
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}

func mustJSON(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return b
}

// Apply posts the message. Its webhook-id is the run's, so a receiver that has
// seen it drops a repeat.
func (w *Webhook) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	var planned struct {
		Hook string          `json:"hook"`
		ID   string          `json:"id"`
		Body json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(p.Before, &planned); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	hook, ok := w.hooks[planned.Hook]
	if !ok {
		return nil, fmt.Errorf("webhook %q is not configured any more", planned.Hook)
	}
	key := ""
	if hook.Secret != "" {
		var err error
		if key, err = secret.Ref(hook.Secret).Read(); err != nil {
			return nil, err
		}
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, w.post(ctx, hook, key, planned.ID, planned.Body) },
		backoff.WithMaxTries(tries), backoff.WithBackOff(w.pauses()))
	var final *backoff.PermanentError
	if errors.As(err, &final) {
		err = final.Unwrap()
	}
	if err != nil {
		return nil, fmt.Errorf("post to %s: %w", planned.Hook, err)
	}
	return &respond.Receipt{Plan: *p, RequestIDs: []string{planned.ID}}, nil
}

func (w *Webhook) post(ctx context.Context, hook Config, key, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(err)
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", fmt.Sprint(now.Unix()))
	if key != "" {
		signer, err := standardwebhooks.NewWebhook(key)
		if err != nil {
			return backoff.Permanent(fmt.Errorf("the secret is not a Standard Webhooks secret (whsec_ and base64): %w", err))
		}
		signature, err := signer.Sign(id, now, body)
		if err != nil {
			return backoff.Permanent(err)
		}
		req.Header.Set("Webhook-Signature", signature)
	}
	client := w.client
	if hook.AllowLoopback {
		client = w.local
	}
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which may be a secret
		}
		var refused *addressError
		if errors.As(err, &refused) {
			return backoff.Permanent(refused)
		}
		return err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	switch {
	case res.StatusCode < 300:
		return nil
	case res.StatusCode < 400:
		return backoff.Permanent(fmt.Errorf("it answers %s: a webhook must not redirect", res.Status))
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
		if after, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && after > 0 {
			pause := min(time.Duration(after)*time.Second, longestPause)
			return fmt.Errorf("it answers %s: %w", res.Status, &backoff.RetryAfterError{Duration: pause})
		}
		return fmt.Errorf("it answers %s", res.Status)
	case res.StatusCode == http.StatusRequestTimeout || res.StatusCode >= 500:
		return fmt.Errorf("it answers %s", res.Status)
	}
	return backoff.Permanent(fmt.Errorf("it answers %s", res.Status))
}

// Verify knows that a message which was accepted has arrived.
func (w *Webhook) Verify(context.Context, *respond.Receipt) (respond.Outcome, error) {
	return respond.Effective, nil
}
