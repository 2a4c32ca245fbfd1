package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

func newBox(t testing.TB) *house {
	h := newHouse(t)
	h.config.Path = filepath.Join(filepath.Dir(h.config.Path), "outbox.db")
	return h
}

func (h *house) openOutbox() *Outbox {
	h.Helper()
	o, err := OpenOutbox(h.config)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = o.Close() })
	return o
}

// crashOutbox is crash for an outbox.
func (h *house) crashOutbox(o *Outbox) {
	h.Helper()
	if err := errors.Join(syscall.Flock(int(o.file.Fd()), syscall.LOCK_UN), o.file.Close()); err != nil {
		h.Fatal(err)
	}
	o.fault = errClosed
}

// logoutEvent is one of many logouts.
func logoutEvent(n int) events.Event {
	at := time.Date(2026, 11, 22, 12, 0, n, 5000, time.UTC)
	return events.NewEvent(events.LogoutReceived{
		Issuer: "https://op.example.com", Sub: "the-sub", Sid: "the sid/+", JTI: fmt.Sprint("jti-", n),
		IssuedAt: at, Until: at, Reason: events.Backchannel, Replica: "one",
	}, "one", at)
}

func endedEvent() events.Event {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return events.NewEvent(events.Ended{
		Session: events.NewSessionID(), Issuer: "https://op.example.com", Sub: "the-sub", Reason: events.SignedOut, At: at,
	}, "one", at)
}

func wantPut(t testing.TB, o *Outbox, list ...events.Event) {
	t.Helper()
	for _, event := range list {
		if err := o.Put(event); err != nil {
			t.Fatal(err)
		}
	}
}

func wantKept(t testing.TB, o *Outbox, want ...events.Event) {
	t.Helper()
	got := o.All()
	if len(got) != len(want) {
		t.Fatalf("%d kept, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%d is\n%+v, want\n%+v", i, got[i], want[i])
		}
	}
}

func TestOutboxOutlivesTheProcess(t *testing.T) {
	for name, end := range map[string]func(*house, *Outbox){
		"closed": func(h *house, o *Outbox) {
			if err := errors.Join(o.Close(), o.Close()); err != nil {
				t.Error(err)
			}
		},
		"killed": (*house).crashOutbox,
	} {
		t.Run(name, func(t *testing.T) {
			h := newBox(t)
			o := h.openOutbox()
			if o.db.NoSync {
				t.Error("what is kept would not outlive a power cut")
			}
			wantKept(t, o)
			list := []events.Event{logoutEvent(1), endedEvent(), logoutEvent(2), logoutEvent(3)}
			wantPut(t, o, list...)
			wantKept(t, o, list...)
			end(h, o)
			o = h.openOutbox()
			wantKept(t, o, list...)
			if err := o.DropAll([]string{list[1].ID, "of no event", list[0].ID}); err != nil {
				t.Error(err)
			}
			wantKept(t, o, list[2:]...)
			end(h, o)
			o = h.openOutbox()
			wantKept(t, o, list[2:]...)
			wantPut(t, o, list[0])
			wantKept(t, o, list[2], list[3], list[0])
			end(h, o)
			wantKept(t, h.openOutbox(), list[2], list[3], list[0])
			if len(h.aside()) != 0 || h.log.Len() != 0 {
				t.Errorf("aside %v, said %s", h.aside(), h.log)
			}
		})
	}
}

func TestOutboxKeepsASubjectOnce(t *testing.T) {
	o := newBox(t).openOutbox()
	first, again := logoutEvent(1), logoutEvent(1)
	wantPut(t, o, first, again)
	wantKept(t, o, first)
	if err := o.Drop(again.ID); err != nil {
		t.Error(err)
	}
	wantKept(t, o, first)
}

// The OP's answers to two refreshes of one session are not the same.
func TestOutboxKeepsOtherFactsApart(t *testing.T) {
	h := newBox(t)
	o := h.openOutbox()
	fact := events.Refreshed{Session: events.NewSessionID(), At: time.Unix(1, 0).UTC(), Sealed: "x"}
	first := events.NewEvent(fact, "one", time.Unix(2, 0).UTC())
	second := events.NewEvent(fact, "one", time.Unix(3, 0).UTC())
	wantPut(t, o, first, second, second)
	h.crashOutbox(o)
	o = h.openOutbox()
	wantKept(t, o, first, second)
	if err := o.Drop(first.ID); err != nil {
		t.Error(err)
	}
	wantKept(t, o, second)
}

func TestOutboxFull(t *testing.T) {
	h := newBox(t)
	o := h.openOutbox()
	if o.room != 10_000 {
		t.Errorf("room for %d", o.room)
	}
	o.room = 2
	wantPut(t, o, logoutEvent(1), logoutEvent(2))
	for range 2 {
		if err := o.Put(logoutEvent(3)); !errors.Is(err, sessions.ErrOutboxFull) {
			t.Errorf("got %v, want ErrOutboxFull", err)
		}
	}
	wantPut(t, o, logoutEvent(2))
	if err := o.Drop(o.All()[0].ID); err != nil {
		t.Fatal(err)
	}
	wantPut(t, o, logoutEvent(3))
	h.crashOutbox(o)
	if got := len(h.openOutbox().All()); got != 2 {
		t.Errorf("%d on the disk", got)
	}
}

func TestOutboxTellsNothing(t *testing.T) {
	h := newBox(t)
	o := h.openOutbox()
	event := logoutEvent(1)
	wantPut(t, o, event)
	for path, want := range map[string]fs.FileMode{h.config.Path: 0o600, filepath.Dir(h.config.Path): fs.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", path, info.Mode(), err, want)
		}
	}
	raw := h.read()
	for _, secret := range []string{"op.example", "the-sub", "the sid", "jti-", event.ID, "curfew.logout", keyA} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%q stands in the file", secret)
		}
	}
	if err := errors.Join(o.Close(), os.Chmod(h.config.Path, 0o644)); err != nil {
		t.Fatal(err)
	}
	h.openOutbox()
	if info, err := os.Stat(h.config.Path); err != nil || info.Mode() != 0o600 {
		t.Errorf("opened again: %v, %v", info.Mode(), err)
	}
}

func TestOutboxKeys(t *testing.T) {
	h := newBox(t)
	if err := h.openOutbox().Close(); err != nil {
		t.Fatal(err)
	}
	h.config.Ring = newRing(t, keyB)
	o := h.openOutbox() // there is nothing in it to open
	first, second := logoutEvent(1), logoutEvent(2)
	wantPut(t, o, first)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	h.config.Ring = newRing(t, keyA, keyB)
	o = h.openOutbox()
	wantPut(t, o, second)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{keyA, keyB} {
		before := h.read()
		h.config.Ring = newRing(t, key)
		peeked := PeekOutbox(h.config)
		_, err := OpenOutbox(h.config)
		if _, locked := errors.AsType[*KeyError](peeked); !locked {
			t.Errorf("peeked and saw %v", peeked)
		}
		wrong, ok := errors.AsType[*KeyError](err)
		if !ok || wrong.Path != h.config.Path || !strings.Contains(err.Error(), "OIDC_TOKEN_ENCRYPTION_KEY") {
			t.Errorf("got %v, want a KeyError", err)
		}
		if !bytes.Equal(h.read(), before) || len(h.aside()) != 0 {
			t.Error("a wrong key changed something")
		}
	}
	h.config.Ring = newRing(t, keyB, keyA)
	if err := PeekOutbox(h.config); err != nil {
		t.Errorf("peeked and saw %v", err)
	}
	wantKept(t, h.openOutbox(), first, second)
}

func TestOutboxPutsAtOnce(t *testing.T) {
	h := newBox(t)
	o := h.openOutbox()
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			if err := o.Put(logoutEvent(n % 100)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	h.crashOutbox(o)
	if got := len(h.openOutbox().All()); got != 100 {
		t.Errorf("%d on the disk, want 100", got)
	}
}
