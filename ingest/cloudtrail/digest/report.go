package digest

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"riposte/event"
)

// Kind is what is wrong with a file.
type Kind string

// The kinds of problem. docs/trail-integrity.md says what each means.
const (
	LogAltered       Kind = "log-altered"       // its content is not what its digest says
	LogMissing       Kind = "log-missing"       // a digest names it and it is not there
	LogUncovered     Kind = "log-uncovered"     // it is there and no digest names it
	TimeUncovered    Kind = "time-uncovered"    // the time asked for has no digests
	DigestAltered    Kind = "digest-altered"    // its signature is not of its content
	DigestMissing    Kind = "digest-missing"    // the next digest names it and it is not there
	DigestMoved      Kind = "digest-moved"      // it is intact and lies where CloudTrail did not put it
	DigestUnsigned   Kind = "digest-unsigned"   // its signature is neither in a next digest nor beside it
	DigestDuplicate  Kind = "digest-duplicate"  // it is there twice
	DigestOverdue    Kind = "digest-overdue"    // a chain that had one every hour has no more
	DigestResumed    Kind = "digest-resumed"    // such a chain has digests again
	FileUnreadable   Kind = "file-unreadable"   // S3 does not give it out, though it was asked for long
	KeyUnknown       Kind = "key-unknown"       // its signature is by a key that is not among the known
	SignatureAltered Kind = "signature-altered" // the signature kept beside an intact digest is not its own
)

// rule is what a kind is as a finding.
type rule struct {
	id       string
	severity event.Severity
	title    string
	remedy   string
}

// rules are the findings of integrity. The mirror is suspected before the bucket:
// copying again tells the two apart.
var rules = map[Kind]rule{
	LogAltered: {"integrity.log-file-altered", event.Critical, "A CloudTrail log file was altered",
		"copy the file from the bucket again and verify again; if it stays, keep both copies and their versions as evidence and find who wrote the object"},
	LogMissing: {"integrity.log-file-missing", event.Critical, "A CloudTrail log file is missing",
		"sync again; if the bucket does not have it, look for DeleteObject in its data events, its versions, and its lifecycle rules"},
	LogUncovered: {"integrity.log-file-uncovered", event.Medium, "A CloudTrail log file is in no digest",
		"CloudTrail may name it in a later backfill digest: sync and verify again tomorrow; until then do not trust its content"},
	TimeUncovered: {"integrity.log-file-uncovered", event.Medium, "CloudTrail wrote no digests for part of the time asked for",
		"sync again; if the bucket has no later digest, see whether logging or log file validation was stopped, or digests were deleted"},
	DigestAltered: {"integrity.digest-broken", event.Critical, "A CloudTrail digest file was altered",
		"copy the file and its signature from the bucket again and verify again; if it stays, its log files are not proven: keep it as evidence"},
	DigestMissing: {"integrity.digest-broken", event.Critical, "A CloudTrail digest file is missing",
		"sync again; where older digests are not kept, or not copied, say so with --from; else look for DeleteObject in the data events of the bucket"},
	DigestMoved: {"integrity.digest-broken", event.Critical, "A CloudTrail digest file is not where CloudTrail put it",
		"find who copied it; verify from the place it names"},
	DigestUnsigned: {"integrity.digest-broken", event.Medium, "A CloudTrail digest file has no signature here",
		"fetch its signature with aws s3api head-object into the file beside it (.sig) and verify again; until then anybody may have written it"},
	DigestDuplicate: {"integrity.digest-broken", event.Medium, "A CloudTrail digest file is there twice",
		"remove the copy after comparing it with the bucket"},
	KeyUnknown: {"integrity.digest-broken", event.Critical, "A CloudTrail digest file is signed by an unknown key",
		"list the public keys of its region for its time (aws cloudtrail list-public-keys); if none has this fingerprint, CloudTrail did not sign it"},
	DigestOverdue: {"integrity.digest-overdue", event.High, "CloudTrail writes no more digest files",
		"see whether logging or log file validation was stopped (StopLogging, UpdateTrail, DeleteTrail), whether the bucket refuses CloudTrail's writes, and whether digests were deleted (DeleteObject in the bucket's data events)"},
	DigestResumed: {"integrity.digest-overdue", event.Info, "CloudTrail writes digest files again",
		"riposte trail verify --from the time given proves whether the time between is covered"},
	FileUnreadable: {"integrity.file-unreadable", event.High, "A file of CloudTrail cannot be read",
		"allow what is refused, or restore what is archived, and verify that time with riposte trail verify: nothing is known of the file until then"},
	SignatureAltered: {"integrity.digest-broken", event.Medium, "The signature kept beside a CloudTrail digest file is not its own",
		"fetch it again with aws s3api head-object; the digest itself is proven by the next one"},
}

// Problem is one thing that is wrong with one file.
type Problem struct {
	Kind            Kind
	Account, Region string
	// File is the exact file: where it was read, or for what is missing the
	// object that CloudTrail wrote.
	File string
	// Object is the s3:// address that a digest gives the file, where one does.
	Object string
	// Digest is the digest file that says so.
	Digest string
	// Trail is the ARN of the trail, and Bucket the bucket, as digests name them.
	Trail, Bucket    string
	Time             time.Time
	Detail           string
	Expected, Actual string

	by string // the name of the digest that was judged, "" for none
}

// Severity says how fast a person should look.
func (p *Problem) Severity() event.Severity {
	if p.Kind == DigestUnsigned && strings.HasPrefix(p.File, "s3://") {
		return event.Critical // a copy loses signatures; the bucket does not
	}
	return rules[p.Kind].severity
}

// Title says in one line what is wrong.
func (p *Problem) Title() string { return rules[p.Kind].title }

// Remedy says what to do.
func (p *Problem) Remedy() string { return rules[p.Kind].remedy }

// Note is something that is no problem and limits what is proven.
type Note struct {
	Account, Region, File, Text string
}

// Chain is what was verified of one account and region.
type Chain struct {
	Org     string `json:"org,omitempty"`
	Account string `json:"account"`
	Region  string `json:"region"`
	// From and To are the time that the digests cover.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Digests were read, DigestsVerified have a good signature.
	Digests         int64 `json:"digests"`
	DigestsVerified int64 `json:"digestsVerified"`
	// Logs are named by digests that count, LogsVerified are as a verified
	// digest says. LogsUnproven are intact by a digest that is itself not
	// verifiable, or of a time whose digest is broken; LogsOutside are older or
	// newer than all digests.
	Logs         int64 `json:"logs"`
	LogsVerified int64 `json:"logsVerified"`
	LogsUnproven int64 `json:"logsUnproven"`
	LogsOutside  int64 `json:"logsOutside"`
	// Bytes were read, Unpacked hashed.
	Bytes    int64 `json:"bytes"`
	Unpacked int64 `json:"unpacked"`
}

// ReadError is of a file that could not be read, so that nothing is known of it.
type ReadError struct {
	File string
	Err  error

	by string // the digest that names it, or itself
}

func (e *ReadError) Error() string { return e.File + ": " + e.Err.Error() }
func (e *ReadError) Unwrap() error { return e.Err }

// Report is what Verify found.
type Report struct {
	Chains   []Chain
	Problems []Problem
	Notes    []Note
	// Errors are files that could not be read at all: nothing is known of them.
	Errors []error
}

// add adds up the parts of a report.
func (r *Report) add(o *Report) {
	r.Chains = append(r.Chains, o.Chains...)
	r.Problems = append(r.Problems, o.Problems...)
	r.Notes = append(r.Notes, o.Notes...)
	r.Errors = append(r.Errors, o.Errors...)
}

// sort makes the order of a report that of its files.
func (r *Report) sort() {
	slices.SortFunc(r.Chains, func(a, b Chain) int {
		return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region))
	})
	slices.SortFunc(r.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), a.Time.Compare(b.Time),
			cmp.Compare(a.File, b.File), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Detail, b.Detail))
	})
	slices.SortFunc(r.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.File, b.File), cmp.Compare(a.Text, b.Text))
	})
}

// Total adds up the chains.
func (r *Report) Total() Chain {
	var t Chain
	for _, c := range r.Chains {
		t.Digests += c.Digests
		t.DigestsVerified += c.DigestsVerified
		t.Logs += c.Logs
		t.LogsVerified += c.LogsVerified
		t.LogsUnproven += c.LogsUnproven
		t.LogsOutside += c.LogsOutside
		t.Bytes += c.Bytes
		t.Unpacked += c.Unpacked
	}
	return t
}

// Findings are the problems in the words of every other detection.
func (r *Report) Findings() []event.Finding {
	out := make([]event.Finding, 0, len(r.Problems))
	for i := range r.Problems {
		out = append(out, r.Problems[i].Finding())
	}
	return out
}

// Finding is the problem as a finding. Its identity is what is wrong with which
// object: verifying again, anywhere, makes the same one.
func (p *Problem) Finding() event.Finding {
	what := rules[p.Kind]
	version := event.Hash("integrity", what.id, "1")
	key := p.Object
	if key == "" {
		key = p.File
	}
	f := event.Finding{
		Rule: what.id, Version: version, Severity: p.Severity(), Time: p.Time, Title: what.title + ": " + p.Detail,
		Account: p.Account, Region: p.Region, Key: key, Events: []string{}, File: p.File,
		Tags:     []string{"attack.t1070", "attack.t1562.008", "integrity." + string(p.Kind)},
		Entities: []event.Entity{{Kind: "s3-object", ID: key}},
	}
	if p.Trail != "" {
		f.Entities = append(f.Entities, event.Entity{Kind: "trail", ID: p.Trail})
	}
	if p.Bucket != "" {
		f.Entities = append(f.Entities, event.Entity{Kind: "s3-bucket", ID: "arn:" + event.Partition(p.Region) + ":s3:::" + p.Bucket})
	}
	f.ID = event.FindingID(version, key, string(p.Kind), p.Expected, p.Actual)
	truth := &event.Truth{Expr: string(p.Kind), Value: json.RawMessage("true")}
	for _, s := range []struct{ name, value string }{
		{"detail", p.Detail}, {"expected", p.Expected}, {"actual", p.Actual}, {"digest", p.Digest}, {"remedy", what.remedy},
	} {
		if s.value == "" {
			continue
		}
		if value, err := json.Marshal(s.value); err == nil {
			truth.Steps = append(truth.Steps, event.Truth{Expr: s.name, Value: value})
		}
	}
	f.Evidence.Explain = truth
	return f
}
