package proof

import (
	"math"
	"sync"
	"time"
)

// moment is a time since the run began.
type moment time.Duration

// never is when something ends whose answer did not come: it may take effect at
// any time, or not at all.
const never = moment(math.MaxInt64 / 4)

// span is from just before a question was sent to just after its answer came.
type span struct{ call, ret moment }

// login is one person's way through a sign-in, with one browser.
type login struct {
	id       int
	begun    span   // GET /login
	proven   span   // when the password was given: now, or in an earlier login of this browser
	finished span   // GET /callback
	sub, sid string // at the OP
	cookie   string // empty if no session came of it
	session  string // the public id
	doors    [2]int // the replicas at which it began and was finished
	// astray says that the clock of one of them was off: it may not find the
	// OP's auth_time plausible.
	astray bool
}

// check is one question to a guard that was answered.
type check struct {
	login   *login
	replica int
	span
	status int
	reason string
	sub    string // who the guard says it is
}

// door is by whom sessions are ended.
type door string

const (
	byToken    door = "logout token"
	byUser     door = "the user"
	byOperator door = "an operator"
	byOP       door = "refused refresh"
	byLoss     door = "loss of the log"
)

// ending is one attempt to end sessions: those with this sid, or with this sub,
// or both, or one session, or all.
type ending struct {
	door             door
	sid, sub         string
	session          string
	all              bool
	jti              string
	minted           moment // when the token was made; zero where there is none
	first            moment // when it was first sent: the log may have it since, and then covers nobody begun later
	replica          int
	span             // ret is never where it was not answered
	status           int
	complete, listed bool // Curfew-Fence: complete; verified, whatever the log said
}

// history is what happened, as seen from outside.
type history struct {
	began time.Time

	mu      sync.Mutex
	logins  []*login // those that became sessions
	failed  int      // and those that did not
	checks  []check
	endings []*ending
	spent   []presented
	severed []moment // when a replica's way to the OP was cut
	faults  []*fault
}

func newHistory() *history {
	return &history{began: time.Now()}
}

func (h *history) now() moment { return moment(time.Since(h.began)) }

// at is the moment of a time of this process's clock.
func (h *history) at(t time.Time) moment { return moment(t.Sub(h.began)) }

func (h *history) addLogin(l *login) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.cookie == "" {
		h.failed++
		return
	}
	h.logins = append(h.logins, l)
}

func (h *history) addCheck(c check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, c)
}

func (h *history) addEnding(e *ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endings = append(h.endings, e)
}

// addFault notes that a fault begins, at some replica if one is named. What it
// returns notes that the fault is over.
func (h *history) addFault(kind string, replica ...int) (over func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &fault{kind: kind, replica: replica, span: span{h.now(), never}}
	h.faults = append(h.faults, f)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		f.ret = h.now()
	}
}

func (h *history) addSevered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.severed = append(h.severed, h.now())
}

func (h *history) addPresented(p presented) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spent = append(h.spent, p)
}

// fault is one deed of the nemesis.
type fault struct {
	kind    string
	replica []int // to which it was done; none if it was done to something else
	span
}

// presented is one refresh token that was shown to the OP.
type presented struct {
	token string
	at    moment
	// answered says that the OP gave the answer, so far as it knows.
	answered bool
	granted  bool
}

// scope says whether an ending covers a login.
type scope uint8

const (
	outside scope = iota // it must not
	unsure               // it may
	covered              // it must
)

// tick is how exact the times in tokens are.
const tick = moment(time.Second)

// covers goes by the contract, and by what can be seen from outside: a login
// that had begun before the ending was sent is covered, one begun after the
// answer is not. A sub alone covers those who had proven who they are by the
// time that the token was made.
func (e *ending) covers(l *login) scope {
	if !e.names(l) || l.begun.call > e.ret {
		return outside
	}
	bounded := e.sub != "" && e.sid == "" && e.door == byToken
	switch {
	case bounded && l.proven.call > e.minted+tick && !l.astray:
		return outside
	case e.door == byLoss && l.finished.ret >= e.call:
		return unsure // it may yet be finished in the log that took the place
	case bounded && l.proven.call > e.minted+tick:
		return unsure
	case l.begun.ret >= e.call, e.first > 0 && l.begun.ret >= e.first, bounded && l.proven.ret >= e.minted:
		return unsure
	default:
		return covered
	}
}

// again is an ending to be sent once more.
func (e *ending) again() *ending {
	return &ending{door: e.door, sid: e.sid, sub: e.sub, jti: e.jti, minted: e.minted, first: e.first}
}

func (e *ending) names(l *login) bool {
	switch {
	case e.all:
		return true
	case e.session != "":
		return e.session == l.session
	case e.sid != "" && l.sid != "":
		return e.sid == l.sid && (e.sub == "" || e.sub == l.sub)
	default:
		return e.sub != "" && e.sub == l.sub
	}
}
