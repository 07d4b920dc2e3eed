package event

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// What a Config item tells of its change.
const (
	Created = "create"
	Updated = "update"
	Deleted = "delete"
	// Related says that nothing changed but what the resource hangs together with:
	// one change reaches every neighbour as an item of its own.
	Related = "relationships"
	// Unchanged says that the difference is one of order alone.
	Unchanged = "none"
)

// Change says what a Config item tells of its change, and which properties did:
// the sorted keys of its difference, such as Configuration.IpPermissions.0. Lists
// are compared as sets, because Config tells of one in another order as of
// elements deleted and created. Snapshots and history files do not tell: "".
func (e *Event) Change() (kind string, properties []string) {
	diff, _ := e.Value(ConfigDiff).(map[string]any)
	changed, _ := diff["changedProperties"].(map[string]any)
	properties = changedProperties(changed)
	if !e.ConfigExists() {
		return Deleted, properties
	}
	word, _ := diff["changeType"].(string)
	if word == "" {
		word = e.Text(ConfigChangeType)
	}
	switch strings.ToUpper(word) {
	case "CREATE":
		return Created, properties
	case "DELETE":
		return Deleted, properties
	case "NONE":
		return Unchanged, properties
	case "UPDATE":
		return updated(len(changed) > 0, properties), properties
	}
	return "", properties
}

// ConfigExists reports whether an item is of a resource that still exists.
func (e *Event) ConfigExists() bool {
	switch e.Text(ConfigStatus) {
	case "ResourceDeleted", "ResourceDeletedNotRecorded":
		return false
	}
	return true
}

// Incomplete reports whether a Config item has no more than its summary: its
// notification was too large, and what it left out was not read.
func (e *Event) Incomplete() bool {
	return e.Kind == ConfigItem && strings.HasPrefix(e.Text(ConfigMessageType), "OversizedConfigurationItemChange") && !e.Has(ConfigConfiguration)
}

// updated names an update by what is left of its difference.
func updated(told bool, properties []string) string {
	switch {
	case !told:
		return Updated // without a difference it may be anything
	case len(properties) == 0:
		return Unchanged
	case slices.ContainsFunc(properties, func(p string) bool { return p != "Relationships" && !strings.HasPrefix(p, "Relationships.") }):
		return Updated
	}
	return Related
}

// changedProperties are the keys of a difference that are left when, in each
// list, what left it and what came into it are set off against one another.
func changedProperties(changed map[string]any) []string {
	type place struct{ list, value string }
	gone, come := map[place][]string{}, map[place][]string{}
	left := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		property, _ := changed[key].(map[string]any)
		before, after := property["previousValue"], property["updatedValue"]
		if before != nil {
			at := place{listOf(key), canonical(before)}
			gone[at] = append(gone[at], key)
		}
		if after != nil {
			at := place{listOf(key), canonical(after)}
			come[at] = append(come[at], key)
		}
		if before == nil && after == nil {
			left[key] = true // it changed, and how is not said
		}
	}
	for at, keys := range gone {
		for _, k := range keys[min(len(keys), len(come[at])):] {
			left[k] = true
		}
	}
	for at, keys := range come {
		for _, k := range keys[min(len(keys), len(gone[at])):] {
			left[k] = true
		}
	}
	return slices.Sorted(maps.Keys(left))
}

// listOf is a key without its index: Configuration.IpPermissions of
// Configuration.IpPermissions.0, and the whole key where it ends in none.
func listOf(key string) string {
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		if _, err := strconv.ParseUint(key[i+1:], 10, 32); err == nil {
			return key[:i]
		}
	}
	return key
}

// canonical writes a value so that equal ones are written alike; Config writes
// some objects as JSON inside a string.
func canonical(v any) string {
	b, err := json.Marshal(openString(v))
	if err != nil {
		return ""
	}
	return string(b)
}
