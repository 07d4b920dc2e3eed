// Package notify tells people and their tools about incidents.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"riposte/event"
	"riposte/respond"
)

// Config is one named webhook.
type Config struct {
	// URL receives a POST with a JSON body.
	URL string `yaml:"url"`
	// Secret signs the body after the Standard Webhooks specification; it is a
	// reference: env:NAME or file:PATH.
	Secret string `yaml:"secret"`
	// AllowLoopback lets the URL name this machine; others' inside addresses are
	// the network's to guard.
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
		return fmt.Errorf("respond.webhooks.%s.url names this machine: set allow_loopback if that is meant", name)
	case c.Secret != "" && !strings.HasPrefix(c.Secret, "env:") && !strings.HasPrefix(c.Secret, "file:"):
		return fmt.Errorf("respond.webhooks.%s.secret: want a reference, env:NAME or file:PATH, not the secret itself", name)
	}
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && (a.Unmap().IsLoopback() || a.IsUnspecified())
}

// Webhook is the action notify.webhook.
type Webhook struct {
	hooks  map[string]Config
	client *http.Client
}

// NewWebhook returns the action over the configured webhooks, by name.
func NewWebhook(hooks map[string]Config) *Webhook {
	return &Webhook{hooks: hooks, client: &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a webhook must not redirect") },
	}}
}

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
	Type      string `json:"type"`
	Timestamp string `json:"timestamp,omitempty"`
	Data      struct {
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
		if name == "" {
			p.Reason = "no webhook is configured under respond.webhooks"
		}
		return p, nil
	}
	var m message
	m.Type = "incident.finding"
	m.Data.Run, m.Data.Account, m.Data.Region = r.Run, r.Account, r.Region
	m.Data.Severity, m.Data.Title, m.Data.Text = r.Text("severity"), r.Text("title"), r.Text("text")
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the message: %w", err)
	}
	headers := map[string]string{"content-type": "application/json", "webhook-id": "msg_" + event.Hash(r.Run, r.Step)}
	if hook.Secret != "" {
		headers["webhook-signature"] = "v1,(made when it is sent)"
	}
	input, err := json.Marshal(map[string]any{"method": "POST", "url": hook.URL, "headers": headers, "body": json.RawMessage(body)})
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	p.TargetID = hook.URL
	p.Decision, p.Reason = respond.Contain, "people are to be told"
	p.Effect = fmt.Sprintf("one message to %s", name)
	p.Calls = []respond.Call{{Service: "http", Operation: "POST", Input: input, Account: r.Account}}
	p.Before = json.RawMessage(`{"hook":` + string(mustJSON(name)) + `,"id":` + string(mustJSON(headers["webhook-id"])) + `,"body":` + string(body) + `}`)
	return p, nil
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
	secret, err := resolve(hook.Secret)
	if err != nil {
		return nil, err
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, w.post(ctx, hook, secret, planned.ID, planned.Body) }, backoff.WithMaxTries(5))
	if err != nil {
		return nil, fmt.Errorf("post to %s: %w", planned.Hook, err)
	}
	return &respond.Receipt{Plan: *p, RequestIDs: []string{planned.ID}}, nil
}

func (w *Webhook) post(ctx context.Context, hook Config, secret, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(err)
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", fmt.Sprint(now.Unix()))
	if secret != "" {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return backoff.Permanent(fmt.Errorf("the secret is not a Standard Webhooks secret (whsec_ and base64): %w", err))
		}
		signature, err := signer.Sign(id, now, body)
		if err != nil {
			return backoff.Permanent(err)
		}
		req.Header.Set("Webhook-Signature", signature)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	switch {
	case res.StatusCode < 300:
		return nil
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return fmt.Errorf("it answers %s", res.Status)
	}
	return backoff.Permanent(fmt.Errorf("it answers %s", res.Status))
}

// resolve reads a secret by its reference.
func resolve(ref string) (string, error) {
	switch kind, rest, _ := strings.Cut(ref, ":"); kind {
	case "":
		return "", nil
	case "env":
		v, ok := os.LookupEnv(rest)
		if !ok {
			return "", fmt.Errorf("the environment has no %s", rest)
		}
		return v, nil
	case "file":
		b, err := os.ReadFile(rest)
		if err != nil {
			return "", fmt.Errorf("read the secret: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	return "", fmt.Errorf("a secret is env:NAME or file:PATH")
}

// Verify knows that a message which was accepted has arrived.
func (w *Webhook) Verify(context.Context, *respond.Receipt) (respond.Outcome, error) {
	return respond.Effective, nil
}
