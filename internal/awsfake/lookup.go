package awsfake

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// Recorded is an event that LookupEvents tells of.
type Recorded struct {
	ID, Name, Source, User string
	// Raw is the record, as CloudTrail has it.
	Raw  string
	Time time.Time
	// Visible is when it can be looked up first: events come minutes late. The
	// zero time is at once.
	Visible time.Time
	// Insight is found by the category insight alone.
	Insight bool
}

// recorder is what CloudTrail has recorded in one account and region.
type recorder struct {
	events []Recorded
	sorted bool
	// tokens and filled are the bucket that limits the rate.
	tokens float64
	filled time.Time
}

// lookups is what LookupEvents knows.
type lookups struct {
	recorders map[string]*recorder // by account and region
	rate      float64
	// issue is part of every token; tokens of an older issue have expired.
	issue int
}

// Record adds events to what an account's region has recorded.
func (s *Server) Record(account, region string, events ...Recorded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.recorder(account, region)
	r.events = append(r.events, events...)
	r.sorted = false
	s.stir()
}

// LimitLookups makes LookupEvents refuse what comes faster than so many a second
// for an account and region, with a burst of as many; AWS has 2. 0 is no limit.
func (s *Server) LimitLookups(perSecond float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups.rate = perSecond
}

// ExpireTokens makes every page token that was given out invalid.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups.issue++
}

func (s *Server) recorder(account, region string) *recorder {
	if s.lookups.recorders == nil {
		s.lookups.recorders = map[string]*recorder{}
	}
	key := account + "/" + region
	r := s.lookups.recorders[key]
	if r == nil {
		r = &recorder{}
		s.lookups.recorders[key] = r
	}
	return r
}

// admit takes one request from the bucket, if there is one.
func (r *recorder) admit(rate float64, now time.Time) bool {
	if rate == 0 {
		return true
	}
	if r.filled.IsZero() {
		r.tokens = rate
	} else {
		r.tokens = min(rate, r.tokens+now.Sub(r.filled).Seconds()*rate)
	}
	r.filled = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}

// lookupInput is a request of LookupEvents.
type lookupInput struct {
	StartTime, EndTime *float64
	EventCategory      string
	MaxResults         *int
	NextToken          string `json:",omitempty"`
}

// pageToken is where the next page begins: so many events were shown already, so
// that events which become visible meanwhile shift what follows.
type pageToken struct {
	Issue, Offset int
	Input         lookupInput
}

// lookupEvents is CloudTrail's LookupEvents: newest first, by pages.
func (s *Server) lookupEvents(_ *World, req *request) (any, error) {
	if err := s.permitted(req, "cloudtrail:LookupEvents", "*"); err != nil {
		return nil, err
	}
	r := s.recorder(req.account, req.region)
	if !r.admit(s.lookups.rate, time.Now()) {
		return nil, fail(http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
	}
	var in lookupInput
	if err := json.Unmarshal(req.body, &in); err != nil {
		return nil, fail(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	size := 50
	if in.MaxResults != nil {
		size = *in.MaxResults
	}
	if size < 1 || size > 50 {
		return nil, fail(http.StatusBadRequest, "InvalidMaxResultsException", "A max results value of %d is invalid", size)
	}
	if in.StartTime != nil && in.EndTime != nil && *in.StartTime > *in.EndTime {
		return nil, fail(http.StatusBadRequest, "InvalidTimeRangeException", "The start time is after the end time")
	}
	offset, err := s.offset(in)
	if err != nil {
		return nil, err
	}
	found := r.find(in, s.now())
	page := found[min(offset, len(found)):]
	out := map[string]any{}
	if len(page) > size {
		page = page[:size]
		next, err := json.Marshal(pageToken{Issue: s.lookups.issue, Offset: offset + size, Input: in.plain()})
		if err != nil {
			return nil, fail(http.StatusInternalServerError, "InternalError", "%v", err)
		}
		out["NextToken"] = base64.StdEncoding.EncodeToString(next)
	}
	items := []any{}
	for _, e := range page {
		items = append(items, map[string]any{
			"EventId": e.ID, "EventName": e.Name, "EventSource": e.Source, "Username": e.User, "ReadOnly": "false",
			"EventTime": e.Time.Unix(), "CloudTrailEvent": e.Raw, "Resources": []any{},
		})
	}
	out["Events"] = items
	return out, nil
}

// plain is a request without its token, which has to be the same for every page.
func (in lookupInput) plain() lookupInput {
	in.NextToken = ""
	return in
}

// offset reads where a page begins.
func (s *Server) offset(in lookupInput) (int, error) {
	if in.NextToken == "" {
		return 0, nil
	}
	bad := fail(http.StatusBadRequest, "InvalidNextTokenException", "The next token is invalid, has expired, or was given for other parameters")
	raw, err := base64.StdEncoding.DecodeString(in.NextToken)
	if err != nil {
		return 0, bad
	}
	var t pageToken
	if json.Unmarshal(raw, &t) != nil || t.Issue != s.lookups.issue {
		return 0, bad
	}
	was, _ := json.Marshal(t.Input)
	is, _ := json.Marshal(in.plain())
	if string(was) != string(is) {
		return 0, bad
	}
	return t.Offset, nil
}

// find returns what a request asks for, newest first.
func (r *recorder) find(in lookupInput, now time.Time) []Recorded {
	if !r.sorted {
		slices.SortStableFunc(r.events, func(a, b Recorded) int { return cmp.Compare(b.Time.Unix(), a.Time.Unix()) })
		r.sorted = true
	}
	var out []Recorded
	for _, e := range r.events {
		at := float64(e.Time.Unix())
		if e.Insight != (in.EventCategory == "insight") || e.Visible.After(now) ||
			in.StartTime != nil && at < *in.StartTime || in.EndTime != nil && at > *in.EndTime {
			continue
		}
		out = append(out, e)
	}
	return out
}
