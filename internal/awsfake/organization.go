package awsfake

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// Organization is what AWS Organizations answers.
type Organization struct {
	// Management and Delegated are the accounts that may ask.
	Management string
	Delegated  []string
	Members    []Member
	// Page is how many members an answer has, 20 when 0.
	Page int
}

// Member is an account of an organization.
type Member struct {
	ID, Name string
	// State is ACTIVE when empty; or SUSPENDED, PENDING_CLOSURE and the like.
	State string
}

// SetOrganization makes the accounts an organization.
func (s *Server) SetOrganization(o Organization) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.organization = &o
}

// listAccounts is Organizations' ListAccounts, by pages.
func (s *Server) listAccounts(_ *World, req *request) (any, error) {
	if err := s.permitted(req, "organizations:ListAccounts", "*"); err != nil {
		return nil, err
	}
	o := s.organization
	if o == nil {
		return nil, fail(http.StatusBadRequest, "AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	}
	if req.account != o.Management && !slices.Contains(o.Delegated, req.account) {
		return nil, fail(http.StatusBadRequest, "AccessDeniedException", "You don't have permissions to access this resource.")
	}
	var in struct{ NextToken string }
	if err := json.Unmarshal(req.body, &in); err != nil {
		return nil, fail(http.StatusBadRequest, "SerializationException", "%v", err)
	}
	from := 0
	if in.NextToken != "" {
		var err error
		if from, err = strconv.Atoi(in.NextToken); err != nil || from > len(o.Members) {
			return nil, fail(http.StatusBadRequest, "InvalidInputException", "the token is not ours")
		}
	}
	size := o.Page
	if size == 0 {
		size = 20
	}
	to := min(len(o.Members), from+size)
	accounts := []any{}
	for _, m := range o.Members[from:to] {
		if m.State == "" {
			m.State = "ACTIVE"
		}
		accounts = append(accounts, map[string]any{"Id": m.ID, "Name": m.Name, "State": m.State, "Arn": "arn:aws:organizations::" + o.Management + ":account/o-example/" + m.ID})
	}
	out := map[string]any{"Accounts": accounts}
	if to < len(o.Members) {
		out["NextToken"] = strconv.Itoa(to)
	}
	return out, nil
}

// describeRegions is EC2's DescribeRegions: those that are enabled.
func (s *Server) describeRegions(w *World, req *request) (any, error) {
	if err := s.permitted(req, "ec2:DescribeRegions", "*"); err != nil {
		return nil, &failure{code: denyCode("ec2"), message: err.(*failure).message, status: http.StatusForbidden}
	}
	regions := w.account(req.account).Regions
	if regions == nil {
		regions = []string{"us-east-1", "eu-west-1"}
	}
	out := ""
	for _, r := range regions {
		out += "<item>" + element("regionName", r) + element("regionEndpoint", "ec2."+r+".amazonaws.com") + element("optInStatus", "opt-in-not-required") + "</item>"
	}
	return "<regionInfo>" + out + "</regionInfo>", nil
}
