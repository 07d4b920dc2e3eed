package bus

import (
	"testing"

	"riposte/event"
)

func TestFindingIsReadBack(t *testing.T) {
	b, err := Open(t.Context(), t.TempDir(), DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	f := event.Finding{ID: event.Hash("a"), Rule: "r", Severity: event.High, Evidence: event.Evidence{Records: []event.Record{{ID: "e", Kind: event.CloudTrail, Raw: []byte(`{"a":1}`)}}}}
	if _, err := b.PublishFinding(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	got, found, err := b.Finding(t.Context(), f.ID)
	if err != nil || !found || got.Rule != "r" || len(got.Evidence.Records) != 1 {
		t.Errorf("%+v %v %v", got, found, err)
	}
	if _, found, err := b.Finding(t.Context(), event.Hash("b")); found || err != nil {
		t.Errorf("a finding that nobody stored: %v %v", found, err)
	}
}
