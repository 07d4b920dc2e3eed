package inventory

import (
	"container/list"
	"sync"
	"time"
)

// entry is what was read under a key: a record, or the keys that a name stands
// for, or that there is nothing.
type entry struct {
	record   *record // immutable once here
	names    []string
	revision uint64
	read     time.Time
}

// cache keeps the entries used last, up to a number of bytes.
type cache struct {
	limit int64

	mu    sync.Mutex
	size  int64
	byKey map[string]*list.Element
	used  *list.List // of *cached, the last used first
}

type cached struct {
	key  string
	size int64
	entry
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, byKey: map[string]*list.Element{}, used: list.New()}
}

func (c *cache) get(key string) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[key]
	if !ok {
		return entry{}, false
	}
	c.used.MoveToFront(el)
	return el.Value.(*cached).entry, true
}

// put keeps an entry, unless a later revision of it is there.
func (c *cache) put(key string, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[key]; ok {
		if el.Value.(*cached).revision > e.revision {
			return
		}
		c.remove(el)
	}
	n := &cached{key: key, entry: e, size: weigh(key, e)}
	if n.size > c.limit {
		return
	}
	c.byKey[key] = c.used.PushFront(n)
	for c.size += n.size; c.size > c.limit; {
		c.remove(c.used.Back())
	}
}

func (c *cache) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[key]; ok {
		c.remove(el)
	}
}

func (c *cache) remove(el *list.Element) {
	n := c.used.Remove(el).(*cached)
	delete(c.byKey, n.key)
	c.size -= n.size
}

// weigh is about how many bytes an entry holds.
func weigh(key string, e entry) int64 {
	size := 256 + 2*len(key)
	for _, n := range e.names {
		size += 16 + len(n)
	}
	if e.record != nil {
		size += 256
		for _, v := range e.record.Versions {
			size += 256 + v.Blob
		}
	}
	return int64(size)
}
