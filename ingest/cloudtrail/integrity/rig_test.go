package integrity

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/cloudtrail/digest"
	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
	"riposte/internal/testlog"
)

const (
	bucketName = "example-logs"
	keyARN     = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	print      = "31e8b5433410dfb61a9dc45cc65b22ff"
)

var signer = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// start is when the first digest begins.
var start = time.Date(2026, 11, 1, 0, 1, 31, 0, time.UTC)

func at(hours float64) time.Time { return start.Add(time.Duration(hours * float64(time.Hour))) }

// rig is a bucket on loopback, and what was found in it.
type rig struct {
	t       testing.TB
	fake    *awsfake.Server
	cursors cursors
	log     testlog.Journal
	src     *Source
	files   map[string]awsfake.Blob // all that CloudTrail will have delivered

	mu       sync.Mutex
	findings map[string]event.Finding
	times    map[string]int // how often each was given
	refuse   func() error   // decides whether findings are taken
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, findings: map[string]event.Finding{}, times: map[string]int{}, files: map[string]awsfake.Blob{}, cursors: cursors{kept: map[string][]byte{}}}
	key := awsfake.PublicKey{Fingerprint: print, Value: x509.MarshalPKCS1PublicKey(&signer().PublicKey)}
	r.fake = awsfake.New(&awsfake.World{
		Accounts:   map[string]*awsfake.Account{"111122223333": {Buckets: map[string]*awsfake.Bucket{bucketName: {Region: "eu-central-1"}}}},
		PublicKeys: map[string][]awsfake.PublicKey{"eu-west-1": {key}, "us-east-1": {key}},
	}, "111122223333")
	t.Cleanup(r.fake.Close)
	r.restart(change)
	return r
}

// restart makes the source anew, as after a crash.
func (r *rig) restart(change func(*Config)) {
	r.t.Helper()
	c := Config{Address: "s3://" + bucketName + "/AWSLogs/", Workers: 2, Since: 366 * 24 * time.Hour}
	if change != nil {
		change(&c)
	}
	src, err := New(r.t.Context(), c, &r.cursors, slog.New(slog.NewTextHandler(&r.log, nil)), awsaccess.Options{Load: []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(r.fake.URL()), config.WithRegion("us-east-1"), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.src = src
}

func (r *rig) sink() ingest.Sink {
	return ingest.Sink{Findings: func(_ context.Context, fs []event.Finding) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.refuse != nil {
			if err := r.refuse(); err != nil {
				return err
			}
		}
		for _, f := range fs {
			r.findings[f.ID] = f
			r.times[f.ID]++
		}
		return nil
	}}
}

// round looks at the bucket as it is at a time.
func (r *rig) round(now time.Time) (time.Time, error) {
	r.t.Helper()
	for key, b := range r.files {
		if !b.Modified.After(now) {
			r.fake.Store(bucketName, key, b)
			delete(r.files, key)
		}
	}
	if r.src.bucket == nil {
		if err := r.src.look(r.t.Context()); err != nil {
			return now, err
		}
	}
	return r.src.round(r.t.Context(), r.sink(), now)
}

func (r *rig) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []string{}
	for f := range maps.Values(r.findings) {
		out = append(out, f.Tags[len(f.Tags)-1]+" "+f.Key)
	}
	slices.Sort(out)
	return out
}

// cursors are in memory, and sometimes fail.
type cursors struct {
	mu     sync.Mutex
	kept   map[string][]byte
	refuse func() error
}

func (c *cursors) Load(_ context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[key], nil
}

func (c *cursors) Save(_ context.Context, key string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		if err := c.refuse(); err != nil {
			return err
		}
	}
	c.kept[key] = slices.Clone(value)
	return nil
}

// chain is one account and region as CloudTrail delivers it, of two log files an hour.
type chain struct {
	base, account, region string
	digests, logs         []string
}

func pack(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func sum(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }

// deliver writes some hours from a time on; they are there ten minutes after their end.
func (r *rig) deliver(base, account, region string, from time.Time, hours int) *chain {
	c := &chain{base: base + account + "/", account: account, region: region}
	prev := map[string]any{"previousDigestS3Bucket": nil, "previousDigestS3Object": nil, "previousDigestHashValue": nil,
		"previousDigestHashAlgorithm": nil, "previousDigestSignature": nil}
	signature := "null"
	for h := range hours {
		begin := from.Add(time.Duration(h) * time.Hour)
		end := begin.Add(time.Hour)
		entries := []map[string]any{}
		for i := range 2 {
			when := begin.Add(time.Duration(20+20*i) * time.Minute)
			key := fmt.Sprintf("%sCloudTrail/%s/%s/%s_CloudTrail_%s_%s_n%d.json.gz", c.base, region, when.Format("2006/01/02"), account, region, when.Format("20060102T1504Z"), i)
			content := fmt.Appendf(nil, `{"Records":[{"eventID":"%s-%d-%d"}]}`, region, h, i)
			r.files[key] = awsfake.Blob{Body: pack(content), Modified: when, KMSKey: keyARN}
			entries = append(entries, map[string]any{"s3Bucket": bucketName, "s3Object": key, "hashValue": sum(content), "hashAlgorithm": "SHA-256",
				"newestEventTime": when, "oldestEventTime": when})
			c.logs = append(c.logs, key)
		}
		name := fmt.Sprintf("%sCloudTrail-Digest/%s/%s/%s_CloudTrail-Digest_%s_main_eu-west-1_%s.json.gz", c.base, region, end.Format("2006/01/02"), account, region, end.Format("20060102T150405Z"))
		d := map[string]any{"awsAccountId": account, "digestStartTime": begin.Format(time.RFC3339), "digestEndTime": end.Format(time.RFC3339), "digestS3Bucket": bucketName,
			"digestS3Object": name, "digestPublicKeyFingerprint": print, "digestSignatureAlgorithm": "SHA256withRSA", "newestEventTime": nil, "oldestEventTime": nil, "logFiles": entries}
		maps.Copy(d, prev)
		content, err := json.Marshal(d)
		if err != nil {
			r.t.Fatal(err)
		}
		hash := sha256.Sum256([]byte(strings.Join([]string{end.Format(time.RFC3339), bucketName + "/" + name, sum(content), signature}, "\n")))
		raw, err := rsa.SignPKCS1v15(rand.Reader, signer(), crypto.SHA256, hash[:])
		if err != nil {
			r.t.Fatal(err)
		}
		signature = hex.EncodeToString(raw)
		r.files[name] = awsfake.Blob{Body: pack(content), Modified: end.Add(10 * time.Minute), KMSKey: keyARN,
			Meta: map[string]string{"signature": signature, "signature-algorithm": "SHA256withRSA"}}
		prev = map[string]any{"previousDigestS3Bucket": bucketName, "previousDigestS3Object": name, "previousDigestHashValue": sum(content),
			"previousDigestHashAlgorithm": "SHA-256", "previousDigestSignature": signature}
		c.digests = append(c.digests, name)
	}
	return c
}

// alter changes a file that is not there yet.
func (r *rig) alter(key string) {
	b := r.files[key]
	b.Body = pack([]byte("altered"))
	r.files[key] = b
}

// harm alters and deletes some files of a chain of ten hours, and says what is to be found.
func (r *rig) harm(c *chain) []string {
	r.alter(c.logs[4])
	delete(r.files, c.logs[7])
	r.alter(c.digests[4])
	delete(r.files, c.digests[6])
	name := strings.Replace(c.logs[3], "_n1", "_planted", 1)
	r.files[name] = awsfake.Blob{Body: pack([]byte("{}")), Modified: at(2)}
	want := []string{"integrity.log-altered " + c.logs[4], "integrity.log-missing " + c.logs[7], "integrity.digest-altered " + c.digests[4],
		"integrity.digest-missing " + c.digests[6], "integrity.log-uncovered " + name}
	slices.Sort(want)
	return want
}

var errAway = errors.New("the store is away")

// verified is what `riposte trail verify` finds in the bucket now.
func (r *rig) verified() map[string]event.Finding {
	r.t.Helper()
	if err := r.src.look(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	report, err := digest.Verify(r.t.Context(), r.src.bucket, r.src.keys, digest.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]event.Finding{}
	for _, f := range report.Findings() {
		out[f.ID] = f
	}
	return out
}
