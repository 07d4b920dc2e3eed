// Package receiver takes events that are posted over HTTPS: by EventBridge
// through an API destination, or by anything else that can send JSON.
//
// A request is answered with 202 when every event in it is durable, and not
// before; whoever is told anything else sends again. The batches are named after
// the body, so that a body which is sent again makes the same ones. What cannot
// be read is refused with the reason, and is in the dead letters.
//
// Nobody is listened to without a secret: a key in a header, which is what
// EventBridge sends, or a signature after Standard Webhooks, as riposte's own
// webhooks carry. Without TLS it listens on loopback only. Memory is bounded by
// the number of requests in flight and the size of a body, and slow senders are
// cut off.
package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"

	"riposte/ingest"
)

// Source receives at one address.
type Source struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	secrets  *watched[secrets]
	cert     *watched[*tls.Certificate]
	patience patience
}

// patience is how long a sender may take; tests shorten it.
type patience struct {
	header, body time.Duration
	// farewell is how long requests may go on after the end.
	farewell time.Duration
}

// New reads the secrets and begins to listen, so that what is wrong shows before
// anything runs. Connections are taken from when Run is called. log may be nil.
func New(c Config, log *slog.Logger) (*Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Source{cfg: c, log: log.With("source", "receiver"), patience: patience{header: 5 * time.Second, body: 15 * time.Second, farewell: 10 * time.Second}}
	var err error
	if s.secrets, err = watch("receiver secrets", c.files(), s.log, c.readSecrets); err != nil {
		return nil, err
	}
	if c.TLSCert != "" {
		if s.cert, err = watch("receiver certificate", []string{c.TLSCert, c.TLSKey}, s.log, c.readCert); err != nil {
			return nil, err
		}
	}
	if s.listener, err = net.Listen("tcp", c.Listen); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("receiver.listen: %s is in use by another program: name another port: %w", c.Listen, err)
		}
		return nil, fmt.Errorf("receiver.listen: %w", err)
	}
	return s, nil
}

func (c Config) readCert() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("receiver.tls_cert %s and tls_key %s: %w", c.TLSCert, c.TLSKey, err)
	}
	return &cert, nil
}

// URL is what is posted to, with the address that is listened on.
func (s *Source) URL() string {
	scheme := "http"
	if s.cert != nil {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String() + s.cfg.Path
}

// server answers while Run runs.
type server struct {
	*Source
	sink ingest.Sink
	// readers are free; one is taken for each request that is worked on.
	readers    chan *ingest.Reader
	complaints rate.Sometimes
}

func (s *Source) server(sink ingest.Sink) *server {
	h := &server{Source: s, sink: sink, readers: make(chan *ingest.Reader, s.cfg.MaxInFlight), complaints: rate.Sometimes{First: 10, Interval: 10 * time.Second}}
	for range s.cfg.MaxInFlight {
		h.readers <- ingest.NewReader()
	}
	return h
}

// Run receives until ctx is done, and then lets the requests that are being
// worked on end.
func (s *Source) Run(ctx context.Context, sink ingest.Sink) error {
	h := &http.Server{
		Handler: s.server(sink), ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: s.patience.header, ReadTimeout: s.patience.body, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		WriteTimeout: s.patience.body + s.cfg.Timeout + 10*time.Second,
		BaseContext:  func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	// More connections than requests, since they idle between them; the rest waits.
	l := netutil.LimitListener(s.listener, 64+4*s.cfg.MaxInFlight)
	if s.cert != nil {
		l = tls.NewListener(l, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.get(), nil },
		})
	}
	s.log.InfoContext(ctx, "receiving", "url", s.URL(), "keys", len(s.cfg.Keys), "signatures", len(s.cfg.Signatures))
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }() // waited for below
	select {
	case err := <-ended:
		return fmt.Errorf("receive at %s: %w", s.URL(), err)
	case <-ctx.Done():
	}
	farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience.farewell)
	defer cancel()
	if err := h.Shutdown(farewell); err != nil {
		_ = h.Close() // whoever is cut off sends again
	}
	<-ended
	return nil
}
