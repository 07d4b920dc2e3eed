package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"riposte/event"
	"riposte/internal/store"
	"riposte/inventory"
)

func bucketItem(t *testing.T, at, state string) *event.Event {
	t.Helper()
	e, err := event.Decode(event.ConfigItem, []byte(`{"configurationItemCaptureTime":"`+at+`","configurationStateId":"`+state+`","configurationItemStatus":"OK","awsAccountId":"111122223333","awsRegion":"eu-west-1","resourceType":"AWS::S3::Bucket","resourceId":"b","ARN":"arn:aws:s3:::b","configuration":{"state":"`+state+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	return &e
}

// TestRecordedBefore: what a plan tells is from before the event, also where the
// event is the item of the change itself.
func TestRecordedBefore(t *testing.T) {
	all, err := inventory.InMemory(inventory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	changed := bucketItem(t, "2026-03-02T10:00:00Z", "2")
	for _, e := range []*event.Event{changed, bucketItem(t, "2026-03-02T09:00:00Z", "1")} {
		if err := all.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for at, want := range map[time.Time]string{changed.Time(): "1", changed.Time().Add(time.Second): "2"} {
		r, err := recorded{all}.Recorded(t.Context(), "arn:aws:s3:::b", at)
		if err != nil || r == nil || r.StateID != want {
			t.Errorf("before %s: %+v, %v, want state %s", at, r, err, want)
		}
	}
	if r, err := (recorded{all}).Recorded(t.Context(), "arn:aws:s3:::other", changed.Time()); r != nil || err != nil {
		t.Errorf("a bucket that nobody told of: %+v, %v", r, err)
	}
}

// away is a table that cannot be reached.
type away struct{ *store.Memory }

func (away) Get(context.Context, string) ([]byte, uint64, error) {
	return nil, 0, errors.New("no server")
}

// TestRecordWaits: a batch whose items cannot be kept is not evaluated.
func TestRecordWaits(t *testing.T) {
	all, err := inventory.New(inventory.Options{Config: inventory.DefaultConfig(), Table: away{store.NewMemory()}, NotFound: store.ErrNotFound, Conflict: store.ErrConflict,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{inventory: all}
	if err := p.record(t.Context(), []event.Event{*bucketItem(t, "2026-03-02T10:00:00Z", "2")}); err == nil || !strings.Contains(err.Error(), "no server") {
		t.Errorf("error %v", err)
	}
	if err := p.record(t.Context(), make([]event.Event, 3)); err != nil {
		t.Errorf("events of other kinds: %v", err)
	}
}
