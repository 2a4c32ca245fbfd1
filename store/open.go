package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"curfew/events"
	"curfew/sessions"
)

// KeyError says that the store was sealed under none of the keys it was opened
// with. Nothing was touched.
type KeyError struct{ Path string }

// Error names the variable that the keys come from.
func (e *KeyError) Error() string {
	return fmt.Sprintf("store: %s: none of the keys in OIDC_TOKEN_ENCRYPTION_KEY opens it: "+
		"add the key it was sealed with to the end of the list", e.Path)
}

// lockWait is how long to wait for a process that holds the file: one that this
// one replaces may still be on its way out.
const lockWait = time.Second

// Open opens a store, or makes one. About a file that is spoilt, that was written
// by another version or by something else, or that was in use when the machine
// went down and does not add up, it asks Spoilt; where to it was moved is logged.
//
// The error is a *KeyError if no key of the ring opens the store, and wraps
// ErrInUse if another process has it open. It is another if the machine does not
// let it be opened. In no case has anything been changed.
func Open(c Config) (*Store, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, fmt.Errorf("store: folder: %w", err)
	}
	s := &Store{config: c}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

// open goes on with the file as it was left, if that can be trusted, and begins
// a new one otherwise.
func (s *Store) open() error {
	info, err := os.Stat(s.config.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Size() == 0:
		return s.begin()
	case err != nil:
		return fmt.Errorf("store: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("store: %s: not a file", s.config.Path)
	}
	file, err := s.inspect()
	if err == nil {
		err = s.resume()
		file = s.file
	}
	spoilt, ok := errors.AsType[*damage](err)
	if !ok {
		return err
	}
	// The file is still open, and so locked, while Spoilt is asked.
	if err = s.config.agreed(spoilt); err == nil {
		_, err = moveAside(s.config, file, spoilt.reason)
	}
	if file != nil {
		// bbolt's own Close might wait for ever, or be in pieces already.
		_ = file.Close()
	}
	s.db, s.file = nil, nil
	if err != nil {
		return err
	}
	return s.begin()
}

// inspect looks at the file without writing to it. If what it finds is damage,
// it returns the file still open, and so locked.
//
// Every start walks the pages, a tenth of a second for 100,000 sessions: no
// fault that bbolt could meet later is as bad as one that leads it in a circle,
// which nothing contains.
func (s *Store) inspect() (*os.File, error) {
	db, file, err := openBolt(s.config, true)
	if err != nil {
		return file, err
	}
	err = contained(func() error {
		if err := checkPages(file); err != nil {
			return err
		}
		return db.View(s.examine)
	})
	if _, spoilt := errors.AsType[*damage](err); spoilt {
		return file, err
	}
	return nil, errors.Join(err, db.Close())
}

// examine tells whether a file is a store of this version that a key of the ring
// opens. If it is in doubt, because the machine went down while it was open, its
// contents must add up. A process alone may die as it likes, since the system
// writes what it was given.
func (s *Store) examine(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return &damage{Foreign, "not a store"}
	}
	if _, err := s.config.openIndexKey(meta.Get(metaIndexKey)); err != nil {
		return err
	}
	want, err := schema()
	if err != nil {
		return err
	}
	if have := meta.Get(metaSchema); !bytes.Equal(have, want) {
		return &damage{OtherVersion, fmt.Sprintf("its schema is %q, not %q", have, want)}
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return damaged("bucket %s is missing", name)
		}
	}
	boot := s.config.bootOf()
	sameBoot := len(boot) > 0 && bytes.Equal(meta.Get(metaBoot), boot)
	if sameBoot || meta.Get(metaClean) != nil {
		return nil
	}
	s.config.Logger.Info("store was in use when the machine went down: checking it", "path", s.config.Path)
	// The tokens stay sealed: opening a million takes longer than reading the
	// log, and a checksum covers them.
	return agree(tx, func(events.SessionID, entry) error { return nil })
}

// resume opens for writing a file that inspect has passed.
func (s *Store) resume() (err error) {
	if s.db, s.file, err = openBolt(s.config, false); err != nil {
		return err
	}
	if err := s.file.Chmod(0o600); err != nil {
		return errors.Join(fmt.Errorf("store: %w", err), s.db.Close())
	}
	var at state
	err = contained(func() error {
		return updateSynced(s.db, func(tx *bbolt.Tx) (err error) {
			meta := tx.Bucket(bucketMeta)
			key, err := s.config.openIndexKey(meta.Get(metaIndexKey))
			if err != nil {
				return err
			}
			s.hasher = sessions.NewHasher(key)
			if at, err = readState(tx); err != nil {
				return err
			}
			s.heard.Store(heardIn(tx))
			return errors.Join(meta.Put(metaBoot, s.config.bootOf()), meta.Delete(metaClean))
		})
	})
	if _, spoilt := errors.AsType[*damage](err); err != nil && !spoilt {
		return errors.Join(fmt.Errorf("store: %s: %w", s.config.Path, err), s.db.Close())
	}
	s.mark.Store(&at.mark)
	return err
}

// begin makes an empty store, where there is no file or nothing in it. Its index
// key is new: nothing in another file can be compared with this one's. If it
// cannot be made, half of one is not left behind.
func (s *Store) begin() (err error) {
	if s.db, s.file, err = openBolt(s.config, false); err != nil {
		s.db, s.file = nil, nil
		return errors.Join(err, s.config.unmake(err))
	}
	var key [32]byte
	rand.Read(key[:])
	err = contained(func() error {
		return updateSynced(s.db, func(tx *bbolt.Tx) error { return s.config.lay(tx, key) })
	})
	if err != nil {
		err = fmt.Errorf("store: %s: make: %w", s.config.Path, errors.Join(err, s.config.unmake(err), s.db.Close()))
		s.db, s.file = nil, nil
		return err
	}
	s.hasher = sessions.NewHasher(key)
	s.mark.Store(new(events.Mark))
	s.heard.Store(0)
	return nil
}

// unmake removes what is left of a file that could not be made. Somebody else's,
// who has been quicker, stays.
func (c Config) unmake(cause error) error {
	if errors.Is(cause, ErrInUse) {
		return nil
	}
	if err := os.Remove(c.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// lay makes the buckets and what an empty store holds.
func (c Config) lay(tx *bbolt.Tx, key [32]byte) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	version, err := schema()
	if err != nil {
		return err
	}
	sealed, err := c.sealIndexKey(key)
	if err != nil {
		return err
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(
		meta.Put(metaSchema, version),
		meta.Put(metaIndexKey, sealed),
		meta.Put(metaState, state{}.bytes()),
		meta.Put(metaBoot, c.bootOf()),
	)
}

// The key that names are hashed under is kept sealed, and is the canary as
// well: a ring that does not open it is the wrong one. A checksum before it
// tells that from a canary that is spoilt.
const canarySumLen = 8

func (c Config) sealIndexKey(key [32]byte) ([]byte, error) {
	sealed, err := c.Ring.Seal(key[:])
	if err != nil {
		return nil, err
	}
	check := sha256.Sum256([]byte(sealed))
	return append(check[:canarySumLen:canarySumLen], sealed...), nil
}

func (c Config) openIndexKey(value []byte) (key [32]byte, err error) {
	if len(value) < canarySumLen {
		return key, damaged("its index key is missing")
	}
	check := sha256.Sum256(value[canarySumLen:])
	if !bytes.Equal(check[:canarySumLen], value[:canarySumLen]) {
		return key, damaged("its index key is spoilt")
	}
	plain, err := c.Ring.Open(events.Sealed(value[canarySumLen:]))
	if err != nil {
		return key, &KeyError{c.Path}
	}
	if copy(key[:], plain) != len(key) {
		return key, damaged("its index key has %d bytes", len(plain))
	}
	return key, nil
}

// mapped is how much room for the file is set aside among the addresses, which
// costs nothing. Mapping it anew makes bbolt copy all that a commit has changed
// so far, and waits for whoever reads.
const mapped = 1 << 28

// openBolt opens the file with bbolt. If the error is damage, the file is
// returned too, still open. bbolt does not lock a file against being renamed,
// but who holds it open holds its lock.
func openBolt(c Config, readOnly bool) (db *bbolt.DB, file *os.File, err error) {
	options := &bbolt.Options{
		Timeout:         lockWait,
		ReadOnly:        readOnly,
		NoSync:          true,
		NoStatistics:    true,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapped,
		MaxSize:         c.maxSize,
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			file, err = os.OpenFile(path, flag, mode)
			return file, err
		},
	}
	err = contained(func() (err error) {
		db, err = bbolt.Open(c.Path, 0o600, options)
		return err
	})
	if err == nil {
		return db, file, nil
	}
	if _, torn := errors.AsType[*damage](err); torn {
		return nil, file, err
	}
	_, inSystem := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, fmt.Errorf("store: %s: %w: is curfew running on this folder already?", c.Path, ErrInUse)
	case inSystem:
		return nil, nil, fmt.Errorf("store: %w", err)
	default:
		return nil, nil, damaged("%v", err) // and bbolt has closed the file
	}
}

// moveAside renames the file, under a name that says when and that is nobody
// else's, and says so. If file is not nil and is no longer what stands under the
// path, there is nothing to move.
func moveAside(c Config, file *os.File, reason string) (moved string, err error) {
	if moved, err = setAside(c, file); err != nil {
		return "", err
	}
	c.Logger.Warn("store moved aside, a new one is filled from the log", "reason", reason, "path", c.Path, "moved", moved)
	return moved, nil
}

func setAside(c Config, file *os.File) (moved string, err error) {
	here, err := os.Stat(c.Path)
	if err == nil && file != nil {
		mine, statErr := file.Stat()
		if statErr == nil && !os.SameFile(here, mine) {
			err = errExchanged
		}
	}
	if err != nil {
		return "", fmt.Errorf("store: move aside: %w", err)
	}
	base := c.Path + "." + c.Now().UTC().Format("20060102T150405Z")
	moved = base
	for i := 2; ; i++ {
		if _, err := os.Lstat(moved); errors.Is(err, fs.ErrNotExist) {
			break
		}
		moved = fmt.Sprintf("%s-%d", base, i)
	}
	if err := os.Rename(c.Path, moved); err != nil {
		return "", fmt.Errorf("store: move aside: %w", err)
	}
	return moved, nil
}
