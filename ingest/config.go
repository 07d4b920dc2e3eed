package ingest

import (
	"context"
	"strings"
	"time"

	"riposte/event"
)

// Oversized is a Config change whose notification was too large for SNS: what its
// summary tells, and where AWS put the whole.
type Oversized struct {
	Account, Region, Type, ID string
	// StateID and Captured tell the version from the resource's others.
	StateID  string
	Captured time.Time
	// Location is bucket/key, "" when Config could not put it anywhere; Error is
	// then why.
	Location, Error string
}

// oversized reads the summary of such a change.
func oversized(e *event.Event) Oversized {
	text := func(f event.Field) string { return strings.Clone(e.Text(f)) }
	return Oversized{
		Account: text(event.ConfigAccountID), Region: text(event.ConfigRegion), Type: text(event.ConfigResourceType),
		ID: text(event.ConfigResourceID), StateID: text(event.ConfigStateID), Captured: e.Time(),
		Location: text(event.ConfigS3Location), Error: text(event.ConfigDeliveryError),
	}
}

// Expand returns the whole item of an oversized change, as JSON: bare or inside
// its notification. nil without an error says that AWS has none: the summary is
// then all there is. An error says that it could not be read now: the source
// reads the object again.
type Expand func(ctx context.Context, o Oversized) ([]byte, error)

// item keeps a Config item; one that has no more than its summary is expanded
// first, where the sink can.
func (r *Reader) item(raw []byte, offset, line int64) error {
	e := r.slot()
	if r.sink.Expand == nil || !e.Incomplete() {
		return r.keep(offset, line)
	}
	o := oversized(e)
	whole, err := r.sink.Expand(r.ctx, o)
	if err != nil {
		return &DeliveryError{Object: r.origin.Object, Err: err}
	}
	if whole != nil {
		if n, err := e.Scan(event.ConfigItem, whole); err == nil && n > 0 && isItem(e) {
			return r.keep(offset, line)
		}
	}
	if _, err := e.Scan(event.ConfigItem, raw); err != nil {
		return err // it was read before: this cannot be
	}
	return r.keep(offset, line)
}

func isItem(e *event.Event) bool {
	return e.Has(event.ConfigResourceType) && (e.Has(event.ConfigCaptureTime) || e.Has(event.ConfigConfiguration))
}

// silent are the messages of Config that hold no item: deliveries that began,
// ended or failed, evaluations that began, and a rule's own clock. Objects that
// they name come by the bucket's notifications.
var silent = map[string]bool{
	"ConfigurationSnapshotDeliveryStarted": true, "ConfigurationSnapshotDeliveryCompleted": true, "ConfigurationSnapshotDeliveryFailed": true,
	"ConfigurationHistoryDeliveryCompleted": true, "ConfigRulesEvaluationStarted": true, "ScheduledNotification": true,
}

// silentMessage reports whether raw is such a message. What has been parsed as
// an item is in the slot.
func silentMessage(e *event.Event) bool { return silent[e.Text(event.ConfigMessageType)] }

// snapshot reads the items of a snapshot or history file that a container did not
// announce by its first key.
func (r *Reader) snapshot(list []byte, offset, line int64) error {
	for rest := list[1:]; ; {
		for len(rest) > 0 && (isSpace(rest[0]) || rest[0] == ',') {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] == ']' {
			return nil
		}
		n, err := event.SkipValue(rest)
		if err != nil {
			return r.broken(event.ConfigItem, offset, line, rest, err.Error())
		}
		known := false
		if rest[0] == '{' {
			if known, err = r.unwrap(rest[:n], offset, line, maxWraps); err != nil {
				return err
			}
		}
		if !known {
			if err := r.broken(event.ConfigItem, offset, line, rest[:n], "an element of configurationItems is no item"); err != nil {
				return err
			}
		}
		rest = rest[n:]
	}
}
