package console

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// policy allows the console's own scripts and styles and nothing else: no inline
// code, no frames, no other place.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guard lets through to next only those who may read, and tells browsers how to
// treat what they get.
func (s *Server) guard(next http.Handler) http.Handler {
	inside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			s.refuse(w, r, http.StatusMethodNotAllowed, "The console only reads.")
			return
		}
		if name, ok := strings.CutPrefix(r.URL.Path, "/assets/"); ok {
			asset(w, r, name)
			return
		}
		if token := r.URL.Query().Get("token"); token != "" && s.session.isToken(token) {
			s.session.enter(w, r, token)
			return
		}
		if !s.session.has(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="riposte"`)
			s.refuse(w, r, http.StatusUnauthorized, "The console opens with the address that riposte printed when it started.")
			return
		}
		next.ServeHTTP(w, r)
	})
	var origins http.CrossOriginProtection
	protected := origins.Handler(inside)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		switch {
		case r.URL.Path == "/healthz":
			// A probe knows neither the name nor the token, and learns nothing.
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Write([]byte("ok\n"))
		case !s.mayAskFor(r.Host):
			s.refuse(w, r, http.StatusMisdirectedRequest, "The console answers to localhost and the names in its configuration only, not to this one.")
		case embedded(r):
			s.refuse(w, r, http.StatusForbidden, "Another site asked for this.")
		default:
			protected.ServeHTTP(w, r)
		}
	})
}

func harden(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// mayAskFor reports whether the console is known under the name. A name that an
// attacker owns may be made to lead to this machine while the page stays theirs.
func (s *Server) mayAskFor(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if ip := net.ParseIP(name); ip != nil && ip.IsLoopback() {
		return true
	}
	return name == "localhost" || slices.ContainsFunc(s.hosts, func(h string) bool { return strings.EqualFold(h, name) || strings.EqualFold(h, host) })
}

// embedded reports whether another site's page makes the request in the
// background; following a link from there is allowed.
func embedded(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate"
}
