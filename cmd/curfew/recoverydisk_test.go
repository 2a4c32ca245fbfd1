package main

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"curfew/sessions/rp/optest/realop"
)

func quietLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

var diskRows = map[string]func(*ruin){
	"disk-full-at-start: no room for a store": func(r *ruin) {
		d := r.onDisk(128 << 10)
		if err := os.Mkdir(r.pairs["CURFEW_DATA"], 0o700); err != nil {
			r.t.Fatal(err)
		}
		d.fill(2 * 4096)
		r.refuses(diskFull)
		d.empty()
		r.opened()
		r.tells(storeNew)
		r.aside("store.db", 0)
	},
	"store-not-written: the disk is full": func(r *ruin) {
		d := r.onDisk(1 << 20)
		r.opened()
		ada, lin := r.enter("ada"), r.enter("lin")
		d.fill(0)
		var late []string
		for range 10 {
			late = append(late, r.signIn(realop.NewBrowser(r.t), "grace"))
		}
		r.tells(storeNotWritten)
		r.leave(lin)
		began := time.Now()
		eventually(r.t, "two leases are over", func() bool {
			for who, cookie := range map[string]string{"ada": ada, "grace": late[9]} {
				if got := r.only().check(cookie).StatusCode; got != http.StatusOK {
					r.t.Fatalf("%s is answered %d on a full disk", who, got)
				}
			}
			return time.Since(began) > 2*ruinLease
		})
		r.answers("lin", lin, out)
		r.only().wantTold("/readyz", storeNotWritten.name)
		r.only().wantTold("/readyz", `"ready":true`)
		r.toldOnly(storeNotWritten)
		d.empty()
		eventually(r.t, "the trouble is over", func() bool { return r.app.trouble.Load() == nil })
		if at, stored := r.app.registry.Applied(), r.app.store.Mark(); stored.Log != at.Log {
			r.t.Errorf("the store has come to %v, memory to %v", stored, at)
		}
		r.stop()
		r.opened()
		r.toldOnly()
		for _, cookie := range append(late, ada) {
			r.answers("one who came while the disk was full", cookie, in)
		}
		r.answers("lin", lin, out)
		r.aside("store.db", 0)
	},
	"store-not-made: the disk is full when the log is lost": func(r *ruin) {
		d := r.onDisk(1 << 20)
		r.opened()
		ada := r.enter("ada")
		d.fill(0)
		r.deleteStream()
		r.tells(logMadeAnew)
		r.tells(storeNotMade)
		if got := r.only().check(ada).StatusCode; got != http.StatusServiceUnavailable {
			r.t.Errorf("ada is answered %d meanwhile", got)
		}
		d.empty()
		r.ready()
		r.answers("ada", ada, out)
		r.answers("grace", r.enter("grace"), in)
		r.aside("store.db", 1)
	},
	"outbox-not-written: the disk is full and the log is away": func(r *ruin) {
		d := r.onDisk(1 << 20)
		r.opened("CURFEW_MAX_STALENESS", "20s")
		cookies := []string{r.enter("ada")}
		for range 30 { // until there is no room in the file itself
			cookies = append(cookies, r.enter("grace"))
		}
		d.fill(0)
		r.keeps(cookies...)
		r.tells(outboxNotWritten)
		for _, cookie := range cookies {
			r.only().wantRefused(cookie)
		}
		r.startBroker()
		eventually(r.t, "the log has them", func() bool { return r.app.backlog.Len() == 0 })
		r.answers("ada", cookies[0], out)
		r.aside("outbox.db", 0)
	},
	"folder-in-use: a second process": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		r.stop()
		first := r.pairs["CURFEW_DATA"]
		r.opened()
		r.refusesBeside(folderInUse)
		r.answers("ada", ada, in)
		if r.pairs["CURFEW_DATA"] != first {
			r.t.Error("another folder")
		}
	},
	"folder-not-writable: the disk is read-only": func(r *ruin) {
		d := r.onDisk(1 << 20)
		r.opened()
		ada := r.enter("ada")
		r.stop()
		d.readOnly(true)
		r.refuses(folderNotWritable)
		d.readOnly(false)
		r.opened()
		r.answers("ada", ada, in)
	},
	"folder-not-writable: a new folder cannot be made": func(r *ruin) {
		d := r.onDisk(1 << 20)
		d.readOnly(true)
		r.refuses(folderNotWritable)
	},
	"folder-not-opened: a folder in the place of the store": func(r *ruin) {
		if err := os.MkdirAll(r.file("store.db"), 0o700); err != nil {
			r.t.Fatal(err)
		}
		r.refuses(notOpened)
	},
}

// refusesBeside is refuses while the replica runs and writes.
func (r *ruin) refusesBeside(m matter) {
	r.t.Helper()
	var env []string
	for name, value := range r.pairs {
		env = append(env, name+"="+value)
	}
	p := startProcess(r.t, env, "curfew", "serve")
	<-p.ended
	if code := p.cmd.ProcessState.ExitCode(); code != exitFailed {
		r.t.Errorf("exit status %d, want 1:\n%s", code, p.said())
	}
	if said := p.said(); !strings.Contains(said, "curfew: "+m.name+": "+m.says) {
		r.t.Errorf("it said %s", said)
	}
	r.aside("store.db", 0)
	r.aside("outbox.db", 0)
}

// disk is a small file system for the data folder.
type disk struct {
	t    *testing.T
	path string
}

// onDisk moves the data folder to a disk of its own, of so many bytes. Only root
// can mount one.
func (r *ruin) onDisk(size int) *disk {
	r.t.Helper()
	d := &disk{r.t, r.t.TempDir()}
	if err := unix.Mount("tmpfs", d.path, "tmpfs", 0, "mode=0700,size="+strconv.Itoa(size)); err != nil {
		// What nobody may do here, root neither, is no part that could be had.
		forbidden := errors.Is(err, unix.EPERM) && os.Geteuid() == 0
		if forbidden {
			noteMissed(r.t, "NO DISK OF ONE'S OWN: not even root may mount one here, so full disks are not tested")
		}
		if os.Getenv("CI") == "true" && !forbidden {
			r.t.Fatalf("a small disk is needed, and could not be mounted: %v", err)
		}
		r.t.Skipf("NOT TESTED: a small disk is needed, which only root can mount: %v", err)
	}
	r.t.Cleanup(func() {
		r.stop()
		// What bbolt has mapped of a store that was moved aside holds on to it.
		if err := unix.Unmount(d.path, unix.MNT_DETACH); err != nil {
			r.t.Error(err)
		}
	})
	r.pairs["CURFEW_DATA"] = filepath.Join(d.path, "data")
	return d
}

// noteMissed has .ci/run say at its end what was not tested.
func noteMissed(t *testing.T, what string) {
	t.Helper()
	path := os.Getenv("CI_MISSED")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(what + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// fill leaves so many bytes free.
func (d *disk) fill(leave int) {
	d.t.Helper()
	file, err := os.Create(filepath.Join(d.path, "filler"))
	if err != nil {
		d.t.Fatal(err)
	}
	size := 0
	for page := make([]byte, 4096); err == nil; size += len(page) {
		_, err = file.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
	err = nil
	if leave > 0 {
		err = file.Truncate(int64(size - 4096 - leave))
	}
	if err := errors.Join(err, file.Close()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) empty() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.path, "filler")); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) readOnly(is bool) {
	d.t.Helper()
	flags := uintptr(unix.MS_REMOUNT)
	if is {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("tmpfs", d.path, "tmpfs", flags, ""); err != nil {
		d.t.Fatal(err)
	}
}
