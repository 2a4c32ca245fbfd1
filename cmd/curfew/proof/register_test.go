package proof

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// A session is a register at each replica: a login writes it, an ending wipes it
// for good, a check reads it. The promises 1, 4 and 5 ask that there be an order
// of these, in keeping with when each was asked and answered, in which every
// check reads what was written last.
//
// An ending takes effect at a replica before it has been answered as complete;
// one that was answered otherwise, or not at all, at any time, or never.

// act is one operation on a register.
type act uint8

const (
	actBegin  act = iota // the login begins
	actFinish            // a cookie is handed out
	actEnd
	actLetIn
	actRefused // as one whose session is over
)

// A register's states.
const (
	nothing = iota
	underway
	stands
	over
)

// registerModel is the register in porcupine's terms.
var registerModel = porcupine.Model{
	Init: func() any { return nothing },
	Step: func(state, input, _ any) (bool, any) {
		s, _ := state.(int)
		a, _ := input.(act)
		return step(s, a)
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
}

func step(state int, a act) (bool, any) {
	switch a {
	case actBegin:
		return state == nothing, underway
	case actFinish:
		// A logout that came while the login was under way may have ended it
		// already: the cookie is worth nothing then.
		return state != nothing, max(state, stands)
	case actEnd:
		if state == nothing {
			return true, nothing // begun after it, and so not covered
		}
		return true, over
	case actLetIn:
		return state == stands, state
	default:
		return state == over, state
	}
}

// replicaSession is what a register is about.
type replicaSession struct {
	login   *login
	replica int
}

// partition sorts a history into registers.
func (h *history) partition() map[replicaSession][]porcupine.Operation {
	registers := make(map[replicaSession][]porcupine.Operation)
	for _, c := range h.checks {
		var a act
		switch {
		case c.status == 200:
			a = actLetIn
		case c.reason == "idle" || c.reason == "expired":
			// For itself a replica may think so whose clock is off. That it ends
			// nobody for good is seen when all is well again.
			continue
		case c.reason == "no_session" && h.losing(c.span):
			// It has yet to notice that the log is another, and does not know who
			// has signed in since.
			continue
		case c.status == 401:
			a = actRefused
		default:
			continue // unsure, which promises nothing
		}
		key := replicaSession{c.login, c.replica}
		registers[key] = append(registers[key], operation(a, c.span))
	}
	ends := h.endsByLogin()
	for key := range registers {
		registers[key] = append(registers[key], operation(actBegin, key.login.begun), operation(actFinish, key.login.finished))
		for _, when := range decisive(ends[key.login]) {
			registers[key] = append(registers[key], operation(actEnd, when))
		}
	}
	return registers
}

// losing reports whether the log was lost less than a lease before, or while, a
// question was answered.
func (h *history) losing(s span) bool {
	return slices.ContainsFunc(h.endings, func(e *ending) bool { return e.door == byLoss && e.call < s.ret && s.call < e.ret })
}

// lastLoss is when the last lease ended in a log that was lost; zero if none was.
func (h *history) lastLoss() (last moment) {
	for _, e := range h.endings {
		if e.door == byLoss {
			last = max(last, e.ret)
		}
	}
	return last
}

// endsByLogin finds the endings that concern each login.
func (h *history) endsByLogin() map[*login][]span {
	named := newDirectory(h.logins)
	ends := make(map[*login][]span)
	for _, e := range h.endings {
		for _, l := range named.of(e) {
			when := e.span
			switch scope := e.covers(l); {
			case scope == outside:
				continue
			case scope == unsure || !e.complete:
				when.ret = never
			}
			ends[l] = append(ends[l], when)
		}
	}
	return ends
}

// decisive are those of a session's ends that matter, two at the most. What is
// over stays so: by the end that was complete first it must be over, and since
// the end that was sent first it may be. All others allow and forbid nothing
// beside these, and would have porcupine try them in every order: a person who
// signs in and out all day leaves hundreds.
func decisive(ends []span) []span {
	if len(ends) == 0 {
		return nil
	}
	must, may := span{ret: never}, span{call: never, ret: never}
	for _, e := range ends {
		may.call = min(may.call, e.call)
		if e.ret < must.ret {
			must = e
		}
	}
	if must.ret == never {
		return []span{may}
	}
	return []span{must, may}
}

// directory finds logins by the names that endings use.
type directory map[string][]*login

func newDirectory(logins []*login) directory {
	d := make(directory)
	for _, l := range logins {
		for _, name := range []string{"all", "sid " + l.sid, "sub " + l.sub, "session " + l.session} {
			d[name] = append(d[name], l)
		}
	}
	return d
}

// of lists the logins that an ending names, and perhaps more.
func (d directory) of(e *ending) []*login {
	switch {
	case e.all:
		return d["all"]
	case e.session != "":
		return d["session "+e.session]
	case e.sid != "":
		return d["sid "+e.sid]
	default:
		return d["sub "+e.sub]
	}
}

func operation(a act, s span) porcupine.Operation {
	return porcupine.Operation{Input: a, Call: int64(s.call), Return: int64(s.ret)}
}

// registers holds every session at every replica against the model.
func registers(h *history) (violations []violation) {
	for key, operations := range h.partition() {
		verdict := porcupine.CheckOperationsTimeout(registerModel, operations, 20*time.Second)
		switch verdict {
		case porcupine.Illegal:
			violations = append(violations, explain(h, key, operations))
		case porcupine.Unknown:
			violations = append(violations, violation{0, fmt.Sprintf("session %s at replica %d: not decided in time", key.login.session, key.replica)})
		}
	}
	return violations
}

// explain finds the promise that a register without an order breaks.
func explain(h *history, key replicaSession, operations []porcupine.Operation) violation {
	without := func(a act) bool {
		rest := slices.DeleteFunc(slices.Clone(operations), func(o porcupine.Operation) bool { return o.Input == a })
		return porcupine.CheckOperations(registerModel, rest)
	}
	where := fmt.Sprintf("session %s (login %d) at replica %d: ", key.login.session, key.login.id, key.replica)
	switch {
	case !without(actRefused):
		return violation{1, where + "let in after its end was complete" + h.story(key)}
	case !without(actLetIn):
		return violation{5, where + "refused as over, and nothing had ended it" + h.story(key)}
	default:
		return violation{4, where + "let in after it had been refused as over" + h.story(key)}
	}
}
