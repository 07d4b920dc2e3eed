// Package telemetry is what riposte says about itself: structured logs, metrics
// for Prometheus and OTLP, traces over OTLP. Log messages are constant and keys
// mean the same everywhere; values from events are escaped, because whoever
// writes an event would like to write a log line. Metrics are labelled with what
// is bounded: rules, severities, actions, never ARNs or addresses.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says what is reported and where. The comments are the manual.
type Config struct {
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// LogFormat is text or json; empty is text on a terminal and json elsewhere.
	LogFormat string `yaml:"log_format"`
	// MetricsListen serves /metrics for Prometheus; empty is off. It must be loopback.
	MetricsListen string `yaml:"metrics_listen"`
	// OTLPEndpoint receives traces and metrics over OTLP/HTTP (http://host:4318); empty is off.
	OTLPEndpoint string `yaml:"otlp_endpoint"`
	// OTLPHeadersEnv names an environment variable with headers, key=value separated by commas.
	OTLPHeadersEnv string `yaml:"otlp_headers_env"`
	// TraceRatio is the share of traces that are kept, 0 to 1.
	TraceRatio float64 `yaml:"trace_ratio"`
}

// DefaultConfig logs at info and serves nothing.
func DefaultConfig() Config { return Config{LogLevel: "info", TraceRatio: 1} }

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	if _, err := c.level(); err != nil {
		errs = append(errs, err)
	}
	if c.LogFormat != "" && c.LogFormat != "text" && c.LogFormat != "json" {
		errs = append(errs, fmt.Errorf("telemetry.log_format %q: want text or json", c.LogFormat))
	}
	if c.MetricsListen != "" {
		host, _, err := net.SplitHostPort(c.MetricsListen)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			errs = append(errs, fmt.Errorf("telemetry.metrics_listen %q: want a loopback address such as 127.0.0.1:9464", c.MetricsListen))
		}
	}
	if c.OTLPEndpoint != "" {
		if u, err := url.Parse(c.OTLPEndpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("telemetry.otlp_endpoint %q: want http(s)://host:port", c.OTLPEndpoint))
		}
	}
	if c.TraceRatio < 0 || c.TraceRatio > 1 {
		errs = append(errs, fmt.Errorf("telemetry.trace_ratio %v: want 0 to 1", c.TraceRatio))
	}
	return errors.Join(errs...)
}

func (c Config) level() (slog.Level, error) {
	var l slog.Level
	if c.LogLevel == "" {
		return slog.LevelInfo, nil
	}
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return l, fmt.Errorf("telemetry.log_level %q: want debug, info, warn or error", c.LogLevel)
	}
	return l, nil
}

// Telemetry is the logger, the tracer and the instruments.
type Telemetry struct {
	Logger *slog.Logger
	Tracer trace.Tracer
	Meter  metric.Meter
	// Metrics serves the Prometheus text format.
	Metrics http.Handler

	events, bytes, flows, broken, evaluated, findings, repeated, plans, work, future, recovered metric.Int64Counter
	latency, lag, delivery                                                                      metric.Float64Histogram

	shutdown []func(context.Context) error
}

// Setup starts what is configured. terminal is whether stderr is one.
func Setup(ctx context.Context, c Config, stderr io.Writer, terminal bool, version string) (*Telemetry, error) {
	level, err := c.level()
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Logger: slog.New(newHandler(stderr, level, c.LogFormat == "text" || c.LogFormat == "" && terminal))}
	res := resource.NewSchemaless(attribute.String("service.name", "riposte"), attribute.String("service.version", version))
	registry := prometheus.NewRegistry()
	exporter, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("make the Prometheus exporter: %w", err)
	}
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	metrics := []sdkmetric.Option{sdkmetric.WithReader(exporter), sdkmetric.WithResource(res), sdkmetric.WithCardinalityLimit(20_000)}
	traces := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.TraceRatio)))}
	if c.OTLPEndpoint != "" {
		headers := parseHeaders(os.Getenv(c.OTLPHeadersEnv))
		te, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(c.OTLPEndpoint, "/")+"/v1/traces"), otlptracehttp.WithHeaders(headers))
		if err != nil {
			return nil, fmt.Errorf("export traces: %w", err)
		}
		me, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(strings.TrimSuffix(c.OTLPEndpoint, "/")+"/v1/metrics"), otlpmetrichttp.WithHeaders(headers))
		if err != nil {
			return nil, fmt.Errorf("export metrics: %w", err)
		}
		traces = append(traces, sdktrace.WithBatcher(te))
		metrics = append(metrics, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(me, sdkmetric.WithInterval(15*time.Second))))
	} else {
		traces = append(traces, sdktrace.WithSampler(sdktrace.NeverSample()))
	}
	tp, mp := sdktrace.NewTracerProvider(traces...), sdkmetric.NewMeterProvider(metrics...)
	t.shutdown = []func(context.Context) error{tp.Shutdown, mp.Shutdown}
	t.Tracer, t.Meter = tp.Tracer("riposte"), mp.Meter("riposte")
	return t, t.instruments(ctx, version)
}

func parseHeaders(s string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			out[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return out
}

func (t *Telemetry) instruments(ctx context.Context, version string) error {
	var errs []error
	counter := func(name, text, unit string) metric.Int64Counter {
		c, err := t.Meter.Int64Counter(name, metric.WithDescription(text), metric.WithUnit(unit))
		errs = append(errs, err)
		return c
	}
	histogram := func(name, text string, bounds ...float64) metric.Float64Histogram {
		h, err := t.Meter.Float64Histogram(name, metric.WithDescription(text), metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	t.events = counter("riposte.ingest.events", "events made durable, by source and kind", "{event}")
	t.bytes = counter("riposte.ingest.bytes", "bytes of those events", "By")
	t.flows = counter("riposte.ingest.flow.records", "flow log records, by source and log-status: NODATA is no traffic, SKIPDATA stands for records that AWS lost", "{record}")
	t.broken = counter("riposte.ingest.broken", "records set aside, by source", "{record}")
	t.work = counter("riposte.source.work", "what sources did: receives, messages, deletes, objects, bytes, retries", "1")
	t.evaluated = counter("riposte.detect.events", "events that the rules were run over", "{event}")
	t.findings = counter("riposte.findings", "new findings, by rule and severity", "{finding}")
	t.repeated = counter("riposte.findings.repeated", "findings that were there already", "{finding}")
	t.plans = counter("riposte.respond.steps", "planned steps, by action and decision", "{step}")
	t.latency = histogram("riposte.detect.latency", "from reading an event to its finding being acknowledged",
		0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
	t.lag = histogram("riposte.ingest.lag", "from an event's own time to reading it, by source and kind", 1, 10, 60, 300, 900, 3600, 6*3600, 24*3600)
	t.delivery = histogram("riposte.ingest.delivery.lag", "from an event's own time to its delivery by AWS, by source and kind", 1, 10, 60, 300, 900, 3600, 6*3600, 24*3600)
	t.future = counter("riposte.ingest.future", "events from the future, more than five minutes ahead of when they were read, by source", "{event}")
	t.recovered = counter("riposte.coverage.recovered", "telemetry that was told of and is well again, by what it was", "{part}")
	build, err := t.Meter.Int64Gauge("riposte.build.info", metric.WithDescription("1, labelled with the version"))
	errs = append(errs, err)
	if err == nil {
		build.Record(ctx, 1, metric.WithAttributes(attribute.String("version", version)))
	}
	return errors.Join(errs...)
}

// Shutdown sends what is buffered and ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, f := range t.shutdown {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// Ingested counts a durable batch of one source and kind, with how long after its
// first event it was delivered and read; less than zero is not known.
func (t *Telemetry) Ingested(ctx context.Context, source, kind string, events, bytes int, delivery, lag time.Duration) {
	if t.events == nil {
		return
	}
	labels := metric.WithAttributes(attribute.String("source", source), attribute.String("kind", kind))
	t.events.Add(ctx, int64(events), labels)
	t.bytes.Add(ctx, int64(bytes), labels)
	if lag >= 0 {
		t.lag.Record(ctx, lag.Seconds(), labels)
	}
	if delivery >= 0 {
		t.delivery.Record(ctx, delivery.Seconds(), labels)
	}
}

// Future counts events from the future.
func (t *Telemetry) Future(ctx context.Context, source string, events int64) {
	if t.future != nil {
		t.future.Add(ctx, events, metric.WithAttributes(attribute.String("source", source)))
	}
}

// Recovered counts telemetry that is well again, by what it was.
func (t *Telemetry) Recovered(ctx context.Context, state string) {
	if t.recovered != nil {
		t.recovered.Add(ctx, 1, metric.WithAttributes(attribute.String("state", state)))
	}
}

// FlowRecords counts flow log records with one log-status of a durable batch.
func (t *Telemetry) FlowRecords(ctx context.Context, source, status string, n int) {
	if t.flows != nil && n > 0 {
		t.flows.Add(ctx, int64(n), metric.WithAttributes(attribute.String("source", source), attribute.String("status", status)))
	}
}

// Broken counts a record that was set aside.
func (t *Telemetry) Broken(ctx context.Context, source string) {
	if t.broken != nil {
		t.broken.Add(ctx, 1, metric.WithAttributes(attribute.String("source", source)))
	}
}

// Evaluated counts events that the rules were run over.
func (t *Telemetry) Evaluated(ctx context.Context, events int) {
	if t.evaluated != nil {
		t.evaluated.Add(ctx, int64(events))
	}
}

// Found counts a finding, and for a new one how long it took from reading its event.
func (t *Telemetry) Found(ctx context.Context, rule, severity string, isNew bool, took time.Duration) {
	if t.findings == nil {
		return
	}
	labels := metric.WithAttributes(attribute.String("rule", rule), attribute.String("severity", severity))
	if !isNew {
		t.repeated.Add(ctx, 1, labels)
		return
	}
	t.findings.Add(ctx, 1, labels)
	t.latency.Record(ctx, took.Seconds())
}

// Planned counts a step.
func (t *Telemetry) Planned(ctx context.Context, action, decision string) {
	if t.plans != nil {
		t.plans.Add(ctx, 1, metric.WithAttributes(attribute.String("action", action), attribute.String("decision", decision)))
	}
}

// Gauge reports values that are asked for at each scrape: f calls observe with a
// value and its one label.
func (t *Telemetry) Gauge(name, text, label string, f func(ctx context.Context, observe func(value int64, labelled string))) error {
	if t.Meter == nil {
		return nil
	}
	_, err := t.Meter.Int64ObservableGauge(name, metric.WithDescription(text), metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
		f(ctx, func(v int64, labelled string) { o.Observe(v, metric.WithAttributes(attribute.String(label, labelled))) })
		return nil
	}))
	return err
}

// Seconds reports durations that are asked for at each scrape: f calls observe
// with a value and its labels, in the order of their names.
func (t *Telemetry) Seconds(name, text string, labels []string, f func(ctx context.Context, observe func(value float64, labelled ...string))) error {
	if t.Meter == nil {
		return nil
	}
	_, err := t.Meter.Float64ObservableGauge(name, metric.WithDescription(text), metric.WithUnit("s"), metric.WithFloat64Callback(func(ctx context.Context, o metric.Float64Observer) error {
		f(ctx, func(v float64, labelled ...string) {
			attrs := make([]attribute.KeyValue, len(labelled))
			for i, l := range labelled {
				attrs[i] = attribute.String(labels[i], l)
			}
			o.Observe(v, metric.WithAttributes(attrs...))
		})
		return nil
	}))
	return err
}
