package telemetry

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"unicode"

	"go.opentelemetry.io/otel/trace"
)

// handler adds the trace to a line and makes values harmless.
type handler struct{ slog.Handler }

func newHandler(w io.Writer, level slog.Level, text bool) slog.Handler {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: harmless}
	if text {
		return handler{slog.NewTextHandler(w, o)}
	}
	return handler{slog.NewJSONHandler(w, o)}
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		r.AddAttrs(slog.String("trace", sc.TraceID().String()), slog.String("span", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(a []slog.Attr) slog.Handler { return handler{h.Handler.WithAttrs(a)} }
func (h handler) WithGroup(n string) slog.Handler      { return handler{h.Handler.WithGroup(n)} }

// secretKeys are never shown, whoever logs them.
var secretKeys = []string{"token", "secret", "password", "authorization", "credential"}

// maxValue bounds a value in a log line, in bytes.
const maxValue = 2048

// harmless redacts secrets and escapes what could forge a line or rewrite a terminal.
func harmless(_ []string, a slog.Attr) slog.Attr {
	key := strings.ToLower(a.Key)
	for _, s := range secretKeys {
		if strings.Contains(key, s) {
			return slog.String(a.Key, "REDACTED")
		}
	}
	v := a.Value.Resolve()
	text := ""
	switch v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		err, ok := v.Any().(error)
		if !ok {
			return a
		}
		text = err.Error()
	default:
		return a
	}
	return slog.String(a.Key, clean(text))
}

func clean(s string) string {
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "") + "…"
	}
	bad := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	}
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if bad(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
