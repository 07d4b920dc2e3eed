package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"riposte/event"
)

// Recorder tells what a resource was like.
type Recorder interface {
	// Recorded returns the resource with the ARN as it was recorded before t, nil
	// when that is not known.
	Recorded(ctx context.Context, arn string, before time.Time) (*event.Resource, error)
}

// maxRecorded bounds what a plan keeps of a resource, as JSON.
const maxRecorded = 64 << 10

// recall adds to a plan what its target was before the event. A plan is as good
// without: what cannot be read is a warning.
func (p *planner) recall(ctx context.Context, plan *Plan, t time.Time) {
	if p.recorder == nil || !strings.HasPrefix(plan.Target.ID, "arn:") || t.IsZero() {
		return
	}
	r, err := p.recorder.Recorded(ctx, plan.Target.ID, t)
	if err != nil {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("what the target was before the event could not be read: %v", err))
		return
	}
	if r == nil {
		return
	}
	kept := *r
	if b, err := json.Marshal(kept); err != nil || len(b) > maxRecorded {
		kept.Configuration, kept.SupplementaryConfiguration, kept.Relationships = nil, nil, nil
		plan.Warnings = append(plan.Warnings, "the recorded configuration of the target is too large to be shown here; riposte inventory show has it")
	}
	if b, err := json.Marshal(kept); err != nil || len(b) > maxRecorded {
		kept.Tags = nil
	}
	plan.Recorded = &kept
}
