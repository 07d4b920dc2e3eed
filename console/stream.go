package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"
)

const (
	// calm is how long changes are gathered before a page is sent again.
	calm = 300 * time.Millisecond
	// heartbeat keeps the connection from being taken for dead.
	heartbeat = 15 * time.Second
	// patience is how long a reader may take to accept a page.
	patience = 20 * time.Second
)

// stream answers with the page's live region as server-sent events: at once, so
// that nothing between page and stream is missed, and then whenever it may have
// changed.
func (s *Server) stream(p screen) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
		default:
			s.refuse(w, r, http.StatusServiceUnavailable, "Too many pages are open.")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		var changes <-chan string
		if p.wakes != nil {
			changes = s.reader.Subscribe(ctx) // before the first reading
		}
		first, err := s.region(p, look{Request: r})
		switch {
		case errors.Is(err, ErrNotFound):
			s.refuse(w, r, http.StatusNotFound, "There is no such incident.")
			return
		case err != nil:
			s.fail(w, r, err)
			return
		}
		out := &events{w: w, control: http.NewResponseController(w)}
		out.start()
		defer out.control.SetWriteDeadline(time.Time{}) // the connection may go on to other things
		if r.Method == http.MethodHead || out.send(first) != nil {
			return
		}
		s.follow(r, p, changes, out, first)
	}
}

// follow sends the region again until the reader leaves or the server closes.
func (s *Server) follow(r *http.Request, p screen, changes <-chan string, out *events, last []byte) {
	var every <-chan time.Time
	if p.every > 0 {
		t := time.NewTicker(p.every)
		defer t.Stop()
		every = t.C
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var settled <-chan time.Time
	next := look{Request: r, changed: map[string]bool{}}
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		case id, ok := <-changes:
			if !ok {
				return
			}
			if !p.wakes(r, id) {
				continue
			}
			next.changed[id] = true
			if settled == nil {
				settled = time.After(calm)
			}
			continue
		case <-settled:
			next.turn++
			last, err = s.again(p, next, out, last)
			settled, next.changed = nil, map[string]bool{}
		case <-every:
			last, err = s.again(p, next, out, last)
		case <-beat.C:
			err = out.beat()
		}
		if err != nil {
			return // the reader comes back when it can
		}
	}
}

// again sends the region unless it is what the reader has.
func (s *Server) again(p screen, l look, out *events, last []byte) ([]byte, error) {
	b, err := s.region(p, l)
	if err != nil {
		s.log.WarnContext(l.Context(), "console stream", "path", l.URL.Path, "err", err)
		return nil, err
	}
	if bytes.Equal(b, last) {
		return last, nil
	}
	return b, out.send(b)
}

// region renders the live part of a page.
func (s *Server) region(p screen, l look) ([]byte, error) {
	data, err := p.load(l)
	var to moved
	if errors.As(err, &to) {
		return s.html(p.file, "moved", incidentPath(string(to)))
	}
	if err != nil {
		return nil, err
	}
	return s.html(p.file, p.live, data)
}

// events writes server-sent events.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (e *events) start() {
	e.w.Header().Set("Content-Type", "text/event-stream")
	e.w.Header().Set("X-Accel-Buffering", "no") // for a proxy in between
	e.w.WriteHeader(http.StatusOK)
}

// send writes one message. The body has passed plain: its lines end in \n only,
// so that none of its text can pass for a field of the stream.
func (e *events) send(body []byte) error {
	var b bytes.Buffer
	b.Grow(len(body) + len(body)/16)
	for line := range bytes.Lines(body) {
		b.WriteString("data: ")
		b.Write(bytes.TrimSuffix(line, []byte("\n")))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return e.write(b.Bytes())
}

func (e *events) beat() error { return e.write([]byte(": still here\n\n")) }

func (e *events) write(b []byte) error {
	// Not every writer has deadlines; those that do must not wait for ever.
	_ = e.control.SetWriteDeadline(time.Now().Add(patience))
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.control.Flush()
}
