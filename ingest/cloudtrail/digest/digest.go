// Package digest proves that CloudTrail log files are those that CloudTrail
// delivered, and says of each that is not.
//
// Every hour CloudTrail writes, for each account and region of a trail, a digest
// file: the names and hashes of the log files it delivered, the signature of the
// digest before, and, in the metadata of the object, its own signature. Verify
// walks these chains over Objects (a folder that mirrors a bucket, or anything
// else that can list and open), with the public keys that AWS publishes, and
// returns a Report: what is proven, what is not, and the exact file of every
// problem.
//
// The format is that of the CloudTrail user guide, "CloudTrail digest file
// structure" and "Custom implementations of CloudTrail log file integrity
// validation". Two things there are easily missed: all hashes are of the
// uncompressed content, and the string that is signed takes the time and the
// previous signature exactly as the file spells them.
//
// What is read is hostile until proven: parsers are strict, nothing is unpacked
// beyond a limit, and files are hashed as a stream. The package has no clock and
// knows AWS only in awskeys.go and bucket.go.
package digest

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Digest is the content of one digest file.
type Digest struct {
	Account      string
	Start, End   time.Time
	EndText      string // as the file spells it: that is what is signed
	Bucket       string
	Object       string
	Fingerprint  string    // names the public key; how it is made is not documented
	Previous     *Previous // nil in the first digest after logging or validation was started
	Logs         []Log
	Hash         string // lower-case hex SHA-256 of the uncompressed file
	NewestEvent  time.Time
	OldestEvent  time.Time
	signedSuffix string
}

// Previous is what a digest says of the one before it.
type Previous struct {
	Bucket, Object, Hash, Signature string
}

// Log is what a digest says of one log file.
type Log struct {
	Bucket, Object string
	Hash           string // lower-case hex SHA-256 of the uncompressed log
	Newest, Oldest time.Time
}

type wire struct {
	Account       *string     `json:"awsAccountId"`
	Start         *string     `json:"digestStartTime"`
	End           *string     `json:"digestEndTime"`
	Bucket        *string     `json:"digestS3Bucket"`
	Object        *string     `json:"digestS3Object"`
	Fingerprint   *string     `json:"digestPublicKeyFingerprint"`
	Algorithm     *string     `json:"digestSignatureAlgorithm"`
	Newest        *string     `json:"newestEventTime"`
	Oldest        *string     `json:"oldestEventTime"`
	PrevBucket    *string     `json:"previousDigestS3Bucket"`
	PrevObject    *string     `json:"previousDigestS3Object"`
	PrevHash      *string     `json:"previousDigestHashValue"`
	PrevAlgorithm *string     `json:"previousDigestHashAlgorithm"`
	PrevSignature *string     `json:"previousDigestSignature"`
	Logs          *[]*wireLog `json:"logFiles"`
}

type wireLog struct {
	Bucket    *string `json:"s3Bucket"`
	Object    *string `json:"s3Object"`
	Hash      *string `json:"hashValue"`
	Algorithm *string `json:"hashAlgorithm"`
	Newest    *string `json:"newestEventTime"`
	Oldest    *string `json:"oldestEventTime"`
}

// Names of the only algorithms that CloudTrail uses.
const (
	signatureAlgorithm = "SHA256withRSA"
	hashAlgorithm      = "SHA-256"
)

// Parse reads the uncompressed content of a digest file. The error names every
// field that is not as it has to be.
func Parse(content []byte) (*Digest, error) {
	var w wire
	if err := json.Unmarshal(content, &w); err != nil {
		return nil, fmt.Errorf("not a digest: %w", err)
	}
	p := parser{}
	d := &Digest{
		Account: p.text("awsAccountId", w.Account), EndText: p.text("digestEndTime", w.End),
		Bucket: p.text("digestS3Bucket", w.Bucket), Object: p.text("digestS3Object", w.Object),
		Fingerprint: p.text("digestPublicKeyFingerprint", w.Fingerprint),
		Start:       p.time("digestStartTime", w.Start), End: p.time("digestEndTime", w.End),
		NewestEvent: p.optionalTime("newestEventTime", w.Newest), OldestEvent: p.optionalTime("oldestEventTime", w.Oldest),
		Hash: sum(content),
	}
	if d.End.Before(d.Start) {
		p.wrong("digestEndTime", "is before digestStartTime")
	}
	p.algorithm("digestSignatureAlgorithm", w.Algorithm, signatureAlgorithm)
	d.Previous = p.previous(&w)
	d.signedSuffix = "null"
	if d.Previous != nil {
		d.signedSuffix = d.Previous.Signature
	}
	if w.Logs == nil {
		p.wrong("logFiles", "is missing")
	} else {
		d.Logs = p.logs(*w.Logs)
	}
	if len(p.errs) > 0 {
		return nil, fmt.Errorf("not a digest: %w", errors.Join(p.errs...))
	}
	return d, nil
}

// StringToSign is what CloudTrail signs of a digest: four lines, the last of
// which does not end.
func (d *Digest) StringToSign() string {
	return d.EndText + "\n" + d.Bucket + "/" + d.Object + "\n" + d.Hash + "\n" + d.signedSuffix
}

// parser collects what is wrong; from the 20th problem on it is silent.
type parser struct{ errs []error }

func (p *parser) wrong(field, what string) {
	if len(p.errs) < 20 {
		p.errs = append(p.errs, fmt.Errorf("%s %s", field, what))
	}
}

func (p *parser) text(field string, s *string) string {
	if s == nil || *s == "" {
		p.wrong(field, "is missing or empty")
		return ""
	}
	return *s
}

func (p *parser) time(field string, s *string) time.Time {
	v := p.text(field, s)
	if v == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		p.wrong(field, fmt.Sprintf("%q is not a time such as 2026-01-31T08:00:00Z", v))
	}
	return t.UTC()
}

// optionalTime reads the time of an event, which is null where there was none.
func (p *parser) optionalTime(field string, s *string) time.Time {
	if s == nil {
		return time.Time{}
	}
	return p.time(field, s)
}

func (p *parser) algorithm(field string, s *string, want string) {
	if v := p.text(field, s); v != "" && v != want {
		p.wrong(field, fmt.Sprintf("is %q: only %s is known", v, want))
	}
}

func (p *parser) hash(field string, s *string) string {
	v := p.text(field, s)
	if v != "" && (len(v) != 64 || !isHex(v)) {
		p.wrong(field, fmt.Sprintf("%q is not a SHA-256 in hex", v))
	}
	return v
}

// previous reads the five fields of the digest before, which are all there or all null.
func (p *parser) previous(w *wire) *Previous {
	if w.PrevBucket == nil && w.PrevObject == nil && w.PrevHash == nil && w.PrevAlgorithm == nil && w.PrevSignature == nil {
		return nil
	}
	prev := &Previous{
		Bucket: p.text("previousDigestS3Bucket", w.PrevBucket), Object: p.text("previousDigestS3Object", w.PrevObject),
		Hash: p.hash("previousDigestHashValue", w.PrevHash), Signature: p.text("previousDigestSignature", w.PrevSignature),
	}
	p.algorithm("previousDigestHashAlgorithm", w.PrevAlgorithm, hashAlgorithm)
	if prev.Signature != "" && !isHex(prev.Signature) {
		p.wrong("previousDigestSignature", "is not hex")
	}
	return prev
}

func (p *parser) logs(in []*wireLog) []Log {
	out := make([]Log, 0, len(in))
	for i, l := range in {
		at := fmt.Sprintf("logFiles[%d].", i)
		if l == nil {
			p.wrong(at[:len(at)-1], "is null")
			continue
		}
		p.algorithm(at+"hashAlgorithm", l.Algorithm, hashAlgorithm)
		out = append(out, Log{
			Bucket: p.text(at+"s3Bucket", l.Bucket), Object: p.text(at+"s3Object", l.Object), Hash: p.hash(at+"hashValue", l.Hash),
			Newest: p.optionalTime(at+"newestEventTime", l.Newest), Oldest: p.optionalTime(at+"oldestEventTime", l.Oldest),
		})
	}
	return out
}

// isHex reports whether s is lower-case hex, as CloudTrail writes it.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.DecodeString(s)
	return err == nil
}
