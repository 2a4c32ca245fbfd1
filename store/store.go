package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// Config is what a store needs. All of it must be set but for Spoilt.
type Config struct {
	// Path is the file. Its folder is made, for this user alone, if there is
	// none.
	Path string
	Ring *Keyring
	// Now dates the names of files that are put aside.
	Now    func() time.Time
	Logger *slog.Logger
	// Spoilt is asked about a file that is found spoilt when it is opened, before
	// anything is done to it. If it returns nil, the file is moved aside under a
	// dated name in the same folder and another made; an error is what opening
	// returns then, and nothing has been touched. Without Spoilt, that is the
	// *DamagedError.
	Spoilt func(*DamagedError) error

	boot    func() string // which start of the machine this is; nil asks Linux
	maxSize int           // the file's greatest size in bytes; zero for none
}

func (c Config) validate() error {
	if c.Path == "" || c.Ring == nil || c.Ring.Len() == 0 || c.Now == nil || c.Logger == nil {
		return errors.New("store: config: path, ring, now or logger is missing")
	}
	return nil
}

// The buckets. Keys are binary and of one length within a bucket.
var (
	bucketMeta       = []byte("meta")       // the names below
	bucketSessions   = []byte("sessions")   // session id: entry
	bucketSid        = []byte("by_sid")     // key of the sid, session id: nothing
	bucketSub        = []byte("by_sub")     // key of the sub, session id: nothing
	bucketTombstones = []byte("tombstones") // position: tombstone
	bucketMembers    = []byte("members")    // process: sessions.Member as JSON
)

var buckets = [][]byte{bucketMeta, bucketSessions, bucketSid, bucketSub, bucketTombstones, bucketMembers}

// What is in the bucket meta.
var (
	metaSchema   = []byte("schema")
	metaIndexKey = []byte("index_key") // see canary
	metaState    = []byte("state")     // see state
	metaBoot     = []byte("boot")      // which start of the machine it was opened in
	metaClean    = []byte("clean")     // there after a Close, gone after an Open
	metaHeard    = []byte("heard")     // nanoseconds since 1970; see Hear
)

var (
	errClosed    = errors.New("store: it is closed")
	errExchanged = errors.New("store: the file was put aside meanwhile")
)

// ErrNotFound is what looking up a session that is not there returns.
var ErrNotFound = errors.New("store: no such session")

// ErrInUse is wrapped by what opening returns for a file that another process
// has open.
var ErrInUse = errors.New("another process holds it")

// Flaw is what is wrong with a file.
type Flaw uint8

// The flaws.
const (
	// Torn: it is not as this version wrote it, or does not add up.
	Torn Flaw = iota
	// Foreign: it is sound, and something else.
	Foreign
	// OtherVersion: another version of curfew wrote it.
	OtherVersion
)

// DamagedError says that a file is not what it should be. Of a store that turns
// out to be spoilt while in use, the file has been moved aside, and every call
// returns this error until Aside makes an empty one, which must be filled from
// the log's beginning.
type DamagedError struct {
	Flaw Flaw
	// Reason is what was found. It holds no part of any session.
	Reason string
	// Moved is the file's new name; empty if it is still at the old one: it was
	// found when it was opened, or renaming it failed too.
	Moved string
}

// Error says what was found and where the file is now.
func (e *DamagedError) Error() string {
	if e.Moved == "" {
		return "store: damaged: " + e.Reason
	}
	return fmt.Sprintf("store: damaged: %s: moved to %s", e.Reason, e.Moved)
}

// Store is what a replica's log adds up to, on disk. All its methods may be
// called at once from many goroutines. It is safe to lose: see the package.
type Store struct {
	config Config

	mu     sync.RWMutex // held for writing while the file is exchanged
	db     *bbolt.DB
	file   *os.File // db's own, for when db must not be closed
	fault  error    // what every call returns; nil while all is well
	hasher sessions.Hasher

	commits sync.Mutex // held by whoever writes
	owed    batch      // what has yet to be committed
	mark    atomic.Pointer[events.Mark]
	heard   atomic.Int64 // nanoseconds since 1970; zero for never
	dirty   atomic.Bool  // whether there is something to sync
}

// Hasher makes the keys under which this store, and a registry loaded from it,
// know names. It is another one after Aside.
func (s *Store) Hasher() sessions.Hasher {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hasher
}

// Mark is how far the log has been committed: following it from there misses
// nothing. In an empty store it is zero.
func (s *Store) Mark() events.Mark { return *s.mark.Load() }

// Hear notes that something has come from the log that was stored there at a
// time, by the log's clock. It is kept with the next commit. The newest counts:
// a log's clock may be set back.
func (s *Store) Hear(stored time.Time) {
	if nanos := stored.UnixNano(); !stored.IsZero() && nanos > s.heard.Load() {
		s.heard.Store(nanos)
	}
}

// Heard is how late the newest was stored that has come from the log, by the
// log's clock: nothing up to the mark is younger. It is zero if nothing has come.
func (s *Store) Heard() time.Time {
	if nanos := s.heard.Load(); nanos != 0 {
		return time.Unix(0, nanos).UTC()
	}
	return time.Time{}
}

// syncEvery bounds what a power cut can cost: the log's last second, to be
// applied again.
const syncEvery = time.Second

// Run writes what is committed through to the disk, once a second, until ctx
// ends, whose error it returns.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// A sync that does not succeed leaves the file in doubt. The store
			// is damaged then, and whoever commits next is told.
			_ = s.sync()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Store) sync() error {
	if !s.dirty.Swap(false) {
		return nil
	}
	return s.with(func(db *bbolt.DB) error {
		if err := db.Sync(); err != nil {
			return damaged("sync: %v", err)
		}
		return nil
	})
}

// Close writes everything through to the disk and notes that it did. Closing
// again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		s.fault = errClosed
		return s.drop()
	}
	s.fault = errClosed
	err := contained(func() error {
		if err := s.db.Sync(); err != nil {
			return err
		}
		return updateSynced(s.db, func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(metaClean, []byte{1})
		})
	})
	if err != nil {
		return errors.Join(fmt.Errorf("store: close: %w", err), s.drop())
	}
	db := s.db
	s.db, s.file = nil, nil
	return db.Close()
}

// drop gives the file up without closing the database, whose locks may be held
// for ever: what it has mapped stays mapped until the process ends.
func (s *Store) drop() error {
	if s.file == nil {
		return nil
	}
	file := s.file
	s.db, s.file = nil, nil
	return file.Close()
}

// updateSynced is one change that is on the disk when it returns.
func updateSynced(db *bbolt.DB, fn func(*bbolt.Tx) error) error {
	db.NoSync = false
	defer func() { db.NoSync = true }()
	return db.Update(fn)
}

// with runs fn on the database, and puts the file aside if it finds damage.
func (s *Store) with(fn func(*bbolt.DB) error) error {
	s.mu.RLock()
	if s.fault != nil {
		defer s.mu.RUnlock()
		return s.fault
	}
	db := s.db
	err := contained(func() error { return fn(db) })
	s.mu.RUnlock()
	if spoilt, ok := errors.AsType[*damage](err); ok {
		return s.condemn(db, spoilt)
	}
	return err
}

func (s *Store) view(fn func(*bbolt.Tx) error) error {
	return s.with(func(db *bbolt.DB) error { return db.View(fn) })
}

// condemn moves a damaged file out of the way at once, so that a process which
// ends over it finds none when it starts again.
func (s *Store) condemn(db *bbolt.DB, spoilt *damage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fault != nil:
		return s.fault // another has found it too
	case s.db != db:
		return errExchanged
	}
	moved, err := moveAside(s.config, s.file, spoilt.reason)
	if err != nil {
		s.config.Logger.Error("damaged store not moved aside", "path", s.config.Path, "error", err)
	}
	s.fault = &DamagedError{Flaw: spoilt.flaw, Reason: spoilt.reason, Moved: moved}
	return s.fault
}

// Aside moves the file away under a dated name, for a reason that is logged,
// and goes on with an empty one: when the log turns out to be another, or after
// a *DamagedError. The new store has another Hasher, and no mark.
func (s *Store) Aside(reason string) error {
	s.commits.Lock()
	defer s.commits.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.fault, errClosed) {
		return errClosed
	}
	spoilt, _ := errors.AsType[*DamagedError](s.fault)
	if s.file != nil && (spoilt == nil || spoilt.Moved == "") {
		if _, err := moveAside(s.config, s.file, reason); err != nil {
			return err
		}
	}
	if s.fault == nil {
		if err := s.db.Close(); err != nil {
			s.config.Logger.Warn("old store not closed", "error", err)
		}
		s.db, s.file = nil, nil
	}
	if err := s.drop(); err != nil {
		s.config.Logger.Warn("old store not closed", "error", err)
	}
	s.owed = batch{}
	s.fault = s.begin()
	return s.fault
}

// bootOf reads which start of the machine this is; empty where it does not say.
func (c Config) bootOf() []byte {
	if c.boot != nil {
		return []byte(c.boot())
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil // then no start is the same as another
	}
	return bytes.TrimSpace(id)
}
