package proof

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	forFlag    = flag.Duration("for", 15*time.Second, "how long people and faults go on in TestPromises")
	seedFlag   = flag.Uint64("seed", 0, "replay the dice of a run; 0 takes new ones")
	faultsFlag = flag.String("faults", "", "the only faults there are, by name, separated by commas")
	reportFlag = flag.String("report", "", "write a report of TestPromises into this file")
)

// TestPromises is the proof: everything at once, and no promise is broken.
func TestPromises(t *testing.T) {
	if testing.Short() {
		t.Skip("the proof takes its time")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay the dice with -seed=%d", seed)
	s := setting{
		program: build(t), seed: seed, replicas: 3 + int(seed%3), people: 40, workers: 24,
		lease: 3 * time.Second, length: *forFlag,
	}
	if s.length >= 3*time.Minute {
		s.wipeEvery = 5 * time.Minute / 2
	}
	if *faultsFlag != "" {
		s.faults = strings.Split(*faultsFlag, ",")
	}
	h := newHouse(t, s)
	found := h.run(t)
	if tame := h.tame(); tame != "" {
		t.Errorf("too tame a run: %s", tame)
	}
	for i, v := range found {
		if i < 10 {
			t.Error(v)
		}
	}
	if len(found) > 0 {
		t.Errorf("%d promises broken, replay the dice with -seed=%d", len(found), seed)
	}
	if h.tally().faults[noStrace] > 0 && os.Getenv("CI") == "true" {
		t.Error("strace is missing: disks were not slowed")
	}
	report := h.report(found)
	t.Log("\n" + report)
	if *reportFlag != "" {
		if err := os.WriteFile(*reportFlag, []byte(report), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// run is a run from beginning to end. It returns what was found. Where the
// faults left people no time to do enough, they get more of it.
func (h *house) run(t *testing.T) []violation {
	found := h.round(t)
	for n := 1; n < rounds && len(found) == 0; n++ {
		tame := h.tame()
		if tame == "" {
			break
		}
		t.Logf("too tame a run so far: %s", tame)
		found = h.round(t)
	}
	found = append(found, h.owed(t)...)
	h.closeDown(t)
	return found
}

// round lets people and the nemesis at it for a while, has all be well again,
// and judges what there is.
func (h *house) round(t *testing.T) []violation {
	ctx, cancel := context.WithTimeout(t.Context(), h.length)
	defer cancel()
	h.people.runs++
	bad := &nemesis{house: h}
	var all sync.WaitGroup
	all.Go(func() { h.people.run(ctx) })
	all.Go(func() { bad.run(ctx) })
	all.Go(func() { h.losses(ctx, bad) })
	all.Wait()
	h.heal()
	h.cluster.AwaitReady()
	// Until then one may be ready by the word of a log that is no more.
	pause(t.Context(), time.Duration(h.history.lastLoss()-h.history.now()))
	h.awaitReady(60 * time.Second)
	last := h.lastLook(t)
	if err := h.witness.readWell(t.Context()); err != nil {
		t.Errorf("the stream is not read: %v", err)
	}
	return append(judge(h.history, h.witness.log(), h.lease), kept(h.history, last)...)
}

// losses has the log lost now and then, and read by the witness before that.
func (h *house) losses(ctx context.Context, bad *nemesis) {
	if h.wipeEvery == 0 {
		return
	}
	for {
		pause(ctx, h.wipeEvery)
		if ctx.Err() != nil {
			return
		}
		// What is not read now will not be there to be read.
		if err := h.witness.read(ctx); err != nil {
			h.t.Logf("before the log is lost: %v", err)
		}
		bad.loseLog()
	}
}

// lastLook looks at all sessions of late at every replica, when all is well.
func (h *house) lastLook(t *testing.T) (last []check) {
	for _, l := range h.people.recent {
		for _, r := range h.replicas {
			c, answered := h.check(t.Context(), l, r)
			if !answered {
				t.Errorf("replica %d does not answer when all is well", r.number)
				continue
			}
			last = append(last, c)
		}
	}
	return last
}

// tame says of what too little happened to prove anything, or nothing.
func (h *house) tame() string {
	sum, least := h.tally(), int(h.length/(10*time.Second))
	var few []string
	need := func(what string, n, least int) {
		if n < least {
			few = append(few, fmt.Sprintf("%s: %d", what, n))
		}
	}
	need("sign-ins", len(h.history.logins), least)
	need("people let in", sum.letIn, least)
	need("people refused", sum.refused, least)
	need("logouts complete", sum.complete, least)
	need("faults", len(h.history.faults), least)
	need("refreshes", sum.refreshed, least)
	if h.wipeEvery > 0 {
		need(lossOfLog, sum.faults[lossOfLog], int(h.length/h.wipeEvery)/2)
	}
	return strings.Join(few, ", ")
}
