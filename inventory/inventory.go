// Package inventory keeps what AWS Config tells of resources: of each its latest
// versions, deletions included, so that rules, responders and people may ask what
// a resource was as of a time.
//
// It guarantees that the order in which items come, and how often, does not
// matter: the versions kept of a resource are the latest by capture time, and the
// same items make the same inventory. What is asked as of a time is answered from
// the versions captured up to that time and from no later one.
//
// It leaves to others where tables are, who reads items from AWS, and what is
// done when a table cannot be reached: every error says that nothing is known,
// never that there is nothing.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"riposte/event"
)

// Table is the compare-and-swap state that the inventory needs.
type Table interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (newRevision uint64, err error)
	Keys(ctx context.Context) ([]string, error)
}

// Config bounds the inventory.
type Config struct {
	// Versions are kept of each resource: the latest.
	Versions int `yaml:"versions"`
	// ItemBytes bounds one version, compressed. Of a larger one, everything but its
	// configuration is kept.
	ItemBytes int `yaml:"item_bytes"`
	// ResourceBytes bounds the versions of one resource together, compressed; the
	// oldest are left out.
	ResourceBytes int `yaml:"resource_bytes"`
	// CacheBytes bounds what a process keeps in memory of what it read.
	CacheBytes int64 `yaml:"cache_bytes"`
}

// DefaultConfig is ten versions a resource.
func DefaultConfig() Config {
	return Config{Versions: 10, ItemBytes: 256 << 10, ResourceBytes: 1 << 20, CacheBytes: 32 << 20}
}

// maxVersions bounds Config.Versions: a record is written whole each time.
const maxVersions = 200

// Validate says all that is wrong at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Versions < 2 || c.Versions > maxVersions {
		bad("inventory.versions %d: want 2 to %d, so that there is a version before the latest", c.Versions, maxVersions)
	}
	if c.ItemBytes < 1<<10 || c.ItemBytes > 4<<20 {
		bad("inventory.item_bytes %d: want 1024 to %d", c.ItemBytes, 4<<20)
	}
	if c.ResourceBytes < c.ItemBytes || c.ResourceBytes > 4<<20 {
		bad("inventory.resource_bytes %d: want at least item_bytes and at most %d", c.ResourceBytes, 4<<20)
	}
	if c.CacheBytes < 0 {
		bad("inventory.cache_bytes %d: want 0 or more", c.CacheBytes)
	}
	return errors.Join(errs...)
}

// Options of an inventory.
type Options struct {
	Config
	Table Table
	// NotFound and Conflict are the errors of the table that mean so.
	NotFound, Conflict error
	// Fresh is how long what was read from the table is believed: other processes
	// write too. 0 is for ever, for a table that nobody else writes.
	Fresh time.Duration
	// Now is the clock of Fresh; nil is time.Now.
	Now func() time.Time
	Log *slog.Logger // nil is silent
}

// Inventory is safe for concurrent use, also by several processes over one table.
type Inventory struct {
	o     Options
	codec *codec
	cache *cache

	stored, evicted, stripped atomic.Int64
}

// New returns the inventory over a table.
func New(o Options) (*Inventory, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Table == nil || o.NotFound == nil || o.Conflict == nil {
		return nil, errors.New("an inventory wants Table, NotFound and Conflict")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	return &Inventory{o: o, codec: c, cache: newCache(o.CacheBytes)}, nil
}

// Counts is what an inventory did in this process.
type Counts struct {
	// Stored counts versions that were new, Evicted those that made place for
	// later ones or came after them, Stripped those that were too large.
	Stored, Evicted, Stripped int64
}

// Counts returns what this process did so far.
func (v *Inventory) Counts() Counts {
	return Counts{Stored: v.stored.Load(), Evicted: v.evicted.Load(), Stripped: v.stripped.Load()}
}

// Put adds the item to its resource's versions. nil says that it is durable, was
// there already, or is no item that an inventory can hold: one without type, id
// or capture time, or of another kind. Putting it again changes nothing.
func (v *Inventory) Put(ctx context.Context, e *event.Event) error {
	id, ver, ok, err := v.codec.version(e, v.o.ItemBytes)
	if err != nil || !ok {
		return err
	}
	if err := v.name(ctx, id); err != nil {
		return fmt.Errorf("inventory: name %s: %w", id.arn, err)
	}
	key := id.key()
	if known, ok := v.known(key); ok && known.record != nil {
		if n := known.record.clone(); n.put(ver, v.o.Config) == (outcome{}) {
			return nil
		}
	}
	var did outcome
	err = v.change(ctx, key, func(r *record) bool {
		if r.Type == "" {
			r.Account, r.Region, r.Type, r.ID = id.account, id.region, id.typ, id.id
		}
		did = r.put(ver, v.o.Config)
		return did != outcome{}
	})
	if err != nil {
		return fmt.Errorf("inventory: put %s: %w", e.ID(), err)
	}
	if did.stored {
		v.stored.Add(1)
		if ver.Stripped {
			v.stripped.Add(1)
			v.o.Log.WarnContext(ctx, "a configuration is too large for the inventory", "event", e.ID(), "bytes", ver.Size, "limit", v.o.ItemBytes)
		}
	}
	v.evicted.Add(int64(did.evicted))
	return nil
}

// change changes a record by compare and swap until nobody else wrote in between.
func (v *Inventory) change(ctx context.Context, key string, change func(*record) bool) error {
	for {
		raw, rev, err := v.o.Table.Get(ctx, key)
		missing := errors.Is(err, v.o.NotFound)
		if err != nil && !missing {
			return err
		}
		r := &record{}
		if !missing {
			if r, err = decodeRecord(raw); err != nil {
				// Nobody but us writes here: what is damaged is begun anew, and said so.
				v.o.Log.ErrorContext(ctx, "a record of the inventory is damaged and begun anew", "key", key, "err", err)
				r = &record{}
			}
		}
		if !change(r) {
			v.cache.put(key, entry{record: r, revision: rev, read: v.o.Now()})
			return nil
		}
		if missing {
			rev, err = v.o.Table.Create(ctx, key, r.encode())
		} else {
			rev, err = v.o.Table.Update(ctx, key, r.encode(), rev)
		}
		if err == nil {
			v.cache.put(key, entry{record: r, revision: rev, read: v.o.Now()})
			return nil
		}
		v.cache.drop(key)
		if !errors.Is(err, v.o.Conflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// known returns what the cache holds of a key, when it may still be believed.
func (v *Inventory) known(key string) (entry, bool) {
	e, ok := v.cache.get(key)
	if !ok || v.o.Fresh > 0 && v.o.Now().Sub(e.read) >= v.o.Fresh {
		return entry{}, false
	}
	return e, true
}

// record returns the record under a key, nil when there is none.
func (v *Inventory) record(ctx context.Context, key string) (*record, error) {
	if e, ok := v.known(key); ok {
		return e.record, nil
	}
	raw, rev, err := v.o.Table.Get(ctx, key)
	if errors.Is(err, v.o.NotFound) {
		v.cache.put(key, entry{read: v.o.Now()})
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inventory: read %s: %w", key, err)
	}
	r, err := decodeRecord(raw)
	if err != nil {
		return nil, fmt.Errorf("inventory: read %s: %w", key, err)
	}
	v.cache.put(key, entry{record: r, revision: rev, read: v.o.Now()})
	return r, nil
}
