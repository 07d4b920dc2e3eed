package receiver

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"riposte/ingest"
	"riposte/internal/secret"
)

// Config is one address at which events are received.
type Config struct {
	// Listen is host:port, 127.0.0.1:8480 by default. Beyond loopback TLS is needed.
	Listen string `yaml:"listen"`
	// TLSCert and TLSKey are PEM files: the certificate with its chain, and its
	// key. They are read again when they change.
	TLSCert string `yaml:"tls_cert"`
	TLSKey  string `yaml:"tls_key"`
	// Path is what is posted to, /events by default.
	Path string `yaml:"path"`
	// Header carries a key, X-Api-Key by default: the name that the EventBridge
	// connection has for its API key.
	Header string `yaml:"header"`
	// Keys are references to secrets, env:NAME or file:PATH, of which one is sent
	// in Header; several while they are rotated. At least 16 characters each.
	Keys []string `yaml:"keys"`
	// Signatures are references to Standard Webhooks secrets (whsec_ and base64),
	// with one of which the body is signed.
	Signatures []string `yaml:"signatures"`
	// MaxBodyBytes bounds a body, as sent and uncompressed: 2 MiB by default. An
	// EventBridge event has at most 1 MiB.
	MaxBodyBytes int64 `yaml:"max_body_bytes"`
	// MaxInFlight is how many requests are worked on at a time, 16 by default;
	// more are told to come again. Each may take two bodies of memory.
	MaxInFlight int `yaml:"max_in_flight"`
	// Timeout is how long a batch may take to become durable before the sender is
	// told to come again, 4s by default: EventBridge waits for 5.
	Timeout       time.Duration `yaml:"timeout"`
	ingest.Mapped `yaml:",inline"`
}

// What Config means where it is silent.
const (
	defaultListen       = "127.0.0.1:8480"
	defaultPath         = "/events"
	defaultHeader       = "X-Api-Key"
	defaultMaxBodyBytes = 2 << 20
	defaultMaxInFlight  = 16
	defaultTimeout      = 4 * time.Second
)

// minKey is how many characters a key, or bytes a signing secret, has at least.
const minKey = 16

// Validate says all that is wrong at once. It reads no secret.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	d := c.withDefaults()
	host, _, err := net.SplitHostPort(d.Listen)
	switch {
	case err != nil:
		bad("receiver.listen %q: want host:port such as %s", c.Listen, defaultListen)
	case !loopback(host) && c.TLSCert == "":
		bad("receiver.listen %q can be reached from other machines: set tls_cert and tls_key, or listen on 127.0.0.1 behind a proxy that has TLS", c.Listen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("receiver.tls_cert and tls_key belong together: one is empty")
	}
	if !strings.HasPrefix(d.Path, "/") || strings.ContainsAny(d.Path, "?# {}") {
		bad("receiver.path %q: want a path such as %s", c.Path, defaultPath)
	}
	if !headerName(d.Header) {
		bad("receiver.header %q: want the name of an HTTP header such as %s", c.Header, defaultHeader)
	}
	if len(c.Keys)+len(c.Signatures) == 0 {
		bad("receiver.keys and signatures are empty: name at least one secret, such as keys: [env:RIPOSTE_RECEIVER_KEY]; nothing is received from strangers")
	}
	for name, refs := range map[string][]string{"keys": c.Keys, "signatures": c.Signatures} {
		for i, ref := range refs {
			if err := secret.Ref(ref).Validate(); err != nil {
				bad("receiver.%s[%d]: %w", name, i, err)
			}
		}
	}
	if c.MaxBodyBytes < 0 || c.MaxBodyBytes > 0 && c.MaxBodyBytes < 1<<10 || c.MaxBodyBytes > 64<<20 {
		bad("receiver.max_body_bytes %d: want 1024 to 67108864", c.MaxBodyBytes)
	}
	if c.MaxInFlight < 0 || c.MaxInFlight > 1000 {
		bad("receiver.max_in_flight %d: want 1 to 1000", c.MaxInFlight)
	}
	if c.Timeout < 0 || c.Timeout > time.Minute {
		bad("receiver.timeout %s: want up to 1m", c.Timeout)
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// headerName reports whether a header may be named so; those that HTTP needs for
// itself may not.
func headerName(s string) bool {
	for _, c := range s {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "", "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection":
		return false
	}
	return true
}

// withDefaults fills in what is not said.
func (c Config) withDefaults() Config {
	text := func(s *string, otherwise string) {
		if *s == "" {
			*s = otherwise
		}
	}
	text(&c.Listen, defaultListen)
	text(&c.Path, defaultPath)
	text(&c.Header, defaultHeader)
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = defaultMaxBodyBytes
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = defaultMaxInFlight
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c
}
