package logs

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"riposte/event"
)

// TestShipped reads a record or two of each log that ships, in the shape that its
// documentation gives, with the mapping that ships for it.
func TestShipped(t *testing.T) {
	type want struct{ id, at, kind, account, actor, principal, ip, agent, target, severity, outcome string }
	wants := map[string][]want{
		"github-audit": {
			{"Qx1aZ0pX", "2026-03-02T09:14:05.678Z", "protected_branch.destroy", "example", "kim", "4242", "198.51.100.24", "Mozilla/5.0", "example/infra", "", "remove"},
			{"Qx1aZ0pY", "2026-03-02T09:15:05.001Z", "git.clone", "example", "kim", "4242", "", "git/2.43.0", "example/infra", "", ""},
		},
		"suricata": {
			{"", "2026-03-02T09:14:05.678901Z", "alert", "sensor-1", "", "", "10.20.1.15", "", "198.51.100.7", "1", "allowed"},
			{"", "2026-03-02T09:14:06Z", "dns", "", "", "", "10.20.1.15", "", "10.20.0.2", "", ""},
		},
		"okta": {
			{"7c9f0001-0000-4000-8000-000000000001", "2026-03-02T09:14:05.678Z", "user.account.privilege.grant", "", "kim@example.com", "00u1", "198.51.100.24", "Mozilla/5.0", "", "INFO", "SUCCESS"},
		},
		"kubernetes-audit": {
			{"6f1b0001-0000-4000-8000-000000000001@ResponseComplete", "2026-03-02T09:14:05.678901Z", "get", "prod", "kim", "u-1", "198.51.100.24", "kubectl/v1.31.0", "/api/v1/namespaces/prod/secrets/db", "Metadata", "200"},
		},
		"vault": {
			{"r-1@response", "2026-03-02T09:14:05.678901234Z", "read", "root", "oidc-kim", "e-1", "10.20.1.15", "", "secret/data/db", "", ""},
		},
	}
	mappings, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	if len(mappings) != len(wants) {
		t.Errorf("%d logs ship, %d are tested", len(mappings), len(wants))
	}
	for log, m := range mappings {
		t.Run(log, func(t *testing.T) {
			data, err := os.ReadFile("testdata/" + log + ".ndjson")
			if err != nil {
				t.Fatal(err)
			}
			ids := map[string]bool{}
			for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
				e, err := event.DecodeLog(m, line)
				if err != nil {
					t.Fatal(err)
				}
				a := e.Actor()
				got := want{e.ID(), e.Time().Format("2006-01-02T15:04:05.999999999Z07:00"), e.Name(), e.Account(), a.Name, a.PrincipalID, a.IP, a.UserAgent, e.Text(event.EntryTarget), e.Text(event.EntrySeverity), e.Text(event.EntryOutcome)}
				w := wants[log][i]
				if w.id == "" && strings.HasPrefix(got.id, "sha256-") {
					w.id = got.id // a hash of the record
				}
				if got != w {
					t.Errorf("record %d:\ngot  %+v\nwant %+v", i, got, w)
				}
				ids[got.id] = true
			}
			if len(ids) != len(wants[log]) {
				t.Errorf("%d ids of %d records", len(ids), len(wants[log]))
			}
		})
	}
}

func TestParse(t *testing.T) {
	for want, data := range map[string]string{
		`x.yaml:2:1: unknown key "tmie" (did you mean "time"?)`: "log: a\ntmie: t\n",
		"x.yaml: it maps nothing":                               "log: a\n",
		"x.yaml: log \"A B\"":                                   "log: A B\ntime: t\n",
	} {
		if _, err := Parse("x.yaml", []byte(data)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", data, err, want)
		}
	}
}
