package main

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptTrail writes a mirror of a trail's bucket, four hours from 2026-11-01 of
// one account and region: mktrail DIR. Its keys are in DIR.keys.json, and at
// $AWS_ENDPOINT_URL, where CloudTrail would list them, and where DIR is the bucket
// trail-bucket too; the signature of the
// newest digest, which the mirror has not, is in DIR.sig.
func scriptTrail(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mktrail DIR")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	write := func(name string, content []byte) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(content)
		ts.Check(err)
		ts.Check(w.Close())
		ts.Check(os.WriteFile(file, packed.Bytes(), 0o600))
	}
	hash := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

	const place = "AWSLogs/111122223333/%s/eu-west-1/2026/11/01/111122223333_%s_eu-west-1_%s.json.gz"
	d := map[string]any{"awsAccountId": "111122223333", "digestS3Bucket": "trail-bucket", "digestPublicKeyFingerprint": "31e8b543", "digestSignatureAlgorithm": "SHA256withRSA",
		"newestEventTime": nil, "oldestEventTime": nil, "previousDigestS3Bucket": nil, "previousDigestS3Object": nil, "previousDigestHashValue": nil,
		"previousDigestHashAlgorithm": nil, "previousDigestSignature": nil}
	signatures := map[string]string{}
	start, previous := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), "null"
	for hour := range 4 {
		from := start.Add(time.Duration(hour) * time.Hour)
		to := from.Add(time.Hour)
		log := fmt.Sprintf(place, "CloudTrail", "CloudTrail", from.Add(30*time.Minute).Format("20060102T1504Z")+"_log")
		content := fmt.Appendf(nil, `{"Records":[{"eventID":"%d"}]}`, hour)
		write(log, content)
		name := fmt.Sprintf(place, "CloudTrail-Digest", "CloudTrail-Digest", "trail_eu-west-1_"+to.Format("20060102T150405Z"))
		d["digestStartTime"], d["digestEndTime"], d["digestS3Object"] = from, to, name
		d["logFiles"] = []map[string]any{{"s3Bucket": "trail-bucket", "s3Object": log, "hashValue": hash(content), "hashAlgorithm": "SHA-256", "newestEventTime": from, "oldestEventTime": from}}
		digest, err := json.Marshal(d)
		ts.Check(err)
		write(name, digest)
		h := sha256.Sum256(fmt.Appendf(nil, "%s\ntrail-bucket/%s\n%s\n%s", to.Format(time.RFC3339), name, hash(digest), previous))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, h[:])
		ts.Check(err)
		previous = hex.EncodeToString(sig)
		signatures[name] = previous
		d["previousDigestS3Bucket"], d["previousDigestS3Object"], d["previousDigestHashValue"] = "trail-bucket", name, hash(digest)
		d["previousDigestHashAlgorithm"], d["previousDigestSignature"] = "SHA-256", previous
	}
	ts.Check(os.WriteFile(dir+".sig", fmt.Appendf(nil, `{"signature": %q, "signature-algorithm": "SHA256withRSA"}`, previous), 0o600))
	list, err := json.Marshal(map[string]any{"PublicKeyList": []map[string]any{{"Value": x509.MarshalPKCS1PublicKey(&key.PublicKey), "Fingerprint": "31e8b543"}}})
	ts.Check(err)
	ts.Check(os.WriteFile(dir+".keys.json", list, 0o600))

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ListPublicKeys") {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.Write(list)
			return
		}
		serveTrail(w, r, dir, signatures)
	}))
	ts.Defer(server.Close)
	ts.Setenv("AWS_ENDPOINT_URL", server.URL)
	ts.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	ts.Setenv("AWS_SECRET_ACCESS_KEY", "test")
}

// serveTrail is S3 with one bucket, trail-bucket, which the folder mirrors.
func serveTrail(w http.ResponseWriter, r *http.Request, dir string, signatures map[string]string) {
	key, _ := strings.CutPrefix(r.URL.Path, "/trail-bucket/")
	switch {
	case r.URL.Query().Has("location"):
		fmt.Fprint(w, "<LocationConstraint>eu-west-1</LocationConstraint>")
	case r.URL.Query().Has("list-type"):
		fmt.Fprint(w, "<ListBucketResult>")
		_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, name)
			fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>1</Size></Contents>", filepath.ToSlash(rel))
			return err
		})
		fmt.Fprint(w, "</ListBucketResult>")
	default:
		if sig, ok := signatures[key]; ok {
			w.Header().Set("X-Amz-Meta-Signature", sig)
			w.Header().Set("X-Amz-Meta-Signature-Algorithm", "SHA256withRSA")
		}
		http.ServeFile(w, r, filepath.Join(dir, filepath.FromSlash(key)))
	}
}
