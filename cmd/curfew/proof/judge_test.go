package proof

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"curfew/events"
)

// violation is a promise of docs/guarantees.md that was broken, by its number;
// zero is for what the judge does not know how to read.
type violation struct {
	promise int
	what    string
}

func (v violation) String() string { return fmt.Sprintf("promise %d: %s", v.promise, v.what) }

// told is what the log took, as a witness read it there.
type told struct {
	log     time.Time // when it was made: one that was lost is another
	seq     uint64
	subject string
	at      moment // when the log took it
	event   events.Event
}

// judge finds all that is wrong with a run.
func judge(h *history, log []told, lease time.Duration) []violation {
	return slices.Concat(
		registers(h),
		staleness(h, log, moment(lease)).violations,
		endedOnce(log),
		refreshes(h, log),
		mixedUp(h),
	)
}

// stale is how late a replica let somebody in.
type stale struct {
	worst      time.Duration // since the log had the end
	overdue    time.Duration // since the end was answered as complete
	violations []violation
}

// staleness holds promise 2: nobody is let in for longer than the lease after
// the log has the end of the session. The time of the question counts, which is
// before the guard's answer.
func staleness(h *history, log []told, lease moment) (s stale) {
	dead := deadlines(h, log)
	for _, c := range h.checks {
		if c.status != 200 {
			continue
		}
		at, ended := dead[c.login]
		if !ended || c.call < at {
			continue
		}
		late := c.call - at
		s.worst = max(s.worst, time.Duration(late))
		if late >= lease {
			s.violations = append(s.violations, violation{2, fmt.Sprintf(
				"session %s (login %d) let in by replica %d at %s, %s after the log had its end%s",
				c.login.session, c.login.id, c.replica, c.call, time.Duration(late), h.story(replicaSession{c.login, c.replica}))})
		}
	}
	s.overdue = overdue(h)
	return s
}

// overdue is how long after a complete answer anybody was last let in.
func overdue(h *history) (worst time.Duration) {
	answered := make(map[*login]moment)
	named := newDirectory(h.logins)
	for _, e := range h.endings {
		if !e.complete {
			continue
		}
		for _, l := range named.of(e) {
			if before, known := answered[l]; e.covers(l) == covered && (!known || e.ret < before) {
				answered[l] = e.ret
			}
		}
	}
	for _, c := range h.checks {
		if at, ended := answered[c.login]; ended && c.status == 200 && c.call > at {
			worst = max(worst, time.Duration(c.call-at))
		}
	}
	return worst
}

// deadlines tells when the log had the first end of each session, for those
// that such an end surely covers.
func deadlines(h *history, log []told) map[*login]moment {
	named := newDirectory(h.logins)
	minted := make(map[string]moment)
	for _, e := range h.endings {
		minted[e.jti] = e.minted
	}
	dead := make(map[*login]moment)
	for _, t := range log {
		e := t.ending(minted)
		if e == nil {
			continue
		}
		for _, l := range named.of(e) {
			if before, known := dead[l]; e.covers(l) == covered && (!known || t.at < before) {
				dead[l] = t.at
			}
		}
	}
	return dead
}

// ending is an event as an attempt that took effect when the log took it.
func (t told) ending(minted map[string]moment) *ending {
	e := &ending{door: byOperator, span: span{t.at, t.at}, complete: true}
	switch fact := t.event.Fact.(type) {
	case events.Ended:
		e.session = fact.Session.String()
	case events.LogoutReceived:
		e.sid, e.sub, e.all = fact.Sid, fact.Sub, fact.All
		if fact.Reason == events.Backchannel {
			e.door, e.minted = byToken, minted[fact.JTI]
		}
	default:
		return nil
	}
	return e
}

// endedOnce holds that each session's end is written once in a log. What was in
// a lost one may be said again in that which took its place.
func endedOnce(log []told) (violations []violation) {
	type place struct {
		log     int64
		subject string
	}
	first := make(map[place]uint64)
	for _, t := range log {
		if _, end := t.event.Fact.(events.Ended); !end {
			continue
		}
		where := place{t.log.UnixNano(), t.subject}
		if before, again := first[where]; again && before != t.seq {
			violations = append(violations, violation{4, fmt.Sprintf("%s was written twice, at %d and %d", t.subject, before, t.seq)})
		}
		first[where] = t.seq
	}
	return violations
}

// holds is less than a claim does: within that time nobody may show the OP a
// refresh token again that it has taken and answered.
const holds = moment(25 * time.Second)

// refreshes holds promise 6.
func refreshes(h *history, log []told) (violations []violation) {
	taken := make(map[string]presented)
	for _, p := range h.spent {
		before, again := taken[p.token]
		if again && before.answered && p.at-before.at < holds && !h.severedIn(before.at, p.at) {
			violations = append(violations, violation{6, fmt.Sprintf(
				"a refresh token was spent at %s and shown again at %s", before.at, p.at)})
		}
		if p.granted {
			taken[p.token] = p
		}
	}
	revoked := make(map[string]bool)
	named := newDirectory(h.logins)
	for _, e := range h.endings {
		if e.door != byOP {
			continue
		}
		for _, l := range named.of(e) {
			revoked[l.session] = true
		}
	}
	for _, t := range log {
		ended, end := t.event.Fact.(events.Ended)
		if end && ended.Reason == events.RefreshRefused && !revoked[ended.Session.String()] {
			violations = append(violations, violation{6, fmt.Sprintf(
				"session %s was ended at %s by a refresh that the OP had no reason to refuse", ended.Session, t.at)})
		}
	}
	return violations
}

// severedIn reports whether an answer of the OP may have been lost on its way.
func (h *history) severedIn(from, to moment) bool {
	return slices.ContainsFunc(h.severed, func(at moment) bool { return from <= at && at <= to })
}

// mixedUp holds that nobody is taken for somebody else.
func mixedUp(h *history) (violations []violation) {
	for _, c := range h.checks {
		if c.status == 200 && c.sub != c.login.sub {
			violations = append(violations, violation{0, fmt.Sprintf(
				"replica %d takes login %d, of %q, for %q", c.replica, c.login.id, c.login.sub, c.sub)})
		}
	}
	return violations
}

// kept holds promise 3, and the half of 5 that wants an answer, when all is well
// again: whoever was surely ended by somebody is refused at every replica, and
// whoever was ended by nobody is let in. last are the checks made then, of every
// login at every replica.
func kept(h *history, last []check) (violations []violation) {
	why, perhaps := make(map[*login]*ending), make(map[*login]bool)
	named := newDirectory(h.logins)
	for _, e := range h.endings {
		for _, l := range named.of(e) {
			switch e.covers(l) {
			case outside:
			case covered:
				if e.listed {
					why[l] = e
				}
				fallthrough
			default:
				perhaps[l] = true
			}
		}
	}
	for _, c := range last {
		where := fmt.Sprintf("session %s (login %d) at replica %d, when all was well again: %d %s",
			c.login.session, c.login.id, c.replica, c.status, c.reason)
		switch e := why[c.login]; {
		case e != nil && c.status != 401:
			violations = append(violations, violation{3, fmt.Sprintf("%s, after %s was answered %d at %s by replica %d", where, e.door, e.status, e.ret, e.replica)})
		case e == nil && !perhaps[c.login] && c.status != 200:
			violations = append(violations, violation{5, where + ", and nobody had ended it"})
		}
	}
	return violations
}

// story tells what happened to a session at a replica, and what was broken in
// the ten seconds before it was last let in.
func (h *history) story(key replicaSession) string {
	var lines []string
	add := func(at moment, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%14s ", at)+fmt.Sprintf(format, args...))
	}
	l, last := key.login, key.login.finished
	add(l.begun.call, "login begins at replica %d, until %s", l.doors[0], l.begun.ret)
	add(l.finished.call, "login finished at replica %d, until %s (sub %s, sid %s)", l.doors[1], l.finished.ret, l.sub, l.sid)
	for _, e := range h.endings {
		if e.names(l) && e.covers(l) != outside {
			add(e.call, "%s at replica %d, until %s: %d, complete %t, scope %d", e.door, e.replica, e.ret, e.status, e.complete, e.covers(l))
		}
	}
	for _, c := range h.checks {
		if c.login == l && c.replica == key.replica {
			add(c.call, "checked, until %s: %d %s", c.ret, c.status, c.reason)
			if c.status == 200 && c.call > last.call {
				last = c.span
			}
		}
	}
	from, to := last.call-moment(10*time.Second), last.ret
	for _, f := range h.faults {
		if f.call < to && f.ret > from {
			add(f.call, "fault: %s %v, until %s", f.kind, f.replica, f.ret)
		}
	}
	slices.Sort(lines)
	return "\n" + strings.Join(lines, "\n")
}

// String is the time since the run began, to the tenth of a millisecond.
func (m moment) String() string {
	if m >= never {
		return "never"
	}
	return fmt.Sprintf("%.4fs", time.Duration(m).Seconds())
}
