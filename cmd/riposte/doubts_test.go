package main

import (
	"fmt"
	"log/slog"
	"testing"
)

func TestDoubtsAreSaidOnce(t *testing.T) {
	var d doubts
	for i, want := range []slog.Level{slog.LevelWarn, slog.LevelDebug, slog.LevelDebug} {
		if got := d.level("s3", "guessed"); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	if d.level("kinesis", "guessed") != slog.LevelWarn || d.level("s3", "other") != slog.LevelWarn {
		t.Error("another doubt is not said")
	}
	for i := range 2 * maxDoubts {
		d.level("s3", fmt.Sprint(i))
	}
	if len(d.seen) > maxDoubts {
		t.Errorf("%d are remembered", len(d.seen))
	}
}
