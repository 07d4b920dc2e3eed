package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"

	"riposte/event"
	"riposte/respond"
)

// restoreLogging starts a trail that was stopped, and gives back its reach when
// that was narrowed. It has no undo: turning logging off again is never a repair.
type restoreLogging struct{ *Clients }

type trailState struct {
	Name         string `json:"name"`
	ARN          string `json:"arn"`
	HomeRegion   string `json:"homeRegion"`
	Logging      bool   `json:"logging"`
	MultiRegion  bool   `json:"multiRegion"`
	GlobalEvents bool   `json:"globalEvents"`
	Validation   bool   `json:"validation"`
	// Update is what UpdateTrail would set.
	Update map[string]bool `json:"update,omitempty"`
}

func (a *restoreLogging) Params() []respond.Param {
	return []respond.Param{
		{Name: "trail", Required: true, Doc: "trail name or ARN"},
		{Name: "multi_region", Doc: "true when the trail should cover all regions"},
		{Name: "global_events", Doc: "true when it should hold the events of global services"},
		{Name: "validation", Doc: "true when it should write digest files"},
	}
}

func (a *restoreLogging) client(account, region string) (*cloudtrail.Client, error) {
	cfg, err := a.For(account, region)
	return cloudtrail.NewFromConfig(cfg), err
}

func (a *restoreLogging) Plan(ctx context.Context, r *respond.Request) (*respond.Plan, error) {
	p := &respond.Plan{Account: r.Account, Region: r.Region, Permissions: []string{"cloudtrail:StartLogging"}, Restore: respond.RestoreNever}
	name := r.Text("trail")
	p.Target = event.Entity{Kind: "trail", ID: name}
	if name == "" {
		return refuse(p, "the finding names no trail")
	}
	if strings.HasPrefix(name, "arn:") {
		if parts := strings.Split(name, ":"); len(parts) < 6 || parts[4] != r.Account {
			return refuse(p, "%s is not of account %s: an organisation's trail is repaired in the account that owns it", name, r.Account)
		}
	}
	state, err := a.read(ctx, r.Account, r.Region, name)
	p.Reads = []respond.Call{
		call("cloudtrail", "GetTrail", r.Account, r.Region, map[string]string{"Name": name}),
		call("cloudtrail", "GetTrailStatus", r.Account, r.Region, map[string]string{"Name": name}),
	}
	if is(err, "TrailNotFoundException") {
		return refuse(p, "there is no trail %s: it was deleted, and must be made again from its code, with its bucket, selectors and key", name)
	}
	if err != nil {
		return nil, err
	}
	p.Target, p.TargetID, p.Region = event.Entity{Kind: "trail", ID: state.ARN}, state.ARN, state.HomeRegion
	for _, want := range []struct {
		param, field string
		is           bool
	}{{"multi_region", "IsMultiRegionTrail", state.MultiRegion}, {"global_events", "IncludeGlobalServiceEvents", state.GlobalEvents}, {"validation", "EnableLogFileValidation", state.Validation}} {
		if on, _ := r.Params[want.param].(bool); on && !want.is {
			if state.Update == nil {
				state.Update = map[string]bool{}
			}
			state.Update[want.field] = true
		}
	}
	p.Before = mustJSON(state)
	if state.Logging && len(state.Update) == 0 {
		return already(p, "the trail is logging")
	}
	p.Decision = respond.Contain
	var reasons, effects []string
	if len(state.Update) > 0 {
		input := map[string]any{"Name": state.ARN}
		for k, v := range state.Update {
			input[k] = v
		}
		p.Calls = append(p.Calls, call("cloudtrail", "UpdateTrail", r.Account, state.HomeRegion, input))
		p.Permissions = append(p.Permissions, "cloudtrail:UpdateTrail")
		reasons, effects = append(reasons, "its reach was narrowed"), append(effects, "the trail covers what it should again")
	}
	if !state.Logging {
		p.Calls = append(p.Calls, call("cloudtrail", "StartLogging", r.Account, state.HomeRegion, map[string]string{"Name": state.ARN}))
		reasons, effects = append(reasons, "it is stopped"), append(effects, "events are recorded from now on")
	}
	p.Reason, p.Effect = strings.Join(reasons, "; "), strings.Join(effects, "; ")
	p.Warnings = []string{"what happened while the trail was off is in Event history for 90 days, management events only"}
	return p, nil
}

func (a *restoreLogging) read(ctx context.Context, account, region, name string) (trailState, error) {
	client, err := a.client(account, region)
	if err != nil {
		return trailState{}, err
	}
	out, err := client.GetTrail(ctx, &cloudtrail.GetTrailInput{Name: aws.String(name)})
	if err != nil {
		return trailState{}, fmt.Errorf("read the trail %s: %w", name, err)
	}
	s := trailState{
		Name: deref(out.Trail.Name), ARN: deref(out.Trail.TrailARN), HomeRegion: deref(out.Trail.HomeRegion), MultiRegion: aws.ToBool(out.Trail.IsMultiRegionTrail),
		GlobalEvents: aws.ToBool(out.Trail.IncludeGlobalServiceEvents), Validation: aws.ToBool(out.Trail.LogFileValidationEnabled),
	}
	status, err := client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String(name)})
	if err != nil {
		return s, fmt.Errorf("read the status of the trail %s: %w", name, err)
	}
	s.Logging = aws.ToBool(status.IsLogging)
	return s, nil
}

func (a *restoreLogging) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	var before trailState
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	client, err := a.client(p.Account, before.HomeRegion)
	if err != nil {
		return nil, err
	}
	r := receipt(p, map[string]any{"logging": true, "update": before.Update})
	if len(before.Update) > 0 {
		in := &cloudtrail.UpdateTrailInput{Name: aws.String(before.ARN)}
		for field, target := range map[string]**bool{"IsMultiRegionTrail": &in.IsMultiRegionTrail, "IncludeGlobalServiceEvents": &in.IncludeGlobalServiceEvents, "EnableLogFileValidation": &in.EnableLogFileValidation} {
			if before.Update[field] {
				*target = aws.Bool(true)
			}
		}
		out, err := client.UpdateTrail(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("update %s: %w", before.Name, err)
		}
		r.RequestIDs = append(r.RequestIDs, receipt(p, nil, out.ResultMetadata).RequestIDs...)
	}
	out, err := client.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: aws.String(before.ARN)})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", before.Name, err)
	}
	r.RequestIDs = append(r.RequestIDs, receipt(p, nil, out.ResultMetadata).RequestIDs...)
	return r, nil
}

func (a *restoreLogging) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	var before trailState
	if err := json.Unmarshal(r.Plan.Before, &before); err != nil {
		return respond.Unknown, fmt.Errorf("read the plan: %w", err)
	}
	now, err := a.read(ctx, r.Plan.Account, before.HomeRegion, before.ARN)
	if err != nil {
		return respond.Unknown, err
	}
	for field, is := range map[string]bool{"IsMultiRegionTrail": now.MultiRegion, "IncludeGlobalServiceEvents": now.GlobalEvents, "EnableLogFileValidation": now.Validation} {
		if before.Update[field] && !is {
			return respond.NotEffective, nil
		}
	}
	if !now.Logging {
		return respond.NotEffective, nil
	}
	return respond.Effective, nil
}
