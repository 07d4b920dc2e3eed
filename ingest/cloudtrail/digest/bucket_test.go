package digest_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"riposte/ingest/cloudtrail/digest"
)

// ServeHTTP is a bucket in eu-central-1 with three keys a page; what stands in
// .sig files is metadata.
func (tr *trail) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/s3/") && !r.URL.Query().Has("location") {
		http.Error(w, "<Error><Code>PermanentRedirect</Code></Error>", http.StatusMovedPermanently)
		return
	}
	key, isObject := strings.CutPrefix(r.URL.Path, "/"+tr.bucket+"/")
	switch {
	case r.URL.Query().Has("location"):
		fmt.Fprint(w, `<LocationConstraint>eu-central-1</LocationConstraint>`)
	case !isObject || key == "":
		tr.serveList(w, r)
	case tr.files[key] == nil:
		w.WriteHeader(http.StatusNotFound)
		if r.Method != http.MethodHead {
			fmt.Fprint(w, `<Error><Code>NoSuchKey</Code></Error>`)
		}
	default:
		var meta map[string]string
		if err := json.Unmarshal(tr.files[key+".sig"], &meta); err == nil {
			for k, v := range meta {
				w.Header().Set("X-Amz-Meta-"+k, v)
			}
		}
		w.Header().Set("Content-Encoding", "gzip") // as CloudTrail's objects have it: no reason to unpack
		w.Header().Set("Content-Length", fmt.Sprint(len(tr.files[key])))
		w.Write(tr.files[key])
	}
}

func (tr *trail) serveList(w http.ResponseWriter, r *http.Request) {
	type content struct {
		Key  string
		Size int
	}
	var out struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []content
		IsTruncated           bool
		NextContinuationToken string
	}
	for _, key := range slices.Sorted(maps.Keys(tr.files)) {
		if strings.HasSuffix(key, ".sig") || !strings.HasPrefix(key, r.URL.Query().Get("prefix")) || key <= r.URL.Query().Get("continuation-token") {
			continue
		}
		if len(out.Contents) == 3 {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[2].Key
			break
		}
		out.Contents = append(out.Contents, content{key, len(tr.files[key])})
	}
	_ = xml.NewEncoder(w).Encode(out)
}

// TestBucket verifies the bucket itself, whose names and signatures are whole.
func TestBucket(t *testing.T) {
	tr, streams := two(t, 4)
	server := httptest.NewServer(tr)
	defer server.Close()
	client := s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: aws.String(server.URL), UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", "")})
	open := func(address string) *digest.Bucket {
		b, err := digest.NewBucket(t.Context(), client, address)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := verify(t, open("s3://trail-bucket/AWSLogs/"), tr.keys(), digest.Options{})
	if total := r.Total(); len(r.Problems) > 0 || total.DigestsVerified != 16 || total.LogsVerified != 32 {
		t.Errorf("%+v\n%+v", total, r.Problems)
	}
	if r := verify(t, open("s3://trail-bucket/AWSLogs/o-abc123/"), tr.keys(), digest.Options{}); len(r.Chains) != 2 {
		t.Errorf("below a prefix there are %d chains, want 2", len(r.Chains))
	}

	s := streams[0]
	tr.edit(s.logs[1][0], "1.11", "1.10")
	delete(tr.files, s.logs[2][0])
	tr.files[s.digests[3]+".sig"] = []byte(`{"signature":"00","signature-algorithm":"SHA256withRSA"}`)
	tr.files["elsewhere/"+s.digests[1]], tr.files["elsewhere/"+s.digests[1]+".sig"] = tr.files[s.digests[1]], tr.files[s.digests[1]+".sig"]
	s = streams[1]
	tr.move(s.digests[1], "elsewhere/"+s.digests[1])
	tr.move(s.logs[2][1], "elsewhere/"+s.logs[2][1])
	delete(tr.files, s.digests[2]+".sig")
	s = streams[0]
	want := []string{"digest-moved elsewhere/" + streams[1].digests[1], "log-missing " + streams[1].logs[2][1], "signature-altered " + streams[1].digests[2],
		"digest-altered " + s.digests[3], "digest-duplicate elsewhere/" + s.digests[1], "log-altered " + s.logs[1][0], "log-missing " + s.logs[2][0]}
	slices.Sort(want)
	if diff := cmp.Diff(want, tr.said(verify(t, open("s3://trail-bucket"), tr.keys(), digest.Options{}))); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"s3://", "trail-bucket"} {
		if _, err := digest.NewBucket(t.Context(), client, bad); err == nil {
			t.Errorf("%q is taken as a bucket", bad)
		}
	}
}
