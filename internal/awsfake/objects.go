package awsfake

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Blob is one version of an object in a bucket.
type Blob struct {
	Body []byte
	// Open streams the body instead of Body; Size is then its length.
	Open func() (io.ReadCloser, error)
	Size int64
	// KMSKey is the ARN of the key it is encrypted with: reading it asks for
	// kms:Decrypt too.
	KMSKey string
	// ETag and Version are given by Store where they are empty.
	ETag, Version string
	Modified      time.Time
	// Meta is its own metadata, by the name without x-amz-meta-.
	Meta map[string]string
	// Archived is one that must be restored before it can be read.
	Archived bool

	deleted bool // a delete marker
}

// The kinds of Fault that an object's body can have: it ends early with After
// bytes sent, as when a proxy closes, or the connection is reset there.
const (
	Truncated = "truncated"
	Reset     = "reset"
)

// Store puts an object into a bucket, as a new version where the bucket keeps
// versions, and returns its version.
func (s *Server) Store(bucket, key string, b Blob) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store(bucket, key, b)
}

func (s *Server) store(bucket, key string, b Blob) string {
	if b.Open == nil {
		b.Size = int64(len(b.Body))
	}
	s.serial++
	if b.ETag == "" {
		sum := md5.Sum(b.Body)
		if b.Open != nil {
			sum = md5.Sum(fmt.Append(nil, s.serial))
		}
		b.ETag = hex.EncodeToString(sum[:])
	}
	if b.Modified.IsZero() {
		b.Modified = time.Now()
	}
	versioned := false
	for _, a := range s.world.Accounts {
		if have := a.Buckets[bucket]; have != nil {
			versioned = have.Versioned
		}
	}
	if versioned && b.Version == "" {
		b.Version = fmt.Sprintf("v%07d", s.serial)
	}
	if s.objects == nil {
		s.objects = map[string]map[string][]Blob{}
	}
	if s.objects[bucket] == nil {
		s.objects[bucket] = map[string][]Blob{}
	}
	if !versioned {
		s.objects[bucket][key] = nil
	}
	delete(s.keys, bucket)
	s.objects[bucket][key] = append(s.objects[bucket][key], b)
	return b.Version
}

// Remove deletes an object: in a bucket that keeps versions, by a marker.
func (s *Server) Remove(bucket, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := s.objects[bucket][key]
	if n := len(versions); n > 0 && versions[n-1].Version != "" {
		s.serial++
		delete(s.keys, bucket)
		s.objects[bucket][key] = append(versions, Blob{Version: fmt.Sprintf("v%07d", s.serial), deleted: true})
		return
	}
	delete(s.objects[bucket], key)
	delete(s.keys, bucket)
}

// Authorize asks allow before each call on objects and queues, with the IAM
// action and the resource's ARN. nil allows all.
func (s *Server) Authorize(allow func(action, resource string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allow = allow
}

// permitted is the answer of IAM, in its words.
func (s *Server) permitted(req *request, action, resource string) error {
	if s.allow == nil || s.allow(action, resource) {
		return nil
	}
	return fail(http.StatusForbidden, "AccessDenied", "User: arn:aws:sts::%s:assumed-role/riposte/x is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		req.account, action, resource, action)
}

// responder answers by itself, once the world is unlocked.
type responder func(w http.ResponseWriter, r *http.Request, fault *Fault)

// object finds the operation on objects that a request is, nil for none.
func (s *Server) object(r *http.Request, req *request) handler {
	query := r.URL.Query()
	if len(req.path) < 2 || req.path[1] == "" {
		if r.Method != http.MethodGet || query.Get("list-type") != "2" {
			return nil
		}
		req.operation = "ListObjectsV2"
		return func(w *World, req *request) (any, error) { return s.listObjects(w, req, query) }
	}
	version := query.Get("versionId")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		req.operation = "GetObject"
		if r.Method == http.MethodHead {
			req.operation = "HeadObject"
		}
		span := r.Header.Get("Range")
		return func(w *World, req *request) (any, error) { return s.getObject(w, req, version, span) }
	case http.MethodPut:
		req.operation = "PutObject"
		chunked := strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-")
		return func(w *World, req *request) (any, error) {
			if _, err := bucket(w, req); err != nil {
				return nil, err
			}
			body := req.body
			if chunked {
				body = unchunk(body)
			}
			version := s.store(req.path[0], req.path[1], Blob{Body: slices.Clone(body)})
			latest := s.latest(req.path[0], req.path[1])
			return responder(func(w http.ResponseWriter, _ *http.Request, _ *Fault) {
				w.Header().Set("ETag", `"`+latest.ETag+`"`)
				if version != "" {
					w.Header().Set("X-Amz-Version-Id", version)
				}
			}), nil
		}
	}
	return nil
}

// unchunk takes the chunks of a signed stream apart.
func unchunk(b []byte) (out []byte) {
	for {
		line, rest, ok := bytes.Cut(b, []byte("\r\n"))
		digits, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseInt(digits, 16, 64)
		if !ok || err != nil || n <= 0 || n > int64(len(rest)) {
			return out
		}
		out = append(out, rest[:n]...)
		b = bytes.TrimPrefix(rest[n:], []byte("\r\n"))
	}
}

func (s *Server) latest(bucket, key string) *Blob {
	if versions := s.objects[bucket][key]; len(versions) > 0 {
		return &versions[len(versions)-1]
	}
	return nil
}

func (s *Server) getObject(w *World, req *request, version, span string) (any, error) {
	b, err := bucket(w, req)
	if err != nil {
		return nil, redirected(w, req, err)
	}
	name, key := req.path[0], req.path[1]
	action := "s3:GetObject"
	if version != "" {
		action = "s3:GetObjectVersion"
	}
	if err := s.permitted(req, action, "arn:aws:s3:::"+name+"/"+key); err != nil {
		return nil, err
	}
	blob := s.latest(name, key)
	if version != "" {
		versions := s.objects[name][key]
		i := slices.IndexFunc(versions, func(b Blob) bool { return b.Version == version })
		if i < 0 {
			return nil, fail(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.")
		}
		blob = &versions[i]
	}
	switch {
	case blob == nil || blob.deleted && version == "":
		return nil, fail(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	case blob.deleted:
		return nil, fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	case blob.Archived:
		return nil, fail(http.StatusForbidden, "InvalidObjectState", "The operation is not valid for the object's storage class")
	}
	if blob.KMSKey != "" {
		if err := s.permitted(req, "kms:Decrypt", blob.KMSKey); err != nil {
			return nil, err
		}
		s.calls = append(s.calls, Call{Service: "kms", Operation: "Decrypt", Account: req.account, Region: b.Region, Outcome: "ok"})
	}
	found := *blob
	return responder(func(w http.ResponseWriter, r *http.Request, fault *Fault) { serve(w, r, found, span, fault) }), nil
}

// serve streams a body, or the part of it that was asked for.
func serve(w http.ResponseWriter, r *http.Request, b Blob, span string, fault *Fault) {
	body := io.NopCloser(io.Reader(bytes.NewReader(b.Body)))
	if b.Open != nil {
		var err error
		if body, err = b.Open(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	defer body.Close()
	size, status := b.Size, http.StatusOK
	if from, to, ok := bounds(span, b.Size); ok {
		if _, err := io.CopyN(io.Discard, body, from); err != nil {
			return
		}
		size, status = to-from+1, http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, b.Size))
	}
	h := w.Header()
	h.Set("ETag", `"`+b.ETag+`"`)
	h.Set("Last-Modified", b.Modified.UTC().Format(http.TimeFormat))
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	if b.Version != "" {
		h.Set("X-Amz-Version-Id", b.Version)
	}
	for name, value := range b.Meta {
		h.Set("X-Amz-Meta-"+name, value)
	}
	if b.KMSKey != "" {
		h.Set("X-Amz-Server-Side-Encryption", "aws:kms")
		h.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", b.KMSKey)
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if fault != nil && (fault.Kind == Truncated || fault.Kind == Reset) {
		_, _ = io.CopyN(w, body, min(fault.After, size))
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		if tcp, ok := conn.(*net.TCPConn); ok && fault.Kind == Reset {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
		return
	}
	_, _ = io.CopyN(w, body, size) // who asked may have gone
}

// bounds reads a Range header of one span.
func bounds(span string, size int64) (from, to int64, ok bool) {
	spec, found := strings.CutPrefix(span, "bytes=")
	first, last, cut := strings.Cut(spec, "-")
	if !found || !cut {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || from < 0 || from >= size {
		return 0, 0, false
	}
	to, err = strconv.ParseInt(last, 10, 64)
	if err != nil || to >= size {
		to = size - 1
	}
	return from, to, to >= from
}
