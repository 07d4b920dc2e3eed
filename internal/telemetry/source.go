package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// SourceMeter counts what one kind of source does with what it reads from:
// calls, messages, objects, bytes.
type SourceMeter struct {
	work   metric.Int64Counter
	source attribute.KeyValue
}

// Source returns the meter of a kind of source. What it counts is labelled with
// that and with one of the few names that the source has for what it does.
func (t *Telemetry) Source(name string) *SourceMeter {
	return &SourceMeter{work: t.work, source: attribute.String("source", name)}
}

// Count adds n to what was done.
func (m *SourceMeter) Count(ctx context.Context, what string, n int64) {
	if m.work != nil {
		m.work.Add(ctx, n, metric.WithAttributes(m.source, attribute.String("what", what)))
	}
}

// QueueDepths reports at each scrape what is in queues: depths calls observe with
// a queue, a state of messages and how many are in it; ages with how long ago the
// oldest message that was received lately had been sent.
func (t *Telemetry) QueueDepths(depths func(ctx context.Context, observe func(queue, state string, n int64)), ages func(observe func(queue string, seconds float64))) error {
	if t.Meter == nil {
		return nil
	}
	_, err := t.Meter.Int64ObservableGauge("riposte.queue.messages", metric.WithDescription("messages in a source's queue and its dead-letter queue, about as many as SQS says"), metric.WithUnit("{message}"),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			depths(ctx, func(queue, state string, n int64) {
				o.Observe(n, metric.WithAttributes(attribute.String("queue", queue), attribute.String("state", state)))
			})
			return nil
		}))
	_, ageErr := t.Meter.Float64ObservableGauge("riposte.queue.age", metric.WithDescription("how long the oldest of the messages received in the last minute had waited"), metric.WithUnit("s"),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			ages(func(queue string, seconds float64) {
				o.Observe(seconds, metric.WithAttributes(attribute.String("queue", queue)))
			})
			return nil
		}))
	return errors.Join(err, ageErr)
}
