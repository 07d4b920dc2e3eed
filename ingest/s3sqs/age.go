package s3sqs

import (
	"strconv"
	"sync"
	"time"

	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// ageWindow is for how long the oldest message is remembered.
const ageWindow = time.Minute

// ages remember how long the oldest of the messages that came lately had waited:
// SQS itself tells that only to CloudWatch.
type ages struct {
	mu          sync.Mutex
	now, before time.Duration // the oldest of this window, and of the one before
	begin       time.Time
}

// note takes what one receive brought at a time.
func (a *ages) note(at time.Time, all []sqstypes.Message) {
	oldest := time.Duration(0)
	for _, m := range all {
		ms, err := strconv.ParseInt(m.Attributes[string(sqstypes.MessageSystemAttributeNameSentTimestamp)], 10, 64)
		if err == nil {
			oldest = max(oldest, at.Sub(time.UnixMilli(ms)))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(at)
	a.now = max(a.now, oldest)
}

// oldest is what it is at a time.
func (a *ages) oldest(at time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(at)
	return max(a.now, a.before)
}

func (a *ages) turn(at time.Time) {
	switch passed := at.Sub(a.begin); {
	case passed < ageWindow:
	case passed < 2*ageWindow:
		a.begin, a.before, a.now = a.begin.Add(ageWindow), a.now, 0
	default:
		a.begin, a.before, a.now = at, 0, 0
	}
}

// OldestAge is how long the oldest of the messages that were received in the last
// minute or two had waited since it was sent; 0 when none came.
func (s *Source) OldestAge() time.Duration { return s.ages.oldest(time.Now()) }
