package memlog

import (
	"context"

	"curfew/events"
)

// Put puts a message into the log as another hand might: past the codec and
// without a condition. It works on a stopped log too.
func (l *Log) Put(message events.Message) events.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(message)
}

// Records returns all that the log holds and that decodes, in order.
func (l *Log) Records() []events.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var records []events.Record
	for i, e := range l.entries {
		if record, found, err := e.record(events.Position(i + 1)); err == nil && found {
			records = append(records, record)
		}
	}
	return records
}

// Stop makes the log unavailable: nothing is taken, told or handed over until
// Start.
func (l *Log) Stop() { l.change(func() { l.stopped = true }) }

// Start ends what Stop began. Followers begin again where they were.
func (l *Log) Start() { l.change(func() { l.stopped, l.dropped = false, l.dropped+1 }) }

// Hold keeps what is appended from the followers, as a network does that loses
// messages one way, until Release.
func (l *Log) Hold() { l.change(func() { l.held = true }) }

// Release ends what Hold began.
func (l *Log) Release() { l.change(func() { l.held = false }) }

// Drop drops the followers, as a broken connection does. They begin again where
// they were, and are told anew how far the log goes.
func (l *Log) Drop() { l.change(func() { l.dropped++ }) }

// Wipe loses the log. Another, empty one stands in its place.
func (l *Log) Wipe() { l.change(l.reset) }

func (l *Log) change(what func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what()
	l.announce()
}

type listener struct{ said chan applied }

type applied struct {
	instance string
	mark     events.Mark
}

// Announce tells all who listen how far a process has applied the log. A
// listener that is slow by a thousand misses it.
func (l *Log) Announce(instance string, mark events.Mark) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return errUnavailable("announce")
	}
	for listener := range l.listeners {
		select {
		case listener.said <- applied{instance, mark}:
		default: // lost, as on a network
		}
	}
	return nil
}

// Listen hears what is announced from now on, until ctx ends, whose error it
// returns.
func (l *Log) Listen(ctx context.Context, hear func(instance string, applied events.Mark)) error {
	me := &listener{said: make(chan applied, 1024)}
	l.change(func() { l.listeners[me] = struct{}{} })
	defer l.change(func() { delete(l.listeners, me) })
	for {
		select {
		case said := <-me.said:
			hear(said.instance, said.mark)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
