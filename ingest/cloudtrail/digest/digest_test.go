package digest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte/event"
	"riposte/ingest/cloudtrail/digest"
)

// two writes two accounts, one under an organization, in two regions.
func two(t testing.TB, hours int) (*trail, []*stream) {
	tr := newTrail(t)
	var out []*stream
	for _, account := range []struct{ org, id string }{{"", "111122223333"}, {"o-abc123", "444455556666"}} {
		for _, region := range []string{"eu-west-1", "us-east-1"} {
			out = append(out, tr.stream(account.org, account.id, region).hours(hours))
		}
	}
	return tr, out
}

func TestIntact(t *testing.T) {
	tr, _ := two(t, 30)
	for _, sidecars := range []bool{true, false} {
		if !sidecars {
			for name := range tr.files {
				if strings.HasSuffix(name, ".sig") {
					delete(tr.files, name)
				}
			}
		}
		r := tr.verify(digest.Options{})
		if len(r.Problems) > 0 {
			t.Fatalf("problems with an intact trail: %+v", r.Problems)
		}
		if len(r.Chains) != 4 {
			t.Fatalf("%d chains, want 4", len(r.Chains))
		}
		for _, c := range r.Chains {
			want := digest.Chain{Org: c.Org, Account: c.Account, Region: c.Region, From: start, To: start.Add(30 * time.Hour),
				Digests: 30, DigestsVerified: 30, Logs: 60, LogsVerified: 60, Bytes: c.Bytes, Unpacked: c.Unpacked}
			if !sidecars { // the newest waits for the next
				want.DigestsVerified, want.LogsVerified, want.LogsUnproven = 29, 58, 2
			}
			if diff := cmp.Diff(want, c); diff != "" {
				t.Error(diff)
			}
		}
		waiting := 0
		for _, n := range r.Notes {
			if strings.Contains(n.Text, "not yet verifiable") {
				waiting++
			}
		}
		if want := map[bool]int{true: 0, false: 4}[sidecars]; waiting != want {
			t.Errorf("sidecars %v: %d digests wait for their signature, want %d", sidecars, waiting, want)
		}
	}
}

// TestFolder verifies a real folder from each point at which a mirror may begin.
func TestFolder(t *testing.T) {
	tr, _ := two(t, 3)
	dir := t.TempDir()
	tr.write(dir)
	for path, chains := range map[string]int{"": 4, "AWSLogs": 4, "AWSLogs/o-abc123": 2, "AWSLogs/111122223333": 2} {
		r := verify(t, digest.Folder{Paths: []string{dir + "/" + path}}, tr.keys(), digest.Options{})
		if len(r.Problems) > 0 || len(r.Chains) != chains {
			t.Errorf("%q: %d chains, problems %+v", path, len(r.Chains), r.Problems)
		}
	}
	if r := verify(t, digest.Folder{Paths: []string{dir, dir + "/AWSLogs"}}, tr.keys(), digest.Options{}); len(r.Problems) > 0 || r.Total().Digests != 12 {
		t.Errorf("a folder named twice is read twice: %+v", r.Total())
	}
	if _, err := digest.Verify(t.Context(), digest.Folder{Paths: []string{dir + "/nothing"}}, tr.keys(), digest.Options{}); err == nil {
		t.Error("a folder that does not exist is no error")
	}
}

// TestTampering: each kind of tampering is found, and nothing else is.
func TestTampering(t *testing.T) {
	const at = 5 // the hour that is tampered with
	cases := map[string]struct {
		do   func(tr *trail, s *stream) (want []string)
		opt  digest.Options
		keys digest.FixedKeys
		note string
		raw  bool // without signatures beside the digests
	}{
		"log altered": {do: func(tr *trail, s *stream) []string {
			tr.edit(s.logs[at][0], "1.11", "1.10")
			return []string{"log-altered " + s.logs[at][0]}
		}},
		"log packed again is the same log": {do: func(tr *trail, s *stream) []string {
			content, _ := unpack(tr.files[s.logs[at][0]])
			tr.files[s.logs[at][0]] = pack(content)
			tr.files[s.logs[at][0]][4] ^= 0xff // the time in the header of gzip
			return nil
		}},
		"log replaced by another": {do: func(tr *trail, s *stream) []string {
			tr.files[s.logs[at][0]] = tr.files[s.logs[at][1]]
			return []string{"log-altered " + s.logs[at][0]}
		}},
		"log cut": {do: func(tr *trail, s *stream) []string {
			tr.files[s.logs[at][0]] = tr.files[s.logs[at][0]][:40]
			return []string{"log-altered " + s.logs[at][0]}
		}},
		"log emptied": {do: func(tr *trail, s *stream) []string {
			tr.files[s.logs[at][0]] = nil
			return []string{"log-altered " + s.logs[at][0]}
		}},
		"log with more behind it": {do: func(tr *trail, s *stream) []string {
			tr.files[s.logs[at][0]] = append(tr.files[s.logs[at][0]], pack([]byte(`{"Records":[]}`))...)
			return []string{"log-altered " + s.logs[at][0]}
		}},
		"log missing": {do: func(tr *trail, s *stream) []string {
			delete(tr.files, s.logs[at][1])
			return []string{"log-missing " + s.logs[at][1]}
		}},
		"log renamed": {do: func(tr *trail, s *stream) []string {
			to := s.logKey(start.Add(at*time.Hour+30*time.Minute), "renamed")
			tr.move(s.logs[at][1], to)
			return []string{"log-missing " + s.logs[at][1], "log-uncovered " + to}
		}},
		"log added": {do: func(tr *trail, s *stream) []string {
			e := s.log(start.Add(at*time.Hour+30*time.Minute), "added")
			return []string{"log-uncovered " + e["s3Object"].(string)}
		}},
		"log added before, after": {note: "2 log files, of which this is one, are older or newer", do: func(tr *trail, s *stream) []string {
			s.log(start.Add(-time.Hour), "before")
			s.log(s.at.Add(time.Hour), "after")
			return nil
		}},
		"log of a region without digests": {do: func(tr *trail, s *stream) []string {
			e := tr.stream("", "111122223333", "sa-east-1").log(start, "alone")
			return []string{"log-uncovered " + e["s3Object"].(string)}
		}},
		"digest altered": {do: func(tr *trail, s *stream) []string {
			tr.edit(s.digests[at], `"newestEventTime":null`, `"newestEventTime":"2026-11-01T00:00:00Z"`)
			return []string{"digest-altered " + s.digests[at]}
		}},
		"digest altered, known by the chain": {raw: true, do: func(tr *trail, s *stream) []string {
			tr.edit(s.digests[at], `"newestEventTime":null`, `"newestEventTime":"2026-11-01T00:00:00Z"`)
			return []string{"digest-altered " + s.digests[at]}
		}},
		"digest and log altered, so that they fit": {do: func(tr *trail, s *stream) []string {
			content, _ := unpack(tr.files[s.logs[at][0]])
			forged := []byte(strings.Replace(string(content), "1.11", "1.10", 1))
			tr.files[s.logs[at][0]] = pack(forged)
			tr.edit(s.digests[at], hexSum(content), hexSum(forged))
			return []string{"digest-altered " + s.digests[at]}
		}},
		"log taken out of its digest": {do: func(tr *trail, s *stream) []string {
			tr.edit(s.digests[at], s.logs[at][0], s.logs[at][1])
			delete(tr.files, s.logs[at][0])
			return []string{"digest-altered " + s.digests[at]}
		}},
		"digest is no digest": {do: func(tr *trail, s *stream) []string {
			tr.files[s.digests[at]] = pack([]byte(`{"Records":[]}`))
			return []string{"digest-altered " + s.digests[at]}
		}},
		"digest emptied": {do: func(tr *trail, s *stream) []string {
			tr.files[s.digests[at]] = nil
			return []string{"digest-altered " + s.digests[at]}
		}},
		"digest missing": {do: func(tr *trail, s *stream) []string {
			delete(tr.files, s.digests[at])
			return []string{"digest-missing " + s.digests[at]}
		}},
		"three digests missing": {do: func(tr *trail, s *stream) []string {
			for i := range 3 {
				delete(tr.files, s.digests[at-i])
			}
			return []string{"digest-missing " + s.digests[at]}
		}},
		"digest missing below an altered one": {do: func(tr *trail, s *stream) []string {
			tr.edit(s.digests[at], `"newestEventTime":null`, `"newestEventTime":"2026-11-01T00:00:00Z"`)
			delete(tr.files, s.digests[at-1])
			return []string{"digest-altered " + s.digests[at], "digest-missing " + s.digests[at-2]}
		}},
		"first digest missing": {do: func(tr *trail, s *stream) []string {
			delete(tr.files, s.digests[0])
			return []string{"digest-missing " + s.digests[0]}
		}},
		"digest missing with its logs": {do: func(tr *trail, s *stream) []string {
			delete(tr.files, s.digests[at])
			for _, l := range s.logs[at] {
				delete(tr.files, l)
			}
			return []string{"digest-missing " + s.digests[at]}
		}},
		"digests missing at the end of the time asked for": {opt: digest.Options{To: start.Add(12 * time.Hour)}, do: func(tr *trail, s *stream) []string {
			for i := 8; i < 12; i++ {
				delete(tr.files, s.digests[i])
			}
			return []string{"time-uncovered " + s.digests[7]}
		}},
		"digest under another name": {do: func(tr *trail, s *stream) []string {
			to := strings.Replace(s.digests[at], "_our_trail_", "_old_trail_", 1)
			tr.move(s.digests[at], to)
			return []string{"digest-moved " + to}
		}},
		"digest there twice": {do: func(tr *trail, s *stream) []string {
			to := strings.Replace(s.digests[at], "_our_trail_", "_old_trail_", 1)
			tr.files[to] = tr.files[s.digests[at]]
			return []string{"digest-duplicate " + to}
		}},
		"digest there in two mirrors": {do: func(tr *trail, s *stream) []string {
			tr.files["second/"+s.digests[at]] = tr.files[s.digests[at]]
			return []string{"digest-duplicate second/" + s.digests[at]}
		}},
		"digests of another bucket": {opt: digest.Options{Bucket: "ours"}, do: func(tr *trail, s *stream) (want []string) {
			for name := range tr.files {
				if !strings.HasPrefix(name, s.prefix+"/") || !strings.Contains(name, "/"+s.region+"/") {
					delete(tr.files, name)
				}
			}
			for _, d := range s.digests {
				want = append(want, "digest-moved "+d)
			}
			return want
		}},
		"key unknown": {keys: digest.FixedKeys{{Fingerprint: "another", Public: &testKey().PublicKey}}, do: func(tr *trail, s *stream) []string {
			return everyDigest(tr, "key-unknown ")
		}},
		"another key by the same name": {keys: digest.FixedKeys{{Fingerprint: fingerprint, Public: &otherKey().PublicKey}}, do: func(tr *trail, s *stream) []string {
			return everyDigest(tr, "digest-altered ")
		}},
		"a key without a name": {keys: digest.FixedKeys{{Public: &otherKey().PublicKey}, {Public: &testKey().PublicKey}}, do: func(tr *trail, s *stream) []string { return nil }},
		"signature of another": {do: func(tr *trail, s *stream) []string {
			tr.files[s.digests[at]+".sig"] = tr.files[s.digests[at-1]+".sig"]
			return []string{"signature-altered " + s.digests[at] + ".sig"}
		}},
		"signature that is none": {do: func(tr *trail, s *stream) []string {
			tr.files[s.digests[at]+".sig"] = []byte("none")
			return []string{"signature-altered " + s.digests[at] + ".sig"}
		}},
		"forged hour in place of a real one": {do: func(tr *trail, s *stream) []string {
			tr.key = otherKey()
			s.digest(s.digests[at], start.Add(at*time.Hour), start.Add((at+1)*time.Hour), nil, map[string]any{"previousDigestS3Bucket": nil,
				"previousDigestS3Object": nil, "previousDigestHashValue": nil, "previousDigestHashAlgorithm": nil, "previousDigestSignature": nil})
			return []string{"digest-altered " + s.digests[at]}
		}},
		"logging stopped and started": {note: "started again after 5.0 hours", do: func(tr *trail, s *stream) []string {
			s.at = s.at.Add(5 * time.Hour)
			s.restart()
			s.hours(2)
			return nil
		}},
		"digest before the newest altered": {raw: true, do: func(tr *trail, s *stream) []string {
			tr.edit(s.digests[10], `"newestEventTime":null`, `"newestEventTime":"2026-11-01T00:00:00Z"`)
			return []string{"digest-altered " + s.digests[10]}
		}},
		"newest digest lies about the hash before": {raw: true, do: func(tr *trail, s *stream) []string {
			before, _ := unpack(tr.files[s.digests[10]])
			tr.edit(s.digests[11], hexSum(before), hexSum(nil))
			return []string{"digest-altered " + s.digests[11]}
		}},
		"newest digest lies about the signature before": {raw: true, do: func(tr *trail, s *stream) []string {
			tr.edit(s.digests[11], s.signatures[10], s.signatures[9])
			return []string{"digest-altered " + s.digests[11]}
		}},
		"newest digest forged, and the one before to fit": {raw: true, do: func(tr *trail, s *stream) []string {
			tr.edit(s.digests[10], `"newestEventTime":null`, `"newestEventTime":"2026-11-01T00:00:00Z"`)
			before, _ := unpack(tr.files[s.digests[10]])
			newest, _ := unpack(tr.files[s.digests[11]])
			var d map[string]any
			if err := json.Unmarshal(newest, &d); err != nil {
				t.Fatal(err)
			}
			tr.edit(s.digests[11], d["previousDigestHashValue"].(string), hexSum(before))
			return []string{"digest-altered " + s.digests[11]}
		}},
		"the last of a chain without its signature": {do: func(tr *trail, s *stream) []string {
			last := s.digests[len(s.digests)-1]
			delete(tr.files, last+".sig")
			s.at = s.at.Add(5 * time.Hour)
			s.restart()
			s.hours(2)
			return []string{"digest-unsigned " + last}
		}},
		"a chain started by a forger, to hide what is before": {raw: true, do: func(tr *trail, s *stream) []string {
			last := s.digests[len(s.digests)-1]
			tr.edit(s.logs[len(s.logs)-1][0], "1.11", "1.10")
			tr.key = otherKey()
			s.restart()
			s.next(0)
			return []string{"digest-unsigned " + last, "log-altered " + s.logs[11][0]}
		}},
		"an hour of another trail, forged without a signature": {do: func(tr *trail, s *stream) []string {
			from := start.Add(at * time.Hour)
			e := s.log(from.Add(30*time.Minute), "forged")
			name := strings.Replace(s.digests[at], "_our_trail_", "_new_trail_", 1)
			tr.key = otherKey()
			s.digest(name, from, from.Add(time.Hour), []map[string]any{e}, map[string]any{"previousDigestS3Bucket": nil,
				"previousDigestS3Object": nil, "previousDigestHashValue": nil, "previousDigestHashAlgorithm": nil, "previousDigestSignature": nil})
			delete(tr.files, name+".sig")
			return []string{"digest-unsigned " + name}
		}},
		"the digest after is missing, and no signature beside": {raw: true, note: "not verifiable: the next digest", do: func(tr *trail, s *stream) []string {
			delete(tr.files, s.digests[at])
			return []string{"digest-missing " + s.digests[at]}
		}},
		"files that are not named as CloudTrail does": {do: func(tr *trail, s *stream) []string {
			a := path.Dir(s.logs[at][0]) + "/more.json"
			b := s.prefix + "/CloudTrail/" + s.region + "/even-more.json.gz"
			tr.files[a], tr.files[b] = []byte("{}"), pack([]byte("{}"))
			tr.files[path.Dir(a)+"/.DS_Store"] = nil
			return []string{"log-uncovered " + a, "log-uncovered " + b}
		}},
		"log while nothing was validated": {do: func(tr *trail, s *stream) []string {
			e := s.log(s.at.Add(2*time.Hour), "between")
			s.at = s.at.Add(5 * time.Hour)
			s.restart()
			s.hours(2)
			return []string{"log-uncovered " + e["s3Object"].(string)}
		}},
		"backfill covers a late log": {do: func(tr *trail, s *stream) []string {
			from := start.Add(at * time.Hour)
			e := s.log(from.Add(30*time.Minute), "late")
			name := strings.Replace(s.digests[at], ".json.gz", "_backfill.json.gz", 1)
			s.digest(name, from, from.Add(time.Hour), []map[string]any{e}, map[string]any{"previousDigestS3Bucket": nil,
				"previousDigestS3Object": nil, "previousDigestHashValue": nil, "previousDigestHashAlgorithm": nil, "previousDigestSignature": nil})
			return nil
		}},
		"backfill altered": {do: func(tr *trail, s *stream) []string {
			from := start.Add(at * time.Hour)
			e := s.log(from.Add(30*time.Minute), "late")
			name := strings.Replace(s.digests[at], ".json.gz", "_backfill.json.gz", 1)
			s.digest(name, from, from.Add(time.Hour), []map[string]any{e}, map[string]any{"previousDigestS3Bucket": nil,
				"previousDigestS3Object": nil, "previousDigestHashValue": nil, "previousDigestHashAlgorithm": nil, "previousDigestSignature": nil})
			tr.edit(name, `"newestEventTime":null`, `"newestEventTime":"2026-11-01T00:00:00Z"`)
			return []string{"digest-altered " + name}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tr, streams := two(t, 12)
			want := c.do(tr, streams[1])
			if c.raw {
				for f := range tr.files {
					if strings.HasSuffix(f, ".sig") {
						delete(tr.files, f)
					}
				}
			}
			slices.Sort(want)
			keys := tr.keys()
			if c.keys != nil {
				keys = c.keys
			}
			r := verify(t, memory{tr.files}, keys, c.opt)
			if diff := cmp.Diff(append([]string{}, want...), tr.said(r)); diff != "" {
				t.Errorf("problems (-want +got):\n%s%.2000s", diff, fmt.Sprintf("%+v", r.Problems))
			}
			if c.note != "" && !slices.ContainsFunc(r.Notes, func(n digest.Note) bool { return strings.Contains(n.Text, c.note) }) {
				t.Errorf("no note says %q: %+v", c.note, r.Notes)
			}
		})
	}
}

func everyDigest(tr *trail, kind string) (want []string) {
	for name := range tr.files {
		if strings.Contains(name, "CloudTrail-Digest") && strings.HasSuffix(name, ".json.gz") {
			want = append(want, kind+name)
		}
	}
	return want
}

// TestEveryByte changes each byte of each file of a small chain, in several
// ways: there is a problem that names the file, and no other is accused. What is
// hashed and signed is the unpacked content: the few bytes of gzip's header that
// do not touch it (time, system, level) prove nothing and may differ.
func TestEveryByte(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1")
	for range 3 {
		s.next(1)
	}
	bare := s.digests[0] + ".sig"
	m, err := digest.ParseSidecar(tr.files[bare])
	if err != nil {
		t.Fatal(err)
	}
	tr.files[bare] = []byte(m.Signature + "\n")
	changed, same := 0, 0
	for name, content := range tr.files {
		var before []byte
		var sig digest.Metadata
		if strings.HasSuffix(name, ".sig") {
			sig, err = digest.ParseSidecar(content)
		} else {
			before, err = unpack(content)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range content {
			for _, mask := range []byte{0x01, 0x20, 0x80} {
				content[i] ^= mask
				still := false
				if before != nil {
					after, err := unpack(content)
					still = err == nil && string(after) == string(before) && content[3]&0xe0 == 0 // RFC 1952: reserved flags are an error
				} else {
					after, err := digest.ParseSidecar(content)
					still = err == nil && after == sig
				}
				r := tr.verify(digest.Options{Workers: 1})
				content[i] ^= mask
				if still {
					same++
					if len(r.Problems) > 0 {
						t.Fatalf("%s byte %d ^ %#x does not touch the content: %+v", base(name), i, mask, r.Problems)
					}
					continue
				}
				changed++
				if len(r.Problems) == 0 {
					t.Fatalf("%s byte %d ^ %#x: no problem", base(name), i, mask)
				}
				for _, p := range r.Problems {
					if p.File != name && p.Digest != name {
						t.Fatalf("%s byte %d ^ %#x: another file is accused: %+v", base(name), i, mask, p)
					}
				}
			}
		}
	}
	t.Logf("%d changes found, %d do not touch what is hashed", changed, same)
	if changed < 10_000 || same > changed/20 {
		t.Errorf("%d changes, %d without effect: the test is not what it was", changed, same)
	}
}

// TestEveryByteOfContent changes each byte of the unpacked digests and logs.
func TestEveryByteOfContent(t *testing.T) {
	for _, sidecars := range []bool{true, false} {
		tr := newTrail(t)
		tr.sidecars = sidecars
		s := tr.stream("", "111122223333", "eu-west-1")
		for range 3 {
			s.next(1)
		}
		for name, packed := range tr.files {
			if strings.HasSuffix(name, ".sig") || !sidecars && name == s.digests[2] {
				continue // without a signature nothing is known of the newest
			}
			content, err := unpack(packed)
			if err != nil {
				t.Fatal(err)
			}
			for i := range content {
				content[i] ^= 0x01
				tr.files[name] = pack(content)
				content[i] ^= 0x01
				r := tr.verify(digest.Options{Workers: 1})
				if len(r.Problems) == 0 {
					t.Fatalf("sidecars %v: %s content byte %d: no problem", sidecars, base(name), i)
				}
				for _, p := range r.Problems {
					if p.File != name {
						t.Fatalf("sidecars %v: %s content byte %d: another file is accused: %+v", sidecars, base(name), i, p)
					}
				}
			}
			tr.files[name] = packed
		}
	}
}

// TestBomb: a file that says it is huge costs its limit in time and no memory.
func TestBomb(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(2)
	bomb := pack(make([]byte, 65<<20))
	tr.files[s.digests[1]] = bomb
	r := tr.verify(digest.Options{})
	if diff := cmp.Diff([]string{"digest-altered " + s.digests[1]}, tr.said(r)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(r.Problems[0].Detail, "unpacks to more than") {
		t.Error(r.Problems[0].Detail)
	}
	if testing.Short() {
		return
	}
	tr = newTrail(t)
	s = tr.stream("", "111122223333", "eu-west-1").hours(2)
	tr.files[s.logs[0][0]] = slices.Repeat(bomb, 17) // members one after the other are one content
	r = tr.verify(digest.Options{})
	if diff := cmp.Diff([]string{"log-altered " + s.logs[0][0]}, tr.said(r)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(r.Problems[0].Detail, "unpacks to more than") {
		t.Error(r.Problems[0].Detail)
	}
}

// TestRange: --from and --to pick the digests whose time they touch.
func TestRange(t *testing.T) {
	tr := newTrail(t)
	tr.sidecars = false
	s := tr.stream("", "111122223333", "eu-west-1").hours(10)
	h := func(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Hour))) }
	for _, c := range []struct {
		from, to          time.Time
		digests, verified int64
	}{
		{time.Time{}, time.Time{}, 10, 9},
		{h(0), h(10), 10, 9},
		{h(3), h(5), 2, 2},                                    // borders belong to one side
		{h(3).Add(-time.Second), h(5).Add(time.Second), 4, 4}, // a second more touches the next
		{h(3).Add(time.Second), h(5).Add(-time.Second), 2, 2},
		{h(3.4), h(3.5), 1, 1},
		{h(9), time.Time{}, 1, 0},
		{time.Time{}, h(1), 1, 1},
		{h(-5), h(0), 0, 0},
	} {
		r := tr.verify(digest.Options{From: c.from, To: c.to})
		total := r.Total()
		if total.Digests != c.digests || total.DigestsVerified != c.verified || total.LogsVerified != 2*c.verified || len(r.Problems) > 0 {
			t.Errorf("%s to %s: %d digests, %d verified, %d logs; want %d, %d; problems %+v", c.from, c.to, total.Digests, total.DigestsVerified, total.LogsVerified, c.digests, c.verified, r.Problems)
		}
	}

	tr.edit(s.logs[4][0], "1.11", "1.10")
	delete(tr.files, s.digests[2])
	for _, c := range []struct {
		from, to time.Time
		want     []string
	}{
		{h(3), h(4), []string{}},
		{h(3), h(5), []string{"log-altered " + s.logs[4][0]}},
		{h(4), h(5), []string{"log-altered " + s.logs[4][0]}},
		{h(5), h(9), []string{}},
		{h(2.5), h(4), []string{"digest-missing " + s.digests[2]}}, // a part of its hour is asked for
		{h(2), h(4), []string{"digest-missing " + s.digests[2]}},
		{h(0), h(2), []string{}},
	} {
		if diff := cmp.Diff(c.want, tr.said(tr.verify(digest.Options{From: c.from, To: c.to}))); diff != "" {
			t.Errorf("%s to %s: %s", c.from, c.to, diff)
		}
	}
}

// TestRandomTampering: whatever is done to whichever files, what is reported is
// what was done.
func TestRandomTampering(t *testing.T) {
	const hours = 40
	tr, streams := two(t, hours)
	pristine := map[string][]byte{}
	for k, v := range tr.files {
		pristine[k] = v
	}
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 7))
		clear(tr.files)
		for k, v := range pristine {
			tr.files[k] = v
		}
		want := []string{}
		for _, s := range streams {
			for h := 0; h < hours-1; h++ {
				name := s.digests[h]
				free := true // whether the logs of this hour are spoken for
				if h%4 == 1 {
					switch rng.IntN(6) {
					case 0:
						tr.edit(name, fmt.Sprintf(`"awsAccountId":"%s`, s.account[:1]), `"awsAccountId":"9`)
						want, free = append(want, "digest-altered "+name), false
					case 1:
						delete(tr.files, name)
						want, free = append(want, "digest-missing "+name), false
					case 2:
						to := strings.Replace(name, "_our_trail_", "_moved_", 1)
						tr.move(name, to)
						want = append(want, "digest-moved "+to)
					case 3:
						tr.files[name+".sig"] = pristine[s.digests[h+1]+".sig"]
						want = append(want, "signature-altered "+name+".sig")
					}
				}
				for _, l := range s.logs[h] {
					switch rng.IntN(12) {
					case 0:
						tr.edit(l, "Records", "records")
						if free {
							want = append(want, "log-altered "+l)
						}
					case 1:
						delete(tr.files, l)
						if free {
							want = append(want, "log-missing "+l)
						}
					}
				}
				if rng.IntN(10) == 0 {
					e := s.log(start.Add(time.Duration(h)*time.Hour+30*time.Minute), "added")
					if free {
						want = append(want, "log-uncovered "+e["s3Object"].(string))
					}
				}
			}
		}
		slices.Sort(want)
		got := tr.said(tr.verify(digest.Options{Workers: 1 + round%4}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d (-done +reported):\n%s", round, diff)
		}
	}
}

// TestFindings: a problem is a critical finding about the exact file, the same
// each time.
func TestFindings(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(4)
	tr.edit(s.logs[1][0], "1.11", "1.10")
	delete(tr.files, s.logs[2][0])
	a, b := tr.verify(digest.Options{}).Findings(), tr.verify(digest.Options{Workers: 3}).Findings()
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("another time, other findings: %s", diff)
	}
	dir := t.TempDir()
	tr.write(dir)
	c := verify(t, digest.Folder{Paths: []string{dir}}, tr.keys(), digest.Options{}).Findings()
	for i, want := range []string{"integrity.log-file-altered", "integrity.log-file-missing"} {
		f := a[i]
		if f.Rule != want || f.Severity != event.Critical || f.Account != s.account || f.Region != s.region || f.Events == nil || f.Time.IsZero() {
			t.Errorf("finding %d: %+v", i, f)
		}
		if f.Key != s.logs[i+1][0] || f.Entities[0].ID != f.Key || len(f.ID) != 32 {
			t.Errorf("finding %d is about %s, want %s", i, f.Key, s.logs[i+1][0])
		}
		if c[i].ID != f.ID {
			t.Errorf("finding %d has another id in a folder", i)
		}
	}
	if a[0].ID == a[1].ID {
		t.Error("two findings, one id")
	}
}

// sick is a mirror on a disk that fails for some files.
type sick struct {
	memory
	bad map[string]bool
}

var errDisk = errors.New("input/output error")

func (s sick) Open(ctx context.Context, o digest.Object) (io.ReadCloser, error) {
	if s.bad[o.Name] {
		return io.NopCloser(io.MultiReader(bytes.NewReader(s.files[o.Name][:20]), iotest.ErrReader(errDisk))), nil
	}
	return s.memory.Open(ctx, o)
}

// TestUnreadable: a file that could not be read is neither altered nor missing:
// it is an error, and the rest is verified.
func TestUnreadable(t *testing.T) {
	tr := newTrail(t)
	s := tr.stream("", "111122223333", "eu-west-1").hours(6)
	bad := map[string]bool{s.digests[2]: true, s.logs[4][1]: true}
	r, err := digest.Verify(t.Context(), sick{memory{tr.files}, bad}, tr.keys(), digest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) > 0 || len(r.Errors) != 2 {
		t.Errorf("problems %+v, errors %v", r.Problems, r.Errors)
	}
	for _, err := range r.Errors {
		name, _, _ := strings.Cut(err.Error(), ":")
		if !errors.Is(err, errDisk) || !bad[name] {
			t.Errorf("error %v", err)
		}
	}
	if total := r.Total(); total.DigestsVerified != 5 || total.LogsVerified != 9 {
		t.Errorf("%+v", total)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := digest.Verify(ctx, memory{tr.files}, tr.keys(), digest.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was interrupted says %v", err)
	}
}
