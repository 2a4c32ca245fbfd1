// Package sessions says what becomes of a session: what the events of the log
// add up to, whom a logout covers, and whether this replica may still trust
// what it knows.
//
// The adding up is a fold with one law: the same events give the same answer,
// in whatever order they are applied, once or twice, whole or with superseded
// ones missing. It holds because nothing is ever set back. A session's start is
// written once; of its refreshes, its uses and the claims of a refresh the one
// latest in the log counts; an end is never undone; and a logout is not a change to the sessions it covers but a
// tombstone beside them, which is asked for at each look. So no event, however
// late, brings a session back.
//
// Nothing here does I/O, reads a clock or sleeps: times come in as arguments or
// through a Clock.
package sessions
