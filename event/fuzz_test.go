package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// decodeStd is encoding/json's reading of one value, numbers as written.
func decodeStd(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows")
	}
	return v, nil
}

// depth is how deep braces and brackets nest, read naively: an upper bound.
func depth(data []byte) int {
	n, most := 0, 0
	for _, c := range data {
		switch c {
		case '{', '[':
			n++
			most = max(most, n)
		case '}', ']':
			n--
		}
	}
	return most
}

// FuzzParseJSON holds the parser against encoding/json: what ours accepts the
// other reads alike, what ours refuses the other refuses too, but for the three
// things that ours is stricter in.
func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{
		`null`, ` {"a":[1,-2.5e+10,true,false,null,"x\n\u00e9\ud83d\ude00\ud83d"]} `, `{"a":1,"a":2}`, `01`, `1.`, `-`, `"\u12"`, "\"\x01\"", `[1,]`, `{"a":}`, `"\ud800\u0041"`, `""x`, "\xff", `1e5`, `-0`,
	} {
		f.Add([]byte(s))
	}
	for _, l := range sampleLines(f)[:10] {
		f.Add(l)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseJSON(data)
		want, stdErr := decodeStd(data)
		if err == nil {
			if stdErr != nil {
				t.Fatalf("accepts what encoding/json refuses: %v", stdErr)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("reads %#v, encoding/json %#v", got, want)
			}
			if loose := parseLoosely(data); !reflect.DeepEqual(loose, want) {
				t.Fatalf("reads loosely %#v, encoding/json %#v", loose, want)
			}
			return
		}
		if stdErr != nil {
			return
		}
		switch message := err.Error(); {
		case strings.Contains(message, "duplicate key"):
			if loose := parseLoosely(data); !reflect.DeepEqual(loose, want) {
				t.Fatalf("a key given twice: reads loosely %#v, encoding/json %#v", loose, want)
			}
		case strings.Contains(message, "UTF-8") && !utf8.Valid(data):
		case strings.Contains(message, "nested deeper") && depth(data) > maxDepth:
		default:
			t.Fatalf("refuses what encoding/json reads as %#v: %v", want, err)
		}
	})
}

// FuzzScanConfig holds the scanner of Config items against encoding/json.
func FuzzScanConfig(f *testing.F) {
	files, err := filepath.Glob("../samples/config/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.TrimSpace(data))
	}
	f.Add([]byte(`{"messageType":"x","configurationItemDiff":{},"configurationItem":{"resourceType":"T","configuration":"{\"a\":[\"b\"]}","supplementaryConfiguration":{"p":"{\"q\":1}","r":"{"},"tags":{"a":"b"}}}`))
	f.Add([]byte(`{"arn":"a","ARN":"b"}`))
	f.Add([]byte(`{"messageType":"OversizedConfigurationItemChangeNotification","configurationItemSummary":{"changeType":"UPDATE","resourceType":"T","configurationStateId":1},"s3DeliverySummary":{"s3BucketLocation":"b/k::v","errorCode":null},"notificationCreationTime":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"configurationItem":[{"resourceType":"T","resourceId":"i"}],"NotificationCreateTime":"x","configurationItemDiff":{"changeType":"UPDATE","changedProperties":{"Configuration.A.0":{"previousValue":"a","updatedValue":null,"changeType":"DELETE"},"Configuration.A.1":{"updatedValue":"a"}}}}`))
	f.Add([]byte(`{"resourceType":"T","configurationItem":null,"version":"1","configurationItemCaptureTime":1.5e9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e Event
		n, err := e.Scan(ConfigItem, data)
		if n < 0 || n > len(data) {
			t.Fatalf("took %d of %d bytes", n, len(data))
		}
		if err != nil {
			return
		}
		std, stdErr := decodeStd(data[:n])
		if stdErr != nil {
			t.Fatalf("accepts what encoding/json refuses: %v", stdErr)
		}
		// A field is the outer's or the item's: whichever of its spellings is there.
		outer := std.(map[string]any)
		objects := []map[string]any{outer}
		for _, name := range []string{"configurationItem", "configurationItemSummary"} {
			of := outer[name]
			if list, ok := of.([]any); ok {
				// Of several objects only the last may have hot fields.
				for _, v := range list {
					if m, ok := v.(map[string]any); ok {
						objects = append(objects, m)
					}
				}
				continue
			}
			if m, ok := of.(map[string]any); ok {
				objects = append(objects, m)
			}
		}
		for _, m := range configItemMembers() {
			var values []any
			for _, spelled := range configItemMembers() {
				if spelled.field != m.field {
					continue
				}
				for _, object := range objects {
					if v, ok := object[spelled.name]; ok {
						values = append(values, v)
					}
				}
			}
			// Keys written twice in one object collapse in encoding/json, and
			// were refused here: at most one is left.
			if len(values) > 1 && !bytes.Contains(data, []byte(`"configurationItem`)) && !bytes.Contains(data, []byte(`\u`)) {
				t.Fatalf("field %s filled from two spellings: %v", m.name, values)
			}
			if len(values) != 1 {
				continue
			}
			if e.Has(m.field) != (values[0] != nil) {
				t.Fatalf("%s: has %v, encoding/json %v", m.name, e.Has(m.field), values[0])
			}
			if s, ok := values[0].(string); ok && e.Text(m.field) != s {
				t.Fatalf("%s: %q, encoding/json %q", m.name, e.Text(m.field), s)
			}
		}
		use(t, &e)
	})
}

// use calls everything that an event can be asked: none may panic, and what is
// derived is the same when asked again and of a copy.
func use(t *testing.T, e *Event) {
	t.Helper()
	id, record := e.ID(), e.Record()
	if id == "" || !json.Valid(record.Raw) {
		t.Fatalf("id %q, record %q", id, record.Raw)
	}
	e.Entities()
	e.Actor()
	e.Incomplete()
	if kind, properties := e.Change(); !slices.IsSorted(properties) || kind == Unchanged && len(properties) > 0 && e.Text(ConfigChangeType) == "" && !bytes.Contains(e.Raw, []byte("NONE")) {
		t.Fatalf("change %q of %q", kind, properties)
	}
	e.Time()
	_ = e.Name() + e.Account() + e.Region() + e.Origin.String()
	for f := Field(0); int(f) < maxFields; f++ {
		e.Value(f)
		e.Int(f)
		if plain, ok := e.Plain(f); ok && string(plain) != e.Text(f) {
			t.Fatalf("field %d: plain %q, text %q", f, plain, e.Text(f))
		}
	}
	c := e.Clone()
	for i := range e.Raw {
		e.Raw[i] = 'x' // the copy must not see this
	}
	if c.ID() != id || !bytes.Equal(c.Record().Raw, record.Raw) {
		t.Fatalf("a copy has the id %q, the event %q", c.ID(), id)
	}
}

// FuzzParseFlowFormat: a format that is read is read again from its own words.
func FuzzParseFlowFormat(f *testing.F) {
	for _, s := range []string{flowFieldsV2, "${version} ${account-id}", "VERSION srcaddr new_thing", "srcaddr srcaddr", "x x srcaddr", "# fields: version", strings.Repeat("a ", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, fields string) {
		format, err := ParseFlowFormat(fields)
		if err != nil {
			return
		}
		again, err := ParseFlowFormat(format.String())
		if err != nil {
			t.Fatalf("does not read its own words %q: %v", format, err)
		}
		if again.String() != format.String() || again.column != format.column || !reflect.DeepEqual(again.extra, format.extra) {
			t.Fatalf("%q is read as another format: %q", format, again)
		}
		names := strings.Fields(format.String())
		if len(names) == 0 || len(names) > maxFlowColumns || len(names) != len(strings.Fields(fields)) {
			t.Fatalf("%d columns from %q", len(names), fields)
		}
		line := strings.Repeat("7 ", len(names))
		var e Event
		if err := e.ScanFlow(format, []byte(line)); err != nil {
			t.Fatalf("a line of as many columns: %v", err)
		}
	})
}

// FuzzScanFlow holds the scanner of lines against strings.FieldsFunc.
func FuzzScanFlow(f *testing.F) {
	f.Add(flowFieldsV2, []byte("2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"))
	f.Add("srcaddr x-y tcp-flags", []byte("10.0.0.1\t- 03\r"))
	f.Add("version srcaddr", []byte("2  10.0.0.1 "))
	f.Add("version srcaddr", []byte("2 10.0.0.1 3"))
	f.Add("version srcaddr", []byte("2 \x7f"))
	f.Fuzz(func(t *testing.T, fields string, line []byte) {
		format, err := ParseFlowFormat(fields)
		if err != nil {
			return
		}
		var e Event
		err = e.ScanFlow(format, line)
		words := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' })
		names := strings.Fields(format.String())
		clean := !slices.ContainsFunc(words, func(w string) bool {
			return strings.ContainsFunc(w, func(r rune) bool { return r < 0x20 || r >= 0x7f })
		})
		if want := clean && len(words) == len(names); (err == nil) != want {
			t.Fatalf("%v, want success %v", err, want)
		}
		if err != nil {
			return
		}
		tree := e.Tree()
		for i, name := range names {
			v, ok := tree[strings.ReplaceAll(name, "-", "_")]
			if ok != (words[i] != "-") || ok && text(v) != words[i] {
				t.Fatalf("%s: %v, want %q", name, v, words[i])
			}
			if field, hot := flowField(name); hot {
				if e.Has(field) != ok || ok && e.Text(field) != words[i] {
					t.Fatalf("%s: %q, want %q", name, e.Text(field), words[i])
				}
			} else if v, ok := e.Extra(name); !ok || v != words[i] {
				t.Fatalf("%s: %q, want %q", name, v, words[i])
			}
		}
		use(t, &e)
	})
}

func text(v any) string {
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	s, _ := v.(string)
	return s
}

func TestKeyGivenTwiceDeepInside(t *testing.T) {
	e, err := Decode(CloudTrail, []byte(`{"eventName":"x","requestParameters":{"a":1,"a":"last","password":"p"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := e.Value(RequestParameters).(map[string]any); m["a"] != "last" {
		t.Errorf("%v", e.Value(RequestParameters))
	}
	if raw := string(e.Record().Raw); !strings.Contains(raw, `"a":"last"`) || strings.Contains(raw, `"p"`) {
		t.Errorf("the evidence: %s", raw)
	}
}
