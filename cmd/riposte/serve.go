package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"riposte/console"
)

// serveConsole serves the console on addr, in g, until ctx is done, and returns
// the address that lets a person in.
func (p *pipeline) serveConsole(ctx context.Context, g *errgroup.Group, addr string) (string, error) {
	token := rand.Text()
	handler, err := console.New(console.Config{Reader: p.view, Token: token, Log: p.log})
	if err != nil {
		return "", fmt.Errorf("make the console: %w", err)
	}
	l, err := listen(addr, "console.listen")
	if err != nil {
		return "", err
	}
	g.Go(func() error { return p.view.run(ctx) })
	serve(ctx, g, l, handler, handler.Close)
	return fmt.Sprintf("http://%s/?token=%s", l.Addr(), token), nil
}

// serveMetrics serves Prometheus' text format where telemetry.metrics_listen
// says, and returns the address; "" when it is not to be served.
func (p *pipeline) serveMetrics(ctx context.Context, g *errgroup.Group) (string, error) {
	if p.cfg.Telemetry.MetricsListen == "" {
		return "", nil
	}
	err := p.tel.Gauge("riposte.stream.pending", "messages that a consumer has not handled", "consumer", func(ctx context.Context, observe func(int64, string)) {
		h, err := p.bus.Health(ctx)
		if err != nil {
			p.log.WarnContext(ctx, "streams not measured", "err", err)
			return
		}
		for _, s := range h.Streams {
			for _, c := range s.Consumers {
				observe(int64(c.Pending)+int64(c.Unacked), c.Name)
			}
		}
		observe(int64(h.DeadLetters), "dead-letters")
	})
	if err != nil {
		return "", fmt.Errorf("measure the streams: %w", err)
	}
	if err := p.measureInventory(); err != nil {
		return "", err
	}
	if err := p.measureQueues(); err != nil {
		return "", fmt.Errorf("measure the queues: %w", err)
	}
	l, err := listen(p.cfg.Telemetry.MetricsListen, "telemetry.metrics_listen")
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.tel.Metrics)
	serve(ctx, g, l, mux, nil)
	return fmt.Sprintf("http://%s/metrics", l.Addr()), nil
}

func listen(addr, key string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is in use by another program: name another port, or 127.0.0.1:0 for any that is free: %w", key, addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// serve answers on l until ctx is done, then lets requests end for a second;
// closing, when given, ends those that would go on.
func serve(ctx context.Context, g *errgroup.Group, l net.Listener, h http.Handler, closing func()) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if closing != nil {
		s.RegisterOnShutdown(closing)
	}
	g.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			return s.Close()
		}
		return nil
	})
}
