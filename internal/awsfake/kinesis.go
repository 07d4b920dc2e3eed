package awsfake

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// stream is a Kinesis data stream.
type stream struct {
	name   string
	shards []*shard
}

type shard struct {
	id      string
	parents []string
	// first is the number of the first record that is kept; next of the next one.
	first, next int
	records     []kinesisRecord
	closed      bool
	reads       recorder // its bucket limits the rate
}

type kinesisRecord struct {
	data    []byte
	arrived time.Time
}

// kinesis is what Kinesis has.
type kinesis struct {
	streams map[string]*stream
	// issue is part of every iterator; those of an older issue have expired.
	issue int
	rate  float64
	// most bounds the records of an answer, whatever was asked for; 0 is no bound.
	most int
}

// CreateStream makes a data stream with so many shards and returns its ARN.
func (s *Server) CreateStream(name string, shards int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinesis.streams == nil {
		s.kinesis.streams = map[string]*stream{}
	}
	st := &stream{name: name}
	s.kinesis.streams[name] = st
	for range shards {
		st.add()
	}
	return "arn:aws:kinesis:eu-west-1:" + s.account + ":stream/" + name
}

func (st *stream) add(parents ...string) *shard {
	sh := &shard{id: fmt.Sprintf("shardId-%012d", len(st.shards)), parents: parents}
	st.shards = append(st.shards, sh)
	return sh
}

// Put adds records to a shard, and returns their sequence numbers.
func (s *Server) Put(name string, index int, data ...[]byte) (numbers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.kinesis.streams[name].shards[index]
	for _, d := range data {
		numbers = append(numbers, sh.number(sh.next))
		sh.records = append(sh.records, kinesisRecord{d, s.now()})
		sh.next++
	}
	s.stir()
	return numbers
}

// Split closes a shard and returns the indexes of the two that follow it.
func (s *Server) Split(name string, index int) (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.kinesis.streams[name]
	st.shards[index].closed = true
	st.add(st.shards[index].id)
	st.add(st.shards[index].id)
	s.stir()
	return len(st.shards) - 2, len(st.shards) - 1
}

// Merge closes two shards and returns the index of the one that follows them.
func (s *Server) Merge(name string, one, other int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.kinesis.streams[name]
	st.shards[one].closed, st.shards[other].closed = true, true
	st.add(st.shards[one].id, st.shards[other].id)
	s.stir()
	return len(st.shards) - 1
}

// Trim forgets the first records of a shard, as if their retention had ended.
func (s *Server) Trim(name string, index, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.kinesis.streams[name].shards[index]
	sh.records = sh.records[records:]
	sh.first += records
}

// ExpireIterators makes every shard iterator that was given out expire.
func (s *Server) ExpireIterators() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinesis.issue++
}

// LimitReads makes GetRecords refuse what comes faster than so many a second for
// a shard, AWS has 5, and give no more than most records; 0 is no limit.
func (s *Server) LimitReads(perSecond float64, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinesis.rate, s.kinesis.most = perSecond, most
}

// number is a sequence number: digits, as long as AWS's.
func (sh *shard) number(i int) string {
	return "4962" + sh.id[len(sh.id)-12:] + fmt.Sprintf("%040d", i)
}

func (sh *shard) index(number string) (int, bool) {
	digits, ok := strings.CutPrefix(number, "4962"+sh.id[len(sh.id)-12:])
	if !ok || len(digits) != 40 {
		return 0, false
	}
	i := 0
	_, err := fmt.Sscanf(strings.TrimLeft(digits, "0")+"x", "%dx", &i)
	return i, err == nil || strings.Trim(digits, "0") == ""
}

type kinesisInput struct {
	StreamName, StreamARN, ShardId, ShardIteratorType, StartingSequenceNumber, ShardIterator, NextToken string
	Timestamp                                                                                           float64
	Limit, MaxResults                                                                                   int
}

// iterator is a position that has been given out.
type iterator struct {
	Stream, Shard string
	Next, Issue   int
}

// kinesisCall finds the operation on a data stream.
func (s *Server) kinesisCall(r *http.Request, req *request) handler {
	target := r.Header.Get("X-Amz-Target")
	req.operation = target[strings.LastIndexByte(target, '.')+1:]
	op, ok := map[string]func(*stream, kinesisInput) (any, error){
		"ListShards": s.listShards, "GetShardIterator": s.shardIterator, "GetRecords": s.getRecords,
	}[req.operation]
	if !ok {
		return nil
	}
	return func(_ *World, req *request) (any, error) {
		var in kinesisInput
		if err := json.Unmarshal(req.body, &in); err != nil {
			return nil, fail(http.StatusBadRequest, "SerializationException", "%v", err)
		}
		name := in.StreamName
		if name == "" {
			name = in.StreamARN[strings.LastIndexByte(in.StreamARN, '/')+1:]
		}
		for _, encoded := range []string{in.ShardIterator, in.NextToken} {
			if it, err := readIterator(encoded); encoded != "" && err == nil {
				name = it.Stream
			}
		}
		if err := s.permitted(req, "kinesis:"+req.operation, "arn:aws:kinesis:"+req.region+":"+req.account+":stream/"+name); err != nil {
			return nil, err
		}
		st := s.kinesis.streams[name]
		if st == nil {
			return nil, fail(http.StatusBadRequest, "ResourceNotFoundException", "Stream %s under account %s not found.", name, req.account)
		}
		return op(st, in)
	}
}

func (s *Server) listShards(st *stream, in kinesisInput) (any, error) {
	from := 0
	if in.NextToken != "" {
		it, err := readIterator(in.NextToken)
		if err != nil || it.Issue != s.kinesis.issue {
			return nil, fail(http.StatusBadRequest, "ExpiredNextTokenException", "The next token has expired")
		}
		from = it.Next
	}
	to := len(st.shards)
	if in.MaxResults > 0 {
		to = min(to, from+in.MaxResults)
	}
	list := []any{}
	for _, sh := range st.shards[from:to] {
		about := map[string]any{"ShardId": sh.id, "HashKeyRange": map[string]string{"StartingHashKey": "0", "EndingHashKey": "1"}}
		numbers := map[string]string{"StartingSequenceNumber": sh.number(0)}
		if sh.closed {
			numbers["EndingSequenceNumber"] = sh.number(sh.next)
		}
		about["SequenceNumberRange"] = numbers
		for i, p := range sh.parents {
			about[[]string{"ParentShardId", "AdjacentParentShardId"}[i]] = p
		}
		list = append(list, about)
	}
	out := map[string]any{"Shards": list}
	if to < len(st.shards) {
		out["NextToken"] = s.iterator(iterator{Stream: st.name, Next: to})
	}
	return out, nil
}

func (s *Server) iterator(it iterator) string {
	it.Issue = s.kinesis.issue
	raw, _ := json.Marshal(it)
	return base64.StdEncoding.EncodeToString(raw)
}

func readIterator(encoded string) (it iterator, err error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(raw, &it)
	}
	return it, err
}

func (st *stream) find(id string) (*shard, error) {
	for _, sh := range st.shards {
		if sh.id == id {
			return sh, nil
		}
	}
	return nil, fail(http.StatusBadRequest, "ResourceNotFoundException", "Shard %s in stream %s does not exist", id, st.name)
}

func (s *Server) shardIterator(st *stream, in kinesisInput) (any, error) {
	sh, err := st.find(in.ShardId)
	if err != nil {
		return nil, err
	}
	next := sh.first
	switch in.ShardIteratorType {
	case "TRIM_HORIZON":
	case "LATEST":
		next = sh.next
	case "AT_TIMESTAMP":
		for i, r := range sh.records {
			if float64(r.arrived.UnixMilli())/1000 >= in.Timestamp {
				break
			}
			next = sh.first + i + 1
		}
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		i, ok := sh.index(in.StartingSequenceNumber)
		if in.ShardIteratorType == "AFTER_SEQUENCE_NUMBER" {
			i++
		}
		if !ok || i < sh.first || i > sh.next {
			return nil, fail(http.StatusBadRequest, "InvalidArgumentException", "StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s is invalid.", in.StartingSequenceNumber, sh.id, st.name)
		}
		next = i
	default:
		return nil, fail(http.StatusBadRequest, "ValidationException", "no iterator of type %q", in.ShardIteratorType)
	}
	return map[string]any{"ShardIterator": s.iterator(iterator{Stream: st.name, Shard: sh.id, Next: next})}, nil
}

func (s *Server) getRecords(st *stream, in kinesisInput) (any, error) {
	it, err := readIterator(in.ShardIterator)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "InvalidArgumentException", "Invalid ShardIterator.")
	}
	sh, err := st.find(it.Shard)
	if err != nil {
		return nil, err
	}
	if it.Issue != s.kinesis.issue {
		return nil, fail(http.StatusBadRequest, "ExpiredIteratorException", "Iterator expired.")
	}
	if !sh.reads.admit(s.kinesis.rate, time.Now()) {
		return nil, fail(http.StatusBadRequest, "ProvisionedThroughputExceededException", "Rate exceeded for shard %s in stream %s", sh.id, st.name)
	}
	from := max(it.Next, sh.first)
	to := sh.next
	for _, most := range []int{in.Limit, s.kinesis.most} {
		if most > 0 {
			to = min(to, from+most)
		}
	}
	records := []any{}
	for i := from; i < to; i++ {
		r := sh.records[i-sh.first]
		records = append(records, map[string]any{
			"Data": base64.StdEncoding.EncodeToString(r.data), "SequenceNumber": sh.number(i), "PartitionKey": "p",
			"ApproximateArrivalTimestamp": float64(r.arrived.UnixMilli()) / 1000,
		})
	}
	out := map[string]any{"Records": records, "MillisBehindLatest": 0}
	if to < sh.next {
		out["MillisBehindLatest"] = s.now().Sub(sh.records[to-sh.first].arrived).Milliseconds()
	}
	if !sh.closed || to < sh.next {
		out["NextShardIterator"] = s.iterator(iterator{Stream: st.name, Shard: sh.id, Next: to})
	}
	return out, nil
}
