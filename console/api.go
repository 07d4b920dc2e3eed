package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"riposte/respond"
)

// The API gives what the pages show, under the same conditions and filters.

func (s *Server) apiIncidents(w http.ResponseWriter, r *http.Request) {
	all, err := s.reader.Incidents(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	f := newFilter(r.URL.Query())
	kept := []respond.Summary{}
	for i := range all {
		if f.keeps(&all[i]) {
			kept = append(kept, all[i])
		}
	}
	s.json(w, r, http.StatusOK, map[string]any{"incidents": kept})
}

// apiIncident gives a merged incident as it is: its "merged" names the other.
func (s *Server) apiIncident(w http.ResponseWriter, r *http.Request) {
	in, runs, err := s.reader.Incident(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, ErrNotFound):
		s.refuse(w, r, http.StatusNotFound, "there is no such incident")
	case err != nil:
		s.fail(w, r, err)
	default:
		if runs == nil {
			runs = []respond.Run{}
		}
		s.json(w, r, http.StatusOK, map[string]any{"incident": in, "runs": runs})
	}
}

func (s *Server) apiRules(w http.ResponseWriter, r *http.Request) {
	all, err := s.reader.Rules(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	list := listRules(all, r.URL.Query())
	if list.Rules == nil {
		list.Rules = []Rule{}
	}
	s.json(w, r, http.StatusOK, map[string]any{"rules": list.Rules})
}

func (s *Server) apiHealth(w http.ResponseWriter, r *http.Request) {
	h, err := s.reader.Health(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.json(w, r, http.StatusOK, h)
}

func (s *Server) json(w http.ResponseWriter, r *http.Request, status int, v any) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		s.log.ErrorContext(r.Context(), "console answer", "path", r.URL.Path, "err", err)
		http.Error(w, `{"error":"the answer could not be written"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(plain(b.Bytes()))
}
