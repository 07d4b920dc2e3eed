package respond

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"riposte/event"
)

type recorderFunc func(arn string, before time.Time) (*event.Resource, error)

func (f recorderFunc) Recorded(_ context.Context, arn string, before time.Time) (*event.Resource, error) {
	return f(arn, before)
}

func TestRecall(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	large := map[string]any{"policy": strings.Repeat("x", maxRecorded)}
	for name, c := range map[string]struct {
		target  string
		at      time.Time
		answer  *event.Resource
		err     error
		kept    bool
		warning string
	}{
		"known":         {"arn:aws:s3:::b", at, &event.Resource{ID: "b", StateID: "1", Configuration: map[string]any{"a": 1}}, nil, true, ""},
		"not known":     {"arn:aws:s3:::b", at, nil, nil, false, ""},
		"no ARN":        {"AKIAIOSFODNN7EXAMPLE", at, &event.Resource{ID: "b"}, nil, false, ""},
		"no time":       {"arn:aws:s3:::b", time.Time{}, &event.Resource{ID: "b"}, nil, false, ""},
		"not readable":  {"arn:aws:s3:::b", at, nil, errors.New("no server"), false, "no server"},
		"too large":     {"arn:aws:s3:::b", at, &event.Resource{ID: "b", Tags: map[string]any{"k": "v"}, Configuration: large}, nil, true, "too large"},
		"tags as large": {"arn:aws:s3:::b", at, &event.Resource{ID: "b", Tags: large, Configuration: large}, nil, true, "too large"},
	} {
		asked := time.Time{}
		p := planner{recorder: recorderFunc(func(_ string, before time.Time) (*event.Resource, error) { asked = before; return c.answer, c.err })}
		plan := &Plan{Target: event.Entity{ID: c.target}}
		p.recall(t.Context(), plan, c.at)
		if (plan.Recorded != nil) != c.kept || strings.Contains(strings.Join(plan.Warnings, " "), c.warning) != true || (c.warning == "") != (len(plan.Warnings) == 0) {
			t.Errorf("%s: %+v, warnings %q", name, plan.Recorded, plan.Warnings)
		}
		if c.kept && (!asked.Equal(at) || c.warning == "" && plan.Recorded.Configuration["a"] != 1) {
			t.Errorf("%s: asked of %s, got %+v", name, asked, plan.Recorded)
		}
		if c.kept && c.answer.Configuration == nil {
			t.Errorf("%s: what was given was changed", name)
		}
	}
	(&planner{}).recall(t.Context(), &Plan{}, at) // nobody to ask
}
