package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"riposte/event"
)

// TestOnlyTrafficIsTraffic: records that stand for no traffic (NODATA) or for records
// that AWS lost (SKIPDATA) raise nothing but the rule about those, even when their
// columns hold what makes each flow rule fire.
func TestOnlyTrafficIsTraffic(t *testing.T) {
	h := newHits(t)
	tried := 0
	for _, r := range load(t).Rules() {
		if r.Source != event.FlowLog || r.ID == "flow.records-lost" {
			continue
		}
		for _, test := range r.Tests {
			if !test.Fires {
				continue
			}
			for _, status := range []string{"OK", "NODATA", "SKIPDATA"} {
				var names, cells []string
				for k, v := range test.Events[0] {
					if k == "log_status" {
						v = status
					}
					names, cells = append(names, k), append(cells, fmt.Sprint(v))
				}
				format, err := event.ParseFlowFormat(strings.Join(names, " "))
				if err != nil {
					t.Fatal(err)
				}
				got := h.of(record{kind: event.FlowLog, flow: format, raw: []byte(strings.Join(cells, " ")), name: r.ID})
				want := map[string]string{"OK": r.ID, "NODATA": "", "SKIPDATA": "flow.records-lost"}[status]
				if len(got) == 0 {
					got = []string{""}
				}
				if len(got) != 1 || got[0] != want {
					t.Errorf("%s, %q with status %s: %v, want %q", r.ID, test.Name, status, got, want)
				}
				tried++
			}
		}
	}
	if tried < 30 {
		t.Errorf("only %d records", tried)
	}
}

// TestGapsAreSeen: what AWS writes for records that it lost, in every known format,
// raises the rule about it, and what it writes for no traffic nothing.
func TestGapsAreSeen(t *testing.T) {
	h := newHits(t)
	for _, name := range []string{"v2", "v5", "v10", "tgw"} {
		format := event.KnownFlowFormat(name)
		for status, want := range map[string]string{"NODATA": "[]", "SKIPDATA": "[flow.records-lost]"} {
			values := map[string]string{"version": "2", "account-id": "111122223333", "interface-id": "eni-0a", "tgw-id": "tgw-0a", "tgw-attachment-id": "tgw-attach-0a",
				"start": "1772442840", "end": "1772442900", "log-status": status}
			var cells []string
			for _, n := range strings.Fields(format.String()) {
				v := values[n]
				if v == "" {
					v = "-"
				}
				cells = append(cells, v)
			}
			if got := fmt.Sprint(h.of(record{kind: event.FlowLog, flow: format, raw: []byte(strings.Join(cells, " ")), name: name})); got != want {
				t.Errorf("%s %s: %s, want %s", name, status, got, want)
			}
		}
	}
}
