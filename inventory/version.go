package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"riposte/event"
)

// version is one state of a resource, as it lies in its record.
type version struct {
	// Captured and State are the version's place among the others.
	Captured time.Time `json:"captured"`
	State    string    `json:"state,omitempty"`
	Status   string    `json:"status,omitempty"`
	// Complete says that it has a configuration of its own.
	Complete bool `json:"complete,omitempty"`
	// Stripped says that its configuration was too large.
	Stripped bool `json:"stripped,omitempty"`
	// Size is of the content uncompressed, Blob of what is kept of it.
	Size int `json:"size"`
	Blob int `json:"blob"`

	blob []byte
}

// content is what a version says of its resource, the same whichever of Config's
// roads and spellings it came by.
type content struct {
	Name          string `json:"name,omitempty"`
	ARN           string `json:"arn,omitempty"`
	Zone          string `json:"zone,omitempty"`
	Tags          any    `json:"tags,omitempty"`
	Relationships any    `json:"relationships,omitempty"`
	Configuration any    `json:"configuration,omitempty"`
	Supplementary any    `json:"supplementary,omitempty"`
}

// compare orders the versions of a resource: by capture time, and where that is
// the same by state id, which counts up. It is total, so that every order of
// arrival ends alike.
func (a *version) compare(b *version) int {
	if c := a.Captured.Compare(b.Captured); c != 0 {
		return c
	}
	x, y := strings.TrimLeft(a.State, "0"), strings.TrimLeft(b.State, "0")
	return cmp.Or(compareBool(digits(a.State), digits(b.State)), cmp.Compare(len(x), len(y)), cmp.Compare(x, y), cmp.Compare(a.State, b.State))
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// better reports whether a says more than b of the same version: that it is
// complete, or else that there is more of it. Equal contents are equal.
func (a *version) better(b *version) bool {
	return cmp.Or(compareBool(a.Complete, b.Complete), cmp.Compare(a.Blob, b.Blob), bytes.Compare(a.blob, b.blob), cmp.Compare(a.Status, b.Status),
		compareBool(a.Stripped, b.Stripped), cmp.Compare(a.Size, b.Size)) > 0
}

// deleted reports whether the resource no longer existed.
func (a *version) deleted() bool {
	return a.Status == "ResourceDeleted" || a.Status == "ResourceDeletedNotRecorded"
}

// maxContent bounds a content uncompressed: a damaged or hostile record must not
// cost more memory than a good one. Config's own items have at most some MB.
const maxContent = 16 << 20

// codec compresses contents. It is safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	n := max(1, min(4, runtime.GOMAXPROCS(0)))
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(n), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("make the compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(maxContent), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make the decompressor: %w", err)
	}
	return &codec{enc: enc, dec: dec}, nil
}

// version reads an item; false when it is none that an inventory can hold.
func (c *codec) version(e *event.Event, limit int) (identity, *version, bool, error) {
	id := identity{
		account: e.Text(event.ConfigAccountID), region: e.Text(event.ConfigRegion),
		typ: e.Text(event.ConfigResourceType), id: e.Text(event.ConfigResourceID), arn: e.Text(event.ConfigARN),
	}
	captured := e.Time()
	if e.Kind != event.ConfigItem || !id.plausible() || captured.Year() < 1970 || captured.Year() > 9999 {
		return id, nil, false, nil
	}
	for _, s := range []*string{&id.account, &id.region, &id.typ, &id.id, &id.arn} {
		*s = strings.Clone(*s)
	}
	v := &version{
		Captured: captured, State: stateOf(e), Status: strings.Clone(e.Text(event.ConfigStatus)),
		Complete: e.Has(event.ConfigConfiguration),
	}
	own := e.Clone() // what is redacted must not be what rules read
	all := content{
		Name: own.Text(event.ConfigResourceName), ARN: id.arn, Zone: own.Text(event.ConfigAvailabilityZone),
		Tags: own.Value(event.ConfigTags), Relationships: relationships(own.Value(event.ConfigRelationships)),
		Configuration: own.Value(event.ConfigConfiguration), Supplementary: own.Value(event.ConfigSupplementaryConfiguration),
	}
	for _, part := range []any{all.Tags, all.Configuration, all.Supplementary} {
		event.Redact(part)
	}
	if err := c.pack(v, &all); err != nil {
		return id, nil, false, err
	}
	if len(v.Status) > maxState {
		v.Status = "" // none of Config's
	}
	if v.Blob > limit || v.Size > maxContent {
		size := v.Size
		all.Configuration, all.Supplementary, all.Relationships = nil, nil, nil
		if err := c.pack(v, &all); err != nil {
			return id, nil, false, err
		}
		if v.Blob > limit || v.Size > maxContent { // not even its tags
			all = content{ARN: id.arn}
			if err := c.pack(v, &all); err != nil {
				return id, nil, false, err
			}
		}
		v.Complete, v.Stripped, v.Size = false, true, size
	}
	return id, v, true, nil
}

// maxState is how long a state id may be; Config's have 13 digits.
const maxState = 64

// stateOf is an item's state id; one that is longer than any of Config's is
// hashed, so that it stays what it is for: to tell versions apart.
func stateOf(e *event.Event) string {
	s := e.Text(event.ConfigStateID)
	if len(s) > maxState {
		return event.Hash("state", s)
	}
	return strings.Clone(s)
}

func (c *codec) pack(v *version, all *content) error {
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("inventory: write an item: %w", err)
	}
	v.blob = c.enc.EncodeAll(b, nil)
	v.Size, v.Blob = len(b), len(v.blob)
	return nil
}

func (c *codec) unpack(v *version) (content, error) {
	var out content
	b, err := c.dec.DecodeAll(v.blob, nil)
	if err != nil {
		return out, fmt.Errorf("inventory: unpack the version of %s: %w", v.Captured.Format(time.RFC3339), err)
	}
	parsed, err := event.ParseJSON(b)
	m, ok := parsed.(map[string]any)
	if err != nil || !ok {
		return out, fmt.Errorf("inventory: read the version of %s: want an object: %w", v.Captured.Format(time.RFC3339), err)
	}
	out.Name, _ = m["name"].(string)
	out.ARN, _ = m["arn"].(string)
	out.Zone, _ = m["zone"].(string)
	out.Tags, out.Relationships, out.Configuration, out.Supplementary = m["tags"], m["relationships"], m["configuration"], m["supplementary"]
	return out, nil
}

// relationships are in one order and spelling: the API's name of a relationship
// is relationshipName, the notification's name.
func relationships(v any) any {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil
	}
	type ordered struct {
		value any
		text  string
	}
	all := make([]ordered, 0, len(list))
	for _, r := range list {
		if m, ok := r.(map[string]any); ok {
			if name, ok := m["relationshipName"]; ok && m["name"] == nil {
				m["name"] = name
			}
			delete(m, "relationshipName")
			for k, v := range m {
				if v == nil {
					delete(m, k)
				}
			}
		}
		text, err := json.Marshal(r)
		if err != nil {
			continue
		}
		all = append(all, ordered{r, string(text)})
	}
	slices.SortFunc(all, func(a, b ordered) int { return cmp.Compare(a.text, b.text) })
	out := make([]any, len(all))
	for i := range all {
		out[i] = all[i].value
	}
	return out
}
