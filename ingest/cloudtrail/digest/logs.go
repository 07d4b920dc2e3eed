package digest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// claim is what a digest says of a log file.
type claim struct {
	Log
	by *node
}

// verifyLogs hashes the log files that the digests name, where they can be believed.
func (w *walk) verifyLogs(ctx context.Context) error {
	var claims []claim
	for _, n := range w.nodes {
		if n.d == nil || n.twin || n.state == altered || !w.inRange(n) {
			continue
		}
		for _, l := range n.d.Logs {
			if c := (claim{l, n}); w.only == nil || w.only(&c) {
				claims = append(claims, c)
			}
		}
	}
	w.chain.Logs = int64(len(claims))
	return w.each(ctx, len(claims), func(ctx context.Context, u *unpacker, i int) error {
		return w.verifyLog(ctx, u, &claims[i])
	})
}

func (w *walk) verifyLog(ctx context.Context, u *unpacker, c *claim) error {
	address := "s3://" + c.Bucket + "/" + c.Object
	missing := Problem{Kind: LogMissing, File: address, Object: shownKey(c.Object), Digest: c.by.Name, Time: c.at(), Detail: "the digest " + c.by.known + " names it", Expected: c.Hash}
	found := false
	for _, f := range w.logs[shortOf(c.Object)] {
		if !fits(c.Object, f.known) {
			continue
		}
		// A copy below another prefix is judged too, and is not the file itself.
		found = found || f.Bucket == "" || f.Bucket == c.Bucket && f.Key == c.Object
		hash, err := w.hashFile(ctx, u, f.Object)
		p := Problem{Kind: LogAltered, File: f.Name, Object: f.known, Digest: c.by.Name, Time: c.at(), Expected: c.Hash, Actual: hash}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isGone(err):
			w.problem(c.by, missing)
		case errors.Is(err, errContent):
			p.Detail = "it " + err.Error()
			w.problem(c.by, p)
		case err != nil:
			w.failed(f.Name, c.by.Name, err)
		case hash != c.Hash:
			p.Detail = "its SHA-256 is not that which its digest gives"
			w.problem(c.by, p)
		case c.by.state == verified:
			atomic.AddInt64(&w.chain.LogsVerified, 1)
		default:
			atomic.AddInt64(&w.chain.LogsUnproven, 1)
		}
	}
	if !found {
		w.problem(c.by, missing)
	}
	return nil
}

// at is when what a log file tells of happened.
func (c *claim) at() time.Time {
	if !c.Newest.IsZero() {
		return c.Newest
	}
	return c.by.d.End
}

func (w *walk) hashFile(ctx context.Context, u *unpacker, o Object) (string, error) {
	r, err := w.objects.Open(ctx, o)
	if err != nil {
		return "", err
	}
	defer r.Close()
	src := &source{r: r, progress: w.Progress}
	hash, unpacked, err := u.hash(ctx, src)
	atomic.AddInt64(&w.chain.Bytes, src.n)
	atomic.AddInt64(&w.chain.Unpacked, unpacked)
	return hash, err
}
