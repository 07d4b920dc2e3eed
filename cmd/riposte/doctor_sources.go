package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"riposte/ingest/archive"
	"riposte/ingest/s3sqs"
	"riposte/internal/awsaccess"
)

// sourceWait bounds what the doctor waits for one source.
const sourceWait = 15 * time.Second

// sources looks at what the sources of the configuration read from in AWS.
func (d *doctor) sources(ctx context.Context, c *Config) {
	for i := range c.Sources {
		ctx, cancel := context.WithTimeout(ctx, sourceWait)
		switch s := &c.Sources[i]; {
		case s.S3 != nil:
			d.queue(ctx, s.S3)
		case s.Backfill != nil:
			d.bucket(ctx, s.Backfill)
		}
		cancel()
	}
}

// queue looks at a source's queue: that it is there, what waits in it, and what
// becomes of messages that always fail.
func (d *doctor) queue(ctx context.Context, c *s3sqs.Config) {
	s, err := s3sqs.New(ctx, *c, nil, nil)
	if err != nil {
		d.bad("fail", "queue", err.Error(), "mend the AWS configuration of this user")
		return
	}
	name := "queue " + s.Name()
	q, err := s.Queue(ctx)
	if err != nil {
		d.bad("fail", name, err.Error(), d.remedy(err, "is sqs.REGION.amazonaws.com reachable from here?"))
		return
	}
	detail := fmt.Sprintf("%d wait, %d are worked on, %d delayed", q.Visible, q.InFlight, q.Delayed)
	if q.Dead == "" {
		d.bad("warn", name, detail+"; it has no redrive policy", "give it a dead-letter queue: a message that always fails comes back until it expires")
		return
	}
	d.depth(name, detail, q)
	dead, err := s.DeadLetters(ctx, q.Dead)
	switch n := dead.Visible + dead.InFlight + dead.Delayed; {
	case err != nil:
		d.bad("warn", name, "its dead-letter queue "+q.Dead+" cannot be looked at: "+err.Error(), "allow sqs:GetQueueAttributes on it, to be told of dead messages here")
	case n > 0:
		d.bad("warn", name, fmt.Sprintf("%s in its dead-letter queue, after %d receives each", plural(n, "message"), q.MaxReceives), "riposte's log says why; when it is mended, start a redrive in SQS")
	}
}

// manyMessages is how many objects behind a source should not be.
const manyMessages = 10_000

// depth judges how much waits. How long is for the metric riposte.queue.age: SQS
// tells it only to CloudWatch, and who receives to find out brings messages nearer
// to the dead-letter queue.
func (d *doctor) depth(name, detail string, q s3sqs.Queue) {
	if q.Visible > manyMessages {
		d.bad("warn", name, detail, "is riposte run receiving? more s3.receivers, or another riposte on the same queue, catch up")
		return
	}
	d.ok(name, "%s", detail)
}

// bucket looks at what a backfill reads: that the bucket may be listed, and that
// something that is wanted is in it.
func (d *doctor) bucket(ctx context.Context, c *archive.Config) {
	name := "backfill"
	s, err := archive.New(ctx, *c, archive.Options{})
	if err != nil {
		d.bad("fail", name, err.Error(), "mend the AWS configuration of this user")
		return
	}
	first, err := s.First(ctx)
	switch {
	case err != nil:
		d.bad("fail", name, err.Error(), d.remedy(err, "is s3.REGION.amazonaws.com reachable from here?"))
	case first == "":
		d.bad("warn", name, c.From+" has nothing that is wanted", "check from, accounts, regions, kinds and the time")
	default:
		d.ok(name, "%s can be listed; its first object is %s", c.From, first)
	}
}

// remedy is for what AWS refused: its error says what is missing.
func (d *doctor) remedy(err error, other string) string {
	switch {
	case errors.Is(err, s3sqs.ErrNoQueue) || awsaccess.Is(err, "NoSuchBucket"):
		return "mend the name, or the region, in the configuration"
	case awsaccess.Denied(err):
		return "give the permission to the role"
	}
	return other
}
