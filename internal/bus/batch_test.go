package bus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/event"
	"riposte/samples"
)

// sampleEvents are real records of each kind, with origins of every sort.
func sampleEvents(t testing.TB) []event.Event {
	t.Helper()
	var out []event.Event
	add := func(e event.Event, err error) {
		if err == nil {
			e.Ingested = time.Unix(1735689600, int64(len(out))).UTC()
			if len(out)%3 > 0 {
				e.Delivered = e.Ingested.Add(time.Duration(len(out)%3-2) * time.Second)
			}
			out = append(out, e)
		}
	}
	err := fs.WalkDir(samples.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := samples.FS.ReadFile(name)
		if err != nil {
			return err
		}
		switch line := int64(0); {
		case strings.HasSuffix(name, ".ndjson") && strings.HasPrefix(name, "cloudtrail/"):
			for l := range bytes.Lines(data) {
				e, err := event.Decode(event.CloudTrail, bytes.TrimSpace(l))
				line++
				e.Origin = event.Origin{Source: "files", Object: name, Line: line}
				add(e, err)
			}
		case path.Dir(name) == "config" && path.Ext(name) == ".json":
			e, err := event.Decode(event.ConfigItem, data)
			e.Origin = event.Origin{Source: "s3", Object: name, Offset: -1}
			add(e, err)
		case path.Ext(name) == ".log":
			format := event.DefaultFlowFormat()
			for l := range strings.Lines(string(data)) {
				if fields, ok := strings.CutPrefix(l, "# fields: "); ok {
					if f, err := event.ParseFlowFormat(fields); err == nil {
						format = f
					}
					continue
				}
				var e event.Event
				err := e.ScanFlow(format, []byte(strings.TrimSpace(l)))
				add(e, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := event.NewMapping(event.MappingSpec{Log: "app", Time: "at", Actor: "who.name"})
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []event.Kind{event.Insight, event.GuardDuty, event.SecurityHub, event.Compliance} {
		for n := range 6 {
			add(event.Decode(kind, fmt.Appendf(nil, `{"id":"%d","Id":"%d","eventID":"%d","configRuleName":"%d"}`, i, n, n, n)))
		}
	}
	for n := range 6 {
		add(event.DecodeLog(mapping, fmt.Appendf(nil, `{"at":%d,"who":{"name":"me"}}`, 1735689600+n)))
	}
	kinds := map[event.Kind]int{}
	for i := range out {
		kinds[out[i].Kind]++
	}
	if len(kinds) != len(event.Kinds()) {
		t.Fatalf("samples of each kind: %v", kinds)
	}
	return out
}

// same says how two events differ, as far as a batch carries them.
func same(got, want *event.Event) error {
	if got.Kind != want.Kind || !bytes.Equal(got.Raw, want.Raw) || got.Origin != want.Origin || !got.Ingested.Equal(want.Ingested) ||
		!got.Delivered.Equal(want.Delivered) || got.ID() != want.ID() || !got.Time().Equal(want.Time()) {
		return fmt.Errorf("%s %s %+v, want %s %s %+v", got.Kind, got.Ingested, got.Origin, want.Kind, want.Ingested, want.Origin)
	}
	if want.Format != nil && got.Format.String() != want.Format.String() {
		return fmt.Errorf("format %s, want %s", got.Format, want.Format)
	}
	if got.Mapping.String() != want.Mapping.String() {
		return fmt.Errorf("mapping %s, want %s", got.Mapping, want.Mapping)
	}
	return nil
}

func TestBatchRoundTrip(t *testing.T) {
	all := sampleEvents(t)
	var manyObjects []event.Event
	for i, e := range all[:200] {
		e.Origin = event.Origin{Source: fmt.Sprint("s", i%40), Object: fmt.Sprint("o", i), Offset: int64(i) << 40, Line: -int64(i)}
		e.Ingested = time.Time{}
		manyObjects = append(manyObjects, e)
	}
	var d Decoder // one for all: what it keeps must not leak
	for name, events := range map[string][]event.Event{
		"all": all, "none": nil, "one": all[:1], "many objects": manyObjects, "from the end": all[len(all)-50:],
	} {
		t.Run(name, func(t *testing.T) {
			encoded := EncodeBatch([]byte("before"), events)
			if again := EncodeBatch([]byte("before"), events); !bytes.Equal(encoded, again) {
				t.Error("the same batch is encoded in two ways")
			}
			got, broken, err := d.Decode(encoded[len("before"):])
			if err != nil || len(broken) > 0 || len(got) != len(events) {
				t.Fatalf("%d events of %d, %d broken: %v", len(got), len(events), len(broken), err)
			}
			for i := range events {
				if err := same(&got[i], &events[i]); err != nil {
					t.Errorf("event %d: %v", i, err)
				}
			}
		})
	}
}

// TestDecodeOld reads a batch as it was written before records had a time of delivery.
func TestDecodeOld(t *testing.T) {
	plain := []byte{2, 0, 1, 'o', 1, byte(event.CloudTrail), 2, 0, 1, 0, 14, 6, 2, '{', '}'}
	var d Decoder
	got, broken, err := d.Decode(append([]byte("RB1"), s2.Encode(nil, plain)...))
	if err != nil || len(broken) > 0 || len(got) != 1 {
		t.Fatalf("%d events, %d broken: %v", len(got), len(broken), err)
	}
	if e := got[0]; e.Origin != (event.Origin{Object: "o", Offset: 7, Line: 3}) || e.Ingested.UnixNano() != 1 || !e.Delivered.IsZero() {
		t.Errorf("%+v, ingested %s, delivered %s", e.Origin, e.Ingested, e.Delivered)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := EncodeBatch(nil, sampleEvents(t)[:20])
	batch := func(numbers ...uint64) []byte {
		var b []byte
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return append([]byte(batchMagic), s2.Encode(nil, b)...)
	}
	huge := binary.AppendUvarint([]byte(batchMagic), 1<<32-1)
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"other bytes":                 []byte("hello, world"),
		"only the beginning":          good[:len(good)/2],
		"damaged":                     slices.Concat(good[:40], []byte{good[40] ^ 0xff}, good[41:]),
		"something behind":            append(batch(0, 0), 0),
		"more than memory":            huge,
		"more strings than bytes":     batch(1<<40, 1),
		"more records than bytes":     batch(0, 1<<40),
		"a string number out of many": append([]byte(batchMagic), s2.Encode(nil, []byte{1, 0, 1, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0})...),
	} {
		var d Decoder
		if events, broken, err := d.Decode(b); err == nil {
			t.Errorf("%s: %d events, %d broken", name, len(events), len(broken))
		}
	}
}

// TestDecodeMemory gives a decoder the batch that costs most for its size.
func TestDecodeMemory(t *testing.T) {
	plain := []byte{1, 0}
	plain = binary.AppendUvarint(plain, maxBatchEvents+1)
	for range maxBatchEvents + 1 {
		plain = append(plain, 1, 0, 0, 0, 0, 0, 0, 0, 2, '{', '}')
	}
	var d Decoder
	if _, _, err := d.Decode(append([]byte(batchMagic), s2.Encode(nil, plain)...)); err == nil {
		t.Error("more events than a batch may have were decoded")
	}
	if cap(d.events) > 0 {
		t.Errorf("room for %d events was made", cap(d.events))
	}
}

func FuzzDecodeBatch(f *testing.F) {
	all := sampleEvents(f)
	// The fuzzer learns most from small ones.
	slices.SortStableFunc(all, func(a, b event.Event) int { return len(a.Raw) - len(b.Raw) })
	for _, kind := range event.Kinds() {
		var few []event.Event
		for i := range all {
			if all[i].Kind == kind && len(few) < 6 {
				few = append(few, all[i])
			}
		}
		f.Add(EncodeBatch(nil, few[:1]))
		f.Add(EncodeBatch(nil, few[2:]))
		if plain, err := s2.Decode(nil, EncodeBatch(nil, few[:2])[len(batchMagic):]); err == nil {
			f.Add(plain) // what the compressor would hide from the fuzzer
		}
	}
	f.Add(EncodeBatch(nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, append([]byte(batchMagic), s2.Encode(nil, b)...)} {
			var d Decoder
			events, broken, err := d.Decode(b)
			if err != nil {
				continue
			}
			if len(events)+len(broken) > maxBatchEvents {
				t.Fatalf("%d events and %d broken ones", len(events), len(broken))
			}
			kept := make([]event.Event, len(events))
			for i := range events {
				kept[i] = events[i].Clone()
			}
			// What was decoded encodes to what decodes the same.
			again, brokenAgain, err := d.Decode(EncodeBatch(nil, kept))
			if err != nil || len(brokenAgain) > 0 || len(again) != len(kept) {
				t.Fatalf("%d events of %d, %d broken: %v", len(again), len(kept), len(brokenAgain), err)
			}
			for i := range kept {
				if err := same(&again[i], &kept[i]); err != nil {
					t.Fatalf("event %d: %v", i, err)
				}
			}
		}
	})
}

func FuzzReadLetter(f *testing.F) {
	f.Add([]byte(`{"seq":9,"time":"2025-01-01T00:00:00Z","reason":"r","place":"a:1","kind":"cloudtrail","payload":"e30="}`))
	f.Add([]byte(`{"reason":"r","place":"a:1","kind":"flow","format":"version srcaddr","payload":"NSAxMC4xLjEuMQ=="}`))
	f.Add([]byte(`{"kind":"flow","format":"${version} ${version}","payload":"NQ=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := readLetter(&jetstream.RawStreamMsg{Sequence: 3, Data: b})
		if err != nil {
			return
		}
		if d.Seq != 3 {
			t.Fatal("a letter numbered itself")
		}
		kind, err := event.ParseKind(d.Kind)
		if err != nil {
			return
		}
		if e, err := decodeLetter(kind, d.Format, d.Payload); err == nil && e.Kind != kind {
			t.Fatalf("a %s was read as a %s", kind, e.Kind)
		}
	})
}
