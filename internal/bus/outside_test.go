package bus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"riposte/event"
	"riposte/internal/bus"
)

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		case <-again.C:
		}
	}
}

// said is what a bus logged.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

func oneEvent(t *testing.T, id string) []event.Event {
	t.Helper()
	e, err := event.Decode(event.CloudTrail, fmt.Appendf(nil, `{"eventID":%q}`, id))
	if err != nil {
		t.Fatal(err)
	}
	return []event.Event{e}
}

// TestServerAway publishes and consumes while there is no server.
func TestServerAway(t *testing.T) {
	t.Parallel()
	s, c := startOutsider(t, withToken)
	var log said
	b, err := bus.Open(t.Context(), "", c, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var handled, found atomic.Int64
	ended := make(chan error, 5)
	go func() {
		ended <- b.ConsumeEvents(ctx, "d", 2, func(context.Context, *bus.Batch) error { handled.Add(1); return nil })
	}()
	go func() {
		ended <- b.ConsumeFindings(ctx, "f", 2, func(context.Context, *event.Finding) error { found.Add(1); return nil })
	}()
	if err := b.PublishEvents(ctx, "0", oneEvent(t, "e")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first is handled", func() bool { return handled.Load() == 1 })
	s.stop()
	published := make(chan error, 2)
	go func() { published <- b.PublishEvents(ctx, "1", oneEvent(t, "e1")) }()
	go func() {
		isNew, err := b.PublishFindings(ctx, []*event.Finding{{ID: "f", Severity: event.Low}, {ID: "g", Severity: event.Low}})
		if err == nil && (!isNew[0] || !isNew[1]) {
			err = fmt.Errorf("new: %v", isNew)
		}
		published <- err
	}()
	go func() { // one that begins while there is nobody
		ended <- b.ConsumeEvents(ctx, "late", 1, func(context.Context, *bus.Batch) error { handled.Add(10); return nil })
	}()
	eventually(t, "both are refused", func() bool { return log.has("what=events") && log.has("what=findings") })
	short, cancelShort := context.WithCancel(ctx)
	cancelShort()
	if err := b.PublishEvents(short, "2", oneEvent(t, "e2")); !errors.Is(err, context.Canceled) {
		t.Errorf("publish without time or server: %v", err)
	}
	if _, err := b.Health(ctx); err == nil {
		t.Error("health of nobody")
	}
	s.start(t)
	for range 2 {
		if err := <-published; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all is handled", func() bool { return handled.Load() == 22 && found.Load() == 2 })
	if !log.has("bus disconnected") || !log.has("bus connected again") || log.has("outbound buffer") {
		t.Errorf("the log does not tell the story: %s", log.text.String())
	}
	cancel()
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestConsumerRemoved has an operator remove a consumer under its workers.
func TestConsumerRemoved(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), small())
	ctx, cancel := context.WithCancel(t.Context())
	var last atomic.Uint64
	ended := make(chan error, 1)
	go func() {
		ended <- b.ConsumeEvents(ctx, "d", 2, func(_ context.Context, batch *bus.Batch) error {
			for seen := last.Load(); batch.Seq > seen && !last.CompareAndSwap(seen, batch.Seq); seen = last.Load() {
			}
			return nil
		})
	}()
	for i := uint64(1); i <= 3; i++ {
		if err := b.PublishEvents(ctx, fmt.Sprint(i), oneEvent(t, "e")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is handled", func() bool { return last.Load() == i })
		if err := b.JetStream().DeleteConsumer(ctx, "EVENTS", "d"); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := b.ConsumeEvents(t.Context(), "not a name.", 1, nil); err == nil {
		t.Error("a name that cannot be was waited for")
	}
}

// TestAnswersLost cuts the connection after the stream has stored and before it
// could say so.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	_, c := startOutsider(t, withToken)
	direct := open(t, "", c)
	p := startProxy(t, strings.TrimPrefix(c.URL, "nats://"))
	// Of several members, one that is not there does no harm.
	c.URL = "nats://127.0.0.1:1, nats://" + p.l.Addr().String()
	b := open(t, "", c)
	stored := func(stream int, n uint64) func() bool {
		return func() bool {
			h, err := direct.Health(t.Context())
			return err == nil && h.Streams[stream].Messages == n
		}
	}
	type answer struct {
		isNew []bool
		err   error
	}
	answers := make(chan answer, 1)
	if isNew, err := direct.PublishFinding(t.Context(), &event.Finding{ID: "old", Severity: event.Low}); !isNew || err != nil {
		t.Fatal(isNew, err)
	}
	p.deaf.Store(true)
	go func() {
		isNew, err := b.PublishFindings(t.Context(), []*event.Finding{{ID: "a", Severity: event.Low}, {ID: "old", Severity: event.Low}, {ID: "b", Severity: event.Low}})
		answers <- answer{isNew, err}
	}()
	eventually(t, "the findings are stored", stored(1, 3))
	p.cut()
	if a := <-answers; a.err != nil || fmt.Sprint(a.isNew) != "[true false true]" {
		t.Errorf("new: %v %v, want what is ours to be new", a.isNew, a.err)
	}
	p.deaf.Store(true)
	go func() { answers <- answer{nil, b.PublishEvents(t.Context(), "1", oneEvent(t, "e"))} }()
	eventually(t, "the batch is stored", stored(0, 1))
	p.cut()
	if a := <-answers; a.err != nil {
		t.Error(a.err)
	}
	p.deaf.Store(true)
	go func() {
		answers <- answer{nil, b.DeadLetter(t.Context(), bus.DeadLetter{Reason: "r", Place: "p", Payload: []byte("x")})}
	}()
	eventually(t, "the letter is stored", stored(3, 1))
	p.cut()
	if a := <-answers; a.err != nil {
		t.Error(a.err)
	}
	if !stored(0, 1)() || !stored(1, 3)() || !stored(3, 1)() {
		h, err := direct.Health(t.Context())
		t.Errorf("something is there twice: %+v %v", h, err)
	}
}

// TestWatchGoesOn has changes announced while the one who watches is cut off.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	_, c := startOutsider(t, withToken)
	direct := open(t, "", c)
	p := startProxy(t, strings.TrimPrefix(c.URL, "nats://"))
	c.URL = "nats://" + p.l.Addr().String()
	b := open(t, "", c)
	var mu sync.Mutex
	heard := map[string]int{}
	times := func(id string) int {
		mu.Lock()
		defer mu.Unlock()
		return heard[id]
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.WatchIncidents(ctx, func(id string, _ []byte) {
			mu.Lock()
			defer mu.Unlock()
			heard[id]++
		})
	}()
	ring := func(id string) {
		t.Helper()
		if err := direct.PublishIncident(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the watch begins", func() bool { ring("first"); return times("first") > 0 })
	for round := range 3 {
		p.deaf.Store(true)
		for i := range 5 {
			ring(fmt.Sprintf("r%d-%d", round, i))
		}
		p.cut()
		for i := range 5 {
			eventually(t, "what was announced meanwhile is heard", func() bool { return times(fmt.Sprintf("r%d-%d", round, i)) == 1 })
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := b.WatchIncidents(t.Context(), nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("watch on a closed bus: %v", err)
	}
}

// proxy stands between a bus and its server.
type proxy struct {
	l    net.Listener
	to   string
	deaf atomic.Bool // what the server says is lost
	mu   sync.Mutex
	open []net.Conn
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to}
	go func() { // ends when the listener is closed
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(client)
		}
	}()
	t.Cleanup(func() { l.Close(); p.cut() })
	return p
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.open = append(p.open, client, server)
	p.mu.Unlock()
	go func() { _, _ = io.Copy(server, client) }() // both end when the connections are closed
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := server.Read(buf)
			if err != nil {
				client.Close()
				return
			}
			if !p.deaf.Load() {
				_, _ = client.Write(buf[:n])
			}
		}
	}()
}

// cut closes what is open; what comes next is heard.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
	p.deaf.Store(false)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	_, c := startOutsider(t, func(t *testing.T, o *server.Options, c *bus.Config) {
		withToken(t, o, c)
		o.MaxPayload = 64 << 10
	})
	wrong := c
	wrong.TokenFile = file(t, []byte("open barley"))
	missing := c
	missing.TokenFile = "/no/such/file"
	nobody := c
	nobody.URL = "nats://127.0.0.1:1"
	badSeed := c
	badSeed.TokenFile, badSeed.NKeyFile = "", file(t, []byte("not a seed"))
	invalid := c
	invalid.Replicas = 9
	for want, c := range map[string]bus.Config{
		"max_payload": c, "Authorization": wrong, "bus.token_file": missing, "connect to nats://127.0.0.1:1": nobody, "bus.nkey_file": badSeed, "bus.replicas": invalid,
	} {
		b, err := bus.Open(t.Context(), "", c, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open: %v, want %q", err, want)
		}
		if b != nil {
			t.Error("an error and a bus")
		}
	}
	if _, err := bus.Open(t.Context(), "/dev/null/x", bus.DefaultConfig(), nil); err == nil || !strings.Contains(err.Error(), "data folder") {
		t.Errorf("open: %v", err)
	}
}
