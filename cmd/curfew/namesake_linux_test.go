package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const sharesName = "another process goes by this replica's name"

// Of two processes of one name one lets people in, and the other waits until it
// surely does not any more: the log keeps one heartbeat of a name, by which those
// who answer a logout know whom to wait for.
func TestTwoProcessesOfOneName(t *testing.T) {
	t.Parallel()
	h := newSmallHouse(t, nil, "CURFEW_MAX_STALENESS=3s")
	first := h.replicas[1]
	second := h.start(first.name, "CURFEW_DATA="+filepath.Join(t.TempDir(), "data"))
	eventually(t, "the second says why it waits", func() bool { return strings.Contains(second.told("/readyz"), sharesName) })
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 5*time.Second; <-tick.C {
		if second.isReady() {
			t.Fatal("the second lets people in beside the first")
		}
	}
	if !first.isReady() || strings.Contains(first.said(), sharesName) {
		t.Error("the first is kept from letting people in")
	}
	if n := strings.Count(second.said(), sharesName); n != 1 {
		t.Errorf("the second says so %d times, want once", n)
	}

	first.halt()
	second.ready()
	if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first, which was away, finds the second in its place", func() bool {
		if first.isReady() {
			t.Fatal("the first lets people in again")
		}
		return strings.Contains(first.told("/readyz"), sharesName)
	})
	second.stop()
	first.ready()
}

// A replica that was killed is no reason to wait for itself: nobody else had its
// data folder.
func TestReplicaThatWasKilledIsBackAtOnce(t *testing.T) {
	t.Parallel()
	h := newSmallHouse(t, nil, "CURFEW_MAX_STALENESS=1m")
	for range 2 {
		h.replicas[1].kill()
		began := time.Now()
		h.start(h.replicas[1].name).ready()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
	}
}
