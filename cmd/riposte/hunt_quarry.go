package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"

	"riposte/event"
	"riposte/ingest"
	"riposte/ingest/archive"
	"riposte/ingest/s3object"
	"riposte/internal/awsaccess"
)

// quarry is one thing that a hunt goes through: a file, or an object in S3.
type quarry struct {
	i int // its place in the order of findings
	ingest.FileRef
	// object is set for one in S3, with the store that reads it.
	object *s3object.Object
	store  *s3object.Store
}

// grounds are where a hunt looks, in the order of its arguments.
type grounds struct {
	files   ingest.Files
	parts   []part
	total   int64 // bytes that are known before
	buckets bool
}

// part is what one argument names: files that are listed already, or a listing.
type part struct {
	refs    []ingest.FileRef
	listing *archive.Listing
}

func isS3(path string) bool { return strings.HasPrefix(path, "s3://") }

// grounds finds the files, so that one that is missing is told at once, and gets
// listings of buckets ready.
func (h *hunt) grounds(ctx context.Context, files ingest.Files) (*grounds, error) {
	g := &grounds{files: files}
	for _, path := range files.Paths {
		if isS3(path) {
			l, err := h.listing(ctx, path, files)
			if err != nil {
				return nil, err
			}
			g.parts, g.buckets = append(g.parts, part{listing: l}), true
			continue
		}
		one := files
		one.Paths = []string{path}
		refs, err := one.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range refs {
			g.total += r.Size
		}
		g.parts = append(g.parts, part{refs: refs})
	}
	return g, nil
}

// s3Limit bounds one object uncompressed.
const s3Limit = 8 << 30

func (h *hunt) listing(ctx context.Context, path string, files ingest.Files) (*archive.Listing, error) {
	bucket, prefix, err := archive.ParseAddress(path)
	if err != nil {
		return nil, err
	}
	c := archive.Config{From: path, Config: awsaccess.Config{Role: h.role, ExternalID: h.externalID}, Workers: h.workers, MaxObjectBytes: s3Limit}
	store, err := archive.Open(ctx, c, nil, nil)
	if err != nil {
		return nil, err
	}
	store.FlowFormat, store.Mapping = files.FlowFormat, files.Log // which the flags say
	q := archive.Query{Accounts: h.accounts, Regions: h.regions, Since: h.since.Time, Until: h.until.Time, Skip: s3object.DefaultSkip()}
	for _, skip := range s3object.DefaultSkip() {
		if strings.Contains(prefix, strings.Trim(skip, "/")) { // who names it wants it
			q.Skip = slices.DeleteFunc(q.Skip, func(s string) bool { return s == skip })
		}
	}
	return &archive.Listing{Store: store, Bucket: bucket, Prefix: prefix, Query: q}, nil
}

// give sends all that is to be hunted through, in order.
func (g *grounds) give(ctx context.Context, bar *progressbar.ProgressBar, out chan<- quarry) error {
	i, known := 0, g.total
	send := func(q quarry) error {
		q.i = i
		i++
		select {
		case out <- q:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, p := range g.parts {
		for _, r := range p.refs {
			if err := send(quarry{FileRef: r}); err != nil {
				return err
			}
		}
		if p.listing == nil {
			continue
		}
		for e, err := range p.listing.Objects(ctx) {
			if err != nil {
				return err
			}
			if known += e.Size; bar != nil {
				bar.ChangeMax64(known)
			}
			o := &s3object.Object{Bucket: p.listing.Bucket, Key: e.Key}
			named := e.Key == p.listing.Prefix
			if err := send(quarry{FileRef: ingest.FileRef{Path: o.String(), Size: e.Size, Named: named}, object: o, store: p.listing.Store}); err != nil {
				return err
			}
		}
	}
	return nil
}

// huntReader reads files and objects for one worker, with one set of buffers.
type huntReader struct {
	plain  *ingest.Reader
	stores map[*s3object.Store]*s3object.Reader
}

func newHuntReader() *huntReader {
	return &huntReader{plain: ingest.NewReader(), stores: map[*s3object.Store]*s3object.Reader{}}
}

// read delivers one file or object. advance hears of an object's bytes once,
// however often it was read.
func (r *huntReader) read(ctx context.Context, g *grounds, q quarry, sink ingest.Sink, advance func(int64)) (ingest.Stats, error) {
	if q.object == nil {
		sink.Progress = advance
		return r.plain.ReadFile(ctx, g.files, q.FileRef, sink)
	}
	defer advance(q.Size)
	reader := r.stores[q.store]
	if reader == nil {
		reader = q.store.ReaderWith(r.plain)
		r.stores[q.store] = reader
	}
	stats, err := reader.Read(ctx, *q.object, sink)
	var bad *s3object.Poison
	if errors.As(err, &bad) && bad.Foreign {
		stats.Foreign = true
		return stats, nil
	}
	return stats, err
}

// inRange reports whether an event is of the accounts, regions and time that are
// asked for.
func (r *huntRun) inRange(e *event.Event) bool {
	if len(r.accounts) > 0 && !slices.Contains(r.accounts, e.Account()) || len(r.regions) > 0 && !slices.Contains(r.regions, e.Region()) {
		return false
	}
	if r.since.IsZero() && r.until.IsZero() {
		return true
	}
	t := e.Time()
	return (r.since.IsZero() || !t.Before(r.since.Time)) && (r.until.IsZero() || t.Before(r.until.Time))
}

// checkFilters says what is wrong with the flags that choose.
func (h *hunt) checkFilters(paths []string) error {
	q := archive.Query{Accounts: h.accounts, Regions: h.regions, Since: h.since.Time, Until: h.until.Time}
	errs := []error{q.Validate("--"), awsaccess.Config{Role: h.role, ExternalID: h.externalID}.Validate("--role and --external-id")}
	if h.role != "" && !slices.ContainsFunc(paths, isS3) {
		errs = append(errs, fmt.Errorf("--role is for s3://, and no path is"))
	}
	return errors.Join(errs...)
}
