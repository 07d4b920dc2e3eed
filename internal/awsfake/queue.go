package awsfake

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Queue is how an SQS queue behaves. Its messages are shown by Messages.
type Queue struct {
	// Visibility is how long a message that was received is hidden; 0 is 30 s.
	Visibility time.Duration
	// Dead is the queue that takes a message after MaxReceives; "" is none.
	Dead        string
	MaxReceives int
	// Pick chooses which of n visible messages comes next; nil is the oldest.
	Pick func(n int) int
}

// Message is a message in a queue.
type Message struct {
	ID, Body string
	Sent     time.Time
	// Visible is when it can be received: in the future while it is delayed or in flight.
	Visible time.Time
	// Receives is how often it was received.
	Receives int

	handle string // of the last receive
}

// The kinds of Fault that queues have. A message that is received with Duplicate
// stays visible; ExpiredHandle refuses the receipt handle.
const (
	Duplicate     = "duplicate"
	ExpiredHandle = "expired-handle"
)

type queue struct {
	Queue
	name     string
	messages []*Message
}

// patience bounds how long an empty receive really waits.
const patience = 200 * time.Millisecond

// CreateQueue makes a queue and returns its URL.
func (s *Server) CreateQueue(name string, q Queue) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Visibility == 0 {
		q.Visibility = 30 * time.Second
	}
	if s.queues == nil {
		s.queues = map[string]*queue{}
	}
	s.queues[name] = &queue{Queue: q, name: name}
	return "https://sqs.eu-west-1.amazonaws.com/" + s.account + "/" + name
}

// Send puts a message into a queue, to be seen after a delay.
func (s *Server) Send(name, body string, delay time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(s.queues[name], body, delay)
}

func (s *Server) send(q *queue, body string, delay time.Duration) string {
	s.serial++
	now := s.now()
	m := &Message{ID: fmt.Sprintf("m-%07d", s.serial), Body: body, Sent: now, Visible: now.Add(delay)}
	q.messages = append(q.messages, m)
	s.stir()
	return m.ID
}

// Messages returns what a queue holds: visible, delayed and in flight.
func (s *Server) Messages(name string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.queues[name].messages {
		out = append(out, *m)
	}
	return out
}

// Advance moves the clock of the queues on.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
	s.stir()
}

// Now is the clock of the queues.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Server) now() time.Time { return time.Now().Add(s.ahead) }

// Until waits until a condition on the server holds. It is looked at after every
// call and change.
func (s *Server) Until(ctx context.Context, holds func() bool) error {
	for {
		s.mu.Lock()
		changed := s.stirred()
		s.mu.Unlock()
		if holds() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stirred is closed at the next change.
func (s *Server) stirred() chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// stir wakes those who wait for a change.
func (s *Server) stir() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// sqs finds the operation on a queue.
func (s *Server) sqs(r *http.Request, req *request) handler {
	target := r.Header.Get("X-Amz-Target")
	req.operation = target[strings.LastIndexByte(target, '.')+1:]
	if json.Unmarshal(req.body, &req.json) != nil {
		return nil
	}
	op, ok := map[string]func(*queue, *request) (any, error){
		"ReceiveMessage": s.receive, "DeleteMessage": s.delete, "ChangeMessageVisibility": s.hide, "SendMessage": s.sent,
		"DeleteMessageBatch": batch(s.delete), "ChangeMessageVisibilityBatch": batch(s.hide), "GetQueueAttributes": s.attributes,
	}[req.operation]
	if !ok {
		return nil
	}
	return func(_ *World, req *request) (any, error) {
		url, _ := req.json["QueueUrl"].(string)
		q := s.queues[url[strings.LastIndexByte(url, '/')+1:]]
		if q == nil {
			return nil, &failure{code: "com.amazonaws.sqs#QueueDoesNotExist", message: "The specified queue does not exist.", status: http.StatusBadRequest,
				header: map[string]string{"X-Amzn-Query-Error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}}
		}
		if err := s.permitted(req, "sqs:"+strings.TrimSuffix(req.operation, "Batch"), "arn:aws:sqs:"+req.region+":"+req.account+":"+q.name); err != nil {
			return nil, err
		}
		return op(q, req)
	}
}

// receive answers by itself: it waits for a message as long as it was asked to.
func (s *Server) receive(q *queue, req *request) (any, error) {
	number := func(name string, otherwise int) int {
		if v, ok := req.json[name].(float64); ok {
			return int(v)
		}
		return otherwise
	}
	most := number("MaxNumberOfMessages", 1)
	visibility := time.Duration(number("VisibilityTimeout", int(q.Visibility/time.Second))) * time.Second
	wait := min(patience, time.Duration(number("WaitTimeSeconds", 0))*time.Second)
	if most < 1 || most > 10 {
		return nil, fail(http.StatusBadRequest, "InvalidParameterValue", "MaxNumberOfMessages must be between 1 and 10")
	}
	return responder(func(w http.ResponseWriter, r *http.Request, fault *Fault) {
		end := time.NewTimer(wait)
		defer end.Stop()
		for {
			s.mu.Lock()
			got := s.take(q, most, visibility, fault != nil && fault.Kind == Duplicate)
			changed := s.stirred()
			s.mu.Unlock()
			if len(got) > 0 {
				answer(w, req, map[string]any{"Messages": got}, nil)
				return
			}
			select {
			case <-changed:
			case <-end.C:
				answer(w, req, map[string]any{}, nil)
				return
			case <-r.Context().Done():
				return
			}
		}
	}), nil
}

// take receives what is visible; what was received too often goes to the dead.
func (s *Server) take(q *queue, most int, visibility time.Duration, stays bool) (got []map[string]any) {
	now := s.now()
	for len(got) < most {
		var visible []*Message
		for _, m := range q.messages {
			if !m.Visible.After(now) && !slices.ContainsFunc(got, func(g map[string]any) bool { return g["MessageId"] == m.ID }) {
				visible = append(visible, m)
			}
		}
		if len(visible) == 0 {
			break
		}
		m := visible[0]
		if q.Pick != nil {
			m = visible[q.Pick(len(visible))]
		}
		if dead := s.queues[q.Dead]; dead != nil && m.Receives >= q.MaxReceives {
			q.messages = slices.DeleteFunc(q.messages, func(o *Message) bool { return o == m })
			m.Visible = now
			dead.messages = append(dead.messages, m)
			continue
		}
		m.Receives++
		s.serial++
		m.handle = fmt.Sprintf("%s-%d", m.ID, s.serial)
		if !stays {
			m.Visible = now.Add(visibility)
		}
		sum := md5.Sum([]byte(m.Body))
		got = append(got, map[string]any{
			"MessageId": m.ID, "ReceiptHandle": m.handle, "Body": m.Body, "MD5OfBody": hex.EncodeToString(sum[:]),
			"Attributes": map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.Receives), "SentTimestamp": strconv.FormatInt(m.Sent.UnixMilli(), 10)},
		})
	}
	if len(got) > 0 {
		s.stir()
	}
	return got
}

// held finds a message by a receipt handle; nil when it is gone or the handle is
// not of its last receive.
func (q *queue) held(req *request) (*Message, error) {
	handle, _ := req.json["ReceiptHandle"].(string)
	if !strings.HasPrefix(handle, "m-") {
		return nil, fail(http.StatusBadRequest, "ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	}
	for _, m := range q.messages {
		if m.handle == handle {
			return m, nil
		}
	}
	return nil, nil
}

// delete is done even with an old handle, and then deletes nothing, as SQS does.
func (s *Server) delete(q *queue, req *request) (any, error) {
	m, err := q.held(req)
	if err != nil || m == nil {
		return map[string]any{}, err
	}
	q.messages = slices.DeleteFunc(q.messages, func(o *Message) bool { return o == m })
	s.stir()
	return map[string]any{}, nil
}

func (s *Server) hide(q *queue, req *request) (any, error) {
	m, err := q.held(req)
	if err != nil {
		return nil, err
	}
	seconds, _ := req.json["VisibilityTimeout"].(float64)
	switch {
	case seconds < 0 || seconds > 43200:
		return nil, fail(http.StatusBadRequest, "InvalidParameterValue", "VisibilityTimeout must be between 0 and 43200")
	case m == nil || !m.Visible.After(s.now()):
		return nil, fail(http.StatusBadRequest, "com.amazonaws.sqs#MessageNotInflight", "The message is not in flight")
	}
	m.Visible = s.now().Add(time.Duration(seconds) * time.Second)
	s.stir()
	return map[string]any{}, nil
}

func (s *Server) sent(q *queue, req *request) (any, error) {
	body, _ := req.json["MessageBody"].(string)
	delay, _ := req.json["DelaySeconds"].(float64)
	sum := md5.Sum([]byte(body))
	return map[string]any{"MessageId": s.send(q, body, time.Duration(delay)*time.Second), "MD5OfMessageBody": hex.EncodeToString(sum[:])}, nil
}

func (s *Server) attributes(q *queue, req *request) (any, error) {
	visible, delayed, inFlight, now := 0, 0, 0, s.now()
	for _, m := range q.messages {
		switch {
		case !m.Visible.After(now):
			visible++
		case m.Receives > 0:
			inFlight++
		default:
			delayed++
		}
	}
	out := map[string]string{
		"VisibilityTimeout": strconv.Itoa(int(q.Visibility / time.Second)), "ApproximateNumberOfMessages": strconv.Itoa(visible),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight), "ApproximateNumberOfMessagesDelayed": strconv.Itoa(delayed),
		"QueueArn": "arn:aws:sqs:" + req.region + ":" + req.account + ":" + q.name,
	}
	if q.Dead != "" {
		out["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:%s:%s:%s","maxReceiveCount":%d}`, req.region, req.account, q.Dead, q.MaxReceives)
	}
	return map[string]any{"Attributes": out}, nil
}

// batch does one operation for each of a request's entries, and says of each how it went.
func batch(op func(*queue, *request) (any, error)) func(*queue, *request) (any, error) {
	return func(q *queue, req *request) (any, error) {
		entries, _ := req.json["Entries"].([]any)
		if len(entries) == 0 || len(entries) > 10 {
			return nil, fail(http.StatusBadRequest, "com.amazonaws.sqs#TooManyEntriesInBatchRequest", "want 1 to 10 entries")
		}
		good, bad := []any{}, []any{}
		for _, e := range entries {
			one := *req
			one.json, _ = e.(map[string]any)
			if _, err := op(q, &one); err != nil {
				f := err.(*failure)
				bad = append(bad, map[string]any{"Id": one.json["Id"], "Code": f.code[strings.LastIndexByte(f.code, '#')+1:], "Message": f.message, "SenderFault": true})
				continue
			}
			good = append(good, map[string]any{"Id": one.json["Id"]})
		}
		return map[string]any{"Successful": good, "Failed": bad}, nil
	}
}
