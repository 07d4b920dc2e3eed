package bus

import "time"

// SetAckWait shortens what a test would wait for; before the first consumer.
func (b *Bus) SetAckWait(d time.Duration) { b.ackWait = d }
