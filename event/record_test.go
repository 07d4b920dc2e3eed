package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSecretsNeverPass: whatever a record's secret member is called, however its
// name is written and however deep it lies, its value is not in the evidence.
func TestSecretsNeverPass(t *testing.T) {
	for key := range secretKeys {
		for _, name := range []string{key, strings.ToUpper(key), strings.ToUpper(key[:1]) + key[1:], fmt.Sprintf(`\u%04x%s`, key[0], key[1:])} {
			raw := fmt.Sprintf(`{"eventVersion":"1.08","eventID":"e","requestParameters":{"a":[{"%s":"hush-hush"}]}}`, name)
			e, err := Decode(CloudTrail, []byte(raw))
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if got := e.Record().Raw; bytes.Contains(got, []byte("hush")) || !json.Valid(got) {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

// TestRecordIsAsWritten: a record without secrets is evidence as AWS wrote it,
// and outlives its buffer.
func TestRecordIsAsWritten(t *testing.T) {
	raw := []byte(`{"eventVersion":"1.08","eventID":"e","z":1,"a":2}`)
	e, err := Decode(CloudTrail, raw)
	if err != nil {
		t.Fatal(err)
	}
	r := e.Record()
	want := string(raw)
	clear(raw)
	if string(r.Raw) != want {
		t.Errorf("%s", r.Raw)
	}
}

func TestLateRecords(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		delivered, ingested time.Duration
		want                string
	}{
		{5 * time.Minute, 15 * time.Minute, ""},
		{5 * time.Minute, 50 * time.Minute, "came 50 min late: delivered after 5 min, read 45 min later"},
		{-1, 26 * time.Hour, "came 26 h late"},
		{49 * time.Hour, -1, "came 2 days late"},
		{0, 31 * 24 * time.Hour, ""},
		{-1, -1, ""},
	} {
		r := Record{Time: at}
		if c.delivered >= 0 {
			r.Delivered = at.Add(c.delivered)
		}
		if c.ingested >= 0 {
			r.Ingested = at.Add(c.ingested)
		}
		if got := r.Late(); got != c.want {
			t.Errorf("delivered after %s, read after %s: %q, want %q", c.delivered, c.ingested, got, c.want)
		}
	}
	if got := (&Record{Ingested: at}).Late(); got != "" {
		t.Errorf("of no time: %q", got)
	}
}
