package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DeadStream is the name of the stream of dead letters in Health.
const DeadStream = "DEAD"

// The streams and their subjects.
const (
	eventsStream    = "EVENTS"
	findingsStream  = "FINDINGS"
	incidentsStream = "INCIDENTS"

	eventsPrefix     = "events."
	findingsPrefix   = "findings."
	incidentsPrefix  = "incidents."
	deadPrefix       = "dead."
	duplicatesWindow = 10 * time.Minute
)

// Bus is a connection to the streams. It is safe for concurrent use.
type Bus struct {
	cfg      Config
	log      *slog.Logger
	embedded *embedded // nil outside
	nc       *nats.Conn
	js       jetstream.JetStream
	stop     context.CancelFunc
	tending  sync.WaitGroup
	closing  sync.Once
	closed   chan struct{} // no acknowledgement will come any more
	full     chan struct{} // a publisher was refused
	ackWait  time.Duration // a test's own is shorter
	crowd    uint64        // batches from which the events are trimmed; a test's own are fewer
	attempts attempts
}

func newBus(c Config, log *slog.Logger) *Bus {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Bus{cfg: c, log: log, closed: make(chan struct{}), full: make(chan struct{}, 1), ackWait: ackWait, crowd: crowd, attempts: attempts{base: rand.Text()}}
}

// attempts numbers what this bus publishes, for telling its own from others'.
type attempts struct {
	base string
	n    atomic.Uint64
}

func (a *attempts) next() string { return a.base + "." + strconv.FormatUint(a.n.Add(1), 10) }

// Open starts the embedded server in dir, or connects to the configured cluster,
// and makes the streams as the configuration says. log may be nil.
func Open(ctx context.Context, dir string, c Config, log *slog.Logger) (*Bus, error) {
	b := newBus(c, log)
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var err error
	if c.URL == "" {
		if b.embedded, err = startEmbedded(dir, c); err != nil {
			return nil, err
		}
		b.nc, err = b.embedded.connect()
	} else {
		b.nc, err = connectOutside(c, b.log)
	}
	if err == nil {
		err = b.begin(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bus) useJetStream() (err error) {
	// An acknowledgement that never comes must not be waited for.
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncTimeout(5*time.Second)); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	return nil
}

func (b *Bus) begin(ctx context.Context, c Config) error {
	if err := b.useJetStream(); err != nil {
		return err
	}
	if most := b.nc.MaxPayload(); most < minPayload {
		return fmt.Errorf("%s: its max_payload is %d bytes: set at least %d in the server's configuration", c.URL, most, minPayload)
	}
	if err := b.makeStreams(ctx, c); err != nil {
		return err
	}
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.tending.Go(func() { b.tend(ctx) })
	return nil
}

// Attach connects to the daemon that has dir, or opens the folder when none runs.
func Attach(ctx context.Context, dir string, c Config, log *slog.Logger) (*Bus, error) {
	if c.URL == "" {
		if nc, err := dial(filepath.Join(dir, "attach.json")); err == nil {
			b := newBus(c, log)
			b.nc = nc
			if err := b.useJetStream(); err != nil {
				nc.Close()
				return nil, err
			}
			return b, nil
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("%s: no data here: start riposte run first, or name its data_dir", dir)
		}
	}
	return Open(ctx, dir, c, log)
}

// dial connects as attach.json says; a file left by a process that was killed
// names a port where nobody answers.
func dial(file string) (*nats.Conn, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var info attachInfo
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, err
	}
	return nats.Connect(info.URL, nats.Token(info.Token), nats.Name("riposte-cli"), nats.Timeout(2*time.Second), nats.NoReconnect())
}

// JetStream is the connection's JetStream, for internal/store.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Close ends the connection and the embedded server, whose files are whole when
// it returns. What was said on the connection before is heard.
func (b *Bus) Close() error {
	b.closing.Do(func() {
		if b.stop != nil {
			b.stop()
			b.tending.Wait()
		}
		if b.nc != nil {
			if b.nc.IsConnected() {
				_ = b.nc.FlushTimeout(2 * time.Second) // the last acknowledgements; if not, they come again
			}
			b.nc.Close()
		}
		close(b.closed)
		if b.embedded != nil {
			b.embedded.stop()
		}
	})
	return nil
}

func (b *Bus) makeStreams(ctx context.Context, c Config) error {
	base := func(name, subject string, maxBytes int64, discard jetstream.DiscardPolicy) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			MaxBytes: maxBytes, Discard: discard, Duplicates: duplicatesWindow, Replicas: c.Replicas, AllowDirect: true,
		}
	}
	incidents := base(incidentsStream, incidentsPrefix+">", c.IncidentsMaxBytes, jetstream.DiscardOld)
	incidents.MaxMsgsPerSubject = 1 // the latest of each: the table has the state
	for _, s := range []jetstream.StreamConfig{
		base(eventsStream, eventsPrefix+">", c.EventsMaxBytes, jetstream.DiscardNew),
		base(findingsStream, findingsPrefix+">", c.FindingsMaxBytes, jetstream.DiscardNew),
		incidents,
		base(DeadStream, deadPrefix+">", c.DeadMaxBytes, jetstream.DiscardNew),
	} {
		if _, err := b.js.CreateOrUpdateStream(ctx, s); err != nil {
			return fmt.Errorf("make the stream %s: %w", s.Name, err)
		}
	}
	return nil
}
