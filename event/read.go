package event

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
	"unsafe"
)

// reset empties an event for reuse, keeping what is allocated.
func (e *Event) reset() {
	*e = Event{cells: e.cells[:0], cache: e.cache[:0]}
}

// Clone copies the event and its bytes, so that the copy outlives the buffer.
func (e *Event) Clone() Event {
	c := *e
	c.Raw = slices.Clone(e.Raw)
	c.cells = slices.Clone(e.cells)
	c.cache = nil
	return c
}

// Bytes returns the field as it was written, a JSON value with its quotes, or
// the column of a flow log line. It is nil when the field is absent, and aliases Raw.
func (e *Event) Bytes(f Field) []byte {
	if e.Kind == FlowLog {
		return e.cell(f)
	}
	s := e.span(f)
	if s.end == 0 {
		return nil
	}
	return e.Raw[s.start:s.end]
}

func (e *Event) span(f Field) span {
	if int(f) >= maxFields {
		return span{}
	}
	return e.index.spans[f]
}

// Has reports whether the field is present and not null (in a flow log: not "-").
func (e *Event) Has(f Field) bool {
	if e.Kind == FlowLog {
		return !noCell(e.cell(f))
	}
	return e.span(f).end != 0 && e.index.flags[f]&flagNull == 0
}

// Text returns a string field unescaped, numbers and booleans as their text,
// and "" when the field is absent or null. The text aliases Raw where it can.
func (e *Event) Text(f Field) string {
	if e.Kind == FlowLog {
		if b := e.cell(f); !noCell(b) {
			return alias(b)
		}
		return ""
	}
	if !e.Has(f) {
		return ""
	}
	b := e.Bytes(f)
	flags := e.index.flags[f]
	switch {
	case flags&flagString == 0:
		return alias(b)
	case flags&flagEscaped != 0:
		return unescape(b[1 : len(b)-1])
	}
	return alias(b[1 : len(b)-1])
}

// alias views bytes as a string without copying; it lives as long as they stay as they are.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Plain returns a string field's bytes when they are its text as it stands,
// without quotes, and false when the field is absent or must be unescaped:
// the fast road for looking a field up in a table.
func (e *Event) Plain(f Field) ([]byte, bool) {
	if e.Kind == FlowLog {
		b := e.cell(f)
		return b, !noCell(b)
	}
	if !e.Has(f) {
		return nil, false
	}
	b := e.Bytes(f)
	switch e.index.flags[f] {
	case flagString:
		return b[1 : len(b)-1], true
	case 0:
		return b, true
	}
	return nil, false
}

// Int returns a whole number, written as a number or as its text.
func (e *Event) Int(f Field) (int64, bool) {
	n, err := strconv.ParseInt(e.Text(f), 10, 64)
	return n, err == nil
}

// Bool reports whether the field is true or "true".
func (e *Event) Bool(f Field) bool { return e.Text(f) == "true" }

// Value returns the field parsed: map[string]any, []any, string, json.Number,
// bool, or nil when it is absent or null. It is parsed once an event. A part of
// an item that AWS wrote as JSON inside a string is opened.
func (e *Event) Value(f Field) any {
	if !e.Has(f) {
		return nil
	}
	for i := range e.cache {
		if e.cache[i].field == f {
			return e.cache[i].value
		}
	}
	if e.Kind == FlowLog {
		return e.Text(f)
	}
	v := parseLoosely(e.Bytes(f))
	if e.Kind == ConfigItem {
		v = openStrings(f, v)
	}
	e.cache = append(e.cache, cached{f, v})
	return v
}

// openStrings parses the JSON strings in which the Config API hides objects.
func openStrings(f Field, v any) any {
	switch f {
	case ConfigConfiguration:
		return openString(v)
	case ConfigSupplementaryConfiguration:
		if m, ok := openString(v).(map[string]any); ok {
			for k, inner := range m {
				m[k] = openString(inner)
			}
			return m
		}
	}
	return v
}

func openString(v any) any {
	s, ok := v.(string)
	if !ok || len(s) == 0 || s[0] != '{' && s[0] != '[' {
		return v
	}
	if inner := parseLoosely([]byte(s)); inner != nil {
		return inner
	}
	return v
}

// Tree parses the whole record into new maps. A flow log record is an object of
// its columns by name, underscores for dashes, whole numbers as json.Number.
func (e *Event) Tree() map[string]any {
	if e.Kind == FlowLog {
		return e.flowTree()
	}
	if m, ok := parseLoosely(e.Raw).(map[string]any); ok {
		return m
	}
	return map[string]any{}
}

// ID is the source's own id: CloudTrail's eventID; for a flow log record and a
// Config item a name derived from what identifies it.
func (e *Event) ID() string {
	switch e.Kind {
	case CloudTrail:
		if id := e.Text(EventID); id != "" {
			return id
		}
	case FlowLog:
		return e.flowID()
	case ConfigItem:
		state := e.Text(ConfigStateID)
		if state == "" {
			state = e.Text(ConfigCaptureTime)
		}
		if state != "" {
			return e.Account() + "/" + e.Region() + "/" + e.Text(ConfigResourceType) + "/" + e.Text(ConfigResourceID) + "/" + state
		}
	}
	if id := e.entryID(); id != "" {
		return id
	}
	return "sha256-" + Hash(string(e.Raw))
}

// Time is when it happened, in UTC; the zero time when the record does not say.
func (e *Event) Time() time.Time {
	var text string
	switch e.Kind {
	case CloudTrail:
		text = e.Text(EventTime)
	case ConfigItem:
		text = e.Text(ConfigCaptureTime)
		if n, err := json.Number(text).Float64(); err == nil && text != "" {
			return time.UnixMilli(int64(math.Round(n * 1000))).UTC() // the API's epoch seconds
		}
	case FlowLog:
		return e.flowTime()
	default:
		return entryTime(e.Text(EntryTime))
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// Name is the eventName, the resource type, "flow", or an entry's kind.
func (e *Event) Name() string {
	switch e.Kind {
	case CloudTrail:
		return e.Text(EventName)
	case ConfigItem:
		return e.Text(ConfigResourceType)
	case FlowLog:
		return "flow"
	}
	return e.Text(EntryKind)
}

// Account is the account the record was delivered to, 12 digits.
func (e *Event) Account() string {
	switch e.Kind {
	case CloudTrail:
		if a := e.Text(RecipientAccountID); a != "" {
			return a
		}
		return e.Text(UserAccountID)
	case ConfigItem:
		return e.Text(ConfigAccountID)
	case FlowLog:
		return e.flowAccount()
	}
	return e.Text(EntryAccount)
}

// Region is where it happened; global services say us-east-1 or "global".
func (e *Event) Region() string {
	switch e.Kind {
	case CloudTrail:
		return e.Text(AWSRegion)
	case ConfigItem:
		return e.Text(ConfigRegion)
	case FlowLog:
		return e.flowRegion()
	}
	return e.Text(EntryRegion)
}
