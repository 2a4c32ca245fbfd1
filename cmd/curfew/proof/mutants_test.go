package proof

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// mutant is curfew with a promise broken on purpose.
type mutant struct {
	name    string
	breaks  []int // the promises that the judge finds broken
	faults  []string
	changes []change
}

// mutants are each found out by the judge, or the proof proves nothing. What
// each is for stands in docs/guarantees.md, under its name.
var mutants = []mutant{
	{"remembers the jti before it has the logout", []int{1, 3}, []string{"replica and brokers parted", "replica is not heard by the brokers"}, []change{
		{"backchannel/handler.go", "	fence, err := h.Logouts.Receive(ctx, logout)\n", `	if _, again := seen.LoadOrStore(logout.JTI, true); again {
		w.Header().Set("Curfew-Fence", "complete")
		return
	}
	fence, err := h.Logouts.Receive(ctx, logout)
`},
		{"backchannel/handler.go", "	\"strconv\"\n", "	\"strconv\"\n	\"sync\"\n"},
		{"backchannel/handler.go", "// logError says", "var seen sync.Map\n\n// logError says"},
		{"sessions/logouts.go", "	if l.Backlog != nil {\n", "	if false {\n"},
	}},
	{"confirms before it applies", []int{1}, nil, []change{
		{"cmd/curfew/follow.go", "	changes := a.registry.Apply(batch)\n	a.announce(batch)\n",
			"	a.announce(batch)\n	time.Sleep(100 * time.Millisecond)\n	changes := a.registry.Apply(batch)\n"},
	}},
	{"believes in its lease for ever", []int{1, 2}, []string{"replica and brokers parted", "replica hears nothing of the brokers"}, []change{
		{"sessions/lease.go", "	return proven && age < l.Length-l.Length/rate\n", "	return proven && age >= 0\n"},
	}},
	{"measures its lease on one clock that stands still", []int{1, 2}, []string{"machine suspended"}, []change{
		{"cmd/curfew/clock.go", "time.Duration(boot.Nano())", "time.Duration(boot.Nano() - skew[1].Load())"},
		{"sessions/lease.go", "max(now.Boot-then.Boot, now.Wall.Sub(then.Wall), 0)", "max(now.Boot-then.Boot, 0)"},
	}},
	{"writes a refresh over whatever is there", []int{1, 2, 4}, []string{"OP slow"}, []change{
		{"sessions/refreshed.go", "		if verdict != Alive || !needed(row) {\n", "		if false {\n"},
		{"sessions/refreshed.go", "		row, verdict := r.Registry.Get(id, r.Now())\n", "		row, _ := r.Registry.Get(id, r.Now())\n"},
		{"sessions/registry.go", "	row.Sealed, row.Renewed = at, InstantOf(f.At)\n", "	row.Sealed, row.Renewed = at, InstantOf(f.At)\n	row.Ended, row.Begun = 0, at\n"},
		{"sessions/refreshed.go", "needed func(Row) bool) error {\n", "needed func(Row) bool) error {\n	_ = needed\n"},
	}},
	{"forgets a logout that came before the session", []int{1, 2, 4}, nil, []change{
		{"sessions/registry.go", "	row.Begun = f.Begun\n", "	row.Begun = at\n"},
	}},
	{"answers before the log has the logout", []int{1}, nil, []change{
		{"sessions/logouts.go", "		position, err := take(ctx, event)\n", "		go take(ctx, event)\n		position, err := events.Position(0), error(nil)\n"},
		{"sessions/logouts.go", "	return l.fence(ctx, last), nil\n", "	return Complete, nil\n"},
	}},
	{"waits for no other replica", []int{1}, []string{"replica hears nothing of the brokers", "messages lost"}, []change{
		{"sessions/logouts.go", "	return Fence(l.Fleet.Await(ctx, mark))\n", "	return Complete\n"},
	}},
	{"keeps nothing that the log does not take", []int{3}, []string{"replica is not heard by the brokers", "replica and brokers parted"}, []change{
		{"sessions/logouts.go", "	if l.Backlog != nil {\n", "	if false {\n"},
	}},
	{"leaves the place in the log out of the cookie", []int{5}, []string{"replica hears nothing of the brokers", "messages lost"}, []change{
		{"sessions/rp/start.go", "Secret: secret, Mark: mark}", "Secret: secret}"},
	}},
	{"forgets its sessions with the process", []int{5}, []string{"process killed"}, []change{
		{"cmd/curfew/app.go", "		a.registry.Load(change)\n", ""},
	}},
	{"ends sessions by its own clock alone", []int{5}, []string{"clock set"}, []change{
		{"sessions/ender.go", "	now := e.Stored.earlier(e.Now())\n	return e.endAll", "	now := e.Now()\n	return e.endAll"},
	}},
	{"refreshes without a claim", []int{6}, nil, []change{
		{"sessions/refresh.go", "		at, err := r.append(ctx, events.NewEvent(fact, r.Replica, now), events.IfLast(last))\n", "		_ = fact\n		at, err := last, error(nil)\n"},
	}},
	{"ends the session where its own refresh may have spent the token", []int{6}, []string{"OP's answers lost"}, []change{
		{"sessions/refresh.go", "	case c.row.doubtful():\n", "	case false:\n"},
	}},
}

// rounds is how often people and faults go on at most: for a mutant to do wrong,
// and in a run in which too little happened.
const rounds = 12

func TestJudgeFindsEachMutantOut(t *testing.T) {
	if testing.Short() {
		t.Skip("to build a mutant and watch it takes its time")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := setting{
				program: build(t, m.changes...), seed: rand.Uint64(), replicas: 3, people: 20, workers: 16,
				lease: 2 * time.Second, length: 6 * time.Second, faults: append([]string{"none"}, m.faults...), lenient: slices.Contains(m.breaks, 6),
			}
			t.Logf("replay the dice with seed %d", s.seed)
			h := newHouse(t, s)
			for n := range rounds {
				for _, v := range h.round(t) {
					if slices.Contains(m.breaks, v.promise) {
						t.Logf("found out in round %d: %s", n+1, v)
						return
					}
					t.Logf("in round %d, beside what it is for: %s", n+1, v)
				}
			}
			t.Errorf("nobody noticed that it %s, in %d rounds\n%s", m.name, rounds, h.report(nil))
		})
	}
}

// The table on the page names each mutant, and what it breaks.
func TestPageNamesEachMutant(t *testing.T) {
	page, err := os.ReadFile(abs(t, root, "docs/guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		if row := fmt.Sprintf("| %s | %s |", m.name, joined(m.breaks)); !strings.Contains(string(page), row) {
			t.Errorf("docs/guarantees.md lacks this row: %s", row)
		}
	}
	if n := strings.Count(string(page), "\n| "); n < len(mutants) {
		t.Errorf("%d rows, for %d mutants", n, len(mutants))
	}
}

func joined(promises []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(promises), " ", ", "), "[]")
}
