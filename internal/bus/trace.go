package bus

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
)

// traceContext carries W3C trace context in message headers.
var traceContext = propagation.TraceContext{}

func inject(ctx context.Context, h nats.Header) { traceContext.Inject(ctx, carrier(h)) }

func extract(ctx context.Context, h nats.Header) context.Context {
	return traceContext.Extract(ctx, carrier(h))
}

// carrier keeps the keys as they are, in lower case: NATS headers, unlike
// HTTP's, tell cases apart.
type carrier nats.Header

func (c carrier) Get(key string) string {
	if v := c[key]; len(v) > 0 {
		return v[0]
	}
	for k, v := range c {
		if strings.EqualFold(k, key) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func (c carrier) Set(key, value string) { c[strings.ToLower(key)] = []string{value} }

func (c carrier) Keys() []string {
	var keys []string
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
