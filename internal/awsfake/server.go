package awsfake

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Call is one request that the server answered.
type Call struct {
	Service, Operation, Account, Region, RequestID string
	// Write is whether the operation changes the world.
	Write bool
	// Outcome is "ok", an error code, or the fault's name.
	Outcome string
}

// Fault makes the server behave badly. The first fault that matches a call and
// has Times left is used.
type Fault struct {
	// Service and Operation choose the calls; "" is any.
	Service, Operation string
	// Times is how often; 0 is for ever.
	Times int
	// Kind is Throttle, Deny, HTML500, LostReply (the work is done, the answer is
	// not sent) or Before (Do runs before the work: a second actor).
	Kind string
	// Do is for Before.
	Do func(w *World)
	// After is how many bytes of a body are sent, for Truncated and Reset.
	After int64
}

// The kinds of Fault.
const (
	Throttle  = "throttle"
	Deny      = "deny"
	HTML500   = "html500"
	LostReply = "lost-reply"
	Before    = "before"
)

// Server is the endpoint. Its zero value is not usable; see New.
type Server struct {
	http *httptest.Server

	mu      sync.Mutex
	world   *World
	calls   []Call
	faults  []*Fault
	serial  int
	account string // of callers that name none
	// lag is how many reads after a write still show what was before.
	lag   int
	stale map[string][]byte // by service: the world before the last write
	left  map[string]int

	objects map[string]map[string][]Blob // by bucket and key; the last is the latest
	keys    map[string][]string          // of a bucket, sorted, once it was listed
	queues  map[string]*queue
	changed chan struct{} // closed at the next change of a queue, or call
	ahead   time.Duration // of the queues' clock
	allow   func(action, resource string) bool

	lookups      lookups
	organization *Organization
	kinesis      kinesis
	history      []Item
}

// New starts an endpoint on loopback. account is whose the plain credentials are.
func New(world *World, account string) *Server {
	s := &Server{world: world, account: account, stale: map[string][]byte{}, left: map[string]int{}}
	s.http = httptest.NewServer(s)
	return s
}

// Close stops the endpoint.
func (s *Server) Close() { s.http.Close() }

// URL is the endpoint's address.
func (s *Server) URL() string { return s.http.URL }

// Dial connects to the endpoint whatever host a request names: some services put
// the account into the host name.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.http.Listener.Addr().String())
}

// Fail adds a fault.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Lag makes the next reads of a service after each write show the world before it.
func (s *Server) Lag(reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = reads
}

// Calls returns what was called so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Writes returns the calls that changed the world or tried to.
func (s *Server) Writes() []Call {
	return slices.DeleteFunc(s.Calls(), func(c Call) bool { return !c.Write })
}

// Edit changes the world as somebody else would.
func (s *Server) Edit(change func(w *World)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.world)
}

// Snapshot returns the world as JSON.
func (s *Server) Snapshot() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return snapshot(s.world)
}

func snapshot(w *World) []byte {
	b, err := json.Marshal(w)
	if err != nil {
		panic(err) // plain data
	}
	return b
}

// request is one call while it is answered.
type request struct {
	service, operation, account, region, id string
	form                                    url.Values     // query protocol
	json                                    map[string]any // JSON protocol
	body                                    []byte
	path                                    []string // S3: bucket and key
	owner                                   string   // S3: the owner that the caller expects
}

// failure is an AWS error.
type failure struct {
	code    string
	message string
	status  int
	header  map[string]string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func fail(status int, code, format string, args ...any) error {
	return &failure{code: code, message: fmt.Sprintf(format, args...), status: status}
}

// scope finds the region and service that a request was signed for.
var scope = regexp.MustCompile(`Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request`)

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	most := int64(2 << 20)
	if r.Method == http.MethodPut {
		most = 1 << 30 // an object
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, most))
	if err != nil {
		return
	}
	m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	req := &request{region: m[2], service: m[3], account: s.account, body: body}
	if key := m[1]; strings.HasPrefix(key, "ASIA") && len(key) >= 16 {
		req.account = key[4:16]
	}
	handler := s.route(r, req)

	s.mu.Lock()
	s.serial++
	req.id = fmt.Sprintf("req-%08d", s.serial)
	write := !strings.HasPrefix(req.operation, "Get") && !strings.HasPrefix(req.operation, "List") && !strings.HasPrefix(req.operation, "Describe") && !strings.HasPrefix(req.operation, "Lookup") && req.operation != "AssumeRole"
	call := Call{Service: req.service, Operation: req.operation, Account: req.account, Region: req.region, RequestID: req.id, Write: write, Outcome: "ok"}
	fault := s.fault(req)
	var out any
	switch {
	case handler == nil:
		err = fail(http.StatusBadRequest, "InvalidAction", "the fake has no %s:%s", req.service, req.operation)
	case fault != nil && fault.Kind == Throttle:
		err = fail(http.StatusBadRequest, throttleCode(req.service), "Rate exceeded")
	case fault != nil && fault.Kind == Deny:
		err = fail(http.StatusForbidden, denyCode(req.service), "not authorized to perform %s:%s", req.service, req.operation)
	case fault != nil && fault.Kind == HTML500:
	case fault != nil && fault.Kind == ExpiredHandle:
		err = fail(http.StatusBadRequest, "ReceiptHandleIsInvalid", "The receipt handle has expired")
	default:
		if fault != nil && fault.Kind == Before {
			fault.Do(s.world)
		}
		out, err = handler(s.view(req, write), req)
	}
	if err != nil {
		call.Outcome = err.(*failure).code
	}
	if fault != nil && fault.Kind != Before {
		call.Outcome = fault.Kind
	}
	s.calls = append(s.calls, call)
	s.stir()
	s.mu.Unlock()
	respond, alone := out.(responder)

	switch {
	case fault != nil && fault.Kind == HTML500:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "<html><body>Internal Server Error</body></html>")
	case fault != nil && fault.Kind == LostReply:
		panic(http.ErrAbortHandler)
	case alone:
		respond(w, r, fault)
	default:
		answer(w, req, out, err)
	}
}

// view is the world that a call sees: for reads soon after a write, the one before it.
func (s *Server) view(req *request, write bool) *World {
	if write {
		if s.lag > 0 {
			s.stale[req.service], s.left[req.service] = snapshot(s.world), s.lag
		}
		return s.world
	}
	if s.left[req.service] > 0 {
		s.left[req.service]--
		var old World
		if json.Unmarshal(s.stale[req.service], &old) == nil {
			return &old
		}
	}
	return s.world
}

func (s *Server) fault(req *request) *Fault {
	for i, f := range s.faults {
		if f.Service != "" && f.Service != req.service || f.Operation != "" && f.Operation != req.operation {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return f
	}
	return nil
}

func throttleCode(service string) string {
	if service == "ec2" {
		return "RequestLimitExceeded"
	}
	if service == "s3" {
		return "SlowDown"
	}
	return "ThrottlingException"
}

func denyCode(service string) string {
	if service == "ec2" {
		return "UnauthorizedOperation"
	}
	return "AccessDenied"
}

type handler func(w *World, r *request) (any, error)

// route finds the operation by the service's protocol.
func (s *Server) route(r *http.Request, req *request) handler {
	switch req.service {
	case "iam", "ec2", "sts":
		req.form, _ = url.ParseQuery(string(req.body))
		if req.operation = req.form.Get("Action"); req.operation == "DescribeRegions" {
			return s.describeRegions
		}
		return map[string]map[string]handler{"iam": iam, "ec2": ec2, "sts": sts}[req.service][req.operation]
	case "cloudtrail", "organizations", "config":
		target := r.Header.Get("X-Amz-Target")
		req.operation = target[strings.LastIndexByte(target, '.')+1:]
		json.Unmarshal(req.body, &req.json)
		switch req.operation {
		case "ListPublicKeys":
			return s.listPublicKeys
		case "LookupEvents":
			return s.lookupEvents
		case "ListAccounts":
			return s.listAccounts
		case "GetResourceConfigHistory":
			return s.configHistory
		}
		return cloudTrail[req.operation]
	case "sqs":
		return s.sqs(r, req)
	case "kinesis":
		return s.kinesisCall(r, req)
	case "s3":
		if id := r.Header.Get("X-Amz-Account-Id"); id != "" {
			req.service, req.account = "s3control", id
			req.operation = map[string]string{"GET": "Get", "PUT": "Put", "DELETE": "Delete"}[r.Method] + "PublicAccessBlock"
			return s3Control[req.operation]
		}
		req.path = strings.SplitN(strings.Trim(r.URL.Path, "/"), "/", 2)
		verb := map[string]string{"GET": "Get", "PUT": "Put", "DELETE": "Delete", "HEAD": "Head"}[r.Method]
		req.owner = r.Header.Get("X-Amz-Expected-Bucket-Owner")
		if h := s.object(r, req); h != nil {
			return h
		}
		req.operation = verb + "Bucket"
		for sub, name := range map[string]string{
			"publicAccessBlock": "PublicAccessBlock", "tagging": "BucketTagging", "location": "BucketLocation", "policyStatus": "BucketPolicyStatus",
			"acl": "BucketAcl", "website": "BucketWebsite",
		} {
			if r.URL.Query().Has(sub) {
				req.operation = verb + name
			}
		}
		if req.operation == "GetBucketLocation" {
			return s.bucketLocation
		}
		return s3[req.operation]
	}
	req.operation = "unknown"
	return nil
}

// answer writes a result or an error in the service's protocol.
func answer(w http.ResponseWriter, req *request, out any, err error) {
	w.Header().Set("X-Amzn-Requestid", req.id)
	w.Header().Set("X-Amz-Request-Id", req.id)
	f, failed := err.(*failure)
	if failed {
		for name, value := range f.header {
			w.Header().Set(name, value)
		}
	}
	var buf bytes.Buffer
	if version := map[string]string{"cloudtrail": "1.1", "organizations": "1.1", "kinesis": "1.1", "config": "1.1", "sqs": "1.0"}[req.service]; version != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-"+version)
		if failed {
			w.WriteHeader(f.status)
			out = map[string]string{"__type": f.code, "message": f.message}
		}
		json.NewEncoder(&buf).Encode(out)
		w.Write(buf.Bytes())
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	buf.WriteString(xml.Header)
	esc := func(s string) string {
		var b strings.Builder
		xml.EscapeText(&b, []byte(s))
		return b.String()
	}
	status := http.StatusOK
	switch {
	case failed && req.service == "ec2":
		fmt.Fprintf(&buf, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>", f.code, esc(f.message), req.id)
	case failed && req.service == "s3":
		fmt.Fprintf(&buf, "<Error><Code>%s</Code><Message>%s</Message><RequestId>%s</RequestId></Error>", f.code, esc(f.message), req.id)
	case failed:
		fmt.Fprintf(&buf, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>", f.code, esc(f.message), req.id)
	case req.service == "ec2":
		fmt.Fprintf(&buf, "<%sResponse><requestId>%s</requestId>%s</%sResponse>", req.operation, req.id, out, req.operation)
	case req.service == "s3" || req.service == "s3control":
		if out == nil {
			buf.Reset()
			status = http.StatusNoContent
			if strings.HasPrefix(req.operation, "Put") || strings.HasPrefix(req.operation, "Head") {
				status = http.StatusOK
			}
		} else {
			fmt.Fprint(&buf, out)
		}
	default:
		fmt.Fprintf(&buf, "<%sResponse><%sResult>%s</%sResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>",
			req.operation, req.operation, out, req.operation, req.id, req.operation)
	}
	if failed {
		status = f.status
	}
	w.WriteHeader(status)
	w.Write(buf.Bytes())
}

// element renders one XML element with escaped text.
func element(name, text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return "<" + name + ">" + b.String() + "</" + name + ">"
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
