package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"riposte/event"
)

// identity is what tells a resource from all others. Its name is no part of it:
// ids are unique only within a type, and some types' only within a region.
type identity struct {
	account, region, typ, id string
	arn                      string
}

// Bounds of what identifies a resource: AWS's own are shorter, and a record that
// holds longer ones could not be stored.
const (
	maxID    = 4096 // ids and ARNs
	maxPlace = 256  // accounts, regions and types
)

// plausible reports whether an item says which resource it is of.
func (i identity) plausible() bool {
	return i.typ != "" && i.id != "" && len(i.id) <= maxID && len(i.arn) <= maxID && max(len(i.typ), len(i.account), len(i.region)) <= maxPlace
}

// readableKey is how long a key may be before it is hashed: a table's keys have
// at most 1 KiB.
const readableKey = 900

// key is where the resource's record is: r/ACCOUNT/REGION/TYPE/ID, so that
// listing keys lists resources.
func (i identity) key() string {
	key := "r/" + url.PathEscape(i.account) + "/" + url.PathEscape(i.region) + "/" + url.PathEscape(i.typ) + "/" + i.id
	if len(key) > readableKey {
		return "h/" + event.Hash("resource", i.account, i.region, i.typ, i.id)
	}
	return key
}

// parseKey reads a key of key back; false for hashed ones and names.
func parseKey(key string) (identity, bool) {
	rest, ok := strings.CutPrefix(key, "r/")
	if !ok {
		return identity{}, false
	}
	parts := strings.SplitN(rest, "/", 4)
	if len(parts) != 4 {
		return identity{}, false
	}
	var out [3]string
	for i := range out {
		s, err := url.PathUnescape(parts[i])
		if err != nil {
			return identity{}, false
		}
		out[i] = s
	}
	return identity{account: out[0], region: out[1], typ: out[2], id: parts[3]}, true
}

// nameKey is where the keys of the resources with an ARN are: "a/" and the ARN.
func nameKey(arn string) string {
	if len(arn) > readableKey {
		return "n/" + event.Hash("arn", arn)
	}
	return "a/" + arn
}

// maxNamesakes is how many resources may have had one ARN. A bucket's may go from
// one account to another; more is not believed.
const maxNamesakes = 8

// name makes the resource known by its ARN. Of too many with one ARN the first in
// order stay, whatever the order in which they came.
func (v *Inventory) name(ctx context.Context, id identity) error {
	if id.arn == "" {
		return nil
	}
	at, key := nameKey(id.arn), id.key()
	if e, ok := v.known(at); ok && slices.Contains(e.names, key) {
		return nil
	}
	for {
		raw, rev, err := v.o.Table.Get(ctx, at)
		missing := errors.Is(err, v.o.NotFound)
		if err != nil && !missing {
			return err
		}
		var names []string
		if !missing {
			if err := json.Unmarshal(raw, &names); err != nil {
				v.o.Log.ErrorContext(ctx, "a name in the inventory is damaged and begun anew", "key", at, "err", err)
				names = nil
			}
		}
		if i, found := slices.BinarySearch(names, key); found || i >= maxNamesakes {
			v.cache.put(at, entry{names: names, revision: rev, read: v.o.Now()})
			return nil
		} else if names = slices.Insert(names, i, key); len(names) > maxNamesakes {
			names = names[:maxNamesakes]
		}
		value, err := json.Marshal(names)
		if err != nil {
			return err
		}
		if missing {
			rev, err = v.o.Table.Create(ctx, at, value)
		} else {
			rev, err = v.o.Table.Update(ctx, at, value, rev)
		}
		if err == nil {
			v.cache.put(at, entry{names: names, revision: rev, read: v.o.Now()})
			return nil
		}
		v.cache.drop(at)
		if !errors.Is(err, v.o.Conflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// named returns the keys of the resources that have had the ARN.
func (v *Inventory) named(ctx context.Context, arn string) ([]string, error) {
	at := nameKey(arn)
	if e, ok := v.known(at); ok {
		return e.names, nil
	}
	raw, rev, err := v.o.Table.Get(ctx, at)
	if errors.Is(err, v.o.NotFound) {
		v.cache.put(at, entry{read: v.o.Now()})
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inventory: read the name %s: %w", arn, err)
	}
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil {
		return nil, fmt.Errorf("inventory: read the name %s: %w", arn, err)
	}
	v.cache.put(at, entry{names: names, revision: rev, read: v.o.Now()})
	return names, nil
}
