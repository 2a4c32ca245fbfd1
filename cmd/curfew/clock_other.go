//go:build !linux

package main

import (
	"time"

	"curfew/sessions"
)

// processStart anchors Go's monotonic clock.
var processStart = time.Now()

// readClock reads Go's monotonic clock, which may stand still while the machine
// is suspended, and the time of day, which then has gone on: a lease believes
// whichever has gone further.
func readClock() sessions.Reading {
	return sessions.Reading{Boot: time.Since(processStart), Wall: timeOfDay().Round(0)}
}
