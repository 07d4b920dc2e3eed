package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/event"
)

// TestSlowHandler works on a message for longer than the server waits in silence.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	b := openTest(t, t.TempDir())
	b.ackWait = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	done := make(chan error, 1)
	go func() {
		done <- b.ConsumeEvents(ctx, "d", 3, func(ctx context.Context, batch *Batch) error {
			calls.Add(1)
			sleep(ctx, 3*b.ackWait) // it is this slow
			return nil
		})
	}()
	events := ordinaryBatch(t, 1, 1)
	for i := range 3 {
		if err := b.PublishEvents(ctx, fmt.Sprint(i), events); err != nil {
			t.Fatal(err)
		}
	}
	for idle := false; !idle; {
		var err error
		if idle, err = b.Idle(ctx, "d"); err != nil {
			t.Fatal(err)
		}
		sleep(ctx, 5*time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("handled %d times, want 3", n)
	}
}

func TestRetrying(t *testing.T) {
	full := &jetstream.APIError{Code: 503, ErrorCode: storeFailed, Description: "maximum bytes exceeded"}
	for _, temporary := range []error{
		full, jetstream.ErrTooManyStalledMsgs, jetstream.ErrAsyncPublishTimeout, jetstream.ErrNoStreamResponse, nats.ErrReconnectBufExceeded,
		nats.ErrDisconnected, nats.ErrTimeout, context.DeadlineExceeded, &jetstream.APIError{Code: 400, ErrorCode: 10164},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(DefaultConfig(), nil)
			tries, began := 0, time.Now()
			err := b.retrying(t.Context(), "x", func() error {
				if tries++; tries < 20 {
					return temporary
				}
				return nil
			})
			if err != nil || tries != 20 {
				t.Errorf("%v: %d tries, %v", temporary, tries, err)
			}
			if waited := time.Since(began); waited < 20*time.Second || waited > 3*time.Minute {
				t.Errorf("%v: waited %s for 20 tries", temporary, waited)
			}
			if kicked := len(b.full) == 1; kicked != (temporary == error(full)) {
				t.Errorf("%v: the tender was called: %v", temporary, kicked)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := b.retrying(ctx, "x", func() error { return temporary }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: ended with %v", temporary, err)
			}
		})
	}
	for _, lasts := range []error{nats.ErrMaxPayload, nats.ErrConnectionClosed, &jetstream.APIError{ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := newBus(DefaultConfig(), nil).retrying(t.Context(), "x", func() error { tries++; return lasts })
			if err == nil || tries != 1 || !errors.Is(err, inOurWords(lasts)) {
				t.Errorf("%v: %d tries, %v", lasts, tries, err)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for delivered, want := range map[uint64]time.Duration{0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 5: 1600 * time.Millisecond, 11: time.Minute, 1 << 40: time.Minute} {
		if got := retryAfter(delivered); got != want {
			t.Errorf("after %d deliveries wait %s, want %s", delivered, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	subjects, headers := map[string]string{}, map[string]string{}
	for _, id := range []string{
		"", "a", "A", "a.b", "*", ">", " ", "a ", "a\n", "a\r\nb", "é", "\x00", strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("b", 1<<20),
		event.Hash(""), event.Hash("A"), "H" + event.Hash("A"), "H " + event.Hash(" "), "h" + event.Hash("a"), "-", "--",
	} {
		for _, c := range []struct {
			taken map[string]string
			short string
			bad   string
		}{{subjects, token(id), " .*>\r\n\t\x00"}, {headers, headerID(id), "\r\n\t\x00"}} {
			if c.short == "" || len(c.short) > 256 || strings.ContainsAny(c.short, c.bad) {
				t.Errorf("%.20q becomes %q", id, c.short)
			}
			if other, taken := c.taken[c.short]; taken {
				t.Errorf("%.20q and %.20q are both %q", id, other, c.short)
			}
			c.taken[c.short] = id
		}
	}
	if id := event.Hash("x"); token(id) != id || headerID(id) != id {
		t.Error("our own ids are not kept as they are")
	}
}

func TestCarrier(t *testing.T) {
	for _, h := range []nats.Header{{"traceparent": {"x"}}, {"Traceparent": {"x"}}} {
		if c := carrier(h); c.Get("traceparent") != "x" || c.Get("tracestate") != "" || len(c.Keys()) != 1 {
			t.Errorf("%v", h)
		}
	}
	if carrier(nil).Get("traceparent") != "" {
		t.Error("no header has a trace")
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	outside := DefaultConfig()
	outside.URL, outside.Replicas, outside.CAFile, outside.CertFile, outside.KeyFile, outside.NKeyFile = "nats://a:4222, tls://b:4222", 3, "ca", "cert", "key", "seed"
	if err := outside.Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   []string
	}{
		{func(c *Config) { c.URL = "http://x" }, []string{"bus.url: want nats://"}},
		{func(c *Config) { c.URL = "nats://a:4222,b" }, []string{"bus.url: want"}},
		{func(c *Config) { c.URL = "nats://me:secret@x:4222" }, []string{"bus.url: credentials do not belong"}},
		{func(c *Config) { c.TokenFile, c.CAFile, c.Replicas = "t", "c", 3 }, []string{"bus.token_file: ", "bus.ca_file: ", "bus.replicas: 3: the embedded"}},
		{func(c *Config) { c.URL, c.TokenFile, c.NKeyFile = "nats://x:1", "t", "n" }, []string{"bus.token_file: bus.nkey_file is given too"}},
		{func(c *Config) { c.URL, c.CertFile = "tls://x:1", "c" }, []string{"bus.key_file: it is missing beside cert_file"}},
		{func(c *Config) { c.URL, c.KeyFile = "tls://x:1", "k" }, []string{"bus.cert_file: it is missing beside key_file"}},
		{func(c *Config) { *c = Config{} }, []string{
			"bus.replicas: 0: want 1 to 5", "bus.sync_interval: 0s: want", "bus.events_max_bytes: 0: want at least", "bus.findings_max_bytes", "bus.incidents_max_bytes", "bus.dead_max_bytes",
		}},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if err == nil {
			t.Errorf("%q is not said", c.want)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(c.want) {
			t.Errorf("%q, want %q", lines, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("%q, want %q", lines[i], want)
			}
			if strings.Contains(lines[i], "secret") {
				t.Errorf("a secret is said: %q", lines[i])
			}
		}
	}
}

// TestTrim has a stream of few large messages, hardly half full, that refuses the next.
func TestTrim(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.FindingsMaxBytes = 1 << 20
	b, err := Open(t.Context(), t.TempDir(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.ConsumeFindings(ctx, "f", 1, func(context.Context, *event.Finding) error { return nil })
	}()
	title := strings.Repeat("x", b.room(c.FindingsMaxBytes)-1000)
	for i := range 40 { // far more than the stream holds
		if isNew, err := b.PublishFinding(ctx, &event.Finding{ID: fmt.Sprint(i), Severity: event.Low, Title: title}); !isNew || err != nil {
			t.Fatal(isNew, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// Nobody reads the events: nothing of them goes.
	if err := b.PublishEvents(t.Context(), "1", ordinaryBatch(t, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := b.trim(t.Context(), eventsStream, true); err != nil {
		t.Error(err)
	}
	if h, err := b.Health(t.Context()); err != nil || h.Streams[0].Messages != 1 || h.Streams[1].Messages == 0 {
		t.Errorf("health: %+v %v", h, err)
	}
}

// TestCrowd: of many small messages those that were handled go, the older half of
// them, long before the stream is half full.
func TestCrowd(t *testing.T) {
	t.Parallel()
	b := openTest(t, t.TempDir())
	defer b.Close()
	b.crowd = 40
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.ConsumeEvents(ctx, "e", 1, func(context.Context, *Batch) error { return nil })
	}()
	for i := range 40 {
		if err := b.PublishEvents(ctx, fmt.Sprint(i), ordinaryBatch(t, 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for idle := false; !idle; {
		var err error
		if idle, err = b.Idle(ctx, "e"); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := b.trim(t.Context(), eventsStream, false); err != nil {
		t.Fatal(err)
	}
	if h, err := b.Health(t.Context()); err != nil || h.Streams[0].Messages != 20 {
		t.Errorf("health: %+v %v", h, err)
	}
}

// TestBatchIsStoredOnce: a batch that comes again when the server has forgotten
// message ids is still the same batch.
func TestBatchIsStoredOnce(t *testing.T) {
	b := openTest(t, t.TempDir())
	defer b.Close()
	s, err := b.js.Stream(t.Context(), eventsStream)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Duplicates = 100 * time.Millisecond
	if s, err = b.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	events := ordinaryBatch(t, 1, 3)
	if err := b.PublishEvents(t.Context(), "one", events); err != nil {
		t.Fatal(err)
	}
	// Its message id is forgotten when a later one is, which another message may
	// have then.
	for stored := 0; stored < 2; {
		ack, err := b.js.Publish(t.Context(), eventsPrefix+"other", nil, jetstream.WithMsgID("later"))
		if err != nil {
			t.Fatal(err)
		}
		if !ack.Duplicate {
			stored++
		}
	}
	before, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.PublishEvents(t.Context(), "one", events); err != nil {
			t.Fatal(err)
		}
	}
	after, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.State.Msgs != before.State.Msgs {
		t.Errorf("%d messages, and %d before the batch came again", after.State.Msgs, before.State.Msgs)
	}
}
