package main

import (
	"math"
	"sync/atomic"
	"time"
)

// latencies counts durations in buckets whose bounds grow by 5 %, from 10 µs to
// minutes: quantiles to that precision, no lock, fixed memory.
type latencies struct {
	buckets [400]atomic.Int64
}

const (
	latencyFloor  = 10 * time.Microsecond
	latencyGrowth = 1.05
)

func (l *latencies) add(d time.Duration) {
	i := 0
	if d > latencyFloor {
		i = int(math.Log(float64(d)/float64(latencyFloor))/math.Log(latencyGrowth)) + 1
	}
	l.buckets[min(i, len(l.buckets)-1)].Add(1)
}

// quantile returns the upper bound of the bucket that holds the q-th part
// (0 < q <= 1); 0 when nothing was added.
func (l *latencies) quantile(q float64) time.Duration {
	var total int64
	for i := range l.buckets {
		total += l.buckets[i].Load()
	}
	want, seen := int64(math.Ceil(q*float64(total))), int64(0)
	for i := range l.buckets {
		if seen += l.buckets[i].Load(); seen >= want && total > 0 {
			return time.Duration(float64(latencyFloor) * math.Pow(latencyGrowth, float64(i)))
		}
	}
	return 0
}
