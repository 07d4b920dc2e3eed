package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"riposte/event"
)

// record is a resource with its latest versions, the oldest first. What it holds
// after some items were put is a function of the set of them: each version is
// the best that came of it, and the kept ones are the longest run of the latest
// that fits the bounds. Floor makes it so: a version that was left out once, or
// an older one, stays out.
type record struct {
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	Type    string `json:"type"`
	ID      string `json:"id"`
	// Floor is the latest version that was left out.
	Floor    *version   `json:"floor,omitempty"`
	Versions []*version `json:"versions"`
}

// outcome is what putting a version did; the zero value is nothing.
type outcome struct {
	stored, replaced bool
	evicted          int
}

// put adds a version within the bounds.
func (r *record) put(v *version, c Config) outcome {
	var did outcome
	if r.Floor != nil && v.compare(r.Floor) <= 0 {
		return did
	}
	i, found := slices.BinarySearchFunc(r.Versions, v, (*version).compare)
	switch {
	case !found:
		r.Versions = slices.Insert(r.Versions, i, v)
		did.stored = true
	case v.better(r.Versions[i]):
		r.Versions[i] = v
		did.replaced = true
	default:
		return did
	}
	did.evicted = r.fit(c)
	return did
}

// fit leaves out the oldest versions until the rest is within the bounds. The
// latest always stays.
func (r *record) fit(c Config) int {
	first, bytes := len(r.Versions), 0
	for first > 0 && len(r.Versions)-first < c.Versions {
		bytes += r.Versions[first-1].Blob
		if bytes > c.ResourceBytes && first < len(r.Versions) {
			break
		}
		first--
	}
	if first == 0 {
		return 0
	}
	floor := *r.Versions[first-1]
	r.Floor = &version{Captured: floor.Captured, State: floor.State}
	r.Versions = slices.Delete(r.Versions, 0, first)
	return first
}

func (r *record) clone() *record {
	c := *r
	c.Versions = slices.Clone(r.Versions)
	return &c
}

// at returns how many versions were captured up to t.
func (r *record) at(t time.Time) int {
	n, _ := slices.BinarySearchFunc(r.Versions, t, func(v *version, t time.Time) int {
		if v.Captured.After(t) {
			return 1
		}
		return -1
	})
	return n
}

// state is the resource as of the nth version. What a version does not tell, as a
// deletion does not, is of the last one before that does.
func (c *codec) state(r *record, n int) (*event.Resource, error) {
	v := r.Versions[n]
	out := &event.Resource{
		Account: r.Account, Region: r.Region, Type: r.Type, ID: r.ID,
		Status: v.Status, StateID: v.State, Captured: v.Captured, Exists: !v.deleted(),
		Incomplete: !v.Complete && !v.deleted(),
	}
	for told := n; ; told-- {
		all, err := c.unpack(r.Versions[told])
		if err != nil {
			return nil, err
		}
		fill(&out.Name, all.Name)
		fill(&out.ARN, all.ARN)
		fill(&out.AvailabilityZone, all.Zone)
		if out.Tags == nil {
			out.Tags, _ = all.Tags.(map[string]any)
		}
		if told == 0 || r.Versions[told].Complete {
			out.Relationships, _ = all.Relationships.([]any)
			out.Configuration, _ = all.Configuration.(map[string]any)
			out.SupplementaryConfiguration, _ = all.Supplementary.(map[string]any)
			return out, nil
		}
	}
}

func fill(s *string, with string) {
	if *s == "" {
		*s = with
	}
}

// A record on the wire is "RI1 ", itself as JSON in one line, and the contents of
// its versions end to end.
const magic = "RI1 "

func (r *record) encode() []byte {
	head, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts, numbers and times of four-digit years: it cannot be
	}
	size := len(magic) + len(head) + 1
	for _, v := range r.Versions {
		size += len(v.blob)
	}
	out := make([]byte, 0, size)
	out = append(append(append(out, magic...), head...), '\n')
	for _, v := range r.Versions {
		out = append(out, v.blob...)
	}
	return out
}

func decodeRecord(raw []byte) (*record, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(magic))
	if !ok {
		return nil, errors.New("it does not begin as a record of this version")
	}
	head, blobs, ok := bytes.Cut(rest, []byte{'\n'})
	if !ok {
		return nil, errors.New("it ends before its contents")
	}
	var r record
	if err := json.Unmarshal(head, &r); err != nil {
		return nil, err
	}
	if r.Type == "" || r.ID == "" || len(r.Versions) == 0 || len(r.Versions) > maxVersions {
		return nil, fmt.Errorf("%q %q with %d versions is no record", r.Type, r.ID, len(r.Versions))
	}
	for i, v := range r.Versions {
		if v == nil || v.Blob < 0 || v.Blob > len(blobs) {
			return nil, fmt.Errorf("version %d is cut short", i)
		}
		if i > 0 && r.Versions[i-1].compare(v) >= 0 || r.Floor != nil && v.compare(r.Floor) <= 0 {
			return nil, fmt.Errorf("version %d is out of order", i)
		}
		v.blob, blobs = blobs[:v.Blob:v.Blob], blobs[v.Blob:]
	}
	if len(blobs) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(blobs))
	}
	return &r, nil
}
