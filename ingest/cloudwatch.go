package ingest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"

	"riposte/event"
)

// cloudWatch reads what a subscription of CloudWatch Logs sends to Kinesis and
// Firehose, and to Lambda in a wrapper of its own:
//
//	{"messageType":"DATA_MESSAGE","owner":"...","logGroup":"...","logStream":"...","subscriptionFilters":[...],
//	 "logEvents":[{"id":"...","timestamp":1510109208016,"message":"...","extractedFields":{...}}]}
//	{"awslogs":{"data":"base64 of gzip of such"}}
//
// A message is a flow log record, or a CloudTrail record, or whatever else is known.
// CONTROL_MESSAGE only asks whether anybody is there.
func (r *Reader) cloudWatch(raw []byte, offset, line int64, depth int) (known bool, err error) {
	switch string(plain(event.Member(raw, "messageType"))) {
	case "":
		return r.lambdaPayload(raw, offset, line, depth)
	case "CONTROL_MESSAGE":
		return event.Member(raw, "logEvents") != nil, nil
	case "DATA_MESSAGE":
	default: // one of Config's
		return false, nil
	}
	list := event.Member(raw, "logEvents")
	if len(list) == 0 || list[0] != '[' {
		return false, nil
	}
	r.format = r.given // each log group has a format of its own
	all, strange := 0, []byte(nil)
	unknown := 0
	for rest := list[1:]; ; {
		for len(rest) > 0 && (isSpace(rest[0]) || rest[0] == ',') {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] == ']' {
			break
		}
		n, err := event.SkipValue(rest)
		if err != nil {
			return true, r.broken(0, offset, line, rest, err.Error())
		}
		all++
		if known, err := r.logEvent(rest[:n], offset, line, depth); err != nil {
			return true, err
		} else if !known {
			if unknown++; unknown == 1 {
				strange = rest[:n]
			}
		}
		rest = rest[n:]
	}
	switch {
	case unknown == 0:
		return true, nil
	case unknown == all && !r.started && r.stats.Broken == 0:
		return false, nil
	}
	group := plain(event.Member(raw, "logGroup"))
	return true, r.broken(0, offset, line, strange, fmt.Sprintf("%d of the %d messages from log group %.200q are no telemetry that is known; this is the first", unknown, all, group))
}

func (r *Reader) lambdaPayload(raw []byte, offset, line int64, depth int) (known bool, err error) {
	data := event.Member(event.Member(raw, "awslogs"), "data")
	if data == nil {
		return false, nil
	}
	inner, err := unpack(data)
	if err != nil {
		return true, r.broken(0, offset, line, raw, "awslogs.data: "+err.Error())
	}
	return r.unwrap(inner, offset, line, depth+1)
}

// logEvent keeps what one message holds.
func (r *Reader) logEvent(raw []byte, offset, line int64, depth int) (known bool, err error) {
	message := plain(event.Member(raw, "message"))
	if len(message) == 0 {
		return false, nil
	}
	if message[0] == '{' {
		return r.unwrap(message, offset, line, depth+1)
	}
	switch {
	case r.format != nil && r.slot().ScanFlow(r.format, message) == nil:
		return true, r.keep(offset, line)
	case !event.MayBeFlow(message):
		return false, nil
	case r.format == nil:
		// A subscription whose filter names the columns tells them with each message.
		r.format = extractedFormat(event.Member(raw, "extractedFields"), message)
	}
	return r.flowRecord(message, offset, line)
}

// wrappedLine keeps a flow log record that Firehose wrapped: {"message":"2 1111..."}.
func (r *Reader) wrappedLine(raw []byte, offset, line int64) (known bool, err error) {
	message := plain(event.Member(raw, "message"))
	switch {
	case len(message) == 0:
		return false, nil
	case r.format != nil && r.slot().ScanFlow(r.format, message) == nil:
		return true, r.keep(offset, line)
	case !event.MayBeFlow(message):
		return false, nil
	}
	return r.flowRecord(message, offset, line)
}

// extractedFormat reads the columns from the fields that a subscription filter
// took out of a message: their names, where their values in order are the message.
// It is nil when they are not.
func extractedFormat(fields, message []byte) *event.FlowFormat {
	var names []string
	words := strings.Fields(string(message))
	d := json.NewDecoder(bytes.NewReader(fields))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() && len(names) < len(words) {
		name, err := d.Token()
		value, valueErr := d.Token()
		if err != nil || valueErr != nil || value != words[len(names)] {
			return nil
		}
		names = append(names, name.(string))
	}
	if d.More() {
		return nil
	}
	if len(names) != len(words) {
		return nil
	}
	f, err := event.ParseFlowFormat(strings.Join(names, " "))
	if err != nil || len(f.Extras())*2 > f.Len() {
		return nil
	}
	return f
}

// plain is the text of a JSON string, without what surrounds it, nil of any other
// value. It aliases v where nothing is escaped.
func plain(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return bytes.TrimSpace(v[1 : len(v)-1])
	}
	parsed, err := event.ParseJSON(v)
	if err != nil {
		return nil
	}
	s, _ := parsed.(string)
	return bytes.TrimSpace([]byte(s))
}

// unpack decodes base64 of gzip, at most as large as a record may be.
func unpack(v []byte) ([]byte, error) {
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(plain(v))))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxRecord+1))
	switch {
	case err != nil:
		return nil, err
	case len(out) > maxRecord:
		return nil, fmt.Errorf("it unpacks to more than %d MiB", maxRecord>>20)
	}
	return bytes.TrimSpace(out), nil
}
