package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"riposte/event"
)

// funcs are what templates may call. None of them makes markup.
func funcs(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"ago":      func(t time.Time) string { return ago(now().Sub(t)) },
		"absolute": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"pretty":   pretty,
		"document": document,
		"cut":      cut,
		"short":    short,
		"tag":      tag,
		"size":     size,
		"number":   number,
		"count":    count,
		"took":     took,
		"rate":     rate,
		"span":     func(d time.Duration) string { return span(max(d, 0)) },
		"actor":    describe,
		"incident": incidentPath,
		"records": func(incident, finding string) string {
			return incidentPath(incident) + "/findings/" + url.PathEscape(finding) + "/records"
		},
		"truth":   showTruth,
		"percent": percent,
	}
}

// ago says how long ago something was, in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d < -time.Minute:
		return "in the future"
	case d < 5*time.Second:
		return "just now"
	}
	return span(d) + " ago"
}

func rate(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

// short is the part of an ARN that people read; other names stay.
func short(id string) string {
	if parts := strings.SplitN(id, ":", 6); len(parts) == 6 && parts[0] == "arn" && parts[5] != "" {
		return parts[5]
	}
	return id
}

// maxDocument is how much of one JSON document a page shows, in bytes.
const maxDocument = 128 << 10

// pretty indents JSON; what is not JSON stays as it is.
func pretty(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	var b bytes.Buffer
	if len(raw) > maxDocument || json.Indent(&b, raw, "", "  ") != nil {
		b.Reset()
		b.Write(raw)
	}
	return cut(maxDocument, b.String())
}

// document is a value as JSON, for pretty.
func document(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

// cut shortens s to about n bytes and says by how much.
func cut(n int, s string) string {
	if len(s) <= n {
		return s
	}
	end := n
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes more)", s[:end], len(s)-end)
}

// tag writes "attack.t1562.008" the way people do.
func tag(s string) string {
	if t, ok := strings.CutPrefix(strings.ToLower(s), "attack."); ok {
		return "ATT&CK " + strings.ToUpper(t)
	}
	return cut(80, s)
}

// size is a number of bytes, a uint64 or an int64, in its largest unit.
func size(n any) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, u := bytesOf(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%.0f B", f)
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}

func bytesOf(n any) float64 {
	switch n := n.(type) {
	case uint64:
		return float64(n)
	case int64:
		return float64(n)
	}
	return 0
}

// number groups the digits of n, which may be any integer.
func number(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// count is a number with its noun.
func count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return number(n) + " " + strings.TrimSuffix(noun, "y") + "ies"
	}
	return number(n) + " " + noun + "s"
}

func took(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// percent is the share of n in the limit, 0 when there is none.
func percent(n uint64, limit int64) int {
	if limit <= 0 {
		return 0
	}
	return int(min(100, float64(n)*100/float64(limit)))
}

var kinds = map[string]string{
	"IAMUser": "IAM user", "AssumedRole": "role", "Role": "role", "Root": "root user", "AWSService": "AWS service", "AWSAccount": "account",
	"FederatedUser": "federated user", "SAMLUser": "SAML user", "WebIdentityUser": "web identity", "IdentityCenterUser": "Identity Center user",
}

// person is an actor in two words: what kind, and the name people use.
type person struct{ Kind, Name string }

func describe(a *event.Actor) person {
	p := person{Kind: kinds[a.Type], Name: a.Name}
	if p.Kind == "" {
		p.Kind = a.Type
	}
	switch {
	case p.Name != "":
	case a.ARN != "":
		p.Name = a.ARN
	case a.Type == "Root" && a.Account != "":
		p.Name = a.Account
	default:
		p.Name = a.Identity()
	}
	return p
}
