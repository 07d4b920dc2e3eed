package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Redacted stands in evidence where a secret stood.
const Redacted = "REDACTED"

// maxRecord bounds a record inside evidence; CloudTrail's own limit is 256 KB.
const maxRecord = 64 << 10

// secretKeys are the members, in lower case, whose values never leave the
// event: credentials that AWS writes into records, and what people put there.
var secretKeys = map[string]bool{
	"sessiontoken": true, "secretaccesskey": true, "password": true, "masteruserpassword": true, "newpassword": true,
	"oldpassword": true, "secretstring": true, "secretbinary": true, "plaintext": true, "userdata": true,
	"authorization": true, "privatekey": true, "keymaterial": true, "token": true, "authparameters": true,
	"signintoken": true, "clientsecret": true, "accesstoken": true, "refreshtoken": true, "idtoken": true,
	"authtoken": true, "apikey": true, "samlassertion": true, "webidentitytoken": true, "secret": true, "passphrase": true, "passwd": true, "secretkey": true,
	"x-amz-security-token": true, "x-amz-signature": true, "authorizationtoken": true, "clientassertion": true,
}

// Secret reports whether a member of that name holds a secret, in any case of letters.
func Secret(key string) bool { return secretKeys[strings.ToLower(key)] }

// Record returns the event for evidence: as JSON, secrets replaced by Redacted,
// and cut to its identity when it is larger than 64 KiB.
func (e *Event) Record() Record {
	r := Record{ID: strings.Clone(e.ID()), Kind: e.Kind, Time: e.Time(), Delivered: e.Delivered, Origin: e.Origin}
	if e.Kind != FlowLog && len(e.Raw) <= maxRecord && !maySecret(e.Raw) {
		r.Raw = bytes.Clone(e.Raw)
		return r
	}
	tree := e.Tree()
	Redact(tree)
	raw, err := json.Marshal(tree)
	if err != nil || len(raw) > maxRecord {
		raw, _ = json.Marshal(map[string]any{
			"eventName": strings.Clone(e.Name()), "truncated": "the record is larger than 64 KiB; read it at its origin",
			"origin": e.Origin.String(),
		})
	}
	r.Raw = raw
	return r
}

// tolerable is how late an event may come without a word of it: CloudTrail
// delivers within 15 minutes.
const tolerable = 15 * time.Minute

// archive is how late an event is of which nobody says that it is late.
const archive = 30 * 24 * time.Hour

// Late says how late the record came and where it was held up, where it took
// more than 15 minutes from when it happened; "" else, and of an archive, which
// is read a month later or more.
func (r *Record) Late() string {
	if r.Time.IsZero() {
		return ""
	}
	came := r.Ingested
	if came.IsZero() {
		came = r.Delivered
	}
	if d := came.Sub(r.Time); d <= tolerable || d > archive {
		return ""
	}
	text := "came " + lateness(came.Sub(r.Time)) + " late"
	if r.Delivered.IsZero() || r.Ingested.IsZero() {
		return text
	}
	return fmt.Sprintf("%s: delivered after %s, read %s later", text, lateness(r.Delivered.Sub(r.Time)), lateness(r.Ingested.Sub(r.Delivered)))
}

// lateness is a duration as people say it, to the minute or, from two days, the day.
func lateness(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(max(d, 0)/time.Second))
	case d < 3*time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// secretWords are such that every name in secretKeys holds one.
var secretWords = [][]byte{
	[]byte("token"), []byte("secret"), []byte("passw"), []byte("plaintext"), []byte("userdata"), []byte("authorization"), []byte("privatekey"),
	[]byte("keymaterial"), []byte("authparameters"), []byte("apikey"), []byte("assertion"), []byte("passphrase"), []byte("x-amz-signature"),
}

// maySecret reports whether a JSON text may have a member that holds a secret: it
// has a word of their names, or an escape behind which one may stand.
func maySecret(raw []byte) bool {
	if bytes.Contains(raw, []byte(`\u`)) {
		return true
	}
	lower := bytes.ToLower(raw)
	for _, w := range secretWords {
		if bytes.Contains(lower, w) {
			return true
		}
	}
	return false
}

// Redact replaces the secrets inside a JSON-like value, in place.
func Redact(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if s, isText := inner.(string); Secret(k) && (!isText || s != "") && inner != nil {
				v[k] = Redacted
				continue
			}
			Redact(inner)
		}
	case []any:
		for _, inner := range v {
			Redact(inner)
		}
	}
}
