package store

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Options of a table or log in JetStream.
type Options struct {
	// Replicas is 1 to 5; 0 is 1.
	Replicas int
}

// encoding makes any text fit a key: NATS allows few characters in one.
var encoding = base32.HexEncoding.WithPadding(base32.NoPadding)

func encode(key string) string { return "k" + encoding.EncodeToString([]byte(key)) }

func decode(key string) (string, error) {
	b, err := encoding.DecodeString(strings.TrimPrefix(key, "k"))
	return string(b), err
}

type jetTable struct{ kv jetstream.KeyValue }

// NewTable opens or makes a table in JetStream.
func NewTable(ctx context.Context, js jetstream.JetStream, name string, o Options) (Table, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, History: 1, Replicas: max(o.Replicas, 1), Storage: jetstream.FileStorage})
	if err != nil {
		return nil, fmt.Errorf("open the table %s: %w", name, err)
	}
	return &jetTable{kv}, nil
}

func (t *jetTable) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := check(key); err != nil {
		return nil, 0, err
	}
	e, err := t.kv.Get(ctx, encode(key))
	if err != nil {
		return nil, 0, translate(err)
	}
	return e.Value(), e.Revision(), nil
}

func (t *jetTable) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	rev, err := t.kv.Create(ctx, encode(key), value)
	return rev, translate(err)
}

func (t *jetTable) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	if revision == 0 {
		return 0, ErrConflict // 0 would mean create
	}
	rev, err := t.kv.Update(ctx, encode(key), value, revision)
	return rev, translate(err)
}

func (t *jetTable) Delete(ctx context.Context, key string, revision uint64) error {
	// A delete is a write: without a value there must be nothing to delete.
	if _, rev, err := t.Get(ctx, key); err != nil {
		return err
	} else if rev != revision {
		return ErrConflict
	}
	return translate(t.kv.Delete(ctx, encode(key), jetstream.LastRevision(revision)))
}

func (t *jetTable) Keys(ctx context.Context) ([]string, error) {
	w, err := t.kv.WatchAll(ctx, jetstream.IgnoreDeletes(), jetstream.MetaOnly())
	if err != nil {
		return nil, translate(err)
	}
	defer w.Stop()
	var keys []string
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case e, ok := <-w.Updates():
			if !ok {
				return nil, fmt.Errorf("list the keys of %s: the server stopped before the end", t.kv.Bucket())
			}
			if e == nil { // all that there was at the beginning
				slices.Sort(keys)
				return slices.Compact(keys), nil
			}
			key, err := decode(e.Key())
			if err != nil {
				return nil, fmt.Errorf("key %q: %w", e.Key(), err)
			}
			keys = append(keys, key)
		}
	}
}

func translate(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted):
		return ErrNotFound
	case errors.Is(err, jetstream.ErrKeyExists), errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == 10164):
		return ErrConflict
	}
	return err
}

type jetLog struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
}

// NewLog opens or makes a log in JetStream.
func NewLog(ctx context.Context, js jetstream.JetStream, name string, o Options) (Log, error) {
	prefix := "log." + name + "."
	s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "LOG_" + name, Subjects: []string{prefix + ">"}, Storage: jetstream.FileStorage, Replicas: max(o.Replicas, 1),
		DenyDelete: true, AllowDirect: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", name, err)
	}
	return &jetLog{js: js, stream: s, prefix: prefix}, nil
}

func (l *jetLog) Append(ctx context.Context, key string, after uint64, entry []byte) (uint64, error) {
	if err := check(key); err != nil {
		return 0, err
	}
	ack, err := l.js.Publish(ctx, l.prefix+encode(key), entry, jetstream.WithExpectLastSequencePerSubject(after))
	if err != nil {
		return 0, translate(err)
	}
	return ack.Sequence, nil
}

func (l *jetLog) Read(ctx context.Context, key string) ([][]byte, uint64, error) {
	if err := check(key); err != nil {
		return nil, 0, err
	}
	var entries [][]byte
	last := uint64(0)
	for {
		msg, err := l.stream.GetMsg(ctx, last+1, jetstream.WithGetMsgSubject(l.prefix+encode(key)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return entries, last, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read the log: %w", err)
		}
		entries = append(entries, msg.Data)
		last = msg.Sequence
	}
}
