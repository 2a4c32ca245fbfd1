package main

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"curfew/events"
	"curfew/store"
)

// TestRecovery makes each disagreement of store, log and outbox for real, and
// wants it to be told, and sessions to be right afterwards. A row is named after
// its case in docs/recovery.md, and says after a colon how it comes about.
func TestRecovery(t *testing.T) {
	rows := maps.Clone(logRows)
	maps.Copy(rows, storeRows)
	maps.Copy(rows, outboxRows)
	maps.Copy(rows, diskRows)
	tested := map[string]bool{"log-not-applied": true} // what that is nobody knows yet: see TestRecoverySwitch
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		matter, _, _ := strings.Cut(name, ":")
		tested[matter] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows[name](newRuin(t))
		})
	}
	for _, name := range mattersInCode(t) {
		if !tested[name] {
			t.Errorf("%s is not tested", name)
		}
	}
}

// A stop while the log is away is no trouble.
func TestStopWhileTheLogIsAway(t *testing.T) {
	r := newRuin(t)
	r.opened()
	r.enter("ada")
	r.stop()
	r.stopBroker()
	r.open()
	eventually(t, "it serves", func() bool { return strings.Contains(r.said.String(), "serving") })
	r.stop()
	if said := r.said.String(); strings.Contains(said, `"ERROR"`) {
		t.Error(said)
	}
}

const (
	in  = http.StatusOK
	out = http.StatusUnauthorized
)

var logRows = map[string]func(*ruin){
	"log-made-anew: the stream is deleted while nobody is there": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		r.stop()
		r.deleteStream()
		r.opened()
		r.tells(logMadeAnew)
		r.answers("ada", ada, out)
		r.aside("store.db", 1)
		r.answers("grace", r.enter("grace"), in)
	},
	"log-made-anew: the stream is deleted under a replica": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		r.deleteStream()
		r.tells(logMadeAnew)
		r.ready()
		r.answers("ada", ada, out)
		r.aside("store.db", 1)
		r.answers("grace", r.enter("grace"), in)
	},
	"log-another: the replica is led to an older stream": func(r *ruin) {
		elsewhere := newRuin(r.t).pairs
		r.opened("CURFEW_NATS_URL", elsewhere["CURFEW_NATS_URL"], "CURFEW_DATA", elsewhere["CURFEW_DATA"])
		eve := r.enter("eve")
		r.stop()
		r.opened()
		ada := r.enter("ada")
		r.stop()
		r.opened("CURFEW_NATS_URL", elsewhere["CURFEW_NATS_URL"])
		r.tells(logAnother)
		r.answers("ada", ada, out)
		r.answers("eve", eve, in)
		r.aside("store.db", 1)
		r.stop()
		r.opened() // and back
		r.answers("ada", ada, in)
	},
	"log-rolled-back: an older copy is put back": func(r *ruin) {
		var ada, lin, bob string
		r.opened()
		ada, lin = r.enter("ada"), r.enter("lin")
		r.stop()
		r.rollBack(func() {
			r.opened()
			r.leave(lin)
			r.answers("lin", lin, out)
			bob = r.enter("bob")
			r.stop()
		})
		r.opened()
		r.tells(logRolledBack)
		r.answers("ada", ada, in)
		r.answers("bob", bob, out)
		r.answers("lin, whose logout is undone", lin, in)
		r.aside("store.db", 1)
	},
	"log-rolled-back: under a replica": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		var bob string
		r.rollBack(func() {
			eventually(r.t, "the log answers", func() bool { _, err := r.app.log.Status(r.t.Context()); return err == nil })
			bob = r.enter("bob")
		})
		r.tells(logRolledBack)
		r.ready()
		r.answers("ada", ada, in)
		r.answers("bob", bob, out)
	},
	"log-rolled-back: and written on while the replica was away": func(r *ruin) {
		var ada, grace, bob, eve string
		r.opened()
		ada, grace = r.enter("ada"), r.enter("grace")
		r.stop()
		data := r.pairs["CURFEW_DATA"]
		r.rollBack(func() {
			r.opened()
			bob = r.enter("bob")
			for range 3 {
				r.enter("lin")
			}
			r.stop()
		})
		mark := r.mark()
		r.pairs["CURFEW_DATA"] = filepath.Join(r.dir, "two")
		r.opened("CURFEW_REPLICA", "two")
		r.leave(ada) // where the store has something else
		eve = r.enter("eve")
		for r.app.registry.Applied().At <= mark.At {
			r.enter("lin")
		}
		r.stop()
		r.pairs["CURFEW_DATA"] = data
		r.opened()
		r.tells(logRolledBack)
		r.aside("store.db", 1)
		for _, other := range []struct {
			who, cookie string
			status      int
		}{{"ada", ada, out}, {"grace", grace, in}, {"bob", bob, out}, {"eve", eve, in}} {
			r.answers(other.who, other.cookie, other.status)
		}
	},
	"log-compacted: only heartbeats were missed": func(r *ruin) {
		r.opened()
		r.stop()
		before := filepath.Join(r.t.TempDir(), "before")
		if err := os.CopyFS(before, os.DirFS(r.pairs["CURFEW_DATA"])); err != nil {
			r.t.Fatal(err)
		}
		for range 2 {
			r.opened()
			r.stop()
		}
		_, stream := r.stream()
		r.pairs["CURFEW_DATA"] = before
		info, mark := stream.CachedInfo(), r.mark()
		if info.State.FirstSeq <= uint64(mark.At)+1 {
			r.t.Fatalf("the log begins at %d, want it beyond the store's mark %d", info.State.FirstSeq, mark.At)
		}
		r.opened()
		r.toldOnly()
		r.aside("store.db", 0)
	},
	"log-forgot: a logout has become too old meanwhile": func(r *ruin) {
		r.opened()
		ada, grace := r.enter("ada"), r.enter("grace")
		r.stop()
		data := r.pairs["CURFEW_DATA"]
		r.pairs["CURFEW_DATA"] = filepath.Join(r.dir, "two")
		r.opened("CURFEW_REPLICA", "two")
		r.leave(ada)
		r.stop()
		r.forget()
		r.pairs["CURFEW_DATA"] = data
		r.wasAway(13 * time.Hour)
		r.opened()
		r.tells(logForgot)
		r.aside("store.db", 1)
		r.answers("ada", ada, out)
		r.answers("grace", grace, out) // the log has forgotten her start as well
	},
	"log-unreadable: somebody publishes into the stream": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		js, _ := r.stream()
		if _, err := js.Publish(r.t.Context(), "curfew.session.x.started", []byte("junk{")); err != nil {
			r.t.Fatal(err)
		}
		r.tells(logUnreadable)
		eventually(r.t, "nobody is let in", func() bool { return r.only().check(ada).StatusCode == http.StatusServiceUnavailable })
		r.only().wantTold("/readyz", logUnreadable.name)
		if n := strings.Count(r.said.String(), logUnreadable.says); n != 1 {
			r.t.Errorf("told %d times, want once", n)
		}
	},
}

var outboxRows = map[string]func(*ruin){
	"outbox-waits: a logout from before the restart": func(r *ruin) {
		r.opened()
		ada, grace := r.enter("ada"), r.enter("grace")
		r.keeps(ada)
		r.stop()
		r.startBroker()
		r.opened()
		r.tells(outboxWaits)
		r.toldOnly(outboxWaits)
		r.answers("ada", ada, out)
		r.answers("grace", grace, in)
		r.only().wantTold("/readyz", `"outbox":0`)
	},
	"outbox-of-another-log: a logout that the lost log never took": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		r.keeps(ada)
		r.natsDir = r.t.TempDir()
		r.startBroker()
		r.tells(outboxOfAnotherLog)
		r.ready()
		r.only().wantTold("/readyz", `"outbox":0`)
		_, stream := r.stream()
		info, err := stream.Info(r.t.Context(), jetstream.WithSubjectFilter("curfew.logout.>"))
		if err != nil || len(info.State.Subjects) != 1 {
			r.t.Errorf("the new log has %v, %v; want the logout", info, err)
		}
		r.answers("ada", ada, out)
	},
	"outbox-of-another-log: an answer to a refresh is pointless": func(r *ruin) {
		r.opened()
		r.enter("ada")
		r.stop()
		r.putInOutbox(events.Refreshed{Session: events.NewSessionID(), At: time.Now(), Claim: 3, Sealed: "gAAAAB=="})
		r.deleteStream()
		r.opened()
		r.tells(logMadeAnew)
		eventually(r.t, "the answer is dropped", func() bool { return len(r.app.outbox.All()) == 0 })
	},
	"outbox-wrong-key: a logout was sealed with another": func(r *ruin) {
		r.opened()
		r.keeps(r.enter("ada"))
		r.stop()
		// Without a store nothing else tells that the key is the wrong one.
		if err := os.Rename(r.file("store.db"), filepath.Join(r.dir, "away")); err != nil {
			r.t.Fatal(err)
		}
		r.refuses(outboxLocked, "OIDC_TOKEN_ENCRYPTION_KEY", store.GenerateKey())
		r.startBroker()
		r.opened()
		r.only().wantTold("/readyz", `"outbox":0`)
	},
	"outbox-spoilt: one of two logouts": func(r *ruin) {
		r.opened()
		ada, grace, lin := r.enter("ada"), r.enter("grace"), r.enter("lin")
		r.keeps(ada, grace)
		r.stop()
		r.meddle("outbox.db", "outbox", func(i int, value []byte) []byte {
			if i == 0 {
				value[len(value)-1] ^= 1
			}
			return value
		})
		r.startBroker()
		r.opened()
		r.tells(outboxSpoilt)
		r.aside("outbox.db", 1)
		r.aside("store.db", 0)
		r.answers("ada, whose logout is lost", ada, in)
		r.answers("grace", grace, out)
		r.answers("lin", lin, in)
	},
	"outbox-spoilt: torn": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		r.stop()
		r.truncate("outbox.db", 2)
		r.opened()
		r.tells(outboxSpoilt)
		r.aside("outbox.db", 1)
		r.answers("ada", ada, in)
	},
}
