package main

import (
	"time"

	"golang.org/x/sys/unix"

	"curfew/sessions"
)

// readClock reads CLOCK_BOOTTIME, which goes on while the machine is suspended,
// and the time of day.
func readClock() sessions.Reading {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		// Linux has had this clock since 2.6.39 (2011); without it no lease can
		// be trusted.
		panic("curfew: CLOCK_BOOTTIME: " + err.Error())
	}
	return sessions.Reading{Boot: time.Duration(boot.Nano()), Wall: timeOfDay().Round(0)}
}
