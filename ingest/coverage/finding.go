package coverage

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"riposte/event"
)

// The rules of findings about telemetry. docs/coverage.md says what each means.
const (
	RuleSilent   = "telemetry.silent"
	RuleMissing  = "telemetry.missing"
	RuleLate     = "telemetry.late"
	RuleSkipData = "telemetry.skipdata"
	RuleSkew     = "telemetry.clock-skew"
	RuleFailing  = "telemetry.source-failing"
)

// blinding is ATT&CK's technique of switching cloud logs off.
const blinding = "attack.t1562.008"

// finding tells of the part's trouble. Its identity is the part and since when:
// whoever judges, and however often, makes the same.
func (p *Part) finding(want Config) event.Finding {
	switch p.State {
	case Missing:
		return p.claim(RuleMissing, p.severity(), fmt.Sprintf("There has never been %s", p.Where()), p.Since, p.lacking()...)
	case Late:
		return p.claim(RuleLate, event.Medium, fmt.Sprintf("%s comes %s after it happened", p.Where(), words(p.Lag)), p.Since, p.tardy(want)...)
	case Losing:
		share := float64(p.SkipData) * 100 / float64(max(p.Events, 1))
		return p.claim(RuleSkipData, event.Medium, fmt.Sprintf("%s lost records: %.1f %% of a day's are SKIPDATA", p.Where(), share), p.Since,
			step("records of the last 24 hours", p.Events), step("of these SKIPDATA", p.SkipData),
			step("remedy", "AWS could not write these records for want of capacity or by an error of its own; look at the load of the interfaces that SKIPDATA records name, and at other telemetry of that time: a flood hides what happens in it"))
	}
	title := fmt.Sprintf("No %s since %s", p.Where(), p.Since.UTC().Format("2006-01-02 15:04 UTC"))
	return p.claim(RuleSilent, p.severity(), title, p.Since.Add(p.Patience), p.hush()...)
}

// severity is high where nothing else tells what happens there.
func (p *Part) severity() event.Severity {
	if p.Level == OfLog || p.Level == OfAccount && p.State == Silent {
		return event.High
	}
	return event.Medium
}

// hush explains a silence.
func (p *Part) hush() []event.Truth {
	out := []event.Truth{
		step("last event", p.Last), step("longest silence of its last week", words(p.Rhythm.Gap)), step("missed after", words(p.Patience)),
		step("events in its last 24 hours", p.Events), step("read through", strings.Join(p.Sources, ", ")),
	}
	if !p.Alive.IsZero() {
		out = append(out, step("digests prove that the trail was logging until", p.Alive))
	}
	if len(p.Speaking) > 0 {
		out = append(out, step("still speaking", strings.Join(p.Speaking, ", ")))
	}
	return append(out, step("likely", p.likely()), step("remedy", p.remedy()))
}

// stops are the calls that make a log fall silent.
var stops = map[string]string{
	"cloudtrail": "StopLogging, DeleteTrail, UpdateTrail, PutEventSelectors",
	"flow":       "DeleteFlowLogs",
	"config":     "StopConfigurationRecorder, DeleteConfigurationRecorder, DeleteDeliveryChannel",
	"guardduty":  "DeleteDetector, UpdateDetector, DeletePublishingDestination",
}

// likely is what the pattern of silence suggests.
func (p *Part) likely() string {
	switch {
	case p.Level == OfLog && len(p.Speaking) > 0:
		return "what brings this log is broken: its queue, topic, bucket policy or our access to them; other logs still come"
	case p.Level == OfLog:
		return "what brings telemetry is broken: queue, topic, bucket policy, network or our access to them"
	case p.Level == OfSource:
		return "this road is broken; the log still comes by another"
	case p.Level == OfAccount && len(p.Speaking) > 0:
		return "the log was switched off in the account, which speaks otherwise"
	case p.Level == OfAccount:
		return "the account delivers nothing at all: delivery is refused, or the account was closed or left the organization"
	}
	return "the log was switched off or narrowed here; the rest of the account speaks"
}

// remedy says what to do about a silence.
func (p *Part) remedy() string {
	look := "look at the source's queue and permissions with riposte doctor"
	if calls := stops[p.Log]; calls != "" && p.Level != OfLog && p.Level != OfSource {
		look = "look for " + calls + " about that time, by whom, and whether the bucket still takes what is delivered"
	}
	if p.Level == OfRegion || p.Level == OfVPC {
		look += "; where it is meant to be silent, name it under coverage.ignore"
	}
	return look
}

// lacking explains what has never been there.
func (p *Part) lacking() []event.Truth {
	return []event.Truth{
		step("expected by", "coverage in the configuration"), step("seen", "never"),
		step("still speaking", strings.Join(p.Speaking, ", ")),
		step("remedy", "see whether it is switched on there, whether it is delivered to a bucket or queue that a source reads, and whether prefixes leave it out; where it is not wanted, take it out of coverage"),
	}
}

// tardy explains what is late, and where it was held up.
func (p *Part) tardy(want Config) []event.Truth {
	out := []event.Truth{step("latest event", p.Last), step("read", p.Arrived), step("late from", words(want.late(p.Log)))}
	if p.Delivered.IsZero() {
		return append(out, step("remedy", "compare with the queue's age and with riposte's own lag: riposte doctor"))
	}
	out = append(out, step("delivered by AWS after", words(p.DeliveryLag)), step("read after that", words(max(0, p.Lag-p.DeliveryLag))))
	if p.DeliveryLag > p.Lag/2 {
		return append(out, step("remedy", "AWS delivered it late: see the AWS Health Dashboard, replication of the bucket, and whoever copies it"))
	}
	return append(out, step("remedy", "it lay ready: see the queue's age, the number of receivers, and whether the events stream is full"))
}

// skewed is the finding of events from the future.
func (p *Part) skewed(day string) event.Finding {
	q := *p
	q.Since = p.FutureSeen.UTC().Truncate(24 * time.Hour)
	return q.claim(RuleSkew, event.Medium, fmt.Sprintf("%s has events from the future", p.Where()), q.Since,
		step("day", day), step("ahead by at the most", words(p.Ahead)), step("such events", p.Future), step("read through", strings.Join(p.Sources, ", ")),
		step("remedy", "see whether this machine's clock is right (riposte doctor --aws compares it with AWS's), else who writes these events: AWS's own are not from the future. Windows and lateness of such events are not to be trusted"))
}

func (p *Part) claim(rule string, s event.Severity, title string, at time.Time, why ...event.Truth) event.Finding {
	version := event.Hash("telemetry", rule, "1")
	value, _ := json.Marshal(p.Where())
	f := event.Finding{
		ID: event.FindingID(version, p.ID(), p.Since.UTC().Format(time.RFC3339)), Rule: rule, Version: version, Severity: s, Time: at.UTC(),
		Title: upper(title), Account: p.Account, Region: p.Region, Key: p.ID(), Events: []string{}, Tags: []string{"telemetry", "telemetry." + p.Log},
		Evidence: event.Evidence{Explain: &event.Truth{Expr: rule, Value: value, Steps: why}},
	}
	if rule == RuleSilent || rule == RuleMissing || rule == RuleSkipData {
		f.Tags = append([]string{blinding}, f.Tags...)
	}
	if p.Account != "" {
		f.Entities = append(f.Entities, event.Entity{Kind: "account", ID: p.Account})
	}
	if p.Trail != "" {
		f.Entities = append(f.Entities, event.Entity{Kind: "trail", ID: p.Trail})
	}
	if p.VPC != "" {
		kind, arn := "vpc", "vpc/"
		if strings.HasPrefix(p.VPC, "tgw-") {
			kind, arn = "transit-gateway", "transit-gateway/"
		}
		id := p.VPC
		if p.Account != "" && p.Region != "" {
			id = fmt.Sprintf("arn:%s:ec2:%s:%s:%s%s", event.Partition(p.Region), p.Region, p.Account, arn, p.VPC)
		}
		f.Entities = append(f.Entities, event.Entity{Kind: kind, ID: id})
	}
	return f
}

// SourceFailing is the finding of a source that cannot read, since a time.
func SourceFailing(source, reason string, since time.Time) event.Finding {
	p := Part{Level: OfSource, Key: Key{Log: "any", Source: source}, Since: since.UTC().Truncate(time.Second)}
	return p.claim(RuleFailing, event.High, fmt.Sprintf("the source %s has read nothing since %s", source, since.UTC().Format("2006-01-02 15:04 UTC")), p.Since,
		step("because", reason), step("remedy", "mend what it says: until then its telemetry waits where it is, and nothing is found in it"))
}

func step(name string, value any) event.Truth {
	if t, ok := value.(time.Time); ok {
		value = t.UTC().Format(time.RFC3339)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		raw = []byte("null")
	}
	return event.Truth{Expr: name, Value: raw}
}

func upper(s string) string {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return s
}

// words is a duration as people say it.
func words(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
