package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte/event"
	"riposte/internal/store"
)

var t0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// item is a Config item of a security group as a notification writes it.
func item(t testing.TB, more map[string]any) *event.Event {
	t.Helper()
	m := map[string]any{
		"configurationItemVersion": "1.3", "configurationItemStatus": "OK", "awsAccountId": "111122223333", "awsRegion": "eu-west-1",
		"resourceType": "AWS::EC2::SecurityGroup", "resourceId": "sg-1", "ARN": "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-1",
		"tags": map[string]any{"Environment": "Production"}, "configurationItemCaptureTime": t0.Format(time.RFC3339Nano),
	}
	for k, v := range more {
		if m[k] = v; v == nil && k != "configuration" {
			delete(m, k)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(event.ConfigItem, raw)
	if err != nil {
		t.Fatal(err)
	}
	return &e
}

// state is the nth version, n minutes after the first, with the configuration.
func state(t testing.TB, n int, configuration any) *event.Event {
	at := t0.Add(time.Duration(n) * time.Minute)
	return item(t, map[string]any{"configurationItemCaptureTime": at.Format(time.RFC3339Nano), "configurationStateId": fmt.Sprint(at.UnixMilli()), "configuration": configuration})
}

func open(t testing.TB, table Table, c Config) *Inventory {
	t.Helper()
	v, err := New(Options{Config: c, Table: table, NotFound: store.ErrNotFound, Conflict: store.ErrConflict})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func put(t testing.TB, v *Inventory, all ...*event.Event) {
	t.Helper()
	for _, e := range all {
		if err := v.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func ask(t testing.TB, v *Inventory, kind, id string, at time.Time) *event.Resource {
	t.Helper()
	r, err := v.Session(t.Context()).Resource("111122223333", "eu-west-1", kind, id, at)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const groupType, groupARN = "AWS::EC2::SecurityGroup", "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-1"

// TestAsOf: what is asked as of a time is the version captured last up to it.
func TestAsOf(t *testing.T) {
	v := open(t, store.NewMemory(), DefaultConfig())
	deleted := state(t, 30, nil)
	deleted = item(t, map[string]any{"configurationItemCaptureTime": deleted.Time().Format(time.RFC3339), "configurationItemStatus": "ResourceDeleted", "configuration": nil, "tags": nil})
	put(t, v, state(t, 20, map[string]any{"n": 2}), deleted, state(t, 10, map[string]any{"n": 1}))
	for minute, want := range map[int]string{9: "unknown", 10: "1", 19: "1", 20: "2", 29: "2", 30: "2 deleted", 99: "2 deleted"} {
		for _, by := range [][2]string{{groupType, "sg-1"}, {"", groupARN}} {
			r := ask(t, v, by[0], by[1], t0.Add(time.Duration(minute)*time.Minute))
			got := "unknown"
			if r != nil {
				if got = fmt.Sprint(r.Configuration["n"]); !r.Exists {
					got += " deleted"
				}
				if r.Tag("environment") != "Production" || r.ARN != groupARN || r.Incomplete {
					t.Errorf("minute %d: %+v", minute, r)
				}
			}
			if got != want {
				t.Errorf("minute %d, by %q: %s, want %s", minute, by[0], got, want)
			}
		}
	}
	if r := ask(t, v, groupType, "sg-2", t0.Add(time.Hour)); r != nil {
		t.Errorf("a group that nobody told of: %+v", r)
	}
	s := v.Session(t.Context())
	for minute, want := range map[int]any{10: nil, 20: json.Number("1"), 30: json.Number("2")} {
		e := state(t, minute, map[string]any{"n": 7})
		if minute == 30 {
			e = deleted
		}
		before, err := s.Before(e)
		if err != nil || (before == nil) != (want == nil) || before != nil && before.Configuration["n"] != want {
			t.Errorf("before minute %d: %+v, %v", minute, before, err)
		}
	}
}

// TestAnyOrder: the same items make the same inventory in whatever order they
// come, however often, and by whichever road.
func TestAnyOrder(t *testing.T) {
	c := Config{Versions: 5, ItemBytes: 2048, ResourceBytes: 2500, CacheBytes: 1 << 20}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		var items []*event.Event
		for n := range 3 + r.IntN(9) {
			// Incompressible texts, so that the bounds are met in bytes too.
			text := make([]byte, r.IntN(900))
			for i := range text {
				text[i] = byte('!' + r.IntN(90))
			}
			whole := state(t, n, map[string]any{"text": string(text)})
			items = append(items, whole)
			switch r.IntN(4) {
			case 0: // its summary as well
				items = append(items, item(t, map[string]any{"messageType": "OversizedConfigurationItemChangeNotification", "configurationItemCaptureTime": whole.Time().Format(time.RFC3339Nano), "configurationStateId": whole.Text(event.ConfigStateID), "tags": nil}))
			case 1: // the same version as the API writes it
				api := strings.NewReplacer(`"ARN"`, `"arn"`, `"awsAccountId"`, `"accountId"`, `"configurationItemVersion"`, `"version"`).Replace(string(whole.Raw))
				e, err := event.Decode(event.ConfigItem, []byte(api))
				if err != nil {
					t.Fatal(err)
				}
				items = append(items, &e)
			}
		}
		var want map[string]string
		for range 6 {
			order := r.Perm(len(items))
			for range r.IntN(2 * len(items)) { // some again
				order = append(order, r.IntN(len(items)))
			}
			table := store.NewMemory()
			v := open(t, table, c)
			for _, i := range order {
				put(t, v, items[i])
			}
			got := dump(t, table)
			if want == nil {
				want = got
			} else if !reflect.DeepEqual(got, want) {
				t.Fatalf("round %d, order %v:\n%v\nwant\n%v", round, order, got, want)
			}
			if len(got) != 2 {
				t.Fatalf("keys %v", got)
			}
		}
	}
}

func dump(t testing.TB, table Table) map[string]string {
	t.Helper()
	keys, err := table.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, k := range keys {
		value, _, err := table.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		out[k] = string(value)
	}
	return out
}

// TestSideBySide: writers that meet on one resource lose nothing of each other.
func TestSideBySide(t *testing.T) {
	table := store.NewMemory()
	c := DefaultConfig()
	c.Versions = 100
	var wg sync.WaitGroup
	for w := range 4 { // processes, each with a cache of its own
		v := open(t, table, c)
		var items []*event.Event
		for n := range 20 {
			items = append(items, state(t, 4*n+w, map[string]any{"n": n}))
		}
		wg.Go(func() {
			for _, e := range items {
				if err := v.Put(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	history, err := open(t, table, c).History(t.Context(), "", groupARN)
	if err != nil || len(history) != 80 {
		t.Errorf("%d versions of 80, %v", len(history), err)
	}
}

func TestBounds(t *testing.T) {
	c := Config{Versions: 3, ItemBytes: 1024, ResourceBytes: 1 << 20}
	v := open(t, store.NewMemory(), c)
	for n := range 10 {
		put(t, v, state(t, n, map[string]any{"n": n}))
	}
	put(t, v, state(t, 0, map[string]any{"n": 0})) // left out long ago
	history, err := v.History(t.Context(), groupType, "sg-1")
	if err != nil || len(history) != 3 || history[0].Configuration["n"] != json.Number("7") {
		t.Errorf("%d versions, %v", len(history), err)
	}
	if got := v.Counts(); got.Stored != 10 || got.Evicted != 7 {
		t.Errorf("%+v", got)
	}
	r := rand.New(rand.NewPCG(3, 4))
	text := make([]byte, 8000)
	for i := range text {
		text[i] = byte('!' + r.IntN(90))
	}
	put(t, v, state(t, 11, map[string]any{"text": string(text)}))
	got := ask(t, v, groupType, "sg-1", t0.Add(time.Hour))
	if !got.Incomplete || !got.Exists || got.Configuration["n"] != json.Number("9") || got.Tag("Environment") != "Production" {
		t.Errorf("a configuration that is too large: %+v", got)
	}
	if v.Counts().Stripped != 1 {
		t.Errorf("%+v", v.Counts())
	}
	// Long ids are hashed, and are found by everything but a listing's key.
	long := item(t, map[string]any{"resourceId": strings.Repeat("x", 2000), "ARN": "arn:aws:x:::" + strings.Repeat("x", 2000), "configuration": map[string]any{"n": 1}})
	put(t, v, long)
	for _, by := range [][2]string{{groupType, strings.Repeat("x", 2000)}, {"", "arn:aws:x:::" + strings.Repeat("x", 2000)}} {
		if r := ask(t, v, by[0], by[1], t0); r == nil {
			t.Errorf("a long id is not found by %q", by[0])
		}
	}
	n := 0
	if err := v.Each(t.Context(), Filter{Type: groupType}, func(*event.Resource) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("lists %d resources of 2, %v", n, err)
	}
}

// TestHostileSizes: whatever an item says, what is stored of it is bounded.
func TestHostileSizes(t *testing.T) {
	table := store.NewMemory()
	v := open(t, table, Config{Versions: 200, ItemBytes: 1024, ResourceBytes: 1024})
	huge := strings.Repeat("y", 1<<20)
	for n := range 20 {
		e := item(t, map[string]any{"configurationStateId": fmt.Sprint(n, huge), "configurationItemStatus": huge, "resourceName": huge, "tags": map[string]any{huge: huge},
			"configurationItemCaptureTime": t0.Add(time.Duration(n) * time.Second).Format(time.RFC3339)})
		put(t, v, e)
	}
	for _, key := range []string{"resourceId", "ARN", "awsAccountId", "awsRegion", "resourceType"} {
		put(t, v, item(t, map[string]any{key: huge}))
	}
	all := dump(t, table)
	if len(all) != 2 {
		t.Errorf("%d values are stored", len(all))
	}
	for k, value := range all {
		if len(k)+len(value) > 64<<10 {
			t.Errorf("%.40s has %d bytes", k, len(value))
		}
	}
}

// TestSecrets: what is a secret by its name is not kept, and is still there for
// the rules that read the event.
func TestSecrets(t *testing.T) {
	table := store.NewMemory()
	v := open(t, table, DefaultConfig())
	e := state(t, 1, map[string]any{"masterUserPassword": "hunter2", "nested": []any{map[string]any{"userData": "hunter2"}}})
	put(t, v, e)
	if r := ask(t, v, groupType, "sg-1", t0.Add(time.Hour)); strings.Contains(fmt.Sprint(r.Configuration), "hunter2") {
		t.Errorf("%v", r.Configuration)
	}
	if m := e.Value(event.ConfigConfiguration).(map[string]any); m["masterUserPassword"] != "hunter2" {
		t.Errorf("the event was changed: %v", m)
	}
}

// TestNamesake: an ARN that went from one account to another means, at each
// time, the resource that had it then.
func TestNamesake(t *testing.T) {
	v := open(t, store.NewMemory(), DefaultConfig())
	bucket := func(account string, minute int, status string) *event.Event {
		return item(t, map[string]any{"awsAccountId": account, "resourceType": "AWS::S3::Bucket", "resourceId": "b", "ARN": "arn:aws:s3:::b",
			"configurationItemStatus": status, "configurationItemCaptureTime": t0.Add(time.Duration(minute) * time.Minute).Format(time.RFC3339)})
	}
	put(t, v, bucket("222222222222", 20, "OK"), bucket("111111111111", 1, "OK"), bucket("111111111111", 10, "ResourceDeleted"))
	for minute, want := range map[int]string{1: "111111111111 true", 15: "111111111111 false", 20: "222222222222 true"} {
		r := ask(t, v, "", "arn:aws:s3:::b", t0.Add(time.Duration(minute)*time.Minute))
		if got := fmt.Sprint(r.Account, " ", r.Exists); got != want {
			t.Errorf("minute %d: %s, want %s", minute, got, want)
		}
	}
}

// failing is a table that cannot be reached.
type failing struct{ Table }

func (failing) Get(context.Context, string) ([]byte, uint64, error) {
	return nil, 0, errors.New("no server")
}

// TestUnknownIsNoNo: a table that cannot be read is an error of the question and
// of the session, not an answer.
func TestUnknownIsNoNo(t *testing.T) {
	s := open(t, failing{store.NewMemory()}, DefaultConfig()).Session(t.Context())
	for _, kind := range []string{"", groupType} {
		if _, err := s.Resource("1", "r", kind, "sg-1", t0); err == nil || !strings.Contains(err.Error(), "no server") {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if _, err := s.Before(state(t, 1, nil)); err == nil {
		t.Error("no error")
	}
	if s.Err() == nil {
		t.Error("the session knows of no error")
	}
}

// TestFresh: what another process wrote is seen once the cache is no longer fresh.
func TestFresh(t *testing.T) {
	table, now := store.NewMemory(), t0
	v, err := New(Options{Config: DefaultConfig(), Table: table, NotFound: store.ErrNotFound, Conflict: store.ErrConflict, Fresh: time.Second, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	late := t0.Add(time.Hour)
	if r := ask(t, v, groupType, "sg-1", late); r != nil {
		t.Fatal("it is there")
	}
	put(t, open(t, table, DefaultConfig()), state(t, 1, map[string]any{"n": 1}))
	if r := ask(t, v, groupType, "sg-1", late); r != nil {
		t.Error("a miss is not remembered")
	}
	now = now.Add(time.Second)
	if r := ask(t, v, groupType, "sg-1", late); r == nil {
		t.Error("a miss is remembered for ever")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(20 << 10)
	for i := range 1000 {
		c.put(fmt.Sprint(i), entry{names: []string{"x"}})
	}
	if c.size > c.limit || len(c.byKey) != c.used.Len() || len(c.byKey) == 0 || len(c.byKey) > 100 {
		t.Errorf("%d bytes of %d in %d entries", c.size, c.limit, len(c.byKey))
	}
	if _, ok := c.get("999"); !ok {
		t.Error("the last one is gone")
	}
	c.put("999", entry{revision: 7})
	c.put("999", entry{revision: 3, names: []string{"old"}})
	if e, _ := c.get("999"); e.revision != 7 {
		t.Error("an older revision replaced a later one")
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Versions: 1, ItemBytes: 1, ResourceBytes: -1, CacheBytes: -1}.Validate()
	for _, key := range []string{"versions", "item_bytes", "resource_bytes", "cache_bytes"} {
		if err == nil || !strings.Contains(err.Error(), "inventory."+key) {
			t.Errorf("%v does not tell of %s", err, key)
		}
	}
}

// FuzzItem: what the inventory makes of an item is what encoding/json reads of
// it, and an item can always be put.
func FuzzItem(f *testing.F) {
	f.Add([]byte(`{"awsAccountId":"1","awsRegion":"r","resourceType":"T","resourceId":"i","configurationItemCaptureTime":"2026-03-02T09:00:00Z","configuration":{"a":[1,2.50,"x"],"password":"p"},"tags":{"k":"v"},"relationships":[{"relationshipName":"b","resourceId":null},{"name":"a"}]}`))
	f.Add([]byte(`{"accountId":"1","resourceType":"T","resourceId":"i","configurationItemCaptureTime":1.7e300,"configuration":"{\"a\":1}"}`))
	f.Add([]byte(`{"resourceType":"T","resourceId":"i/\n%2F","arn":"arn:x","configurationItemCaptureTime":1645522699.227,"configurationStateId":007,"supplementaryConfiguration":{"p":"{\"q\":[]}"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Decode(event.ConfigItem, raw)
		if err != nil {
			return
		}
		v := open(t, store.NewMemory(), DefaultConfig())
		put(t, v, &e, &e)
		if _, _, ok, _ := v.codec.version(&e, DefaultConfig().ItemBytes); !ok {
			return
		}
		got, err := v.Session(t.Context()).Resource(e.Text(event.ConfigAccountID), e.Text(event.ConfigRegion), e.Text(event.ConfigResourceType), e.Text(event.ConfigResourceID), e.Time())
		if err != nil || got == nil {
			t.Fatalf("it is not there: %v", err)
		}
		n := 0
		if err := v.Each(t.Context(), Filter{}, func(*event.Resource) error { n++; return nil }); err != nil || n != 1 {
			t.Fatalf("lists %d, %v", n, err)
		}
		if got.Incomplete || v.Counts().Stripped > 0 {
			return
		}
		// What stands in the item under the keys that are not opened, redacted.
		var std map[string]any
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		if d.Decode(&std) != nil {
			t.Fatal("encoding/json refuses it")
		}
		tags, ok := std["tags"].(map[string]any)
		if !ok || len(tags) == 0 || std["configurationItem"] != nil || std["configurationItemSummary"] != nil {
			return
		}
		event.Redact(tags)
		if !reflect.DeepEqual(got.Tags, tags) {
			t.Fatalf("tags %#v, encoding/json %#v", got.Tags, tags)
		}
	})
}

// FuzzRecord: what decodes encodes to the same record, and can be asked.
func FuzzRecord(f *testing.F) {
	table := store.NewMemory()
	v := open(f, table, DefaultConfig())
	put(f, v, state(f, 1, map[string]any{"a": 1}), state(f, 2, map[string]any{"a": 2}))
	for k, value := range dump(f, table) {
		if strings.HasPrefix(k, "r/") {
			f.Add([]byte(value))
		}
	}
	f.Add([]byte(magic + `{"type":"T","id":"i","versions":[{"captured":"2026-03-02T09:00:00Z","size":1,"blob":0}]}` + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decodeRecord(raw)
		if err != nil {
			return
		}
		again, err := decodeRecord(r.encode())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v, again %+v, %v", r, again, err)
		}
		for n := range r.Versions {
			if s, err := v.codec.state(r, n); err == nil && s == nil {
				t.Fatal("no state and no error")
			}
		}
		r.at(t0)
	})
}

func BenchmarkPut(b *testing.B) {
	v := open(b, store.NewMemory(), DefaultConfig())
	items := make([]*event.Event, 1000)
	for i := range items {
		items[i] = item(b, map[string]any{"resourceId": fmt.Sprint("sg-", i%200), "ARN": fmt.Sprint("arn:aws:ec2:eu-west-1:111122223333:security-group/sg-", i%200),
			"configurationItemCaptureTime": t0.Add(time.Duration(i) * time.Second).Format(time.RFC3339), "configuration": large(i)})
	}
	for i := 0; b.Loop(); i++ {
		put(b, v, items[i%len(items)])
	}
}

func large(n int) map[string]any {
	rules := make([]any, 30)
	for i := range rules {
		rules[i] = map[string]any{"fromPort": i + n, "toPort": i + n, "ipProtocol": "tcp", "ipRanges": []any{fmt.Sprintf("10.%d.%d.0/24", n%250, i)}}
	}
	return map[string]any{"ipPermissions": rules, "groupId": "sg-1", "vpcId": "vpc-1"}
}

func BenchmarkLookUp(b *testing.B) {
	v := open(b, store.NewMemory(), DefaultConfig())
	for n := range 10 {
		put(b, v, state(b, n, large(n)))
	}
	at := t0.Add(5 * time.Minute)
	look := func(b *testing.B, s func() *Session, id string) {
		for b.Loop() {
			if _, err := s().Resource("111122223333", "eu-west-1", groupType, id, at); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("session", func(b *testing.B) { s := v.Session(b.Context()); look(b, func() *Session { return s }, "sg-1") })
	b.Run("cached", func(b *testing.B) { look(b, func() *Session { return v.Session(b.Context()) }, "sg-1") })
	b.Run("missing", func(b *testing.B) { look(b, func() *Session { return v.Session(b.Context()) }, "sg-2") })
}
