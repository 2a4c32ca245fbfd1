package store

import (
	"fmt"
	"runtime/debug"
)

// damage says that the file is not what a store wrote. It is what leads to the
// file being put aside, and is never about the machine or the keys.
type damage struct {
	flaw   Flaw
	reason string
}

func (d *damage) Error() string { return d.reason }

func damaged(format string, arguments ...any) error {
	return &damage{Torn, fmt.Sprintf(format, arguments...)}
}

// agreed asks what to do about a file that is found damaged when it is opened,
// and returns nil if it may be moved aside.
func (c Config) agreed(d *damage) error {
	found := &DamagedError{Flaw: d.flaw, Reason: d.reason}
	if c.Spoilt == nil {
		return found
	}
	return c.Spoilt(found)
}

// contained runs what reads the file through bbolt, which trusts it: in a torn
// one it follows page numbers to where there is no page, and panics or faults.
// Both come back as damage. Everything taken out of the file must be copied
// before fn returns.
//
// A bbolt.DB in which that has happened must not be used again, and not closed
// either: the locks in it may be held for ever.
func contained(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged("%v", p)
		}
	}()
	return fn()
}
