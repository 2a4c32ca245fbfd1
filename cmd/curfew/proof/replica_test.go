package proof

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"curfew/events/natslog/natstest"
)

// replica is one `curfew serve`: a process that comes and goes on one data
// folder and two ports.
type replica struct {
	t             *testing.T
	number        int
	program       string
	env           []string
	data          string
	public, admin string // HOST:PORT
	clock         *os.File
	nats          *natsLink
	op            *opLink

	// busy is held by whoever does something to the process.
	busy sync.Mutex
	// astray says that the time of day is off.
	astray atomic.Bool
	slept  time.Duration // how long the machine has, in all
	cmd    *exec.Cmd
	out    *os.File
	done   chan struct{}
}

// set sets how far this replica's time of day is off, and how long its machine
// has slept.
func (r *replica) set(wall, slept time.Duration) {
	r.slept = slept
	r.astray.Store(r.astray.Load() || wall != 0)
	defer func() { r.astray.Store(wall != 0) }()
	var offsets [16]byte
	binary.NativeEndian.PutUint64(offsets[:8], uint64(wall))
	binary.NativeEndian.PutUint64(offsets[8:], uint64(slept))
	if _, err := r.clock.WriteAt(offsets[:], 0); err != nil {
		r.t.Errorf("replica %d: clock: %v", r.number, err)
	}
}

// start starts the process and does not wait for it to serve.
func (r *replica) start() {
	r.cmd = exec.Command(r.program, "serve")
	r.cmd.Env = append(os.Environ(), r.env...)
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
	if err := r.cmd.Start(); err != nil {
		r.t.Errorf("replica %d: %v", r.number, err)
		return
	}
	r.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(r.cmd, r.done)
}

// running reports whether the process is there.
func (r *replica) running() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

func (r *replica) kill() {
	_ = r.cmd.Process.Kill()
	<-r.done
}

// stop asks the process to go, and wants it to in good order.
func (r *replica) stop() {
	if !r.running() {
		r.t.Errorf("replica %d ended by itself: %s\n%s", r.number, r.cmd.ProcessState, r.tail())
		return
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.done:
		if code := r.cmd.ProcessState.ExitCode(); code != 0 {
			r.t.Errorf("replica %d: exit status %d\n%s", r.number, code, r.tail())
		}
	case <-time.After(10 * time.Second):
		r.t.Errorf("replica %d did not end within ten seconds\n%s", r.number, r.tail())
		r.kill()
	}
}

// freeze stops the process as a scheduler or a debugger does. Before it goes on,
// meanwhile is done.
func (r *replica) freeze(ctx context.Context, d time.Duration, meanwhile func()) {
	_ = r.cmd.Process.Signal(syscall.SIGSTOP)
	pause(ctx, d)
	meanwhile()
	_ = r.cmd.Process.Signal(syscall.SIGCONT)
}

// slowDisk makes every sync of the process take longer. It is false where there
// is no strace, which does it.
func (r *replica) slowDisk(ctx context.Context, d, each time.Duration) bool {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return false
	}
	inject := fmt.Sprintf("inject=fsync,fdatasync:delay_exit=%d", each.Microseconds())
	cmd := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fsync,fdatasync", "-e", inject, "-p", fmt.Sprint(r.cmd.Process.Pid))
	if err := cmd.Start(); err != nil {
		return false
	}
	pause(ctx, d)
	_ = cmd.Process.Signal(syscall.SIGINT) // which lets the process go
	_ = cmd.Wait()
	return true
}

// tail is the end of what the process has said.
func (r *replica) tail() string {
	text, _ := os.ReadFile(r.out.Name())
	return string(text[max(0, len(text)-4000):])
}

// ready asks whether the replica can let people in, and why not.
func (r *replica) ready(ctx context.Context) (bool, string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.admin+"/readyz", nil)
	if err != nil {
		return false, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode == http.StatusOK && strings.Contains(string(body), `"outbox":0`), string(body)
}

// newReplica prepares a replica's folder, clock and links.
func newReplica(t *testing.T, number int, program, dir string, ports *natstest.Ports, env []string) *replica {
	t.Helper()
	r := &replica{
		t: t, number: number, program: program, data: filepath.Join(dir, fmt.Sprint("replica", number)),
		public: fmt.Sprint("127.0.0.1:", ports.Next()), admin: fmt.Sprint("127.0.0.1:", ports.Next()),
	}
	var err error
	if r.clock, err = os.Create(r.data + ".clock"); err != nil {
		t.Fatal(err)
	}
	if r.out, err = os.Create(r.data + ".log"); err != nil {
		t.Fatal(err)
	}
	r.set(0, 0)
	r.env = append(append([]string{}, env...),
		"CURFEW_REPLICA="+fmt.Sprint("r", number), "CURFEW_DATA="+r.data,
		"CURFEW_LISTEN="+r.public, "CURFEW_ADMIN_LISTEN="+r.admin,
		"CURFEW_PROOF_CLOCK="+r.clock.Name(),
	)
	t.Cleanup(func() {
		if r.cmd != nil {
			_ = r.cmd.Process.Signal(syscall.SIGCONT)
			r.kill()
		}
		_ = r.clock.Close()
		_ = r.out.Close()
	})
	return r
}
