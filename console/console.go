// Package console is the web console and its JSON API: what the pipeline found,
// who did it, what riposte would do about it, and how the pipeline itself is.
//
// It only reads, through a Reader. Pages are rendered here and kept current over
// server-sent events; nothing is loaded from elsewhere, and a page works without
// its script, only not by itself. Whoever has the token sees everything, and
// nobody else sees anything.
//
// Every word of an event was written by an attacker. Templates escape it for the
// place it stands in, and whatever leaves here, page, stream or JSON, passes
// plain, which shows control and direction characters instead of obeying them.
package console

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Config is what a console needs.
type Config struct {
	// Reader is the system that is shown.
	Reader Reader
	// Token opens the console. It is required.
	Token string
	// Hosts are the names, besides this machine's own, under which a browser may
	// ask for the console. Any other name is refused: it may be an attacker's.
	Hosts []string
	// Log hears of answers that could not be given; nil is silent.
	Log *slog.Logger
}

// Server is the console as a handler. Its streams stay open until the reader
// leaves or Close is called, so give Close to http.Server.RegisterOnShutdown.
type Server struct {
	reader  Reader
	session session
	hosts   []string
	log     *slog.Logger
	now     func() time.Time
	handler http.Handler
	pages   map[string]*template.Template
	streams chan struct{} // a place for each open stream
	done    chan struct{}
	close   sync.Once
}

// maxStreams is how many pages may be open at once.
const maxStreams = 256

// New returns a console over c.Reader.
func New(c Config) (*Server, error) {
	var problems []error
	if c.Reader == nil {
		problems = append(problems, errors.New("console: no reader"))
	}
	if c.Token == "" {
		problems = append(problems, errors.New("console: no token: it would be open to everybody on this machine"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	s := &Server{
		reader: c.Reader, session: newSession(c.Token), hosts: c.Hosts, log: c.Log, now: time.Now,
		streams: make(chan struct{}, maxStreams), done: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.pages, err = parse(func() time.Time { return s.now() }); err != nil {
		return nil, err
	}
	s.handler = s.guard(s.routes())
	return s, nil
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends the open streams, which would otherwise hold up a shutdown.
func (s *Server) Close() { s.close.Do(func() { close(s.done) }) }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for path, p := range map[string]screen{
		"/{$}":            {file: "incidents", title: "Incidents", load: s.incidents, live: "live", wakes: anyChange},
		"/incidents/{id}": {file: "incident", title: "Incident", load: s.incident, live: "live", wakes: thisChange},
		"/rules":          {file: "rules", title: "Rules", load: s.rules, live: "live", every: 5 * time.Second},
		"/coverage":       {file: "coverage", title: "Coverage", load: s.coverage, live: "live", every: 30 * time.Second},
		"/health":         {file: "health", title: "Health", load: s.health, live: "live", every: 2 * time.Second},
	} {
		mux.HandleFunc("GET "+path, s.page(p))
		mux.HandleFunc("GET "+livePath(path), s.stream(p))
	}
	mux.HandleFunc("GET /incidents/{id}/findings/{finding}/records", s.records)
	mux.HandleFunc("GET /api/incidents", s.apiIncidents)
	mux.HandleFunc("GET /api/incidents/{id}", s.apiIncident)
	mux.HandleFunc("GET /api/rules", s.apiRules)
	mux.HandleFunc("GET /api/coverage", s.apiCoverage)
	mux.HandleFunc("GET /api/health", s.apiHealth)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusNotFound, "There is no such page.")
	})
	return mux
}
