package console

import (
	"bytes"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// screen is one page. The part of it between the live region's marks is sent
// again when what it shows may have changed.
type screen struct {
	file  string // of its templates
	title string
	live  string // the template of the live region
	load  func(look) (any, error)
	// wakes reports whether a change of the incident is seen on the page.
	wakes func(r *http.Request, id string) bool
	// every is how often the page changes by itself; 0 is never.
	every time.Duration
}

// look is one rendering of a screen.
type look struct {
	*http.Request
	// changed are the incidents because of which it is rendered again, turn
	// counts such renderings.
	changed map[string]bool
	turn    int
}

// moved says that an incident is part of another.
type moved string

func (m moved) Error() string { return "part of incident " + string(m) }

// frame is what the layout shows around a page.
type frame struct {
	File, Title string
	Live        string // where the live region comes from, "" when it stays
	Data        any
}

func anyChange(*http.Request, string) bool       { return true }
func thisChange(r *http.Request, id string) bool { return id == r.PathValue("id") }
func livePath(path string) string                { return strings.TrimSuffix(path, "/{$}") + "/live" }
func incidentPath(id string) string              { return "/incidents/" + url.PathEscape(id) }
func liveURL(r *http.Request) string {
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/") + "/live"
	if r.URL.RawQuery == "" {
		return path
	}
	return path + "?" + r.URL.RawQuery
}

// page answers with the whole page.
func (s *Server) page(p screen) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := p.load(look{Request: r})
		var to moved
		switch {
		case errors.As(err, &to):
			http.Redirect(w, r, incidentPath(string(to)), http.StatusSeeOther)
			return
		case errors.Is(err, ErrNotFound):
			s.refuse(w, r, http.StatusNotFound, "There is no incident "+r.PathValue("id")+".")
			return
		case err != nil:
			s.fail(w, r, err)
			return
		}
		f := frame{File: p.file, Title: p.title, Live: liveURL(r), Data: data}
		if t, ok := data.(interface{ PageTitle() string }); ok {
			f.Title = t.PageTitle()
		}
		s.render(w, r, http.StatusOK, p.file, "layout", f)
	}
}

// render writes the template, or says that it cannot.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, file, name string, data any) {
	b, err := s.html(file, name, data)
	if err != nil {
		s.log.ErrorContext(r.Context(), "console page", "path", r.URL.Path, "err", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b)
}

func (s *Server) html(file, name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := s.pages[file].ExecuteTemplate(&b, name, data); err != nil {
		return nil, err
	}
	return plain(b.Bytes()), nil
}

// fail answers that the system could not be read.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody listens any more
	}
	s.log.ErrorContext(r.Context(), "console read", "path", r.URL.Path, "err", err)
	s.refuse(w, r, http.StatusServiceUnavailable, "The pipeline could not be read: "+err.Error())
}

// refuse answers with a reason instead of what was asked for.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		s.json(w, r, status, map[string]string{"error": reason})
		return
	}
	known := status != http.StatusUnauthorized && s.session.has(r)
	s.render(w, r, status, "refusal", "layout", frame{File: "refusal", Title: http.StatusText(status), Data: refusal{
		Status: status, Reason: reason, Known: known, Host: r.Host, Again: r.URL.RequestURI(),
	}})
}

// refusal is a page that is not what was asked for.
type refusal struct {
	Status int
	Reason string
	// Known is whether the reader was let in.
	Known bool
	// Host is the name they used, Again where they wanted to go.
	Host, Again string
}

// parse reads the templates, a set for each page.
func parse(now func() time.Time) (map[string]*template.Template, error) {
	sets := map[string]*template.Template{}
	for _, file := range []string{"incidents", "incident", "rules", "coverage", "health", "records", "refusal"} {
		t, err := template.New(file).Funcs(funcs(now)).ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+file+".html")
		if err != nil {
			return nil, err
		}
		sets[file] = t
	}
	return sets, nil
}
