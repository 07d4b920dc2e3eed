package ingest_test

import (
	"errors"
	"testing"
	"time"

	"riposte/ingest"
)

func TestTroubles(t *testing.T) {
	var all ingest.Troubles
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	want := func(what string, since time.Time, reason string) {
		t.Helper()
		got, err := all.Trouble()
		if !got.Equal(since) || (err == nil) != (reason == "") || err != nil && err.Error() != reason {
			t.Errorf("%s: since %s, %v; want %s, %q", what, got, err, since, reason)
		}
	}
	want("nothing is known", time.Time{}, "")
	all.Fail("a", at(1), errors.New("a1"))
	want("the only part fails", at(1), "a1")
	all.Fail("a", at(2), errors.New("a2"))
	want("it goes on failing", at(1), "a2")
	all.Well("b")
	want("another works", time.Time{}, "")
	all.Fail("b", at(3), errors.New("b3"))
	want("the other fails too", at(3), "b3")
	all.Gone("b")
	want("the other is gone", at(1), "a2")
	all.Well("a")
	want("it works again", time.Time{}, "")
	all.Fail("a", at(4), errors.New("a4"))
	want("it fails anew", at(4), "a4")
}
