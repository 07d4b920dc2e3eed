package bus

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Config says where the streams live. The comments are the manual.
type Config struct {
	// URL of an outside NATS cluster with JetStream, nats://host:port or
	// tls://host:port; several, separated by commas, are members of one cluster.
	// Empty is the embedded server. The cluster's max_payload must be at least 256
	// KiB; the larger, the larger a finding or a dead letter may be.
	URL string `yaml:"url"`
	// CredentialsFile is a NATS credentials file (JWT and NKey) for the URL; it is
	// read again at every reconnection.
	CredentialsFile string `yaml:"credentials_file"`
	// NKeyFile is an NKey seed file for the URL.
	NKeyFile string `yaml:"nkey_file"`
	// TokenFile holds a token for the URL; it is read again at every reconnection.
	TokenFile string `yaml:"token_file"`
	// CAFile is the authority that signed the cluster's certificate, for one the
	// system does not know. CertFile and KeyFile are ours, for mutual TLS.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// Replicas of each stream, 1 to 5; the embedded server has 1.
	Replicas int `yaml:"replicas"`
	// SyncInterval is how often the embedded server writes through to disk.
	SyncInterval time.Duration `yaml:"sync_interval"`
	// SyncAlways writes through before each acknowledgement: safe against power
	// loss, about ten times slower.
	SyncAlways bool `yaml:"sync_always"`
	// EventsMaxBytes, FindingsMaxBytes, IncidentsMaxBytes and DeadMaxBytes bound
	// the streams on disk. When events or findings are full, publishers wait until
	// consumers have caught up; when the dead letters are full, whoever has one
	// waits until a person has removed some.
	EventsMaxBytes    int64 `yaml:"events_max_bytes"`
	FindingsMaxBytes  int64 `yaml:"findings_max_bytes"`
	IncidentsMaxBytes int64 `yaml:"incidents_max_bytes"`
	DeadMaxBytes      int64 `yaml:"dead_max_bytes"`
}

// DefaultConfig is the embedded server with room for a busy day on a laptop.
func DefaultConfig() Config {
	return Config{
		Replicas: 1, SyncInterval: time.Second,
		EventsMaxBytes: 4 << 30, FindingsMaxBytes: 1 << 30, IncidentsMaxBytes: 256 << 20, DeadMaxBytes: 1 << 30,
	}
}

// Validate says all that is wrong at once, each by its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("bus."+key+": "+format, args...))
	}
	for _, s := range c.urls() {
		switch u, err := url.Parse(s); {
		case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls":
			bad("url", "want nats://host:port or tls://host:port, several with commas between")
		case u.User != nil:
			bad("url", "credentials do not belong in it: use credentials_file, nkey_file or token_file")
		}
	}
	outside := []struct{ key, file string }{
		{"credentials_file", c.CredentialsFile}, {"nkey_file", c.NKeyFile}, {"token_file", c.TokenFile},
		{"ca_file", c.CAFile}, {"cert_file", c.CertFile}, {"key_file", c.KeyFile},
	}
	way := ""
	for i, f := range outside {
		if f.file == "" {
			continue
		}
		if c.URL == "" {
			bad(f.key, "it belongs to an outside cluster, and bus.url is empty: name the cluster, or remove it")
		}
		if i < 3 && way != "" {
			bad(f.key, "bus.%s is given too: keep one of them", way)
		} else if i < 3 {
			way = f.key
		}
	}
	if c.CertFile != "" && c.KeyFile == "" {
		bad("key_file", "it is missing beside cert_file: they go together")
	}
	if c.KeyFile != "" && c.CertFile == "" {
		bad("cert_file", "it is missing beside key_file: they go together")
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		bad("replicas", "%d: want 1 to 5", c.Replicas)
	} else if c.URL == "" && c.Replicas > 1 {
		bad("replicas", "%d: the embedded server has 1; more need a cluster in bus.url", c.Replicas)
	}
	if c.SyncInterval <= 0 {
		bad("sync_interval", "%s: want a positive duration", c.SyncInterval)
	}
	for _, size := range []struct {
		key string
		v   int64
	}{
		{"events_max_bytes", c.EventsMaxBytes}, {"findings_max_bytes", c.FindingsMaxBytes},
		{"incidents_max_bytes", c.IncidentsMaxBytes}, {"dead_max_bytes", c.DeadMaxBytes},
	} {
		if size.v < 1<<20 {
			bad(size.key, "%d: want at least 1 MiB (1048576)", size.v)
		}
	}
	return errors.Join(errs...)
}

func (c Config) urls() []string {
	if c.URL == "" {
		return nil
	}
	list := strings.Split(c.URL, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}
