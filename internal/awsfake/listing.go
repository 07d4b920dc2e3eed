package awsfake

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// pageSize is how many keys and folders a listing gives at most.
const pageSize = 1000

// listObjects is ListObjectsV2: keys in the order of their bytes, those with a
// delimiter behind the prefix rolled up into common prefixes.
func (s *Server) listObjects(w *World, req *request, query url.Values) (any, error) {
	name := req.path[0]
	if _, err := bucket(w, req); err != nil {
		return nil, redirected(w, req, err)
	}
	if err := s.permitted(req, "s3:ListBucket", "arn:aws:s3:::"+name); err != nil {
		return nil, err
	}
	prefix, delimiter := query.Get("prefix"), query.Get("delimiter")
	most, err := strconv.Atoi(query.Get("max-keys"))
	if err != nil || most > pageSize {
		most = pageSize
	}
	after, folded := query.Get("start-after"), ""
	if token := query.Get("continuation-token"); token != "" {
		if after = strings.TrimPrefix(token, "after:"); delimiter != "" && strings.HasSuffix(after, delimiter) {
			folded = after // the folder was told
		}
	}
	write := func(s string) string { return s }
	var out strings.Builder
	if query.Get("encoding-type") == "url" {
		write = url.QueryEscape
		out.WriteString(element("EncodingType", "url"))
	}
	keys := s.sortedKeys(name)
	i, _ := slices.BinarySearch(keys, max(after, prefix))
	n, last, more := 0, "", false
	for ; i < len(keys) && strings.HasPrefix(keys[i], prefix); i++ {
		key := keys[i]
		versions := s.objects[name][key]
		b := versions[len(versions)-1]
		if b.deleted || key <= after || folded != "" && strings.HasPrefix(key, folded) {
			continue
		}
		if n == most {
			more = true
			break
		}
		n++
		if folder, ok := rolledUp(key, prefix, delimiter); ok {
			out.WriteString("<CommonPrefixes>" + element("Prefix", write(folder)) + "</CommonPrefixes>")
			last = folder
			j, _ := slices.BinarySearch(keys, folder[:len(folder)-1]+string(folder[len(folder)-1]+1))
			i = j - 1
			continue
		}
		out.WriteString("<Contents>" + element("Key", write(key)) + element("LastModified", timestamp(b.Modified)) + element("ETag", `"`+b.ETag+`"`) +
			element("Size", strconv.FormatInt(b.Size, 10)) + element("StorageClass", "STANDARD") + "</Contents>")
		last = key
	}
	out.WriteString(element("KeyCount", strconv.Itoa(n)) + element("IsTruncated", strconv.FormatBool(more)))
	if more {
		out.WriteString(element("NextContinuationToken", "after:"+last))
	}
	return "<ListBucketResult>" + element("Name", name) + element("Prefix", write(prefix)) + out.String() + "</ListBucketResult>", nil
}

// rolledUp is the common prefix that a key is part of.
func rolledUp(key, prefix, delimiter string) (string, bool) {
	if delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(prefix)+i+len(delimiter)], true
}

// sortedKeys are made once after each change, so that a bucket of many objects
// can be listed.
func (s *Server) sortedKeys(bucket string) []string {
	if have, ok := s.keys[bucket]; ok {
		return have
	}
	if s.keys == nil {
		s.keys = map[string][]string{}
	}
	s.keys[bucket] = slices.Sorted(maps.Keys(s.objects[bucket]))
	return s.keys[bucket]
}

// redirected adds to S3's word that a bucket is elsewhere where it is.
func redirected(w *World, req *request, err error) error {
	f, ok := err.(*failure)
	if !ok || f.code != "PermanentRedirect" {
		return err
	}
	there, _ := bucketAnywhere(w, req)
	return &failure{code: f.code, message: f.message, status: f.status, header: map[string]string{"X-Amz-Bucket-Region": there.Region}}
}
