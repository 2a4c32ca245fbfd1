package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/store"
)

var storeRows = map[string]func(*ruin){
	"store-new: the first start": func(r *ruin) {
		r.opened()
		r.tells(storeNew)
		r.toldOnly()
	},
	"store-new: it was moved away": func(r *ruin) {
		r.afterRuin(storeNew, func() {
			if err := os.Remove(r.file("store.db")); err != nil {
				r.t.Fatal(err)
			}
		})
		r.aside("store.db", 0)
	},
	"store-current: a restart": func(r *ruin) {
		r.opened()
		ada, lin := r.enter("ada"), r.enter("lin")
		r.leave(lin)
		r.stop()
		r.opened()
		r.toldOnly()
		r.answers("ada", ada, in)
		r.answers("lin", lin, out)
		r.aside("store.db", 0)
	},
	"store-spoilt: torn": func(r *ruin) {
		r.afterRuin(storeSpoilt, func() { r.truncate("store.db", 5) })
		r.aside("store.db", 1)
	},
	"store-spoilt: flipped bits": func(r *ruin) {
		r.afterRuin(storeSpoilt, func() {
			content, err := os.ReadFile(r.file("store.db"))
			if err != nil {
				r.t.Fatal(err)
			}
			for _, page := range []int{0, 1} {
				content[page*os.Getpagesize()+40] ^= 4
			}
			r.write("store.db", content)
		})
		r.aside("store.db", 1)
	},
	"store-spoilt: it does not add up": func(r *ruin) {
		// One row is another than was written, in a file that is sound.
		r.afterRuin(storeSpoilt, func() {
			r.meddle("store.db", "sessions", func(i int, value []byte) []byte {
				if i == 0 {
					value[20] ^= 1
				}
				return value
			})
		})
		r.aside("store.db", 1)
	},
	"store-foreign: somebody else's file": func(r *ruin) {
		r.afterRuin(storeForeign, func() {
			if err := os.Remove(r.file("store.db")); err != nil {
				r.t.Fatal(err)
			}
			r.meddle("store.db", "theirs", nil)
		})
		r.aside("store.db", 1)
	},
	"store-other-version: written by a newer one": func(r *ruin) {
		r.afterRuin(storeOtherVersion, func() { r.put("store.db", "meta", "schema", []byte("curfew store 99")) })
		r.aside("store.db", 1)
	},
	"store-spoilt-in-use: torn under a replica": func(r *ruin) {
		r.opened()
		ada, lin := r.enter("ada"), r.enter("lin")
		r.leave(lin)
		r.truncate("store.db", 2)
		r.tells(storeSpoiltInUse)
		r.ready()
		r.answers("ada", ada, in)
		r.answers("lin", lin, out)
		r.aside("store.db", 1)
	},
	"store-wrong-key: another key": func(r *ruin) {
		r.opened()
		ada := r.enter("ada")
		r.stop()
		other := store.GenerateKey()
		r.refuses(storeLocked, "OIDC_TOKEN_ENCRYPTION_KEY", other)
		r.opened("OIDC_TOKEN_ENCRYPTION_KEY", other+","+r.pairs["OIDC_TOKEN_ENCRYPTION_KEY"])
		r.answers("ada", ada, in)
	},
}

// afterRuin has sessions come out right after the store was ruined between two
// runs, since the log has them.
func (r *ruin) afterRuin(m matter, spoil func()) {
	r.t.Helper()
	r.opened()
	ada, lin := r.enter("ada"), r.enter("lin")
	r.leave(lin)
	r.stop()
	spoil()
	r.opened()
	r.tells(m)
	r.toldOnly(m)
	r.answers("ada", ada, in)
	r.answers("lin", lin, out)
}

func (r *ruin) write(name string, content []byte) {
	r.t.Helper()
	if err := os.WriteFile(r.file(name), content, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// truncate leaves a file some pages.
func (r *ruin) truncate(name string, pages int) {
	r.t.Helper()
	if err := os.Truncate(r.file(name), int64(pages*os.Getpagesize())); err != nil {
		r.t.Fatal(err)
	}
}

// bolt writes to a file past curfew.
func (r *ruin) bolt(name string, change func(*bbolt.Tx) error) {
	r.t.Helper()
	db, err := bbolt.Open(r.file(name), 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *ruin) put(name, bucket, key string, value []byte) {
	r.t.Helper()
	r.bolt(name, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), value) })
}

// meddle changes each value in a bucket, in the order of their keys.
func (r *ruin) meddle(name, bucket string, change func(i int, value []byte) []byte) {
	r.t.Helper()
	r.bolt(name, func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		var keys [][]byte
		err = b.ForEach(func(key, _ []byte) error { keys = append(keys, bytes.Clone(key)); return nil })
		for i, key := range keys {
			if putErr := b.Put(key, change(i, bytes.Clone(b.Get(key)))); putErr != nil {
				return putErr
			}
		}
		return err
	})
}

// wasAway makes the store's newest word from its log older.
func (r *ruin) wasAway(by time.Duration) {
	r.t.Helper()
	r.meddle("store.db", "meta", func(_ int, value []byte) []byte {
		if len(value) == 8 { // the only one: a time
			value = binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(value)-uint64(by))
		}
		return value
	})
}

// mark is how far the store has come.
func (r *ruin) mark() events.Mark {
	r.t.Helper()
	ring, err := store.ParseKeyring(r.pairs["OIDC_TOKEN_ENCRYPTION_KEY"])
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := store.Open(store.Config{Path: r.file("store.db"), Ring: ring, Now: time.Now, Logger: quietLogger()})
	if err != nil {
		r.t.Fatal(err)
	}
	mark := s.Mark()
	if err := s.Close(); err != nil {
		r.t.Fatal(err)
	}
	return mark
}

// putInOutbox keeps a fact there, while nobody else has it open.
func (r *ruin) putInOutbox(fact events.Fact) {
	r.t.Helper()
	ring, err := store.ParseKeyring(r.pairs["OIDC_TOKEN_ENCRYPTION_KEY"])
	if err != nil {
		r.t.Fatal(err)
	}
	o, err := store.OpenOutbox(store.Config{Path: r.file("outbox.db"), Ring: ring, Now: time.Now, Logger: quietLogger()})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(o.Put(events.NewEvent(fact, "only", time.Now())), o.Close()); err != nil {
		r.t.Fatal(err)
	}
}

// keeps stops the broker, and has logouts end in the outbox.
func (r *ruin) keeps(cookies ...string) {
	r.t.Helper()
	var tokens []string
	for _, cookie := range cookies {
		tokens = append(tokens, r.token(cookie))
	}
	r.stopBroker()
	for _, token := range tokens {
		r.only().wantKept(token)
	}
	for _, cookie := range cookies {
		if got := r.only().check(cookie).StatusCode; got == http.StatusOK {
			r.t.Errorf("who has been logged out is answered %d", got)
		}
	}
}

// forget has the stream drop all that it holds for being too old, as one does
// whose max_age was cut, and then remember for as long as before.
func (r *ruin) forget() {
	r.t.Helper()
	js, stream := r.stream()
	was := stream.CachedInfo().Config
	cut := was
	cut.MaxAge, cut.Duplicates = 100*time.Millisecond, 100*time.Millisecond
	for _, config := range []jetstream.StreamConfig{cut, was} {
		if _, err := js.UpdateStream(r.t.Context(), config); err != nil {
			r.t.Fatal(err)
		}
		eventually(r.t, "the stream has forgotten", func() bool {
			info, err := stream.Info(r.t.Context())
			return err == nil && info.State.Msgs == 0
		})
	}
}

// mattersInCode are the names of all cases, as recoverycases.go has them.
func mattersInCode(t interface{ Fatal(...any) }) (names []string) {
	source, err := os.ReadFile("recoverycases.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(source), `= matter{"`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		names = append(names, name)
	}
	return names
}
