package digest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"riposte/ingest/cloudtrail/digest"
)

// arriving is a bucket whose files come one by one.
type arriving struct {
	*trail
	account, region string
	base            string
	at              map[string]time.Time // when a file is there; zero is always
	now             time.Time
	opened          int
	sick            map[string]error
}

func (a *arriving) there(key string) bool {
	_, ok := a.files[key]
	return ok && !a.at[key].After(a.now) && !strings.HasSuffix(key, ".sig")
}

func (a *arriving) object(key string) digest.Object {
	return digest.Object{Name: "s3://" + a.bucket + "/" + key, Bucket: a.bucket, Key: key, Size: int64(len(a.files[key])), Written: a.at[key]}
}

func (a *arriving) below(prefix string) (out []digest.Object) {
	for _, key := range slices.Sorted(maps.Keys(a.files)) {
		if strings.HasPrefix(key, prefix) && a.there(key) {
			out = append(out, a.object(key))
		}
	}
	return out
}

func (a *arriving) List(context.Context) ([]digest.Object, error) { return a.below(""), nil }

func (a *arriving) Digests(_ context.Context, day time.Time) (out []digest.Object, err error) {
	prefix := a.base + "/CloudTrail-Digest/" + a.region + "/"
	for _, o := range a.below(prefix) {
		if day.IsZero() || o.Key > prefix+day.Format("2006/01/02/") {
			out = append(out, o)
		}
	}
	return out, nil
}

func (a *arriving) Logs(_ context.Context, day, from time.Time, visit func(digest.Object) bool) error {
	prefix := a.base + "/CloudTrail/" + a.region + "/" + day.Format("2006/01/02/")
	for _, o := range a.below(prefix) {
		if !from.IsZero() && o.Key <= prefix+a.account+"_CloudTrail_"+a.region+"_"+from.Format("20060102T1504Z") {
			continue
		}
		if !visit(o) {
			break
		}
	}
	return nil
}

func (a *arriving) Open(_ context.Context, o digest.Object) (io.ReadCloser, error) {
	a.opened++
	if err := a.sick[o.Key]; err != nil {
		return nil, err
	}
	if o.Bucket != a.bucket || !a.there(o.Key) {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(a.files[o.Key])), nil
}

func (a *arriving) Metadata(_ context.Context, o digest.Object) (digest.Metadata, error) {
	b, ok := a.files[o.Key+".sig"]
	if !ok {
		return digest.Metadata{}, nil
	}
	return digest.ParseSidecar(b)
}

// watcher advances over an arriving bucket, and holds what was found by identity.
type watcher struct {
	t        testing.TB
	files    *arriving
	watch    digest.Watch
	progress digest.Progress
	found    map[string]digest.Problem
	repeated int
}

// since is how long before the first digest a watcher begins.
const since = 40 * 24 * time.Hour

func newWatcher(t testing.TB, tr *trail, s *stream) *watcher {
	a := &arriving{trail: tr, account: s.account, region: s.region, base: s.prefix, at: map[string]time.Time{}}
	org := ""
	if parts := strings.Split(s.prefix, "/"); len(parts) > 2 {
		org = parts[1]
	}
	return &watcher{t: t, files: a, found: map[string]digest.Problem{}, progress: digest.Progress{Since: start, From: start},
		watch: digest.Watch{Org: org, Account: s.account, Region: s.region, Files: a, Keys: tr.keys(), Bucket: tr.bucket, Workers: 1, Grace: 3 * time.Hour, Silence: 2 * time.Hour}}
}

// advance looks at a time, and keeps what JSON keeps.
func (w *watcher) advance(now time.Time) *digest.Report {
	w.t.Helper()
	w.files.now = now
	all := &digest.Report{}
	for more := true; more; {
		var r *digest.Report
		var err error
		var next digest.Progress
		if next, r, more, err = w.watch.Advance(w.t.Context(), w.progress, now); err != nil {
			w.t.Fatal(err)
		}
		kept, err := json.Marshal(next)
		if err != nil {
			w.t.Fatal(err)
		}
		w.progress = digest.Progress{}
		if err := json.Unmarshal(kept, &w.progress); err != nil {
			w.t.Fatal(err)
		}
		for i, f := range r.Findings() {
			if _, again := w.found[f.ID]; again {
				w.repeated++
			}
			w.found[f.ID] = r.Problems[i]
		}
		all.Problems, all.Notes, all.Errors = append(all.Problems, r.Problems...), append(all.Notes, r.Notes...), append(all.Errors, r.Errors...)
	}
	return all
}

func (w *watcher) said() []string {
	out := []string{}
	for _, p := range w.found {
		out = append(out, string(p.Kind)+" "+strings.TrimPrefix(p.File, "s3://"+w.files.bucket+"/"))
	}
	slices.Sort(out)
	return out
}

// onTime makes every file arrive when CloudTrail would deliver it: log files in
// their hour, digests some minutes after it.
func (w *watcher) onTime(s *stream) {
	for h, logs := range s.logs {
		end := start.Add(time.Duration(h+1) * time.Hour)
		w.files.at[s.digests[h]] = end.Add(10 * time.Minute)
		for _, l := range logs {
			w.files.at[l] = end.Add(-30 * time.Minute)
		}
	}
}

func at(hours float64) time.Time { return start.Add(time.Duration(hours * float64(time.Hour))) }

// TestWatchIntact: nothing is found, every file is read about once, and the state
// that is kept does not grow.
func TestWatchIntact(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(72)
	w := newWatcher(t, tr, s)
	w.onTime(s)
	size := 0
	for h := 0.0; h < 72.5; h += 1.0 / 12 {
		if r := w.advance(at(h)); len(r.Problems)+len(r.Errors) > 0 {
			t.Fatalf("hour %.1f: %+v %v", h, r.Problems, r.Errors)
		}
		kept, _ := json.Marshal(w.progress)
		size = max(size, len(kept))
	}
	if size > 8<<10 {
		t.Errorf("%d bytes are kept", size)
	}
	if n := w.files.opened; n > 72*2+72*20 {
		t.Errorf("%d reads of %d files", n, 72*3)
	}
	if got := w.progress.Streams; len(got) != 1 || got[slices.Collect(maps.Keys(got))[0]].End != at(72) {
		t.Errorf("%+v", got)
	}
}

// TestWatchTampering: whatever is done to files before they arrive, in whatever
// order they do and whenever one looks, in the end the same was found as Verify
// finds, each once.
func TestWatchTampering(t *testing.T) {
	const hours = 30
	rounds := 150
	if testing.Short() {
		rounds = 25
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 11))
		tr := newTrail(t)
		s := tr.stream([]string{"", "o-abc123"}[round%2], "111122223333", "eu-west-1").hours(hours)
		w := newWatcher(t, tr, s)
		w.onTime(s)
		done := tamper(rng, w.files, s)
		for key := range tr.files { // a delay each, up to two hours and more than the next
			w.files.at[key] = w.files.at[key].Add(time.Duration(rng.IntN(100)) * time.Minute)
		}
		for now := at(0.5); now.Before(at(hours + 1)); now = now.Add(time.Duration(1+rng.IntN(180)) * time.Minute) {
			w.advance(now)
		}
		for h := range 10 { // all that is waited for has come, or not
			w.advance(at(hours + 3 + float64(h)))
		}
		w.files.now = at(hours + 20)
		want := map[string]bool{}
		altered := map[string]bool{}
		for _, p := range verify(t, w.files, tr.keys(), digest.Options{From: start.Add(-since), Bucket: tr.bucket}).Problems {
			want[p.Finding().ID] = true
			if p.Kind == digest.SignatureAltered {
				altered[strings.TrimSuffix(p.File, ".sig")] = true
			}
			if _, ok := w.found[p.Finding().ID]; !ok {
				t.Errorf("round %d: not found: %s %s %s", round, p.Kind, p.File, p.Detail)
			}
		}
		for id, p := range w.found {
			timing := p.Kind == digest.DigestOverdue || p.Kind == digest.DigestResumed || p.Kind == digest.DigestAltered && altered[p.File]
			if !want[id] && !timing {
				t.Errorf("round %d: found, and Verify does not: %s %s %s", round, p.Kind, p.File, p.Detail)
			}
		}
		if w.repeated > 0 {
			t.Errorf("round %d: %d findings were repeated", round, w.repeated)
		}
		if t.Failed() {
			t.Fatalf("what was done:\n%s", strings.Join(done, "\n"))
		}
	}
}

// tamper does some harm to some files.
func tamper(rng *rand.Rand, a *arriving, s *stream) (done []string) {
	did := func(format string, args ...any) { done = append(done, fmt.Sprintf(format, args...)) }
	for h := 0; h < len(s.digests)-1; h++ {
		name := s.digests[h]
		if h%5 == 2 {
			switch rng.IntN(6) {
			case 0:
				a.edit(name, fmt.Sprintf(`"awsAccountId":"%s`, s.account[:1]), `"awsAccountId":"9`)
				did("hour %d: digest altered", h)
			case 1:
				delete(a.files, name)
				did("hour %d: digest deleted", h)
			case 2:
				to := strings.Replace(name, "_our_trail_", "_moved_", 1)
				a.move(name, to)
				a.at[to] = a.at[name]
				did("hour %d: digest moved", h)
			case 3:
				a.files[name+".sig"] = a.files[s.digests[h+1]+".sig"]
				did("hour %d: signature of another", h)
			case 4:
				delete(a.files, name)
				delete(a.files, s.digests[h+1])
				did("hour %d: two digests deleted", h)
			}
		}
		for _, l := range s.logs[h] {
			switch rng.IntN(15) {
			case 0:
				a.edit(l, "Records", "records")
				did("hour %d: log altered %s", h, base(l))
			case 1:
				delete(a.files, l)
				did("hour %d: log deleted %s", h, base(l))
			}
		}
		if rng.IntN(10) == 0 {
			e := s.log(at(float64(h)+rng.Float64()), "added")
			key := e["s3Object"].(string)
			a.at[key] = at(float64(h) + 1)
			did("hour %d: log added %s", h, base(key))
		}
	}
	return done
}

// TestWatchLate: what is late is not missing, until it has been late for long.
func TestWatchLate(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(12)
	w := newWatcher(t, tr, s)
	w.onTime(s)
	w.files.at[s.logs[2][0]] = at(3.1667).Add(170 * time.Minute)
	w.files.at[s.logs[4][0]] = at(5.1667).Add(200 * time.Minute)
	w.files.at[s.digests[6]] = at(8.5) // after the next one
	for m := 0; m < 12*60; m += 5 {
		w.advance(start.Add(time.Duration(m) * time.Minute))
		if early := w.files.now.Before(at(8.16)); early && len(w.found) > 0 {
			t.Fatalf("at %s: %v", w.files.now, w.said())
		}
	}
	if diff := gocmp.Diff([]string{"log-missing " + s.logs[4][0]}, w.said()); diff != "" {
		t.Error(diff)
	}
}

// TestWatchOverdue: a chain that ends is told of once, and again when it goes on.
func TestWatchOverdue(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(14)
	w := newWatcher(t, tr, s)
	w.onTime(s)
	for h := 6; h < 14; h++ { // stopped for two hours and a half, and then they come all
		w.files.at[s.digests[h]] = slices.MaxFunc([]time.Time{w.files.at[s.digests[h]], at(9.7)}, time.Time.Compare)
	}
	for m := 0; m < 16*60; m += 5 {
		w.advance(start.Add(time.Duration(m) * time.Minute))
		hour := w.files.now.Sub(start).Hours()
		var want []string
		if hour > 6.1667+2 {
			want = append(want, "digest-overdue "+s.digests[5])
		}
		if hour > 9.7 {
			want = append(want, "digest-resumed "+s.digests[6])
		}
		if hour < 16 && hour > 14.1667+2 {
			want = append(want, "digest-overdue "+s.digests[13])
		}
		slices.Sort(want)
		if got := w.said(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("at %.2f: got %v, want %v", hour, got, want)
		}
	}
	if w.repeated > 0 {
		t.Errorf("%d findings were repeated", w.repeated)
	}

	// a trail that ended long ago, before anybody looked
	old := newWatcher(t, tr, s)
	if r := old.advance(at(14 + 30)); len(r.Problems) > 0 {
		t.Errorf("%+v", r.Problems)
	}
}

// TestWatchBackfill: a backfill digest that comes days later is verified, and so
// are a digest and a log file that somebody writes anew.
func TestWatchBackfill(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(72)
	w := newWatcher(t, tr, s)
	w.onTime(s)
	e := s.log(at(2.5), "late")
	none := map[string]any{"previousDigestS3Bucket": nil, "previousDigestS3Object": nil, "previousDigestHashValue": nil, "previousDigestHashAlgorithm": nil, "previousDigestSignature": nil}
	name := strings.Replace(s.digests[2], ".json.gz", "_backfill.json.gz", 1)
	s.digest(name, at(2), at(3), []map[string]any{e}, none)
	w.files.at[e["s3Object"].(string)] = at(40)
	w.files.at[name] = at(50)
	good, bad := tr.files[e["s3Object"].(string)], pack([]byte("forged"))
	tr.files[e["s3Object"].(string)] = bad
	for h := 0.0; h < 60; h += 0.5 {
		w.advance(at(h))
	}
	if diff := gocmp.Diff([]string{"log-altered " + e["s3Object"].(string)}, w.said()); diff != "" {
		t.Error(diff)
	}
	tr.files[e["s3Object"].(string)] = good
	tr.edit(s.digests[30], "our_trail", "her_trail") // long settled
	w.files.at[s.digests[30]] = at(60.2)
	for h := 60.0; h < 64; h += 0.5 {
		w.advance(at(h))
	}
	if diff := gocmp.Diff([]string{"digest-altered " + s.digests[30], "log-altered " + e["s3Object"].(string)}, w.said()); diff != "" {
		t.Error(diff)
	}
}

// TestWatchUnreadable: what S3 refuses is asked for again, and is one finding of
// its own when that lasts.
func TestWatchUnreadable(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1")
	for range 12 {
		s.next(5)
	}
	w := newWatcher(t, tr, s)
	w.onTime(s)
	w.files.sick = map[string]error{s.logs[2][1]: errDisk, s.digests[6]: errDisk}
	for _, l := range s.logs[4] {
		w.files.sick[l] = errDisk
	}
	for m := 0; m < 12*60; m += 5 {
		if m == 4*60 {
			delete(w.files.sick, s.logs[2][1])
		}
		w.advance(start.Add(time.Duration(m) * time.Minute))
	}
	want := []string{"file-unreadable " + s.logs[4][0], "file-unreadable " + s.digests[6]}
	slices.Sort(want)
	if diff := gocmp.Diff(want, w.said()); diff != "" || w.repeated > 0 {
		t.Error(diff, w.repeated)
	}
}

// TestWatchStrays: log files with names of their own, or with a time of another
// day, and those of an account without any digest.
func TestWatchStrays(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(60)
	w := newWatcher(t, tr, s)
	w.onTime(s)
	own := path.Dir(s.logs[30][0]) + "/more.json"
	old := path.Dir(s.logs[30][0]) + "/" + base(s.logkeyOf(at(-2000)))
	tr.files[own], tr.files[old] = []byte("{}"), pack([]byte("{}"))
	for h := 0.0; h < 60; h += 0.5 {
		w.advance(at(h))
	}
	want := []string{"log-uncovered " + own, "log-uncovered " + old}
	slices.Sort(want)
	if diff := gocmp.Diff(want, w.said()); diff != "" || w.repeated > 0 {
		t.Error(diff, w.repeated)
	}

	bare := newTrail(t)
	b := bare.stream("", "111122223333", "eu-west-1").hours(12)
	w = newWatcher(t, bare, b)
	for _, d := range b.digests {
		delete(bare.files, d)
	}
	for h := 0.0; h < 12; h += 0.5 {
		w.advance(at(h))
	}
	first := slices.MinFunc(slices.Concat(b.logs...), func(a, b string) int { return cmp.Compare(a, b) })
	if diff := gocmp.Diff([]string{"log-uncovered " + first}, w.said()); diff != "" || w.repeated > 0 {
		t.Error(diff, w.repeated)
	}
}

func (s *stream) logkeyOf(at time.Time) string { return s.logKey(at, "planted") }

// TestWatchEveryByte changes each byte of each file of a small chain, on its way
// into the bucket: something is found that names the file, and no other is accused.
func TestWatchEveryByte(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1")
	for range 3 {
		s.next(1)
	}
	changed, same := 0, 0
	for name, content := range tr.files {
		read := func() (string, error) { b, err := unpack(content); return string(b), err }
		if strings.HasSuffix(name, ".sig") {
			read = func() (string, error) { m, err := digest.ParseSidecar(content); return fmt.Sprint(m), err }
		}
		before, err := read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range content {
			content[i] ^= 1 << (i % 8)
			after, err := read()
			w := newWatcher(t, tr, s)
			w.onTime(s)
			w.advance(at(3.2))
			w.advance(at(7))
			content[i] ^= 1 << (i % 8)
			harm := 0
			for _, p := range w.found {
				if p.Kind == digest.DigestOverdue { // all digests are too old then, or those that count
					continue
				}
				harm++
				if file := strings.TrimSuffix(name, ".sig"); !strings.Contains(p.File+p.Object+p.Digest, file) {
					t.Fatalf("%s byte %d: another file is accused: %+v", base(name), i, p)
				}
			}
			if err == nil && after == before {
				same++ // or a flag that is reserved, which is an error to RFC 1952
				continue
			}
			if changed++; harm == 0 {
				t.Fatalf("%s byte %d: nothing is found", base(name), i)
			}
		}
	}
	if changed < 3000 || same > changed/10 {
		t.Errorf("%d changes, %d without effect: the test is not what it was", changed, same)
	}
}

// TestWatchFlood: who fills the folder of digests hides nothing by it, and does not
// keep the source busy for ever.
func TestWatchFlood(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(8)
	w := newWatcher(t, tr, s)
	w.onTime(s)
	w.advance(at(3.2))
	for i := range 4000 {
		when := at(3.5).Add(time.Duration(i) * time.Hour / 10)
		name := fmt.Sprintf("%s/CloudTrail-Digest/eu-west-1/%s/111122223333_CloudTrail-Digest_eu-west-1_flood%04d_us-east-1_%s.json.gz", s.prefix, when.Format("2006/01/02"), i, when.Format("20060102T150405Z"))
		tr.files[name] = []byte("x")
	}
	tr.edit(s.logs[4][0], "Records", "records")
	for h := 3.5; h < 8; h += 0.5 {
		w.advance(at(h))
	}
	if got := w.said(); !slices.Contains(got, "log-altered "+s.logs[4][0]) {
		t.Errorf("among %d findings the altered log file is missing", len(got))
	}
}
