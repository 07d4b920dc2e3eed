package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
)

// session recognises whoever has the token. The cookie is derived from the
// token, so that a stolen cookie is not the token, which may open more.
type session struct{ token, cookie [sha256.Size]byte }

func newSession(token string) session {
	return session{token: sha256.Sum256([]byte(token)), cookie: sha256.Sum256([]byte(cookieValue(token)))}
}

// cookieValue is what the cookie holds for this token.
func cookieValue(token string) string {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("riposte console session 1"))
	return hex.EncodeToString(m.Sum(nil))
}

func (s session) isToken(v string) bool  { return same(v, s.token) }
func (s session) isCookie(v string) bool { return same(v, s.cookie) }

// same compares in a time that tells nothing of either.
func same(v string, sum [sha256.Size]byte) bool {
	got := sha256.Sum256([]byte(v))
	return subtle.ConstantTimeCompare(got[:], sum[:]) == 1
}

// has reports whether the request comes from somebody who was let in.
func (s session) has(r *http.Request) bool {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return s.isToken(strings.TrimSpace(token))
	}
	c, err := r.Cookie(cookieName(r))
	return err == nil && s.isCookie(c.Value)
}

// enter lets the browser in and sends it to the same place without the token,
// which then stays in no history.
func (s session) enter(w http.ResponseWriter, r *http.Request, token string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: cookieValue(token), Path: "/",
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	u := *r.URL
	q := u.Query()
	q.Del("token")
	u.Scheme, u.Host, u.RawQuery = "", "", q.Encode()
	// "//host" would lead elsewhere.
	u.Path, u.RawPath = "/"+strings.TrimLeft(u.Path, `/\`), ""
	http.Redirect(w, r, u.RequestURI(), http.StatusSeeOther)
}

// cookieName has the port in it: a browser sends the cookies of one host to all
// its ports, and two consoles would shut each other out.
func cookieName(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		return "riposte-" + port
	}
	return "riposte"
}
