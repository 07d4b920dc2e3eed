package kinesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/awsaccess"
)

// position is how far a shard was read.
type position struct {
	// After is the sequence number of the last record that is durable.
	After string `json:"after,omitempty"`
	// Done says that the shard is closed and was read to its end.
	Done bool `json:"done,omitempty"`
}

// shard is read by one goroutine.
type shard struct {
	*Source
	id    string
	since time.Time
	sink  ingest.Sink
	at    position
}

func (r *shard) key() string { return r.Source.key() + "/" + r.id }

// mostRecords of one read. AWS gives no more than 10 MB whatever their number.
const mostRecords = 10_000

// run reads the shard to its end, or until ctx is done. Only the sink's and the
// store's refusals are errors.
func (r *shard) run(ctx context.Context) error {
	defer r.lag(nil)
	defer r.Gone(r.id)
	log := r.log.With("shard", r.id)
	iterator := ""
	for pause := r.pause(); ; {
		began := time.Now()
		next, more, err := r.step(ctx, iterator)
		var final *finalError
		switch {
		case err == nil && next == "":
			r.at.Done = true
			log.InfoContext(ctx, "the shard is closed and read to its end")
			return r.save(ctx, r.key(), r.at)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &final):
			return final.err
		case err == nil:
			pause.Reset()
			r.Well(r.id)
			iterator = next
			wait := r.cfg.Poll
			if more {
				wait = r.fastest
			}
			if err := awsaccess.Sleep(ctx, wait-time.Since(began)); err != nil {
				return err
			}
		case awsaccess.Is(err, "ExpiredIteratorException"):
			iterator = "" // five minutes old: the sink was slow
		case gone(err):
			log.WarnContext(ctx, "the shard is gone: what it held and was not read is lost", "err", err)
			return nil
		default:
			iterator = ""
			wait := pause.NextBackOff()
			r.Fail(r.id, r.now(), err)
			log.ErrorContext(ctx, "the shard cannot be read", "again_in", wait.Round(time.Second).String(), "err", err)
			if err := awsaccess.Sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
}

// finalError ends the source: the sink or the store refuses.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }

// step reads once and delivers what came. It returns the next iterator, "" at the
// end of the shard, and whether there is more to read at once.
func (r *shard) step(ctx context.Context, iterator string) (next string, more bool, err error) {
	var reader *ingest.Reader
	select {
	case reader = <-r.turns:
		defer func() { r.turns <- reader }()
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
	if iterator == "" {
		if iterator, err = r.iterator(ctx); err != nil {
			return "", false, err
		}
	}
	out, err := r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: &iterator, StreamARN: r.arn(), Limit: aws.Int32(mostRecords)})
	if err != nil {
		return "", false, fmt.Errorf("read shard %s: %w", r.id, r.explain(err, "kinesis:GetRecords"))
	}
	for i := range out.Records {
		if err := r.deliver(ctx, reader, &out.Records[i]); err != nil {
			return "", false, &finalError{err}
		}
	}
	r.lag(out.MillisBehindLatest)
	if n := len(out.Records); n > 0 {
		r.at.After = text(out.Records[n-1].SequenceNumber)
		if err := r.save(ctx, r.key(), r.at); err != nil {
			return "", false, &finalError{err}
		}
	}
	return text(out.NextShardIterator), aws.ToInt64(out.MillisBehindLatest) > 0, nil
}

// lag notes how far the shard is behind, nil when it is no longer read.
func (r *shard) lag(millis *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if millis == nil {
		delete(r.behind, r.id)
		return
	}
	r.behind[r.id] = time.Duration(*millis) * time.Millisecond
}

// iterator asks for one at the shard's position.
func (r *shard) iterator(ctx context.Context) (string, error) {
	in := &kinesis.GetShardIteratorInput{StreamName: r.name(), StreamARN: r.arn(), ShardId: &r.id}
	switch {
	case r.at.After != "":
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &r.at.After
	case !r.since.IsZero():
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, &r.since
	default:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	}
	out, err := r.client.GetShardIterator(ctx, in)
	if awsaccess.Is(err, "InvalidArgumentException") && r.at.After != "" {
		r.log.ErrorContext(ctx, "the stream no longer has the position: riposte was away for longer than the stream keeps records, and what it dropped is lost; going on with what is there", "shard", r.id, "err", err)
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeTrimHorizon, nil
		out, err = r.client.GetShardIterator(ctx, in)
	}
	if err != nil {
		return "", fmt.Errorf("find the position in shard %s: %w", r.id, r.explain(err, "kinesis:GetShardIterator"))
	}
	return text(out.ShardIterator), nil
}

// aggregated begins a record into which the Kinesis Producer Library has put several.
var aggregated = []byte{0xf3, 0x89, 0x9a, 0xc2}

// deliver hands on what one record holds.
func (r *shard) deliver(ctx context.Context, reader *ingest.Reader, rec *types.Record) error {
	number := text(rec.SequenceNumber)
	o := ingest.Object{
		Source: "kinesis", Name: r.cfg.Stream + "/" + r.id + "/" + number, Identity: event.Hash("kinesis", r.Source.key(), r.id, number),
		Limit: r.cfg.MaxRecordBytes, Ingested: r.now().UTC(), FlowFormat: r.format, Log: r.cfg.Mapping,
	}
	if rec.ApproximateArrivalTimestamp != nil {
		o.Delivered = rec.ApproximateArrivalTimestamp.UTC()
	}
	if bytes.HasPrefix(rec.Data, aggregated) {
		return r.setAside(ctx, o, rec.Data, "a record of the Kinesis Producer Library that holds several: switch its aggregation off (AggregationEnabled = false)")
	}
	stats, err := reader.Read(ctx, o, bytes.NewReader(rec.Data), r.sink)
	var refused *ingest.DeliveryError
	switch {
	case errors.As(err, &refused) || ctx.Err() != nil:
		return err
	case err != nil:
		return r.setAside(ctx, o, rec.Data, err.Error())
	case stats.Foreign:
		return r.setAside(ctx, o, rec.Data, "the record holds no telemetry that is known")
	}
	return nil
}

// setAside puts a record that cannot be read into the dead letters.
func (r *shard) setAside(ctx context.Context, o ingest.Object, data []byte, reason string) error {
	if r.sink.Broken == nil {
		return nil
	}
	return r.sink.Broken(ctx, ingest.Broken{Origin: event.Origin{Source: o.Source, Object: o.Name}, Reason: reason, Raw: data[:min(len(data), 64<<10)]})
}
