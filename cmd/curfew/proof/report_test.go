package proof

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// tally is what a run came to, in numbers.
type tally struct {
	letIn, refused, unsure int
	doors                  map[door]int // endings that were answered as done
	complete, pending      int
	later, unanswered      int // endings that were kept for later, or whose answer was lost
	refreshed, refusals    int
	faults                 map[string]int  // by kind
	fences                 []time.Duration // how long complete ones took, in order
}

func (h *house) tally() tally {
	t := tally{doors: make(map[door]int), faults: make(map[string]int)}
	for _, c := range h.history.checks {
		switch c.status {
		case 200:
			t.letIn++
		case 401:
			t.refused++
		default:
			t.unsure++
		}
	}
	for _, e := range h.history.endings {
		t.add(e)
	}
	slices.Sort(t.fences)
	for _, p := range h.history.spent {
		if p.granted {
			t.refreshed++
		} else {
			t.refusals++
		}
	}
	for _, f := range h.history.faults {
		t.faults[f.kind]++
	}
	return t
}

func (t *tally) add(e *ending) {
	if e.door == byOP || e.door == byLoss {
		return
	}
	switch {
	case e.status >= 500:
		t.later++
	case e.ret == never:
		t.unanswered++
	case e.complete:
		t.complete++
		t.doors[e.door]++
		t.fences = append(t.fences, time.Duration(e.ret-e.call))
	default:
		t.pending++
		t.doors[e.door]++
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// report tells what a run came to, for people.
func (h *house) report(found []violation) string {
	t := h.tally()
	late := staleness(h.history, h.witness.log(), moment(h.lease))
	var b strings.Builder
	row := func(what string, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | "+format+" |\n", append([]any{what}, args...)...)
	}
	b.WriteString("# A run of the proof\n\nWhat `make soak` wrote. What it is, and what the promises are: [guarantees](guarantees.md).\n\n")
	fmt.Fprintf(&b, "%s, %d people at it for %s, three brokers, %s.\n\n", h, h.workers, time.Duration(h.people.runs)*h.length, h.history.began.UTC().Format("2006-01-02"))
	b.WriteString("| | |\n|---|---|\n")
	row("promises broken", "**%d**", len(found))
	row("worst time from a complete answer to the last that was let in", "%s", late.overdue)
	row("worst time from the end in the log to the last that was let in", "%s of %s", late.worst.Round(100*time.Microsecond), h.lease)
	row("logouts answered as complete: median, 99 %, longest", "%s, %s, %s",
		quantile(t.fences, .5).Round(100*time.Microsecond), quantile(t.fences, .99).Round(time.Millisecond), quantile(t.fences, 1).Round(time.Millisecond))
	b.WriteString("\n| operations | |\n|---|---:|\n")
	row("sign-ins that became sessions", "%d", len(h.history.logins))
	row("sign-ins that came to nothing", "%d", h.history.failed)
	row("checks: let in", "%d", t.letIn)
	row("checks: refused", "%d", t.refused)
	row("checks: unsure (503)", "%d", t.unsure)
	for _, door := range []door{byToken, byUser, byOperator} {
		row("ended by "+string(door), "%d", t.doors[door])
	}
	row("of these, complete", "%d", t.complete)
	row("and pending: the lease did the rest", "%d", t.pending)
	row("logouts kept for later (503)", "%d", t.later)
	row("logouts without an answer", "%d", t.unanswered)
	row("refresh tokens taken by the OP", "%d", t.refreshed)
	row("refresh tokens refused by it", "%d", t.refusals)
	b.WriteString("\n| faults | |\n|---|---:|\n")
	for _, kind := range slices.Sorted(maps.Keys(t.faults)) {
		row(kind, "%d", t.faults[kind])
	}
	return b.String()
}
