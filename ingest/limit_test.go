package ingest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"riposte/ingest"
)

// TestLimit: an object of exactly its limit is read, one byte more is too large,
// and what came before is delivered.
func TestLimit(t *testing.T) {
	line := `{"eventVersion":"1.08","eventSource":"iam.amazonaws.com","eventName":"GetUser","eventID":"a"}` + "\n"
	text := []byte(strings.Repeat(line, 3))
	for more, want := range map[int64]error{1: nil, 0: nil, -1: ingest.ErrTooLarge} {
		g := readFrom(t, ingest.NewReader(), ingest.Object{Source: "s3", Name: "o", Identity: "x", Limit: int64(len(text)) + more}, bytes.NewReader(text), new(int64))
		if !errors.Is(g.err, want) || len(g.ids) != 3 {
			t.Errorf("a limit of %d more: %d events, %v", more, len(g.ids), g.err)
		}
	}
	g := readFrom(t, ingest.NewReader(), ingest.Object{Source: "s3", Name: "o", Identity: "x", Limit: int64(2*len(line)) + 5}, bytes.NewReader(text), new(int64))
	if !errors.Is(g.err, ingest.ErrTooLarge) || len(g.ids) != 2 {
		t.Errorf("within the third: %d events, %v", len(g.ids), g.err)
	}
}
