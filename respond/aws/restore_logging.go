package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

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
	Bucket       string `json:"bucket"`
	Logging      bool   `json:"logging"`
	MultiRegion  bool   `json:"multiRegion"`
	GlobalEvents bool   `json:"globalEvents"`
	Validation   bool   `json:"validation"`
	Organization bool   `json:"organization,omitempty"`
	// Everything says that the selectors record all management events.
	Everything bool `json:"everything"`
	// Delivery is why files do not arrive, "" when they do; Delivered that one has
	// arrived since logging began.
	Delivery  string `json:"deliveryError,omitempty"`
	Delivered bool   `json:"delivered"`
	// Update is what UpdateTrail would set.
	Update map[string]bool `json:"update,omitempty"`
}

// reach are the settings of UpdateTrail, by its names.
func (s *trailState) reach() map[string]bool {
	return map[string]bool{"IsMultiRegionTrail": s.MultiRegion, "IncludeGlobalServiceEvents": s.GlobalEvents, "EnableLogFileValidation": s.Validation}
}

// missing are the settings of want that are not on.
func (s *trailState) missing(want map[string]bool) map[string]bool {
	var out map[string]bool
	for name, on := range s.reach() {
		if want[name] && !on {
			if out == nil {
				out = map[string]bool{}
			}
			out[name] = true
		}
	}
	return out
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
	p := &respond.Plan{Account: r.Account, Region: r.Region}
	name := r.Text("trail")
	p.Target = event.Entity{Kind: "trail", ID: name}
	if name == "" {
		return refuse(p, "the finding names no trail")
	}
	foreign := "%s is of account %s: an organization's trail is repaired in the account that owns it"
	if _, service, region, account, _, ok := split(name); ok {
		switch {
		case service != "cloudtrail":
			return refuse(p, "%s is no trail", name)
		case account != r.Account:
			return refuse(p, foreign, name, account)
		}
		p.Region = region
	}
	want := map[string]bool{}
	for param, setting := range map[string]string{"multi_region": "IsMultiRegionTrail", "global_events": "IncludeGlobalServiceEvents", "validation": "EnableLogFileValidation"} {
		on, err := yes(r, param)
		if err != nil {
			return refuse(p, "%v", err)
		}
		want[setting] = on
	}
	for _, op := range []string{"GetTrail", "GetTrailStatus", "GetEventSelectors"} {
		in := map[string]string{"Name": name}
		if op == "GetEventSelectors" {
			in = map[string]string{"TrailName": name}
		}
		p.Reads = append(p.Reads, call("cloudtrail", op, r.Account, p.Region, in))
	}
	state, err := a.read(ctx, r.Account, p.Region, name)
	if is(err, "TrailNotFoundException", "InvalidTrailNameException") {
		return refuse(p, "there is no trail %s: it was deleted, and must be made again from its code, with its bucket, selectors and key", name)
	}
	if err != nil {
		return nil, err
	}
	p.Target, p.TargetID, p.Region = event.Entity{Kind: "trail", ID: state.ARN}, state.ARN, state.HomeRegion
	if _, _, _, account, _, ok := split(state.ARN); ok && account != r.Account {
		return refuse(p, foreign, state.ARN, account)
	}
	if why := a.protected(state.ARN, nil); why != "" {
		return refuse(p, "%s is protected: %s", state.ARN, why)
	}
	if want["IsMultiRegionTrail"] {
		want["IncludeGlobalServiceEvents"] = true // AWS takes the one only with the other
	}
	state.Update = state.missing(want)
	p.Before = mustJSON(state)
	if !state.Everything {
		p.Warnings = append(p.Warnings, "its event selectors leave management events out, and what they were is not in the trail: put them back from its code")
	}
	if state.Delivery != "" {
		p.Warnings = append(p.Warnings, fmt.Sprintf("its files do not arrive in %s (%s): repair the bucket's policy or the key's", state.Bucket, state.Delivery))
	}
	if state.Organization {
		p.Warnings = append(p.Warnings, "it is the organization's trail: every account's events depend on it")
	}
	if state.Logging && len(state.Update) == 0 {
		// On is not enough: it must record what matters, and the files must arrive.
		if !state.Everything || state.Delivery != "" {
			return refuse(p, "it is logging, but %s", strings.Join(p.Warnings, "; "))
		}
		return already(p, "the trail is logging")
	}
	p.Decision, p.Restore = respond.Contain, respond.RestoreNever
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
		p.Permissions = append(p.Permissions, "cloudtrail:StartLogging")
		reasons, effects = append(reasons, "it is stopped"), append(effects, "events are recorded from now on")
	}
	p.Reason, p.Effect = strings.Join(reasons, "; "), strings.Join(effects, "; ")
	p.Warnings = append(p.Warnings, "what happened while the trail was off is in Event history for 90 days, management events only")
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
	t := out.Trail
	s := trailState{
		Name: deref(t.Name), ARN: deref(t.TrailARN), HomeRegion: deref(t.HomeRegion), Bucket: deref(t.S3BucketName), MultiRegion: aws.ToBool(t.IsMultiRegionTrail),
		GlobalEvents: aws.ToBool(t.IncludeGlobalServiceEvents), Validation: aws.ToBool(t.LogFileValidationEnabled), Organization: aws.ToBool(t.IsOrganizationTrail),
	}
	status, err := client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String(name)})
	if err != nil {
		return s, fmt.Errorf("read the status of the trail %s: %w", name, err)
	}
	s.Logging, s.Delivery = aws.ToBool(status.IsLogging), deref(status.LatestDeliveryError)
	s.Delivered = status.LatestDeliveryTime != nil && status.StartLoggingTime != nil && status.LatestDeliveryTime.After(*status.StartLoggingTime)
	selectors, err := client.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: aws.String(name)})
	if err != nil {
		return s, fmt.Errorf("read the selectors of the trail %s: %w", name, err)
	}
	s.Everything = everything(selectors)
	return s, nil
}

// everything reports whether a trail records all management events. Of advanced
// selectors one that asks for them and for nothing else does.
func everything(s *cloudtrail.GetEventSelectorsOutput) bool {
	if slices.ContainsFunc(s.EventSelectors, func(e types.EventSelector) bool {
		return aws.ToBool(e.IncludeManagementEvents) && e.ReadWriteType == types.ReadWriteTypeAll && len(e.ExcludeManagementEventSources) == 0
	}) {
		return true
	}
	return slices.ContainsFunc(s.AdvancedEventSelectors, func(e types.AdvancedEventSelector) bool {
		return len(e.FieldSelectors) == 1 && deref(e.FieldSelectors[0].Field) == "eventCategory" && slices.Equal(e.FieldSelectors[0].Equals, []string{"Management"})
	})
}

// begin opens a plan again: what it saw and what is there now.
func (a *restoreLogging) begin(ctx context.Context, p *respond.Plan) (before, now trailState, err error) {
	if err := json.Unmarshal(p.Before, &before); err != nil {
		return before, now, fmt.Errorf("read the plan: %w", err)
	}
	now, err = a.read(ctx, p.Account, before.HomeRegion, before.ARN)
	if is(err, "TrailNotFoundException") {
		return before, now, &respond.ConflictError{Target: p.Target.ID, What: "the trail was deleted"}
	}
	return before, now, err
}

func (a *restoreLogging) Apply(ctx context.Context, p *respond.Plan) (*respond.Receipt, error) {
	before, now, err := a.begin(ctx, p)
	if err != nil {
		return nil, err
	}
	client, err := a.client(p.Account, before.HomeRegion)
	if err != nil {
		return nil, err
	}
	r := receipt(p, map[string]any{"logging": true, "update": before.Update})
	if update := now.missing(before.Update); len(update) > 0 {
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
		r.RequestIDs = append(r.RequestIDs, requestIDs(out.ResultMetadata)...)
	}
	if !before.Logging && !now.Logging {
		out, err := client.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: aws.String(before.ARN)})
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", before.Name, err)
		}
		r.RequestIDs = append(r.RequestIDs, requestIDs(out.ResultMetadata)...)
	}
	return r, nil
}

// Verify goes by delivery: a trail may say that it logs while its files do not
// arrive. Until one has, which takes some minutes, the outcome is unknown.
func (a *restoreLogging) Verify(ctx context.Context, r *respond.Receipt) (respond.Outcome, error) {
	return a.verify(ctx, func(ctx context.Context) (respond.Outcome, error) {
		before, now, err := a.begin(ctx, &r.Plan)
		if err == nil && now.Logging && now.Delivery == "" && !now.Delivered {
			return respond.Unknown, nil
		}
		return shows(now.Logging && now.Delivery == "" && len(now.missing(before.Update)) == 0, err)
	})
}
