package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
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
