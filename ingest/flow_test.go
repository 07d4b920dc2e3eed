package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"

	"riposte/detect"
	"riposte/event"
	"riposte/ingest"
	"riposte/internal/traffic"
	"riposte/rules"
)

const flowRecord = "2 111122223333 eni-0a 10.0.0.1 10.0.0.2 49152 443 6 20 4249 1418530010 1418530070 ACCEPT OK"

// ownFormat has the columns of the default one in another order, and one more name.
const ownFormat = "${srcaddr} ${dstaddr} ${action} ${interface-tag} ${start} ${end}"

func TestFlowFormats(t *testing.T) {
	own, err := event.NamedFlowFormat(ownFormat)
	if err != nil {
		t.Fatal(err)
	}
	ownRecord := "10.0.0.1 10.0.0.2 REJECT web 1418530010 1418530070"
	for name, c := range map[string]struct {
		text    string
		format  *event.FlowFormat
		columns int // of the records
		events  int
		notice  string
		broken  string
		foreign bool
	}{
		"a header":                           {text: own.String() + "\n" + ownRecord + "\n", columns: 6, events: 1},
		"a header of underscores":            {text: "version account_id srcaddr\n2 1 10.0.0.1\n", columns: 3, events: 1},
		"a format that is given":             {text: ownRecord + "\n" + ownRecord, format: own, columns: 6, events: 2},
		"a header goes before what is given": {text: own.String() + "\n" + ownRecord + "\n", format: event.DefaultFlowFormat(), columns: 6, events: 1},
		"given, and records of others":       {text: ownRecord + "\n" + flowRecord + "\n", format: own, columns: 6, events: 1, broken: "14 columns where the format has 6"},
		"records that begin with a letter":   {text: "action srcaddr dstaddr\nACCEPT 10.0.0.1 10.0.0.2\nREJECT 10.0.0.1 10.0.0.2\n", columns: 3, events: 2},
		"two files end to end":               {text: own.String() + "\n" + ownRecord + "\ndstaddr srcaddr end action x y\n" + ownRecord + "\n", columns: 6, events: 2},
		"the default format":                 {text: flowRecord + "\n" + flowRecord + "\n", columns: 14, events: 2, notice: "taken for the format v2 (14 columns)"},
		"version 5":                          {text: string(tailOf(traffic.FlowFile(1, event.KnownFlowFormat("v5"), 3))), columns: 29, events: 0, broken: "its version column says"},
		"an order of one's own":              {text: strings.Replace(flowRecord, "ACCEPT OK", "OK ACCEPT", 1), broken: `14 columns as the format v2 has, but "OK" is no action; set flow_format`},
		"a number of columns of one's own":   {text: flowRecord + " vpc-0a", broken: "15 columns, which no known format has"},
		"a broken line first":                {text: strings.TrimSuffix(flowRecord, " OK") + "\n" + flowRecord + "\n", columns: 14, events: 1, notice: "v2", broken: "13 columns"},
		"another log":                        {text: "Jan 02 10:00:00 host sshd[1]: Accepted password for root\n", foreign: true},
		"another log, a format given":        {text: "Jan 02 10:00:00 host sshd[1]: Accepted password for root\n", format: own, foreign: true},
		"Firehose":                           {text: fmt.Sprintf(`{"message":%q}`+"\n"+`{"message":%q}`, flowRecord, flowRecord+"\n"), columns: 14, events: 2, notice: "v2"},
		"Firehose, a format given":           {text: fmt.Sprintf(`{"message":%q}`, ownRecord), format: own, columns: 6, events: 1},
		"Firehose, something else":           {text: `{"message":"hello"}`, foreign: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := readFrom(t, ingest.NewReader(), ingest.Object{Name: "f", Identity: "x", FlowFormat: c.format}, strings.NewReader(c.text), new(int64))
			if g.err != nil || len(g.ids) != c.events || g.stats.Foreign != c.foreign {
				t.Fatalf("%d events, foreign %v, %v, broken %v", len(g.ids), g.stats.Foreign, g.err, g.broken)
			}
			for _, l := range g.lines {
				if !strings.HasPrefix(l, fmt.Sprintf("%d: ", c.columns)) {
					t.Errorf("read as %s", l)
				}
			}
			if c.notice == "" && len(g.notices) > 0 || c.notice != "" && (len(g.notices) != 1 || !strings.Contains(g.notices[0], c.notice)) {
				t.Errorf("notices %q", g.notices)
			}
			if c.broken == "" && len(g.broken) > 0 || c.broken != "" && (len(g.broken) == 0 || !strings.Contains(g.broken[0].Reason, c.broken) || g.broken[0].Kind != event.FlowLog) {
				t.Errorf("broken %v", g.broken)
			}
		})
	}
}

// tailOf is a file without its header.
func tailOf(file []byte) []byte { return file[bytes.IndexByte(file, '\n')+1:] }

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// payload is what a subscription sends.
func payload(t testing.TB, group string, messages ...string) []byte {
	t.Helper()
	type logEvent struct {
		ID        string `json:"id"`
		Timestamp int64  `json:"timestamp"`
		Message   string `json:"message"`
	}
	p := struct {
		MessageType         string     `json:"messageType"`
		Owner               string     `json:"owner"`
		LogGroup            string     `json:"logGroup"`
		LogStream           string     `json:"logStream"`
		SubscriptionFilters []string   `json:"subscriptionFilters"`
		LogEvents           []logEvent `json:"logEvents"`
	}{MessageType: "DATA_MESSAGE", Owner: "111122223333", LogGroup: group, LogStream: "eni-0a-all", SubscriptionFilters: []string{"all"}}
	for i, m := range messages {
		p.LogEvents = append(p.LogEvents, logEvent{ID: fmt.Sprintf("%056d", i), Timestamp: 1772442900000, Message: m})
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const control = `{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1510109208016,"message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}`

func TestCloudWatchLogs(t *testing.T) {
	own, err := event.NamedFlowFormat(ownFormat)
	if err != nil {
		t.Fatal(err)
	}
	trail := string(records(t)[0])
	lines := []string{flowRecord, strings.Replace(flowRecord, "443", "22", 1)}
	want := []string{"14: " + lines[0], "14: " + lines[1]}
	flow := payload(t, "vpc", lines...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	extracted := bytes.Replace(payload(t, "vpc", "10.0.0.1 10.0.0.2 ACCEPT x 1418530070"), []byte(`"message"`),
		[]byte(`"extractedFields":{"srcaddr":"10.0.0.1","dstaddr":"10.0.0.2","action":"ACCEPT","thing":"x","end":"1418530070"},"message"`), 1)
	unordered := bytes.Replace(extracted, []byte(`"srcaddr":"10.0.0.1","dstaddr":"10.0.0.2"`), []byte(`"dstaddr":"10.0.0.2","srcaddr":"10.0.0.1"`), 1)
	for name, c := range map[string]struct {
		data    []byte
		format  *event.FlowFormat
		lines   []string
		trail   int
		broken  string
		foreign bool
	}{
		"from Kinesis":                         {data: zip(t, flow), lines: want},
		"not compressed":                       {data: flow, lines: want},
		"from Firehose":                        {data: join(zip(t, flow), zip(t, []byte(control)), zip(t, flow)), lines: slices.Concat(want, want)},
		"from Firehose, with delimiters":       {data: join(zip(t, flow), []byte("\n"), zip(t, flow), []byte("\r\n")), lines: slices.Concat(want, want)},
		"from Firehose, compressed once more":  {data: zip(t, join(zip(t, flow), zip(t, flow))), lines: slices.Concat(want, want)},
		"from Firehose, decompressed":          {data: join(flow, []byte(control), flow), lines: slices.Concat(want, want)},
		"the messages alone":                   {data: []byte(strings.Join(lines, "\n")), lines: want},
		"as Lambda gets it":                    {data: []byte(`{"awslogs":{"data":"` + base64.StdEncoding.EncodeToString(zip(t, flow)) + `"}}`), lines: want},
		"as Lambda gets it, broken":            {data: []byte(`{"awslogs":{"data":"AAAA"}}`), broken: "awslogs.data"},
		"control messages alone":               {data: []byte(control)},
		"a format that is given":               {data: payload(t, "vpc", "10.0.0.1 10.0.0.2 REJECT web 1418530010 1418530070"), format: own, lines: []string{"6: 10.0.0.1 10.0.0.2 REJECT web 1418530010 1418530070"}},
		"fields that are extracted":            {data: extracted, lines: []string{"5: 10.0.0.1 10.0.0.2 ACCEPT x 1418530070"}},
		"fields that are extracted, not so":    {data: unordered, broken: "set flow_format"},
		"each log group its own format":        {data: join(flow, payload(t, "tgw", strings.Repeat("- ", 35)+"-"), flow), lines: slices.Concat(want, want), broken: "are no telemetry"},
		"CloudTrail":                           {data: payload(t, "trail", trail, trail), trail: 2},
		"something else":                       {data: payload(t, "app", "hello", "world"), foreign: true},
		"something else beside flow logs":      {data: payload(t, "vpc", lines[0], "hello", lines[1], `{"a":1}`), lines: want, broken: "2 of the 4 messages from log group \"vpc\" are no telemetry"},
		"too deep":                             {data: zip(t, zip(t, zip(t, zip(t, flow)))), broken: "error"},
		"a message of which the end is broken": {data: payload(t, "vpc", lines[0], lines[0]+" x"), lines: want[:1], broken: "15 columns where the format has 14"},
	} {
		t.Run(name, func(t *testing.T) {
			g := readFrom(t, ingest.NewReader(), ingest.Object{Name: "f", Identity: "x", FlowFormat: c.format}, bytes.NewReader(c.data), new(int64))
			if c.broken == "error" {
				if g.err == nil {
					t.Error("no error")
				}
				return
			}
			if diff := cmp.Diff(c.lines, g.lines); diff != "" || g.err != nil || g.kinds["cloudtrail"] != c.trail || g.stats.Foreign != c.foreign {
				t.Errorf("%s%v, %v, %+v", diff, g.err, g.kinds, g.stats)
			}
			if c.broken == "" && len(g.broken) > 0 || c.broken != "" && (len(g.broken) != 1 || !strings.Contains(g.broken[0].Reason, c.broken)) {
				t.Errorf("broken %+v", g.broken)
			}
		})
	}
}

// TestLayersAreBounded: a limit holds for each layer of compression, so that little
// that unpacks to much that unpacks to nothing ends too.
func TestLayersAreBounded(t *testing.T) {
	inner := zip(t, nil)
	outer := zip(t, bytes.Repeat(inner, 100_000))
	g := readFrom(t, ingest.NewReader(), ingest.Object{Name: "f", Identity: "x", Limit: 1 << 20}, bytes.NewReader(outer), new(int64))
	if g.err == nil || !strings.Contains(g.err.Error(), ingest.ErrTooLarge.Error()) {
		t.Errorf("%v", g.err)
	}
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, flowRecord); err != nil {
		t.Fatal(err)
	}
	z.Close()
	if g := read(t, ingest.NewReader(), zip(t, b.Bytes())); len(g.lines) != 1 || g.err != nil {
		t.Errorf("zstd in gzip: %v, %v", g.lines, g.err)
	}
}

// FuzzCloudWatch holds what is read of any payload against encoding/json and
// compress/gzip: the messages that are records of the default format, in order,
// and no others.
func FuzzCloudWatch(f *testing.F) {
	f.Add(payload(f, "vpc", flowRecord, flowRecord))
	f.Add([]byte(control))
	f.Add(payload(f, "vpc", flowRecord, "hello\n", "\t"+flowRecord+"\r\n", `{"a":"\u0041"}`))
	f.Add([]byte(`{"logEvents":[{"message":"2 1 eni-1 - - - - - - - 1 2 - NODATA","message":1}],"messageType":"DATA_MESSAGE"}`))
	reader := ingest.NewReader()
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p struct {
			MessageType string
			LogEvents   []struct {
				Message         json.RawMessage
				ExtractedFields json.RawMessage
			}
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		if d.Decode(&p) != nil || !oneDocument(raw) || (p.MessageType != "DATA_MESSAGE" && p.MessageType != "CONTROL_MESSAGE") || strings.Contains(string(raw), `\u`) {
			t.Skip()
		}
		if strings.Count(string(raw), `"message"`) > len(p.LogEvents) {
			t.Skip() // given twice
		}
		var want []string
		for _, e := range p.LogEvents {
			var m string
			if json.Unmarshal(e.Message, &m) != nil || e.ExtractedFields != nil {
				t.Skip()
			}
			if strings.HasPrefix(strings.TrimSpace(m), "{") {
				t.Skip() // records of other kinds, which have tests of their own
			}
			var ev event.Event
			if ev.ScanFlow(event.DefaultFlowFormat(), []byte(strings.TrimSpace(m))) == nil && p.MessageType == "DATA_MESSAGE" {
				want = append(want, "14: "+strings.TrimSpace(m))
			}
		}
		squeezed := zip(t, zip(t, raw))
		plain, err := gzip.NewReader(bytes.NewReader(squeezed))
		if err != nil {
			t.Fatal(err)
		}
		if inner, err := io.ReadAll(plain); err != nil || !bytes.Equal(inner, zip(t, raw)) {
			t.Fatal(err)
		}
		o := ingest.Object{Name: "f", Identity: "x", FlowFormat: event.DefaultFlowFormat()}
		g := readFrom(t, reader, o, bytes.NewReader(squeezed), new(int64))
		if g.err != nil {
			t.Fatal(g.err)
		}
		if diff := cmp.Diff(want, g.lines); diff != "" {
			t.Fatal(diff)
		}
	})
}

// oneDocument reports whether raw is one object whose keys are as AWS writes them:
// encoding/json takes them in any case of letters and the last of two.
func oneDocument(raw []byte) bool {
	if !json.Valid(raw) || !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return false
	}
	lower := strings.ToLower(string(raw))
	for _, key := range []string{"messageType", "logEvents", "message", "extractedFields"} {
		if bytes.Count(raw, []byte(key)) != strings.Count(lower, strings.ToLower(key)) {
			return false
		}
	}
	return strings.Count(lower, `"messagetype"`) == 1 && strings.Count(lower, `"logevents"`) == 1
}

// asParquet writes flow log lines as AWS does: columns by their names with
// underscores, numbers as numbers, what is "-" absent.
func asParquet(t testing.TB, format *event.FlowFormat, lines [][]byte, options ...pq.WriterOption) []byte {
	t.Helper()
	names := strings.Fields(format.String())
	number := map[string]bool{}
	group := pq.Group{}
	for _, n := range names {
		node := pq.Optional(pq.Encoded(pq.String(), &pq.RLEDictionary))
		for f := event.Field(0); event.FlowFieldName(f) != ""; f++ {
			if event.FlowFieldName(f) == n && event.FlowNumber(f) {
				number[n], node = true, pq.Optional(pq.Int(64))
			}
		}
		group[strings.ReplaceAll(n, "-", "_")] = node
	}
	schema := pq.NewSchema("flow", group)
	var b bytes.Buffer
	w := pq.NewWriter(&b, append([]pq.WriterOption{schema}, options...)...)
	for _, line := range lines {
		words := strings.Fields(string(line))
		var row pq.Row
		for i, path := range schema.Columns() {
			name := strings.ReplaceAll(path[0], "_", "-")
			word := words[slices.Index(names, name)]
			v, level := pq.NullValue(), 0
			if word != "-" {
				v, level = pq.ByteArrayValue([]byte(word)), 1
				if number[name] {
					n, err := strconv.ParseInt(word, 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					v = pq.Int64Value(n)
				}
			}
			row = append(row, v.Level(0, level, i))
		}
		if _, err := w.WriteRows([]pq.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestParquet: records have the same ids from Parquet as from text, whatever the
// compression and however large the file; what is no flow log is foreign, and what
// is damaged or too large ends with an error after what came before.
func TestParquet(t *testing.T) {
	for _, name := range []string{"v2", "v5"} {
		format := event.KnownFlowFormat(name)
		text := traffic.FlowFile(3, format, 1234)
		want := readFrom(t, ingest.NewReader(), ingest.Object{Name: "f", Identity: "x"}, bytes.NewReader(text), new(int64))
		lines := bytes.Split(bytes.TrimSpace(tailOf(text)), []byte("\n"))
		for codec, option := range map[string]pq.WriterOption{
			"gzip": pq.Compression(&pq.Gzip), "snappy": pq.Compression(&pq.Snappy), "zstd": pq.Compression(&pq.Zstd), "none": pq.Compression(&pq.Uncompressed),
		} {
			data := asParquet(t, format, lines, option)
			for kind, data := range map[string][]byte{"plain": data, "inside gzip": zip(t, data)} {
				g := readFrom(t, ingest.NewReader(), ingest.Object{Name: "f", Identity: "x", Limit: 10 << 20}, bytes.NewReader(data), new(int64))
				if diff := cmp.Diff(want.ids, g.ids); diff != "" || g.err != nil || len(g.broken) > 0 || len(g.ids) != 1234 {
					t.Errorf("%s %s %s: %v, broken %v, %s", name, codec, kind, g.err, g.broken, diff[:min(len(diff), 1000)])
				}
				if !slices.Equal(g.sizes, want.sizes) || !slices.Equal(g.batches, want.batches) {
					t.Errorf("%s %s %s: batches of %v", name, codec, kind, g.sizes)
				}
			}
		}
		data := asParquet(t, format, lines, pq.Compression(&pq.Gzip))
		g := readFrom(t, ingest.NewReader(), ingest.Object{Name: "f", Identity: "x", Limit: int64(len(data)) + 100}, bytes.NewReader(data), new(int64))
		if !errors.Is(g.err, ingest.ErrTooLarge) || len(g.ids) == 0 || len(g.ids) >= 1234 {
			t.Errorf("a limit in between: %v after %d events", g.err, len(g.ids))
		}
		if g := readFrom(t, ingest.NewReader(), ingest.Object{Name: "f", Identity: "x", Limit: 1000}, bytes.NewReader(data), new(int64)); !errors.Is(g.err, ingest.ErrTooLarge) {
			t.Errorf("a file larger than its limit: %v", g.err)
		}
		if g := read(t, ingest.NewReader(), data[:len(data)-9]); g.err == nil || !strings.Contains(g.err.Error(), "cut short") {
			t.Errorf("cut short: %v", g.err)
		}
	}
	var b bytes.Buffer
	w := pq.NewGenericWriter[struct{ Name, Colour string }](&b)
	if _, err := w.Write([]struct{ Name, Colour string }{{"a", "red"}}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if g := read(t, ingest.NewReader(), b.Bytes()); !g.stats.Foreign || g.err != nil {
		t.Errorf("another table: %+v, %v", g.stats, g.err)
	}
	if g := read(t, ingest.NewReader(), asParquet(t, event.DefaultFlowFormat(), [][]byte{[]byte(flowRecord)}, pq.Compression(&pq.Brotli))); g.err == nil || !strings.Contains(g.err.Error(), "codec 4 is not read") {
		t.Errorf("Brotli: %v", g.err)
	}
}

// TestParquetInAFile: what does not fit memory waits in a file that is gone afterwards.
func TestParquetInAFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	format := event.KnownFlowFormat("v5")
	text := traffic.FlowFile(4, format, 60_000)
	data := asParquet(t, format, bytes.Split(bytes.TrimSpace(tailOf(text)), []byte("\n")), pq.Compression(&pq.Uncompressed))
	if len(data) < 5<<20 {
		t.Fatalf("only %d bytes", len(data))
	}
	g := read(t, ingest.NewReader(), data)
	if g.err != nil || len(g.ids) != 60_000 {
		t.Errorf("%d events, %v", len(g.ids), g.err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	t.Setenv("TMPDIR", dir+"/not/there")
	var refused *ingest.DeliveryError
	if g := read(t, ingest.NewReader(), data); !errors.As(g.err, &refused) {
		t.Errorf("no room for it: %v", g.err)
	}
}

// TestParquetFindings: the same records make the same findings, with the same ids and
// evidence, from text and from Parquet.
func TestParquetFindings(t *testing.T) {
	rs, err := detect.Load(rules.FS, detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	format := event.KnownFlowFormat("v5")
	text := traffic.FlowFile(5, format, 300)
	attack := "5 111122223333 eni-0a 198.51.100.77 10.20.2.40 49152 22 6 40 12000 1772442840 1772442900 ACCEPT OK vpc-0a subnet-0a i-0a 3 IPv4 198.51.100.77 10.20.2.40 us-east-1 use1-az1 - - - - ingress -"
	skipped := "5 111122223333 eni-0b - - - - - - - 1772442840 1772442900 - SKIPDATA vpc-0a subnet-0a - - - - - us-east-1 use1-az1 - - - - - -"
	text = append(text, attack+"\n"+skipped+"\n"...)
	find := func(data []byte) (out []event.Finding) {
		engine := detect.NewEngine(rs)
		_, err := ingest.NewReader().Read(t.Context(), ingest.Object{Name: "f", Identity: "x"}, bytes.NewReader(data), ingest.Sink{
			Emit: func(_ context.Context, b ingest.Batch) error {
				for i := range b.Events {
					b.Events[i].Origin = event.Origin{}
					out = engine.Eval(&b.Events[i], out)
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := find(text)
	got := find(asParquet(t, format, bytes.Split(bytes.TrimSpace(tailOf(text)), []byte("\n")), pq.Compression(&pq.Gzip)))
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 2 {
		t.Errorf("%d findings: %s", len(want), diff)
	}
}
