package main

import "time"

// deadline is when a while from now is over, for a connection: the kernel counts by
// the machine's own clock, which timeOfDay need not be.
func deadline(d time.Duration) time.Time { return time.Now().Add(d) }
