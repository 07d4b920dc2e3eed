package awsfake

import (
	"encoding/json"
	"net/http"
	"time"
)

// Item is a configuration item that Config's history has.
type Item struct {
	Account, Region, Type, ID, State, Status string
	Captured                                 time.Time
	// Configuration is JSON, as text.
	Configuration string
	Tags          map[string]string
}

// Remember adds items to Config's history.
func (s *Server) Remember(items ...Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, items...)
}

// configHistory is Config's GetResourceConfigHistory: the latest first.
func (s *Server) configHistory(_ *World, req *request) (any, error) {
	if err := s.permitted(req, "config:GetResourceConfigHistory", "*"); err != nil {
		return nil, err
	}
	var in struct {
		ResourceType, ResourceID string
		LaterTime, EarlierTime   float64
	}
	if err := json.Unmarshal(req.body, &in); err != nil {
		return nil, fail(http.StatusBadRequest, "ValidationException", "%v", err)
	}
	if in.LaterTime < in.EarlierTime || in.LaterTime-in.EarlierTime > 7*24*3600 {
		return nil, fail(http.StatusBadRequest, "InvalidTimeRangeException", "The specified time range is not valid")
	}
	items, known := []any{}, false
	for i := len(s.history) - 1; i >= 0; i-- {
		it := s.history[i]
		if it.Account != req.account || it.Region != req.region || it.Type != in.ResourceType || it.ID != in.ResourceID {
			continue
		}
		known = true
		if at := float64(it.Captured.UnixMilli()) / 1000; at < in.EarlierTime || at > in.LaterTime {
			continue
		}
		items = append(items, map[string]any{
			"version": "1.3", "accountId": it.Account, "awsRegion": it.Region, "resourceType": it.Type, "resourceId": it.ID, "configurationStateId": it.State,
			"configurationItemStatus": it.Status, "configurationItemCaptureTime": float64(it.Captured.UnixMilli()) / 1000, "configuration": it.Configuration, "tags": it.Tags,
			"relationships": []any{map[string]any{"relationshipName": "Is contained in Vpc", "resourceId": "vpc-1", "resourceType": "AWS::EC2::VPC"}},
		})
	}
	if !known {
		return nil, fail(http.StatusBadRequest, "ResourceNotDiscoveredException", "Resource %s of resourceType:%s is unknown or has not been discovered", in.ResourceID, in.ResourceType)
	}
	return map[string]any{"configurationItems": items}, nil
}
