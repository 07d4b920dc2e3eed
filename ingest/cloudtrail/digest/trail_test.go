package digest_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte/ingest/cloudtrail/digest"
)

// trail writes a bucket as CloudTrail does, by the description of the format
// alone: nothing of the package under test is used.
type trail struct {
	t        testing.TB
	files    map[string][]byte // key → as stored
	key      *rsa.PrivateKey
	bucket   string
	sidecars bool
}

const fingerprint = "31e8b5433410dfb61a9dc45cc65b22ff"

// start is the first second that digests cover; as in nature it is no round hour.
var start = time.Date(2026, 11, 1, 0, 1, 31, 0, time.UTC)

var (
	testKey  = sync.OnceValue(newKey)
	otherKey = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

func newTrail(t testing.TB) *trail {
	return &trail{t: t, files: map[string][]byte{}, key: testKey(), bucket: "trail-bucket", sidecars: true}
}

func (tr *trail) keys() digest.FixedKeys {
	return digest.FixedKeys{{Fingerprint: fingerprint, Public: &testKey().PublicKey}}
}

// stream is one chain being written.
type stream struct {
	*trail
	prefix          string // up to the account
	account, region string
	at              time.Time
	hour            int
	prev            map[string]any
	digests         []string // keys, oldest first
	signatures      []string
	logs            [][]string // by hour
}

func (tr *trail) stream(org, account, region string) *stream {
	prefix := "AWSLogs/"
	if org != "" {
		prefix += org + "/"
	}
	s := &stream{trail: tr, prefix: prefix + account, account: account, region: region, at: start}
	s.restart()
	return s
}

// restart makes the next digest the first of a chain.
func (s *stream) restart() {
	s.prev = map[string]any{"previousDigestS3Bucket": nil, "previousDigestS3Object": nil, "previousDigestHashValue": nil,
		"previousDigestHashAlgorithm": nil, "previousDigestSignature": nil}
}

// writers are kept: a new one costs more than the packing.
var writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func pack(b []byte) []byte {
	var out bytes.Buffer
	w := writers.Get().(*gzip.Writer)
	defer writers.Put(w)
	w.Reset(&out)
	w.ModTime = time.Unix(1_700_000_000, 0)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func unpack(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func hexSum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func (s *stream) logKey(at time.Time, unique string) string {
	return fmt.Sprintf("%s/CloudTrail/%s/%s/%s_CloudTrail_%s_%s_%s.json.gz", s.prefix, s.region, at.Format("2006/01/02"),
		s.account, s.region, at.Truncate(5*time.Minute).Format("20060102T1504Z"), unique)
}

// log writes one log file and returns what a digest says of it.
func (s *stream) log(at time.Time, unique string) map[string]any {
	key := s.logKey(at, unique)
	content := fmt.Appendf(nil, `{"Records":[{"eventVersion":"1.11","eventID":"%s-%s","awsRegion":%q,"eventTime":%q}]}`, unique, s.account, s.region, at.Format(time.RFC3339))
	s.files[key] = pack(content)
	return map[string]any{"s3Bucket": s.bucket, "s3Object": key, "hashValue": hexSum(content), "hashAlgorithm": "SHA-256",
		"newestEventTime": at.Format(time.RFC3339), "oldestEventTime": at.Format(time.RFC3339)}
}

// next writes an hour: so many logs and their digest.
func (s *stream) next(logs int) {
	entries := []map[string]any{}
	var keys []string
	for i := range logs {
		e := s.log(s.at.Add(time.Duration(i%10+1)*5*time.Minute), fmt.Sprintf("h%04dn%04d", s.hour, i))
		entries = append(entries, e)
		keys = append(keys, e["s3Object"].(string))
	}
	end := s.at.Add(time.Hour)
	name := fmt.Sprintf("%s/CloudTrail-Digest/%s/%s/%s_CloudTrail-Digest_%s_our_trail_us-east-1_%s.json.gz", s.prefix, s.region, end.Format("2006/01/02"),
		s.account, s.region, end.Format("20060102T150405Z"))
	sig, content := s.digest(name, s.at, end, entries, s.prev)
	s.prev = map[string]any{"previousDigestS3Bucket": s.bucket, "previousDigestS3Object": name, "previousDigestHashValue": hexSum(content),
		"previousDigestHashAlgorithm": "SHA-256", "previousDigestSignature": sig}
	s.digests, s.signatures, s.logs = append(s.digests, name), append(s.signatures, sig), append(s.logs, keys)
	s.at = end
	s.hour++
}

func (s *stream) digest(name string, from, to time.Time, entries []map[string]any, prev map[string]any) (sig string, content []byte) {
	d := map[string]any{"awsAccountId": s.account, "digestStartTime": from.Format(time.RFC3339), "digestEndTime": to.Format(time.RFC3339),
		"digestS3Bucket": s.bucket, "digestS3Object": name, "digestPublicKeyFingerprint": fingerprint, "digestSignatureAlgorithm": "SHA256withRSA",
		"newestEventTime": nil, "oldestEventTime": nil, "logFiles": entries}
	maps.Copy(d, prev)
	content, err := json.Marshal(d)
	if err != nil {
		s.t.Fatal(err)
	}
	before := "null"
	if p, ok := prev["previousDigestSignature"].(string); ok {
		before = p
	}
	sig = s.sign(strings.Join([]string{to.Format(time.RFC3339), s.bucket + "/" + name, hexSum(content), before}, "\n"))
	s.files[name] = pack(content)
	if s.sidecars {
		s.files[name+".sig"] = fmt.Appendf(nil, "{\n  %q: %q,\n  %q: %q\n}\n", "signature", sig, "signature-algorithm", "SHA256withRSA")
	}
	return sig, content
}

func (tr *trail) sign(text string) string {
	h := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, tr.key, crypto.SHA256, h[:])
	if err != nil {
		tr.t.Fatal(err)
	}
	return hex.EncodeToString(sig)
}

// hours writes several hours of two logs each.
func (s *stream) hours(n int) *stream {
	for range n {
		s.next(2)
	}
	return s
}

// memory is a mirror in memory.
type memory struct{ files map[string][]byte }

func (m memory) List(context.Context) ([]digest.Object, error) {
	var out []digest.Object
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		out = append(out, digest.Object{Name: name, Key: "/mirror/" + name, Size: int64(len(m.files[name]))})
	}
	return out, nil
}

func (m memory) Open(_ context.Context, o digest.Object) (io.ReadCloser, error) {
	b, ok := m.files[o.Name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m memory) Metadata(_ context.Context, o digest.Object) (digest.Metadata, error) {
	b, ok := m.files[o.Name+".sig"]
	if !ok {
		return digest.Metadata{}, nil
	}
	md, err := digest.ParseSidecar(b)
	md.Name = o.Name + ".sig"
	return md, err
}

// verify verifies what there is now.
func (tr *trail) verify(opt digest.Options) *digest.Report {
	tr.t.Helper()
	return verify(tr.t, memory{tr.files}, tr.keys(), opt)
}

func verify(t testing.TB, objects digest.Objects, keys digest.Keys, opt digest.Options) *digest.Report {
	t.Helper()
	r, err := digest.Verify(t.Context(), objects, keys, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Errors...); err != nil {
		t.Fatal(err)
	}
	return r
}

// said lists the problems as kind and file, without the s3 address.
func (tr *trail) said(r *digest.Report) []string {
	out := []string{}
	for _, p := range r.Problems {
		out = append(out, string(p.Kind)+" "+strings.TrimPrefix(p.File, "s3://"+tr.bucket+"/"))
	}
	slices.Sort(out)
	return out
}

// write makes a real folder of it.
func (tr *trail) write(dir string) {
	tr.t.Helper()
	for name, content := range tr.files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := cmp.Or(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
			tr.t.Fatal(err)
		}
	}
}

// move renames a file together with what stands beside it.
func (tr *trail) move(from, to string) {
	tr.files[to] = tr.files[from]
	delete(tr.files, from)
	if sig, ok := tr.files[from+".sig"]; ok {
		tr.files[to+".sig"] = sig
		delete(tr.files, from+".sig")
	}
}

// edit changes the content of a packed file.
func (tr *trail) edit(name, old, new string) {
	tr.t.Helper()
	content, err := unpack(tr.files[name])
	if err != nil {
		tr.t.Fatal(err)
	}
	if !bytes.Contains(content, []byte(old)) {
		tr.t.Fatalf("%s does not contain %s", name, old)
	}
	tr.files[name] = pack(bytes.Replace(content, []byte(old), []byte(new), 1))
}

func base(key string) string { return path.Base(key) }
