package s3sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"riposte/ingest/s3object"
)

// What a Meter counts here, beside what s3object does.
const (
	Receives = "receives" // calls that asked for messages
	Messages = "messages" // messages that came, as often as they came
	Again    = "again"    // of these, such that were received before
	Deletes  = "deletes"  // messages whose work is done
	Returns  = "returns"  // messages that were given back
)

// Meter counts what is done.
type Meter = s3object.Meter

func (s *Source) count(ctx context.Context, what string, n int64) {
	if s.meter != nil && n != 0 {
		s.meter.Count(ctx, what, n)
	}
}

// Queue is what SQS says of a queue; its numbers are approximate.
type Queue struct {
	// Visible wait to be received, InFlight are being worked on, Delayed are not
	// yet to be seen.
	Visible, InFlight, Delayed int64
	// Dead is the ARN of the queue that takes what always fails, "" for none, and
	// MaxReceives after how many receives.
	Dead        string
	MaxReceives int
}

// ErrNoQueue says that there is no such queue.
var ErrNoQueue = errors.New("does not exist")

// Name is the queue's name, for metrics.
func (s *Source) Name() string { return s.cfg.Queue[strings.LastIndexByte(s.cfg.Queue, '/')+1:] }

// Queue asks SQS about the queue.
func (s *Source) Queue(ctx context.Context) (Queue, error) { return s.attributes(ctx, s.cfg.Queue) }

// DeadLetters asks SQS about the queue's dead-letter queue, which must be in the
// same account and region as SQS has it.
func (s *Source) DeadLetters(ctx context.Context, arn string) (Queue, error) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 {
		return Queue{}, fmt.Errorf("%q is no queue's ARN", arn)
	}
	base := strings.TrimSuffix(s.cfg.Queue, s.Name())
	return s.attributes(ctx, base+parts[5])
}

func (s *Source) attributes(ctx context.Context, url string) (Queue, error) {
	out, err := s.queue.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameRedrivePolicy, sqstypes.QueueAttributeNameApproximateNumberOfMessages,
		sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible, sqstypes.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}})
	var missing *sqstypes.QueueDoesNotExist
	switch {
	case errors.As(err, &missing):
		return Queue{}, fmt.Errorf("the queue %s %w in %s: check s3.queue, s3.region and the account of s3.role", url, ErrNoQueue, s.queue.Options().Region)
	case err != nil:
		return Queue{}, fmt.Errorf("look at the queue: %w", s.explain(err, "sqs:GetQueueAttributes", url))
	}
	number := func(name sqstypes.QueueAttributeName) int64 {
		n, err := strconv.ParseInt(out.Attributes[string(name)], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	q := Queue{
		Visible: number(sqstypes.QueueAttributeNameApproximateNumberOfMessages), InFlight: number(sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		Delayed: number(sqstypes.QueueAttributeNameApproximateNumberOfMessagesDelayed),
	}
	var redrive struct {
		Dead string          `json:"deadLetterTargetArn"`
		Max  json.RawMessage `json:"maxReceiveCount"` // a number, or one in quotes
	}
	if text := out.Attributes[string(sqstypes.QueueAttributeNameRedrivePolicy)]; text != "" {
		if err := json.Unmarshal([]byte(text), &redrive); err != nil {
			return q, fmt.Errorf("the redrive policy of %s: %w", url, err)
		}
		q.Dead = redrive.Dead
		q.MaxReceives, _ = strconv.Atoi(strings.Trim(string(redrive.Max), `"`))
	}
	return q, nil
}
