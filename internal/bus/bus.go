package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams and their subjects.
const (
	eventsStream    = "EVENTS"
	findingsStream  = "FINDINGS"
	incidentsStream = "INCIDENTS"
	deadStream      = "DEAD"

	eventsSubject     = "events.batch"
	findingsPrefix    = "findings."
	incidentsPrefix   = "incidents."
	deadPrefix        = "dead."
	duplicatesWindow  = 10 * time.Minute
	tendEvery         = 5 * time.Second
	metaSubjectHeader = "Riposte-Subject"
)

// Bus is a connection to the streams. It is safe for concurrent use.
type Bus struct {
	log      *slog.Logger
	embedded *embedded // nil outside
	nc       *nats.Conn
	js       jetstream.JetStream
	stop     context.CancelFunc
	tending  sync.WaitGroup
}

// Open starts the embedded server in dir, or connects to the configured cluster,
// and makes the streams as the configuration says. log may be nil.
func Open(ctx context.Context, dir string, c Config, log *slog.Logger) (*Bus, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Bus{log: log}
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
		b.nc, err = connectOutside(c)
	}
	if err == nil {
		err = b.start(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bus) start(ctx context.Context, c Config) (err error) {
	if b.js, err = jetstream.New(b.nc); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
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
			js, err := jetstream.New(nc)
			if err != nil {
				nc.Close()
				return nil, fmt.Errorf("use JetStream: %w", err)
			}
			if log == nil {
				log = slog.New(slog.DiscardHandler)
			}
			return &Bus{log: log, nc: nc, js: js}, nil
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

// Close ends the connection and the embedded server, whose files are whole when it returns.
func (b *Bus) Close() error {
	if b.stop != nil {
		b.stop()
		b.tending.Wait()
	}
	if b.nc != nil {
		b.nc.Close()
	}
	if b.embedded != nil {
		b.embedded.stop()
	}
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
		base(eventsStream, eventsSubject, c.EventsMaxBytes, jetstream.DiscardNew),
		base(findingsStream, findingsPrefix+">", c.FindingsMaxBytes, jetstream.DiscardNew),
		incidents,
		base(deadStream, deadPrefix+">", c.DeadMaxBytes, jetstream.DiscardNew),
	} {
		if _, err := b.js.CreateOrUpdateStream(ctx, s); err != nil {
			return fmt.Errorf("make the stream %s: %w", s.Name, err)
		}
	}
	return nil
}

// tend removes what every consumer has acknowledged from streams that are more
// than half full, so that publishers do not wait for history.
func (b *Bus) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, name := range []string{eventsStream, findingsStream} {
			if err := b.trim(ctx, name); err != nil && ctx.Err() == nil {
				b.log.WarnContext(ctx, "stream not trimmed", "stream", name, "err", err)
			}
		}
	}
}

func (b *Bus) trim(ctx context.Context, name string) error {
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	if info.State.Bytes < uint64(info.Config.MaxBytes)/2 {
		return nil
	}
	handled, consumers := uint64(0), 0
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.Durable == "" {
			continue
		}
		if consumers++; consumers == 1 || c.AckFloor.Stream < handled {
			handled = c.AckFloor.Stream
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	// Keep the newest half of what may go.
	if consumers == 0 || handled <= info.State.FirstSeq {
		return nil
	}
	return s.Purge(ctx, jetstream.WithPurgeSequence(info.State.FirstSeq+(handled-info.State.FirstSeq)/2+1))
}

// retrying runs a publish until it succeeds, until ctx ends, or until it fails
// in a way that trying again cannot mend.
func (b *Bus) retrying(ctx context.Context, what string, publish func() error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, 5*time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := publish()
		if err != nil && lasting(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, d time.Duration) {
		b.log.WarnContext(ctx, "publish refused, trying again", "what", what, "err", err, "wait", d.String())
	}))
	var p *backoff.PermanentError
	if errors.As(err, &p) {
		err = p.Err
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", what, err)
	}
	return nil
}

// lasting reports errors that will be the same next time.
func lasting(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) || exists(err)
}

// exists reports that a subject that must be new has a message.
func exists(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == 10164)
}
