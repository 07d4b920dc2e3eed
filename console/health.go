package console

import "fmt"

// healthPage is the pipeline's health with what needs a look.
type healthPage struct {
	Health
	Troubles []string
}

func (s *Server) health(l look) (any, error) {
	h, err := s.reader.Health(l.Context())
	if err != nil {
		return nil, err
	}
	return &healthPage{Health: h, Troubles: troubles(&h)}, nil
}

// troubles are what an operator would want to hear of, worst first.
func troubles(h *Health) []string {
	var out []string
	if h.RulesError != "" {
		out = append(out, "The rules could not be reloaded; the last good set runs on.")
	}
	for _, st := range h.Streams {
		if p := percent(st.Bytes, st.MaxBytes); p >= 85 {
			out = append(out, fmt.Sprintf("Stream %s is %d%% full.", st.Name, p))
		}
		for _, c := range st.Consumers {
			if c.Redelivered > 0 {
				out = append(out, fmt.Sprintf("Consumer %s is being given %s again.", c.Name, count(c.Redelivered, "message")))
			}
		}
	}
	if n := h.DeadLetters; n > 0 {
		out = append(out, count(int(n), "dead letter")+" could not be read or handled, and wait for somebody.")
	}
	return out
}
