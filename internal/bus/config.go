package bus

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Config says where the streams live. The comments are the manual.
type Config struct {
	// URL of an outside NATS cluster with JetStream (nats://, tls://); empty is
	// the embedded server.
	URL string `yaml:"url"`
	// CredentialsFile is a NATS credentials file (JWT and NKey) for the URL.
	CredentialsFile string `yaml:"credentials_file"`
	// NKeyFile is an NKey seed file for the URL.
	NKeyFile string `yaml:"nkey_file"`
	// TokenFile holds a token for the URL.
	TokenFile string `yaml:"token_file"`
	// CAFile, CertFile and KeyFile are TLS files for the URL.
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
	// the streams on disk.
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

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("bus: "+format, args...)) }
	if c.URL != "" {
		if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			bad("url: want nats://host:port or tls://host:port")
		} else if u.User != nil {
			bad("url: credentials do not belong in it: use credentials_file, nkey_file or token_file")
		}
	}
	ways := 0
	for _, f := range []string{c.CredentialsFile, c.NKeyFile, c.TokenFile} {
		if f != "" {
			ways++
		}
	}
	if ways > 1 {
		bad("more than one of credentials_file, nkey_file and token_file is given")
	}
	if c.URL == "" && (ways > 0 || c.CAFile != "" || c.CertFile != "" || c.Replicas > 1) {
		bad("credentials, TLS files and replicas belong to an outside cluster, and url is empty")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("cert_file and key_file go together")
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		bad("replicas %d: want 1 to 5", c.Replicas)
	}
	if c.SyncInterval <= 0 {
		bad("sync_interval %s: want a positive duration", c.SyncInterval)
	}
	for name, v := range map[string]int64{
		"events_max_bytes": c.EventsMaxBytes, "findings_max_bytes": c.FindingsMaxBytes,
		"incidents_max_bytes": c.IncidentsMaxBytes, "dead_max_bytes": c.DeadMaxBytes,
	} {
		if v < 1<<20 {
			bad("%s %d: want at least 1 MiB (1048576)", name, v)
		}
	}
	return errors.Join(errs...)
}
