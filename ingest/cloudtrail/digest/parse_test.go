package digest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	kgzip "github.com/klauspost/compress/gzip"

	"riposte/ingest/cloudtrail/digest"
)

// sample is a digest whose every field is told apart.
const sample = `{"awsAccountId":"111122223333","digestStartTime":"2015-08-17T14:01:31Z","digestEndTime":"2015-08-17T15:01:31Z",
 "digestS3Bucket":"bucket","digestS3Object":"AWSLogs/x.json.gz","digestPublicKeyFingerprint":"31e8","digestSignatureAlgorithm":"SHA256withRSA",
 "newestEventTime":"2015-08-17T14:52:27Z","oldestEventTime":null,
 "previousDigestS3Bucket":"before","previousDigestS3Object":"AWSLogs/w.json.gz","previousDigestHashValue":"97fb791cf91ffc440d274f8190dbdd9aa09c34432aba82739df18b6d3c13df2d",
 "previousDigestHashAlgorithm":"SHA-256","previousDigestSignature":"50887ccf",
 "logFiles":[{"s3Bucket":"bucket","s3Object":"AWSLogs/l.json.gz","hashValue":"9bb6196fc6b84d6f075a56548feca262bd99ba3c2de41b618e5b6e22c1fc71f6","hashAlgorithm":"SHA-256","newestEventTime":"2015-08-17T14:52:27Z","oldestEventTime":"2015-08-17T14:42:27Z"}]}`

func TestParse(t *testing.T) {
	d, err := digest.Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if d.Account != "111122223333" || !d.End.Equal(time.Date(2015, 8, 17, 15, 1, 31, 0, time.UTC)) || d.Previous.Bucket != "before" || len(d.Logs) != 1 || !d.OldestEvent.IsZero() {
		t.Errorf("%+v", d)
	}
	want := "2015-08-17T15:01:31Z\nbucket/AWSLogs/x.json.gz\n" + hexSum([]byte(sample)) + "\n50887ccf"
	if got := d.StringToSign(); got != want {
		t.Errorf("string to sign is %q, want %q", got, want)
	}
}

// TestParseErrors: every mistake is named by its field, all of them at once.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{sample, ``, "not a digest"},
		{sample, `null`, "digestEndTime is missing"},
		{sample, `[]`, "not a digest"},
		{`"111122223333"`, `7`, "awsAccountId"},
		{`"digestEndTime"`, `"x"`, "digestEndTime is missing"},
		{`2015-08-17T15:01:31Z`, `yesterday`, `digestEndTime "yesterday" is not a time`},
		{`2015-08-17T15:01:31Z`, `2015-08-17T13:01:31Z`, "digestEndTime is before digestStartTime"},
		{`SHA256withRSA`, `none`, `digestSignatureAlgorithm is "none": only SHA256withRSA is known`},
		{`"previousDigestS3Bucket":"before"`, `"previousDigestS3Bucket":null`, "previousDigestS3Bucket is missing"},
		{`50887ccf`, `50887CCF`, "previousDigestSignature is not hex"},
		{`97fb`, `97f`, "previousDigestHashValue"},
		{`9bb6`, `zzzz`, "logFiles[0].hashValue"},
		{`"hashAlgorithm":"SHA-256"`, `"hashAlgorithm":"MD5"`, `logFiles[0].hashAlgorithm is "MD5"`},
		{`"logFiles"`, `"files"`, "logFiles is missing"},
		{`"logFiles":[`, `"logFiles":[null,`, "logFiles[0] is null"},
	} {
		_, err := digest.Parse([]byte(strings.Replace(sample, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s → %s: error is %v, want %s", c.old[:min(40, len(c.old))], c.new, err, c.want)
		}
	}
	if _, err := digest.Parse([]byte(`{"logFiles":[]}`)); err == nil || strings.Count(err.Error(), "\n") < 5 {
		t.Errorf("not all mistakes at once: %v", err)
	}
}

// FuzzParse: whatever the bytes, no panic; what is taken is whole, and says the
// same when it is written again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(strings.Replace(sample, `"before"`, `null`, 1)))
	f.Add([]byte(`{"logFiles":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := digest.Parse(b)
		if err != nil {
			if d != nil {
				t.Fatal("a digest and an error")
			}
			return
		}
		if d.EndText == "" || d.Bucket == "" || d.Object == "" || d.Fingerprint == "" || d.Start.After(d.End) || len(d.Hash) != 64 {
			t.Fatalf("not whole: %+v", d)
		}
		lines := strings.Split(d.StringToSign(), "\n")
		if last := lines[len(lines)-1]; d.Previous == nil && last != "null" || d.Previous != nil && last != d.Previous.Signature {
			t.Fatalf("the last line to sign is %q", last)
		}
		for _, l := range d.Logs {
			if l.Bucket == "" || l.Object == "" || len(l.Hash) != 64 {
				t.Fatalf("a log that is not whole: %+v", l)
			}
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatalf("taken, and not an object: %v", err)
		}
	})
}

// FuzzSidecar: what is taken is a signature.
func FuzzSidecar(f *testing.F) {
	f.Add([]byte("50887ccf\n"))
	f.Add([]byte(`{"signature":"50887ccf","signature-algorithm":"SHA256withRSA"}`))
	f.Add([]byte(`{"Metadata":{"signature":"50","signature-algorithm":"SHA256withRSA","backfill-generation-timestamp":"2026-01-01T00:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := digest.ParseSidecar(b)
		if err == nil && (m.Signature == "" || strings.Trim(m.Signature, "0123456789abcdef") != "" || m.Algorithm != "SHA256withRSA") {
			t.Fatalf("%+v", m)
		}
	})
}

// TestReadKeys reads the same key from each form in which people save it.
func TestReadKeys(t *testing.T) {
	public := &testKey().PublicKey
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	list := fmt.Sprintf(`{"PublicKeyList":[{"Value":%q,"Fingerprint":%q,"ValidityStartTime":"2026-01-01T00:00:00Z"}]}`, base64.StdEncoding.EncodeToString(pkcs1), fingerprint)
	for name, c := range map[string]struct {
		content []byte
		print   string
	}{
		"list":  {[]byte(list), fingerprint},
		"pkcs1": {pkcs1, ""}, "spki": {spki, ""},
		"pem":  {pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), ""},
		"pem2": {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), ""},
	} {
		keys, err := digest.ReadKeys(c.content)
		if err != nil || len(keys) != 1 || keys[0].Fingerprint != c.print || !keys[0].Public.Equal(public) {
			t.Errorf("%s: %+v, %v", name, keys, err)
		}
	}
	for _, bad := range []string{"", "{}", `{"PublicKeyList":[]}`, `{"PublicKeyList":[{"Value":"AAAA"}]}`, `{"PublicKeyList":[{"Value":"?"}]}`, "-----BEGIN X-----\nAAAA\n-----END X-----\n"} {
		if keys, err := digest.ReadKeys([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, keys)
		}
	}
}

// BenchmarkVerify measures one core over log files as they come: a megabyte of
// records each. A second of computing is a second of a core; gz-MB are bytes as
// they are stored, unpacked-MB what is hashed.
func BenchmarkVerify(b *testing.B) {
	tr := newTrail(b)
	s := tr.stream("", "111122223333", "eu-west-1")
	rng := rand.New(rand.NewPCG(1, 2))
	var entries []map[string]any
	for i := range 32 {
		e := s.log(start.Add(time.Duration(i)*time.Minute), fmt.Sprintf("bench%d", i))
		content := records(rng, 2000)
		e["hashValue"] = hexSum(content)
		tr.files[e["s3Object"].(string)] = pack(content)
		entries = append(entries, e)
	}
	end := start.Add(time.Hour)
	s.digest(fmt.Sprintf("%s/CloudTrail-Digest/eu-west-1/2026/11/01/111122223333_CloudTrail-Digest_eu-west-1_t_eu-west-1_%s.json.gz", s.prefix, end.Format("20060102T150405Z")), start, end, entries, s.prev)
	var total digest.Chain
	before := cpu(b)
	b.ResetTimer()
	for range b.N {
		r := tr.verify(digest.Options{Workers: 1})
		if len(r.Problems) > 0 {
			b.Fatal(r.Problems)
		}
		total = r.Total()
	}
	used := (cpu(b) - before).Seconds()
	b.SetBytes(total.Bytes)
	b.ReportMetric(float64(total.Unpacked)*float64(b.N)/1e6/used, "unpacked-MB/cpu-s")
	b.ReportMetric(float64(total.Bytes)*float64(b.N)/1e6/used, "gz-MB/cpu-s")
	b.ReportMetric(float64(total.Unpacked)/float64(total.Bytes), "ratio")
}

// cpu is the time that this process has computed: on a machine that does other
// things too, that is what a core can do.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	var children syscall.Rusage // of programs that a floor runs
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano() + children.Utime.Nano() + children.Stime.Nano())
}

// records are CloudTrail records that pack about as real ones do.
func records(rng *rand.Rand, n int) []byte {
	out := []byte(`{"Records":[`)
	names := []string{"DescribeInstances", "AssumeRole", "GetObject", "PutMetricData", "ListBuckets", "Decrypt"}
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROA%013d:i-%017x","arn":"arn:aws:sts::111122223333:assumed-role/app-%d/i-%017x","accountId":"111122223333","accessKeyId":"ASIA%016X"},"eventTime":"2026-11-01T00:%02d:%02dZ","eventSource":"ec2.amazonaws.com","eventName":%q,"awsRegion":"eu-west-1","sourceIPAddress":"10.%d.%d.%d","userAgent":"aws-sdk-go-v2/1.48.0 os/linux lang/go#1.26.8","requestParameters":{"instancesSet":{"items":[{"instanceId":"i-%017x"}]}},"responseElements":null,"requestID":"%08x-%04x-%04x-%012x","eventID":"%08x-%04x-%04x-%012x","readOnly":true,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
			rng.IntN(20), rng.Uint64()>>4, rng.IntN(20), rng.Uint64()>>4, rng.Uint64(), rng.IntN(60), rng.IntN(60), names[rng.IntN(len(names))],
			rng.IntN(255), rng.IntN(255), rng.IntN(255), rng.Uint64()>>4, rng.Uint32(), rng.IntN(1<<16), rng.IntN(1<<16), rng.Uint64()>>16, rng.Uint32(), rng.IntN(1<<16), rng.IntN(1<<16), rng.Uint64()>>16)
	}
	return append(out, "]}"...)
}

// BenchmarkFloor measures what no verification can do without, each alone: SHA-256
// of the content, and unpacking it.
func BenchmarkFloor(b *testing.B) {
	content := records(rand.New(rand.NewPCG(1, 2)), 40_000)
	packed := pack(content)
	floor := func(name string, work func()) {
		b.Run(name, func(b *testing.B) {
			before := cpu(b)
			for range b.N {
				work()
			}
			used := (cpu(b) - before).Seconds()
			b.ReportMetric(float64(len(content))*float64(b.N)/1e6/used, "unpacked-MB/cpu-s")
			b.ReportMetric(float64(len(packed))*float64(b.N)/1e6/used, "gz-MB/cpu-s")
		})
	}
	floor("sha256", func() { sha256.Sum256(content) })
	floor("inflate", func() {
		r, err := kgzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	})
	floor("inflate-std", func() {
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	})
	floor("gzip-dc-sha256sum", func() {
		file := filepath.Join(b.TempDir(), "f.gz")
		if err := os.WriteFile(file, packed, 0o600); err != nil {
			b.Fatal(err)
		}
		if err := exec.Command("sh", "-c", "gzip -dc "+file+" | sha256sum").Run(); err != nil {
			b.Skip(err)
		}
	})
}
