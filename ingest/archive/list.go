// Package archive reads telemetry that is in S3 already: it lists a bucket and
// delivers the objects that are wanted, by account, region, kind and time.
//
// A listing knows the layouts in which AWS writes, and asks only for the folders
// of accounts, regions and days that are wanted. It is in the order of keys, so
// that one key says how far it came, and it asks ahead, so that many small
// folders do not cost a round trip each.
//
// Source delivers what is listed with several workers, keeps its place in
// ingest's cursors, and ends when all is delivered. Batches have the ids that any
// other road gives them: a listing may overlap with a queue.
package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"riposte/ingest/s3object"
)

// Entry is one object of a listing.
type Entry struct {
	Key      string
	Size     int64 // as stored
	Modified time.Time
}

// Listing is a bucket, or what begins with a prefix in it.
type Listing struct {
	Store  *s3object.Store
	Bucket string
	Prefix string
	Query  Query
	// After is the key after which it begins; "" is at the start.
	After string
}

// ahead is how many folders are asked for before their turn.
const ahead = 8

// Objects yields the objects that are wanted in the order of their keys, until
// the first error.
func (l *Listing) Objects(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		w := &walk{Listing: l, ctx: ctx, yield: yield}
		defer w.asking.Wait()
		defer cancel()
		w.folder(w.begin(l.Prefix, placeOf(l.Prefix[:strings.LastIndexByte(l.Prefix, '/')+1])))
	}
}

// walk is one listing on its way.
type walk struct {
	*Listing
	ctx    context.Context
	yield  func(Entry, error) bool
	asking sync.WaitGroup
	last   string
}

// page is one answer.
type page struct {
	entries []Entry
	folders []string
	next    string // the continuation, "" at the end
	err     error
}

// ask sends for a page; the channel has it when it is there.
func (w *walk) ask(f *folder, after, next string) <-chan page {
	out := make(chan page, 1)
	w.asking.Go(func() { out <- w.fetch(f, after, next) })
	return out
}

func (w *walk) fetch(f *folder, after, next string) (p page) {
	in := &s3.ListObjectsV2Input{Bucket: &w.Bucket, Prefix: &f.prefix, EncodingType: s3types.EncodingTypeUrl}
	if f.deep {
		in.Delimiter = aws.String("/")
	}
	if next != "" {
		in.ContinuationToken = &next
	} else if after != "" {
		in.StartAfter = &after
	}
	var out *s3.ListObjectsV2Output
	err := w.Store.Call(w.Bucket, "", func(c *s3.Client, within func(*s3.Options)) (err error) {
		out, err = c.ListObjectsV2(w.ctx, in, within)
		return err
	})
	if err != nil {
		return page{err: fmt.Errorf("list s3://%s/%s: %w", w.Bucket, f.prefix, w.Store.ExplainBucket(err, "s3:ListBucket", w.Bucket))}
	}
	if aws.ToBool(out.IsTruncated) {
		if p.next = aws.ToString(out.NextContinuationToken); p.next == "" || p.next == next {
			return page{err: fmt.Errorf("list s3://%s/%s: the answer says that there is more, and not where", w.Bucket, f.prefix)}
		}
	}
	decode := func(s *string) (name string) {
		if name = aws.ToString(s); out.EncodingType == s3types.EncodingTypeUrl {
			if plain, err := url.QueryUnescape(name); err == nil {
				return plain
			}
		}
		return name
	}
	for _, o := range out.Contents {
		p.entries = append(p.entries, Entry{Key: decode(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
	}
	for _, c := range out.CommonPrefixes {
		p.folders = append(p.folders, decode(c.Prefix))
	}
	return p
}

// folder yields what is in a folder; false ends the listing.
func (w *walk) folder(f *folder) bool {
	if f.deep {
		return w.folders(f)
	}
	end, first := w.end(f), f.first
	for p := range w.pages(f, first) {
		if p.err != nil {
			return w.fail(p.err)
		}
		for i := range p.entries {
			if end != "" && p.entries[i].Key >= end && p.entries[i].Key <= f.prefix+f.place.beyond() {
				// Beyond the last day: go on with what is no day.
				rest := *f
				return w.flat(&rest, w.ask(&rest, max(f.prefix+f.place.beyond(), w.After), ""))
			}
			if !w.object(&p.entries[i]) {
				return false
			}
		}
	}
	return true
}

// flat yields all that the pages of a folder have.
func (w *walk) flat(f *folder, first <-chan page) bool {
	for p := range w.pages(f, first) {
		if p.err != nil {
			return w.fail(p.err)
		}
		for i := range p.entries {
			if !w.object(&p.entries[i]) {
				return false
			}
		}
	}
	return true
}

// pages yields the pages of a folder, and asks for the next before it yields one.
func (w *walk) pages(f *folder, first <-chan page) iter.Seq[page] {
	return func(yield func(page) bool) {
		for coming := first; coming != nil; {
			p := <-coming
			if coming = nil; p.err == nil && p.next != "" {
				coming = w.ask(f, "", p.next)
			}
			if !yield(p) {
				return
			}
		}
	}
}

// many is how many folders a folder outside of AWS's layouts may have before all
// that is below it is listed at once: their names will hardly exclude anything.
const many = 1000

// folders looks at a folder's folders and objects in the order of their names.
func (w *walk) folders(f *folder) bool {
	var entries []Entry
	var names []string
	for p := range w.pages(f, f.first) {
		if p.err != nil {
			return w.fail(p.err)
		}
		entries, names = append(entries, p.entries...), append(names, p.folders...)
		if f.place.level == outside && len(names)+len(entries) > many {
			f.deep = false
			return w.flat(f, w.ask(f, w.After, ""))
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		passed := name <= w.After && !strings.HasPrefix(w.After, name)
		return passed || w.Query.skips(name) || w.Query.excludes(placeOf(name))
	})
	begun := make([]*folder, len(names))
	for i := range names {
		for k := i; k < min(i+ahead, len(names)); k++ {
			if begun[k] == nil {
				begun[k] = w.begin(names[k], placeOf(names[k]))
			}
		}
		for len(entries) > 0 && entries[0].Key < names[i] {
			if !w.object(&entries[0]) {
				return false
			}
			entries = entries[1:]
		}
		if !w.folder(begun[i]) {
			return false
		}
		begun[i] = nil
	}
	for i := range entries {
		if !w.object(&entries[i]) {
			return false
		}
	}
	return true
}

// errOrder says that a bucket lists in no order.
var errOrder = errors.New("its keys do not come in order, as those of a directory bucket: only general purpose buckets can be listed")

// object yields one that is wanted.
func (w *walk) object(e *Entry) bool {
	if e.Key <= w.last && w.last != "" {
		return w.fail(fmt.Errorf("list s3://%s/%s: %w", w.Bucket, w.Prefix, errOrder))
	}
	w.last = e.Key
	if e.Key <= w.After || !w.Query.wants(e) {
		return true
	}
	return w.yield(*e, nil)
}

func (w *walk) fail(err error) bool {
	if w.ctx.Err() != nil {
		err = w.ctx.Err()
	}
	w.yield(Entry{}, err)
	return false
}
