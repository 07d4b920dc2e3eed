package kinesis

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"riposte/ingest"
)

// FuzzRecord: whatever a record of the stream holds, it never ends the source,
// and the same record makes the same batches.
func FuzzRecord(f *testing.F) {
	f.Add(record("a"))
	f.Add(packed(f, []byte(`{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":[],"logEvents":[{"id":"1","timestamp":1,"message":"2 1 eni-1 1.1.1.1 2.2.2.2 1 2 6 1 1 1 2 ACCEPT OK"}]}`)))
	f.Add([]byte("\xf3\x89\x9a\xc2"))
	f.Add([]byte(nil))
	reader := ingest.NewReader()
	f.Fuzz(func(t *testing.T, data []byte) {
		run := func() (ids []string) {
			s := &Source{cfg: Config{Stream: "s", MaxRecordBytes: 1 << 20}, now: time.Now}
			r := &shard{Source: s, id: "shardId-000000000000", sink: ingest.Sink{
				Emit:   func(_ context.Context, b ingest.Batch) error { ids = append(ids, b.ID); return nil },
				Broken: func(_ context.Context, b ingest.Broken) error { ids = append(ids, b.Reason); return nil },
			}}
			if err := r.deliver(t.Context(), reader, &types.Record{Data: data, SequenceNumber: aws.String("1")}); err != nil {
				t.Fatalf("%v ends the source", err)
			}
			return ids
		}
		one, two := run(), run()
		if len(one) != len(two) {
			t.Fatalf("%q, then %q", one, two)
		}
		for i := range one {
			if one[i] != two[i] {
				t.Errorf("%q, then %q", one[i], two[i])
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	s := &Source{cfg: Config{Stream: "s", MaxRecordBytes: 1 << 20}, now: time.Now}
	r := &shard{Source: s, id: "shardId-000000000000", sink: ingest.Sink{Emit: func(context.Context, ingest.Batch) error { return nil }}}
	data := packed(b, record("a"))
	reader := ingest.NewReader()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.deliver(b.Context(), reader, &types.Record{Data: data, SequenceNumber: aws.String("1")}); err != nil {
			b.Fatal(err)
		}
	}
}
