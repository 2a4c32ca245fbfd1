package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"curfew/sessions/rp/optest/realop"
)

// A process that was stopped, with a question before it, while its user was
// signed out elsewhere and its lease ran out, does not wake up and say yes. What
// it is asked is held in its sockets meanwhile, and is the first that it sees.
func TestStoppedProcessRefusesBeforeItsFirstYes(t *testing.T) {
	t.Parallel()
	h := newSmallHouse(t, nil, "CURFEW_MAX_STALENESS=1s")
	stopped := h.replicas[2]
	for range 3 {
		cookie := h.signIn(realop.NewBrowser(t), "ada")
		h.wantEverywhere(cookie, http.StatusOK, "")
		stopped.halt()
		const questions = 20
		answers := make(chan int, questions)
		for range questions {
			go func() {
				resp := stopped.check(cookie)
				answers <- resp.StatusCode
			}()
		}
		h.through.Store(1)
		began := time.Now()
		// It answers as complete when the lease of the one that is stopped is over.
		h.op.endSession(t, h.sid(cookie))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the logout took %s", took)
		}
		if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for range questions {
			if status := <-answers; status == http.StatusOK {
				t.Error("the process that was stopped let somebody in, whose logout was complete")
			}
		}
		stopped.ready()
		h.wantEverywhere(cookie, http.StatusUnauthorized, "ended")
	}
}

// halt stops the process, and returns when every thread of it stands still.
func (p *process) halt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "every thread stands still", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			p.t.Fatalf("no threads are listed: %v", err)
		}
		for _, thread := range threads {
			// The state stands behind the name, which is in brackets.
			stat, err := os.ReadFile(thread)
			if _, state, _ := strings.Cut(string(stat), ") "); err != nil || !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return true
	})
}
