package receiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"riposte/event"
	"riposte/ingest"
)

// refusal is why a request is not accepted.
type refusal struct {
	status int
	reason string
	// later is when it may come again; 0 says that it need not.
	later time.Duration
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

// accepted is the answer to a request that was taken.
type accepted struct {
	// Accepted events are durable.
	Accepted int64 `json:"accepted"`
	// SetAside are records that could not be read; they are in the dead letters.
	SetAside int64 `json:"set_aside,omitempty"`
	// Reason is that of the first of them.
	Reason string `json:"reason,omitempty"`
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	got, err := s.take(w, r)
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(got) // a sender that is gone sends again
		return
	}
	var no *refusal
	if !errors.As(err, &no) {
		no = &refusal{status: http.StatusServiceUnavailable, reason: "the events could not be stored: send them again", later: 5 * time.Second}
		s.log.ErrorContext(r.Context(), "events not stored, the sender is told to come again", "err", err)
	} else {
		s.complaints.Do(func() {
			s.log.WarnContext(r.Context(), "request refused; others like it may not be logged", "status", no.status, "remote", r.RemoteAddr, "err", no.reason)
		})
	}
	if no.later > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(no.later/time.Second)))
	}
	switch no.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusUnauthorized:
		w.Header().Set("Connection", "close") // strangers keep no connection
	}
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": no.reason})
}

// take reads a request and delivers what it holds.
func (s *server) take(w http.ResponseWriter, r *http.Request) (accepted, error) {
	switch {
	case r.URL.Path != s.cfg.Path:
		return accepted{}, refuse(http.StatusNotFound, "nothing is received at this path")
	case r.Method != http.MethodPost:
		return accepted{}, refuse(http.StatusMethodNotAllowed, "want a POST")
	}
	// Strangers are turned away before their bodies are read, where that can be.
	secrets := s.secrets.get()
	known := secrets.known(r.Header.Get(s.cfg.Header))
	if !known {
		if err := secrets.promises(r.Header, time.Now()); err != nil {
			return accepted{}, refuse(http.StatusUnauthorized, "%v", err)
		}
	}
	packed, err := packing(r.Header)
	if err != nil {
		return accepted{}, err
	}
	if r.ContentLength > s.cfg.MaxBodyBytes {
		return accepted{}, s.tooLarge()
	}
	var reader *ingest.Reader
	select {
	case reader = <-s.readers:
		defer func() { s.readers <- reader }()
	default:
		return accepted{}, &refusal{status: http.StatusTooManyRequests, reason: "too many requests are being worked on", later: time.Second}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return accepted{}, s.tooLarge()
	case err != nil:
		return accepted{}, refuse(http.StatusRequestTimeout, "the body breaks off, or comes too slowly")
	}
	if !known && !secrets.signed(body, r.Header) {
		return accepted{}, refuse(http.StatusUnauthorized, "%v", errStranger)
	}
	if packed {
		if body, err = s.unpack(body); err != nil {
			return accepted{}, err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	return s.deliver(ctx, reader, body)
}

func (s *server) tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes: send fewer events at a time, or raise receiver.max_body_bytes", s.cfg.MaxBodyBytes)
}

// packing reads what the headers say of the body: JSON it has to be, and may be
// compressed.
func packing(h http.Header) (packed bool, err error) {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && h.Get("Content-Type") != "" {
		kind = "unreadable"
	}
	switch kind {
	case "", "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-amz-json-1.1", "application/cloudevents+json":
	default:
		return false, refuse(http.StatusUnsupportedMediaType, "want Content-Type application/json or application/x-ndjson")
	}
	switch strings.ToLower(h.Get("Content-Encoding")) {
	case "", "identity":
		return false, nil
	case "gzip", "x-gzip":
		return true, nil
	}
	return false, refuse(http.StatusUnsupportedMediaType, "want Content-Encoding gzip or none")
}

// unpack decompresses a body, up to its limit.
func (s *server) unpack(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is not gzip, as Content-Encoding says")
	}
	out, err := io.ReadAll(io.LimitReader(z, s.cfg.MaxBodyBytes+1))
	switch {
	case int64(len(out)) > s.cfg.MaxBodyBytes:
		return nil, s.tooLarge()
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the compressed body is corrupt or cut short")
	}
	return out, nil
}

// deliver hands on the events of a body. It returns when they are durable.
func (s *server) deliver(ctx context.Context, reader *ingest.Reader, body []byte) (got accepted, err error) {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	o := ingest.Object{Source: "receiver", Name: s.cfg.Path + "#sha256=" + hash[:16], Identity: event.Hash("receiver", hash), Ingested: time.Now().UTC(), Log: s.cfg.Mapping}
	o.Delivered = o.Ingested // nothing stands between whoever delivers and us
	text := bytes.TrimLeft(body, " \t\r\n\xef\xbb\xbf")
	if len(text) == 0 {
		return got, refuse(http.StatusBadRequest, "the body is empty")
	}
	// Anything but JSON the reader would take for a flow log, or decompress.
	if text[0] != '{' && text[0] != '[' {
		return got, s.setAside(ctx, o, body, "the body is not JSON: want an event, an array of events or one event a line")
	}
	sink := s.sink
	sink.Broken = func(ctx context.Context, b ingest.Broken) error {
		if got.Reason == "" {
			got.Reason = b.Reason
		}
		if s.sink.Broken == nil {
			return nil
		}
		return s.sink.Broken(ctx, b)
	}
	stats, err := reader.Read(ctx, o, bytes.NewReader(text), sink)
	switch got.Accepted, got.SetAside = stats.Events, stats.Broken; {
	case err != nil:
		return got, err // only the sink fails: the body is in memory
	case stats.Foreign:
		return got, s.setAside(ctx, o, body, "the body holds no event that is known: want CloudTrail records, Config items, findings or EventBridge events")
	case stats.Events == 0 && stats.Broken > 0:
		return got, refuse(http.StatusBadRequest, "no event could be read: %s", got.Reason)
	case stats.Events == 0:
		return got, refuse(http.StatusBadRequest, "the body holds no event")
	}
	return got, nil
}

// setAside refuses a body as a whole once it is in the dead letters.
func (s *server) setAside(ctx context.Context, o ingest.Object, body []byte, reason string) error {
	if s.sink.Broken != nil {
		b := ingest.Broken{Origin: event.Origin{Source: o.Source, Object: o.Name}, Reason: reason, Raw: body[:min(len(body), 64<<10)]}
		if err := s.sink.Broken(ctx, b); err != nil {
			return err
		}
	}
	return refuse(http.StatusBadRequest, "%s", reason)
}
