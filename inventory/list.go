package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"riposte/event"
)

// Filter chooses resources; an empty member takes all.
type Filter struct{ Account, Region, Type string }

func (f Filter) takes(i identity) bool {
	return (f.Account == "" || f.Account == i.account) && (f.Region == "" || f.Region == i.region) && (f.Type == "" || strings.EqualFold(f.Type, i.typ))
}

// Each calls do with the latest state of every resource that the filter takes, by
// account, region, type and id.
func (v *Inventory) Each(ctx context.Context, f Filter, do func(*event.Resource) error) error {
	keys, err := v.o.Table.Keys(ctx)
	if err != nil {
		return fmt.Errorf("inventory: list: %w", err)
	}
	for _, key := range keys {
		if id, ok := parseKey(key); ok && !f.takes(id) || !ok && !strings.HasPrefix(key, "h/") {
			continue
		}
		r, err := v.record(ctx, key)
		if err != nil {
			return err
		}
		if r == nil || !f.takes(identity{account: r.Account, region: r.Region, typ: r.Type}) {
			continue
		}
		state, err := v.codec.state(r, len(r.Versions)-1)
		if err != nil {
			return err
		}
		if err := do(state); err != nil {
			return err
		}
	}
	return nil
}

// History returns the versions that are kept of the resources with the ARN, or,
// where kind is given, with the type and id in any account and region: the
// oldest first.
func (v *Inventory) History(ctx context.Context, kind, id string) ([]*event.Resource, error) {
	keys, err := v.find(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	var out []*event.Resource
	for _, key := range keys {
		r, err := v.record(ctx, key)
		if err != nil {
			return nil, err
		}
		if r == nil || kind != "" && (!strings.EqualFold(r.Type, kind) || r.ID != id) {
			continue
		}
		for n := range r.Versions {
			state, err := v.codec.state(r, n)
			if err != nil {
				return nil, err
			}
			out = append(out, state)
		}
	}
	slices.SortStableFunc(out, func(a, b *event.Resource) int { return a.Captured.Compare(b.Captured) })
	return out, nil
}

func (v *Inventory) find(ctx context.Context, kind, id string) ([]string, error) {
	if kind == "" {
		return v.named(ctx, id)
	}
	keys, err := v.o.Table.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("inventory: list: %w", err)
	}
	return slices.DeleteFunc(keys, func(key string) bool {
		i, ok := parseKey(key)
		return ok && (!strings.EqualFold(i.typ, kind) || i.id != id) || !ok && !strings.HasPrefix(key, "h/")
	}), nil
}
