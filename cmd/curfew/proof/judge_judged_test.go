package proof

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"curfew/events"
)

// at is a moment in milliseconds.
func at(ms int) moment { return moment(time.Duration(ms) * time.Millisecond) }

// between is a span in milliseconds.
func between(call, ret int) span { return span{at(call), at(ret)} }

// signedIn is a login between 10 and 40, with the password given at 20.
func signedIn() *login {
	return &login{
		id: 1, begun: between(10, 15), proven: between(19, 20), finished: between(30, 40),
		sub: "ada", sid: "s1", cookie: "c", session: "01a2178c-1458-79f9-88ad-8dcac6bc7311",
	}
}

func saw(l *login, replica, call, ret, status int) check {
	c := check{login: l, replica: replica, span: between(call, ret), status: status, sub: l.sub}
	if status == 401 {
		c.reason = "ended"
	}
	return c
}

// The judge reads histories that somebody else has read before.
func TestRegisters(t *testing.T) {
	l := signedIn()
	out := func(call, ret int, complete bool) *ending {
		return &ending{door: byToken, sid: "s1", minted: at(call), first: at(call), span: between(call, ret), status: 200, complete: complete}
	}
	for name, tt := range map[string]struct {
		endings []*ending
		checks  []check
		breaks  int // a promise, or none
	}{
		"let in":                               {nil, []check{saw(l, 0, 50, 51, 200), saw(l, 1, 50, 51, 200)}, 0},
		"refused for nothing":                  {nil, []check{saw(l, 0, 50, 51, 401)}, 5},
		"idle, as one clock has it":            {nil, []check{{login: l, span: between(50, 51), status: 401, reason: "idle"}, saw(l, 0, 60, 61, 200)}, 0},
		"not known, as the log was lost":       {[]*ending{{door: byLoss, all: true, span: between(1, 55), complete: true}}, []check{{login: l, span: between(50, 51), status: 401, reason: "no_session"}, saw(l, 0, 60, 61, 200)}, 0},
		"not known, long after the loss":       {[]*ending{{door: byLoss, all: true, span: between(1, 5), complete: true}}, []check{{login: l, span: between(50, 51), status: 401, reason: "no_session"}, saw(l, 0, 60, 61, 200)}, 5},
		"unsure for nothing":                   {nil, []check{saw(l, 0, 50, 51, 503), saw(l, 0, 60, 61, 200)}, 0},
		"refused after an end":                 {[]*ending{out(60, 70, true)}, []check{saw(l, 0, 50, 51, 200), saw(l, 0, 80, 81, 401)}, 0},
		"let in after a complete end":          {[]*ending{out(60, 70, true)}, []check{saw(l, 1, 80, 81, 200)}, 1},
		"let in after a pending end":           {[]*ending{out(60, 70, false)}, []check{saw(l, 1, 80, 81, 200)}, 0},
		"let in while the end is under way":    {[]*ending{out(60, 90, true)}, []check{saw(l, 1, 80, 81, 200), saw(l, 0, 80, 81, 401)}, 0},
		"asked before the answer, told after":  {[]*ending{out(60, 70, true)}, []check{saw(l, 1, 65, 90, 200)}, 0},
		"let in after having been refused":     {[]*ending{out(60, 70, false)}, []check{saw(l, 0, 75, 76, 401), saw(l, 0, 80, 81, 200)}, 4},
		"refused here and let in there":        {[]*ending{out(60, 70, false)}, []check{saw(l, 0, 75, 76, 401), saw(l, 1, 80, 81, 200)}, 0},
		"refused before the end was sent":      {[]*ending{out(60, 70, true)}, []check{saw(l, 0, 50, 51, 401)}, 5},
		"let in, ended before the login began": {[]*ending{out(1, 5, true)}, []check{saw(l, 0, 50, 51, 200)}, 0},
		"refused, ended before it began":       {[]*ending{out(1, 5, true)}, []check{saw(l, 0, 50, 51, 401)}, 5},
		"ended on its way":                     {[]*ending{out(20, 25, true)}, []check{saw(l, 0, 50, 51, 401)}, 0},
		"ended on its way and let in":          {[]*ending{out(20, 25, true)}, []check{saw(l, 0, 50, 51, 200)}, 1},
		"ended as it began":                    {[]*ending{out(12, 25, true)}, []check{saw(l, 0, 50, 51, 200)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.logins, h.endings, h.checks = []*login{l}, tt.endings, tt.checks
			got := 0
			for _, v := range registers(h) {
				got = v.promise
			}
			if got != tt.breaks {
				t.Errorf("promise %d is broken, want %d", got, tt.breaks)
			}
		})
	}
}

// Whatever is left out decides nothing: porcupine says the same of all ends and of
// those that are decisive.
func TestDecisive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	moments := func() span {
		from := rng.IntN(30)
		return span{at(100 + 10*from), at(100 + 10*from + 1 + rng.IntN(60))}
	}
	verdicts := make(map[bool]int)
	for range 3000 {
		operations := []porcupine.Operation{operation(actBegin, between(10, 15)), operation(actFinish, between(30, 40))}
		for range 1 + rng.IntN(5) {
			a := actLetIn
			if rng.IntN(2) == 0 {
				a = actRefused
			}
			operations = append(operations, operation(a, moments()))
		}
		var ends []span
		for range rng.IntN(5) {
			end := moments()
			if rng.IntN(2) == 0 {
				end.ret = never
			}
			ends = append(ends, end)
		}
		with := func(ends []span) bool {
			all := slices.Clone(operations)
			for _, end := range ends {
				all = append(all, operation(actEnd, end))
			}
			return porcupine.CheckOperations(registerModel, all)
		}
		got, want := with(decisive(ends)), with(ends)
		verdicts[want]++
		if got != want {
			t.Fatalf("%t by the decisive ones of %v, %t by all; with %v", got, ends, want, operations)
		}
	}
	if verdicts[true] < 100 || verdicts[false] < 100 {
		t.Errorf("too few of a kind: %v", verdicts)
	}
}

// An hour of somebody who signs out all day is judged in no time.
func TestManyEndsAreJudged(t *testing.T) {
	l := signedIn()
	h := newHistory()
	h.logins = []*login{l}
	for i := range 400 {
		h.endings = append(h.endings, &ending{door: byOperator, sub: "ada", span: span{at(50 + i), never}, status: 503})
		h.checks = append(h.checks, saw(l, 0, 60+2*i, 61+2*i, 200))
	}
	h.checks = append(h.checks, saw(l, 0, 5000, 5001, 401))
	if found := registers(h); len(found) != 0 {
		t.Errorf("got %v", found)
	}
}

func TestCovers(t *testing.T) {
	l := signedIn()
	late := signedIn()
	late.proven = span{at(3000), at(3010)}
	for name, tt := range map[string]struct {
		ending *ending
		login  *login
		want   scope
	}{
		"by sid":                       {&ending{sid: "s1", span: between(50, 60)}, l, covered},
		"by another sid":               {&ending{sid: "s2", span: between(50, 60)}, l, outside},
		"by sid and another's sub":     {&ending{sid: "s1", sub: "eve", span: between(50, 60)}, l, outside},
		"by sub":                       {&ending{door: byToken, sub: "ada", minted: at(45), span: between(50, 60)}, l, covered},
		"by sub, made too early":       {&ending{door: byToken, sub: "ada", minted: at(45), span: between(5000, 5010)}, late, outside},
		"by sub, made about then":      {&ending{door: byToken, sub: "ada", minted: at(3005), span: between(5000, 5010)}, late, unsure},
		"by an operator":               {&ending{door: byOperator, sub: "ada", span: between(5000, 5010)}, late, covered},
		"sent as the login began":      {&ending{sid: "s1", span: between(12, 60)}, l, unsure},
		"over before the login began":  {&ending{sid: "s1", span: between(1, 9)}, l, outside},
		"sent again, the first before": {&ending{door: byToken, sid: "s1", first: at(5), span: between(50, 60)}, l, unsure},
		"all":                          {&ending{door: byOperator, all: true, span: between(50, 60)}, l, covered},
		"loss of the log":              {&ending{door: byLoss, all: true, span: between(50, 60)}, l, covered},
		"loss before it was finished":  {&ending{door: byLoss, all: true, span: between(35, 60)}, l, unsure},
	} {
		if got := tt.ending.covers(tt.login); got != tt.want {
			t.Errorf("%s: scope %d, want %d", name, got, tt.want)
		}
	}
}

func TestStaleness(t *testing.T) {
	l := signedIn()
	ended := told{seq: 9, at: at(100), event: events.Event{Fact: events.LogoutReceived{Sid: "s1", Reason: events.Admin}}}
	for name, tt := range map[string]struct {
		call   int
		worst  time.Duration
		breaks int
	}{
		"before the end":         {99, 0, 0},
		"within the lease":       {2000, 1900 * time.Millisecond, 0},
		"when the lease is over": {3100, 3 * time.Second, 1},
		"long after the lease":   {9100, 9 * time.Second, 1},
	} {
		h := newHistory()
		h.logins, h.checks = []*login{l}, []check{saw(l, 0, tt.call, tt.call+1, 200)}
		s := staleness(h, []told{ended}, moment(3*time.Second))
		if s.worst != tt.worst || len(s.violations) != tt.breaks {
			t.Errorf("%s: worst %s with %d violations, want %s with %d", name, s.worst, len(s.violations), tt.worst, tt.breaks)
		}
	}
}

func TestRefreshes(t *testing.T) {
	id, err := events.ParseSessionID(signedIn().session)
	if err != nil {
		t.Fatal(err)
	}
	refused := []told{{seq: 9, at: at(100), event: events.Event{Fact: events.Ended{Session: id, Reason: events.RefreshRefused}}}}
	shown := func(ms int, answered bool) presented {
		return presented{token: "r", at: at(ms), answered: answered, granted: ms == 10}
	}
	for name, tt := range map[string]struct {
		spent   []presented
		severed []moment
		log     []told
		revoked bool
		breaks  int
	}{
		"once":                               {[]presented{shown(10, true)}, nil, nil, false, 0},
		"twice at once":                      {[]presented{shown(10, true), shown(20, true)}, nil, nil, false, 1},
		"again, the answer having been lost": {[]presented{shown(10, false), shown(2000, true)}, nil, nil, false, 0},
		"again, when its way was cut":        {[]presented{shown(10, true), shown(2000, true)}, []moment{at(15)}, nil, false, 0},
		"again, when the claim had run out":  {[]presented{shown(10, true), shown(40_000, true)}, nil, nil, false, 0},
		"refused, and the OP had a reason":   {nil, nil, refused, true, 0},
		"refused, and the OP had none":       {nil, nil, refused, false, 1},
	} {
		h := newHistory()
		h.logins, h.spent, h.severed = []*login{signedIn()}, tt.spent, tt.severed
		if tt.revoked {
			h.endings = []*ending{{door: byOP, sid: "s1", span: span{at(50), never}}}
		}
		if got := len(refreshes(h, tt.log)); got != tt.breaks {
			t.Errorf("%s: %d violations, want %d", name, got, tt.breaks)
		}
	}
}

func TestKept(t *testing.T) {
	l := signedIn()
	taken := &ending{door: byToken, sid: "s1", span: span{at(50), never}, status: 503, listed: true}
	lost := &ending{door: byToken, sid: "s1", span: span{at(50), never}}
	for name, tt := range map[string]struct {
		endings []*ending
		status  int
		breaks  int
	}{
		"kept and refused":              {[]*ending{taken}, 401, 0},
		"kept and let in":               {[]*ending{taken}, 200, 3},
		"not answered and let in":       {[]*ending{lost}, 200, 0},
		"not answered and refused":      {[]*ending{lost}, 401, 0},
		"ended by nobody and let in":    {nil, 200, 0},
		"ended by nobody and refused":   {nil, 401, 5},
		"ended by nobody and not known": {nil, 503, 5},
	} {
		h := newHistory()
		h.logins, h.endings = []*login{l}, tt.endings
		got := 0
		for _, v := range kept(h, []check{saw(l, 0, 100, 101, tt.status)}) {
			got = v.promise
		}
		if got != tt.breaks {
			t.Errorf("%s: promise %d is broken, want %d", name, got, tt.breaks)
		}
	}
}
