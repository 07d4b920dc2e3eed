package receiver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"riposte/event"
	"riposte/ingest"
	"riposte/internal/testlog"
)

const key = "a-key-of-more-than-16-characters"

var signingKey = []byte("a signing key of 32 bytes, or so")

func record(id string) string {
	return `{"eventVersion":"1.11","eventID":"` + id + `","eventTime":"2026-01-02T03:04:05Z","eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":"us-east-1"}`
}

// eventBridge is what an API destination posts: one event in EventBridge's envelope.
func eventBridge(id, kind string) string {
	return `{"version":"0","id":"e-` + id + `","detail-type":"` + kind + `","source":"aws.signin","account":"111122223333","time":"2026-01-02T03:04:06Z","region":"us-east-1","resources":[],"detail":` + record(id) + `}`
}

// rig is a receiver and what it delivered.
type rig struct {
	t      *testing.T
	src    *Source
	log    *testlog.Journal
	client *http.Client

	mu      sync.Mutex
	batches map[string][]string
	broken  []ingest.Broken
	// before, when set, decides whether a batch is taken.
	before func(ctx context.Context) error
}

// certificate writes a certificate of its own for 127.0.0.1 and returns a pool that trusts it.
func certificate(t testing.TB, dir string, serial int64) *x509.CertPool {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return pool
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	pool := certificate(t, dir, 1)
	t.Setenv("RIPOSTE_TEST_KEY", key)
	t.Setenv("RIPOSTE_TEST_SIGNATURE", "whsec_"+base64.StdEncoding.EncodeToString(signingKey))
	c := Config{
		Listen: "127.0.0.1:0", TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"),
		Keys: []string{"env:RIPOSTE_TEST_KEY"}, Signatures: []string{"env:RIPOSTE_TEST_SIGNATURE"}, MaxBodyBytes: 64 << 10,
	}
	if change != nil {
		change(&c)
	}
	r := &rig{t: t, log: &testlog.Journal{}, batches: map[string][]string{}}
	var err error
	if r.src, err = New(c, slog.New(slog.NewJSONHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	r.client = &http.Client{Transport: transport}
	return r
}

func (r *rig) sink() ingest.Sink {
	return ingest.Sink{
		Emit: func(ctx context.Context, b ingest.Batch) error {
			if r.before != nil {
				if err := r.before(ctx); err != nil {
					return err
				}
			}
			var ids []string
			for i := range b.Events {
				if o := b.Events[i].Origin; o.Source != "receiver" {
					r.t.Errorf("the origin is %+v", o)
				}
				ids = append(ids, strings.Clone(b.Events[i].ID()))
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if have, ok := r.batches[b.ID]; ok && !slices.Equal(have, ids) {
				r.t.Errorf("batch %s was %q and is %q", b.ID, have, ids)
			}
			r.batches[b.ID] = ids
			return nil
		},
		Broken: func(_ context.Context, b ingest.Broken) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			b.Raw = bytes.Clone(b.Raw)
			r.broken = append(r.broken, b)
			return nil
		},
	}
}

// start runs the receiver; stop ends it and waits.
func (r *rig) start() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.src.Run(ctx, r.sink()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the receiver ended with %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// events are the ids that were delivered, in different batches.
func (r *rig) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, ids := range r.batches {
		out = append(out, ids...)
	}
	slices.Sort(out)
	return out
}

// post sends a body with a good key, unless change says otherwise.
func (r *rig) post(body string, change func(*http.Request)) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.src.URL(), strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("X-Api-Key", key)
	if change != nil {
		change(req)
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if later := res.Header.Get("Retry-After"); (later != "") != (res.StatusCode == 429 || res.StatusCode == 503) {
		r.t.Errorf("%d has Retry-After %q", res.StatusCode, later)
	}
	return res.StatusCode, string(answer)
}

// sign makes a request signed at a time instead of having a key.
func sign(body string, at time.Time, k []byte) func(*http.Request) {
	return func(req *http.Request) {
		req.Header.Del("X-Api-Key")
		w, err := standardwebhooks.NewWebhookRaw(k)
		if err != nil {
			panic(err)
		}
		signature, err := w.Sign("msg_1", at, []byte(body))
		if err != nil {
			panic(err)
		}
		req.Header.Set("webhook-id", "msg_1")
		req.Header.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
		req.Header.Set("webhook-signature", signature)
	}
}

func packed(t testing.TB, text []byte) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// TestForms: whatever form the events have, they come, and the same body again
// adds nothing.
func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		change func(*http.Request)
		want   []string
	}{
		"one record":              {record("a"), nil, []string{"a"}},
		"an array":                {"[" + record("a") + "," + record("b") + "]", nil, []string{"a", "b"}},
		"a line each":             {record("a") + "\n" + record("b") + "\n", header("Content-Type", "application/x-ndjson"), []string{"a", "b"}},
		"EventBridge":             {eventBridge("a", "AWS API Call via CloudTrail"), nil, []string{"a"}},
		"a sign-in, one spelling": {eventBridge("a", "AWS Console Sign In via CloudTrail"), nil, []string{"a"}},
		"a sign-in, the other":    {eventBridge("a", "AWS Console Signin via CloudTrail"), nil, []string{"a"}},
		"several of EventBridge":  {"[" + eventBridge("a", "AWS API Call via CloudTrail") + "," + eventBridge("b", "AWS API Call via CloudTrail") + "]", nil, []string{"a", "b"}},
		"compressed":              {packed(t, []byte(record("a"))), header("Content-Encoding", "gzip"), []string{"a"}},
		"signed":                  {record("a"), sign(record("a"), time.Now(), signingKey), []string{"a"}},
		"no content type":         {record("a"), func(r *http.Request) { r.Header.Del("Content-Type") }, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.start()
			for range 2 {
				if status, answer := r.post(c.body, c.change); status != http.StatusAccepted || !strings.Contains(answer, fmt.Sprintf(`"accepted":%d`, len(c.want))) {
					t.Errorf("%d %s", status, answer)
				}
			}
			if got := r.events(); !slices.Equal(got, c.want) {
				t.Errorf("%q came, want %q", got, c.want)
			}
			if len(r.broken) != 0 {
				t.Errorf("set aside: %+v", r.broken)
			}
		})
	}
}

// TestRefusals: what is not answered with 202 delivers nothing, says why, and is
// in the dead letters when somebody who may send sent it.
func TestRefusals(t *testing.T) {
	good := record("a")
	for name, c := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		reason string
		broken int
	}{
		"no key":                        {good, func(r *http.Request) { r.Header.Del("X-Api-Key") }, 401, "not authenticated", 0},
		"a wrong key":                   {good, header("X-Api-Key", key+"x"), 401, "not authenticated", 0},
		"an empty key":                  {good, header("X-Api-Key", ""), 401, "not authenticated", 0},
		"the key in another place":      {good, func(r *http.Request) { r.Header.Del("X-Api-Key"); r.Header.Set("Authorization", key) }, 401, "not authenticated", 0},
		"another secret's signature":    {good, sign(good, time.Now(), []byte("another signing key")), 401, "not authenticated", 0},
		"the signature of another body": {good, sign(good+" ", time.Now(), signingKey), 401, "not authenticated", 0},
		"a replay":                      {good, sign(good, time.Now().Add(-6*time.Minute), signingKey), 401, "more than 5 minutes", 0},
		"from the future":               {good, sign(good, time.Now().Add(6*time.Minute), signingKey), 401, "more than 5 minutes", 0},
		"a replay with a new time": {good, func(r *http.Request) {
			sign(good, time.Now().Add(-6*time.Minute), signingKey)(r)
			r.Header.Set("webhook-timestamp", fmt.Sprint(time.Now().Unix()))
		}, 401, "not authenticated", 0},
		"a GET":                    {"", func(r *http.Request) { r.Method, r.Body = http.MethodGet, nil }, 405, "POST", 0},
		"another path":             {good, func(r *http.Request) { r.URL.Path = "/" }, 404, "path", 0},
		"a form":                   {good, header("Content-Type", "application/x-www-form-urlencoded"), 415, "application/json", 0},
		"another compression":      {good, header("Content-Encoding", "br"), 415, "gzip", 0},
		"no compression after all": {good, header("Content-Encoding", "gzip"), 400, "not gzip", 0},
		"half of it":               {packed(t, bytes.Repeat([]byte(good), 50))[:120], header("Content-Encoding", "gzip"), 400, "cut short", 0},
		"too large":                {strings.Repeat(" ", 65<<10) + good, nil, 413, "larger than 65536", 0},
		"too large, and not said":  {strings.Repeat(" ", 65<<10) + good, func(r *http.Request) { r.ContentLength = -1 }, 413, "larger than 65536", 0},
		"a bomb":                   {packed(t, bytes.Repeat([]byte(" "), 16<<20)), header("Content-Encoding", "gzip"), 413, "larger than 65536", 0},
		"nothing":                  {"", nil, 400, "empty", 0},
		"an empty list":            {"[]", nil, 400, "no event", 0},
		"words":                    {"2 1 eni-1 1.1.1.1 2.2.2.2 1 2 6 1 1 1 2 ACCEPT OK\n", nil, 400, "not JSON", 1},
		"compressed, undeclared":   {packed(t, []byte(good)), nil, 400, "not JSON", 1},
		"something else":           {`{"hello":"world"}`, nil, 400, "no event that is known", 1},
		"a broken record":          {`[{"eventVersion":"1.08","eventName":tru}]`, nil, 400, "no event could be read", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.start()
			status, answer := r.post(c.body, c.change)
			if status != c.status || !strings.Contains(answer, c.reason) {
				t.Errorf("%d %s, want %d and %q", status, answer, c.status, c.reason)
			}
			if len(r.events()) != 0 || len(r.broken) != c.broken {
				t.Errorf("%q came, %d were set aside, want %d", r.events(), len(r.broken), c.broken)
			}
			if strings.Contains(answer+r.log.String(), key) {
				t.Error("the key is told")
			}
		})
	}
}

// TestPartlyBroken: the good records of a body are taken, the others set aside.
func TestPartlyBroken(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	status, answer := r.post("["+record("a")+`,{"eventVersion":"1.08","eventName":tru},`+record("b")+"]", nil)
	if status != 202 || !strings.Contains(answer, `"accepted":2,"set_aside":1,"reason":"`) || !slices.Equal(r.events(), []string{"a", "b"}) || len(r.broken) != 1 {
		t.Errorf("%d %s: %q, %+v", status, answer, r.events(), r.broken)
	}
}

// TestAnotherLog: the records of a log that is not AWS's come by its mapping.
func TestAnotherLog(t *testing.T) {
	mapping, err := event.NewMapping(event.MappingSpec{Log: "doors", Time: "at", ID: "id", Kind: "what"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.Mapping = mapping })
	r.start()
	if status, answer := r.post(`[{"id":"1","at":1767322000,"what":"open"},{"id":"2","at":1767322001,"what":"close"}]`, nil); status != 202 || !strings.Contains(answer, `"accepted":2`) || len(r.events()) != 2 {
		t.Errorf("%d %s: %q", status, answer, r.events())
	}
}

// TestBusDown: nothing is accepted that is not stored, and the sender is told
// when to come again; then it is accepted once.
func TestBusDown(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Timeout = 200 * time.Millisecond })
	var down atomic.Bool
	down.Store(true)
	r.before = func(ctx context.Context) error {
		if down.Load() {
			<-ctx.Done() // as the bus waits
			return ctx.Err()
		}
		return nil
	}
	r.start()
	if status, answer := r.post(record("a"), nil); status != 503 || len(r.events()) != 0 {
		t.Errorf("%d %s", status, answer)
	}
	down.Store(false)
	if status, _ := r.post(record("a"), nil); status != 202 || !slices.Equal(r.events(), []string{"a"}) {
		t.Errorf("%d, %q", status, r.events())
	}
}

// TestTooManyInFlight: while all is taken others are told to come again, and
// those in flight end well although the receiver is told to end.
func TestTooManyInFlight(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxInFlight = 2; c.Timeout = time.Minute })
	inside, open := make(chan bool, 2), make(chan bool)
	r.before = func(ctx context.Context) error {
		inside <- true
		<-open
		return ctx.Err()
	}
	stop := r.start()
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b"} {
		wg.Go(func() {
			if status, answer := r.post(record(id), nil); status != 202 {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	<-inside
	<-inside
	if status, _ := r.post(record("c"), nil); status != 429 {
		t.Errorf("the third is told %d", status)
	}
	if status, _ := r.post(record("c"), header("X-Api-Key", "")); status != 401 {
		t.Errorf("a stranger is told %d", status)
	}
	stopped := make(chan bool)
	go func() { stop(); close(stopped) }()
	for { // until nobody else is let in
		if _, err := net.Dial("tcp", r.src.listener.Addr().String()); err != nil {
			break
		}
	}
	close(open)
	wg.Wait()
	<-stopped
	if got := r.events(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

// TestSlowSenders are cut off, whether they are slow with the header or the body.
func TestSlowSenders(t *testing.T) {
	for name, sent := range map[string]string{
		"header": "POST /events HTTP/1.1\r\nHost: x\r\n",
		"body":   "POST /events HTTP/1.1\r\nHost: x\r\nX-Api-Key: " + key + "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.src.patience.header, r.src.patience.body = 20*time.Millisecond, 20*time.Millisecond
			r.start()
			conn, err := tls.Dial("tcp", r.src.listener.Addr().String(), r.client.Transport.(*http.Transport).TLSClientConfig)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(conn) // ends when the receiver closes
			if strings.Contains(string(answer), "1.1 202") || len(r.events()) != 0 {
				t.Errorf("%s", answer)
			}
			if name == "body" && !strings.Contains(string(answer), "408") {
				t.Errorf("the sender is told %q", answer)
			}
		})
	}
}

// TestTLS: nothing older than 1.2 is spoken, and no plain HTTP.
func TestTLS(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	addr := r.src.listener.Addr().String()
	if _, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	res, err := http.Post("http://"+addr+"/events", "application/json", strings.NewReader(record("a")))
	if err == nil {
		res.Body.Close()
		if res.StatusCode == 202 {
			t.Error("plain HTTP is spoken")
		}
	}
}

// TestRotation: a secret in a file is replaced without a restart; a file that
// went away changes nothing. So is the certificate.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	put := func(text string, at time.Time) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	first, second := strings.Repeat("first-", 4), strings.Repeat("other-", 4)
	put(first, time.Now().Add(-time.Hour))
	r := newRig(t, func(c *Config) { c.Keys = append(c.Keys, "file:"+file) })
	r.start()
	try := func(k string) int {
		r.src.secrets.mu.Lock()
		r.src.secrets.looked = time.Time{} // as if a second had passed
		r.src.secrets.mu.Unlock()
		status, _ := r.post(record("a"), header("X-Api-Key", k))
		return status
	}
	if a, b, c := try(key), try(first), try(second); a != 202 || b != 202 || c != 401 {
		t.Errorf("before: %d %d %d", a, b, c)
	}
	put(second, time.Now())
	if a, b, c := try(key), try(first), try(second); a != 202 || b != 401 || c != 202 {
		t.Errorf("after: %d %d %d", a, b, c)
	}
	put("short", time.Now().Add(time.Hour))
	if c := try(second); c != 202 || !strings.Contains(r.log.String(), "has 5 characters") {
		t.Errorf("a file that is no good: %d\n%s", c, r.log)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if c := try(second); c != 202 {
		t.Errorf("a file that is gone: %d", c)
	}

	pool := certificate(t, filepath.Dir(r.src.cfg.TLSCert), 2)
	r.src.cert.mu.Lock()
	r.src.cert.looked = time.Time{}
	r.src.cert.mu.Unlock()
	conn, err := tls.Dial("tcp", r.src.listener.Addr().String(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatalf("the new certificate is not shown: %v", err)
	}
	conn.Close()
}

// TestBombsAreNotUnpacked: what is thrown away is never in memory.
func TestBombsAreNotUnpacked(t *testing.T) {
	s := &server{Source: &Source{cfg: Config{MaxBodyBytes: 64 << 10}}}
	bomb := []byte(packed(t, make([]byte, 48<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := s.unpack(bomb); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

func TestValidate(t *testing.T) {
	good := Config{Keys: []string{"env:X"}}
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"good":            {func(*Config) {}, nil},
		"beyond loopback": {func(c *Config) { c.Listen = "0.0.0.0:8480" }, []string{"tls_cert"}},
		"every address":   {func(c *Config) { c.Listen = ":8480" }, []string{"tls_cert"}},
		"with TLS":        {func(c *Config) { c.Listen, c.TLSCert, c.TLSKey = ":8480", "c", "k" }, nil},
		"half of TLS":     {func(c *Config) { c.TLSCert = "c" }, []string{"belong together"}},
		"no secret":       {func(c *Config) { c.Keys = nil }, []string{"keys and signatures are empty"}},
		"a secret itself": {func(c *Config) { c.Keys = []string{"hunter2hunter2hunter2"} }, []string{"not the secret itself"}},
		"much at once": {func(c *Config) {
			*c = Config{Listen: "x", Path: "y", Header: "Host", MaxBodyBytes: 1, MaxInFlight: -1, Timeout: time.Hour}
		}, []string{"listen", "path", "header", "keys", "max_body", "max_in", "timeout"}},
	} {
		cfg := good
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), "receiver."+w) && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: nothing is said of %s: %v", name, w, err)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

// TestWrongSecrets: a secret that is missing, short or no secret stops the start.
func TestWrongSecrets(t *testing.T) {
	t.Setenv("RIPOSTE_TEST_SHORT", "short")
	t.Setenv("RIPOSTE_TEST_WORDS", "not base64, and a secret all the same")
	for _, c := range []struct {
		c    Config
		want string
	}{
		{Config{Keys: []string{"env:RIPOSTE_TEST_MISSING"}}, "missing or empty"},
		{Config{Keys: []string{"env:RIPOSTE_TEST_SHORT"}}, "has 5 characters"},
		{Config{Signatures: []string{"env:RIPOSTE_TEST_WORDS"}}, "want whsec_ and base64"},
		{Config{Keys: []string{"file:/no/such/file"}}, "no such file"},
	} {
		_, err := New(c.c, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "and a secret all the same") {
			t.Errorf("%+v: %v", c.c, err)
		}
	}
}

// TestListening: the port of another program is named.
func TestListening(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("RIPOSTE_TEST_KEY", key)
	if _, err := New(Config{Listen: l.Addr().String(), Keys: []string{"env:RIPOSTE_TEST_KEY"}}, nil); err == nil || !strings.Contains(err.Error(), "in use by another program") {
		t.Errorf("%v", err)
	}
}
