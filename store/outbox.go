package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"curfew/events"
	"curfew/sessions"
)

// maxOutbox is how many events an outbox keeps.
const maxOutbox = 10_000

// Outbox keeps events on this replica's disk until the log has them. Unlike the
// Store it is the only place where they are, so each change is on the disk
// before it is answered, and it is a file of its own, which nobody moves aside
// or makes anew along with the store. It implements sessions.Letters and
// sessions.Outbox.
//
// All its methods may be called at once from many goroutines.
type Outbox struct {
	config Config
	room   int

	writing sync.Mutex // held by whoever writes
	db      *bbolt.DB
	file    *os.File // db's own, for when db must not be closed
	fault   error    // what every write returns; nil while all is well

	mu   sync.Mutex
	kept []*letter // oldest first
}

// letter is an event in the outbox.
type letter struct {
	event events.Event
	// identity is what no two letters have in common.
	identity string
	value    []byte // as on the disk
	key      []byte // there; nil while it is not. Touched by who writes alone
}

// The outbox has a meta bucket with a schema, as the store has.
var (
	bucketOutbox = []byte("outbox") // number, in the order of coming: letter
	outboxSchema = []byte("curfew outbox 1")
)

// OpenOutbox opens an outbox, or makes one. About a file that is spoilt, or
// something else, it asks Spoilt; the one that is made in its place has what
// could still be read. That is logged as an error, for events may have been lost.
//
// The error is a *KeyError if no key of the ring opens something in it, and wraps
// ErrInUse if another process has it open. It is another if the machine does not
// let it be opened. In no case has anything been changed.
func OpenOutbox(c Config) (*Outbox, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, fmt.Errorf("store: folder: %w", err)
	}
	o := &Outbox{config: c, room: maxOutbox}
	moved, spoilt, err := o.salvage()
	if err != nil {
		return nil, err
	}
	err = o.open()
	switch {
	case moved == "":
	case err != nil:
		// The next start must find again what is nowhere else.
		err = errors.Join(err, os.Rename(moved, c.Path))
	default:
		c.Logger.Error("outbox moved aside: logouts in it that the log does not have may be lost",
			"reason", spoilt.reason, "path", c.Path, "moved", moved, "saved", len(o.kept))
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// PeekOutbox looks whether an outbox can be opened, if there is one, and changes
// nothing: a ring that is wrong for what is in it must not make a store first.
// The error is a *KeyError, or wraps ErrInUse; anything else is left to
// OpenOutbox.
func PeekOutbox(c Config) error {
	if err := c.validate(); err != nil || !exists(c.Path) {
		return err
	}
	file, err := (&Outbox{config: c}).inspect()
	if file != nil {
		// bbolt's own Close might wait for ever, or be in pieces already.
		_ = file.Close()
	}
	if _, locked := errors.AsType[*KeyError](err); locked || errors.Is(err, ErrInUse) {
		return err
	}
	return nil
}

// salvage reads what there is, without a change to it, and moves the file out of
// the way if it is spoilt and Spoilt lets it. What could be read counts as not
// yet on the disk then. It returns what was wrong and the file's new name.
func (o *Outbox) salvage() (moved string, spoilt *damage, err error) {
	c := o.config
	info, err := os.Stat(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Size() == 0:
		return "", nil, nil
	case err != nil:
		return "", nil, fmt.Errorf("store: outbox: %w", err)
	case !info.Mode().IsRegular():
		return "", nil, fmt.Errorf("store: outbox: %s: not a file", c.Path)
	}
	file, err := o.inspect()
	spoilt, ok := errors.AsType[*damage](err)
	if !ok {
		return "", nil, err
	}
	if err = c.agreed(spoilt); err == nil {
		moved, err = setAside(c, file)
	}
	if file != nil {
		// bbolt's own Close might wait for ever, or be in pieces already.
		_ = file.Close()
	}
	for _, l := range o.kept {
		l.key = nil
	}
	return moved, spoilt, err
}

// inspect reads the file. If what it finds is damage, it returns the file still
// open, and so locked.
func (o *Outbox) inspect() (*os.File, error) {
	db, file, err := openBolt(o.config, true)
	if err != nil {
		return file, err
	}
	err = contained(func() error {
		if err := checkPages(file); err != nil {
			return err
		}
		return db.View(o.read)
	})
	if _, spoilt := errors.AsType[*damage](err); spoilt {
		return file, err
	}
	return nil, errors.Join(err, db.Close())
}

// open opens the file for writing, makes what is not there yet, and writes what
// has been salvaged from another.
func (o *Outbox) open() (err error) {
	made := !exists(o.config.Path)
	if o.db, o.file, err = openBolt(o.config, false); err != nil {
		if made {
			err = errors.Join(err, o.config.unmake(err))
		}
		return fmt.Errorf("store: outbox: %w", err)
	}
	o.db.NoSync = false
	err = errors.Join(o.file.Chmod(0o600), o.change(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		_, err = tx.CreateBucketIfNotExists(bucketOutbox)
		return errors.Join(err, meta.Put(metaSchema, outboxSchema))
	}))
	if err == nil {
		err = errors.Join(o.flush(), syncFolder(filepath.Dir(o.config.Path)))
	}
	if err != nil {
		if made {
			err = errors.Join(err, o.config.unmake(err))
		}
		return errors.Join(fmt.Errorf("store: outbox: %s: %w", o.config.Path, err), o.Close())
	}
	return nil
}

// exists is true in doubt, so that nothing is removed that only cannot be looked
// at.
func exists(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// syncFolder makes a file's being in its folder outlast a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Put implements sessions.Letters and sessions.Outbox. Those who come while others write are written
// together, after them.
func (o *Outbox) Put(event events.Event) error {
	l, err := o.config.write(event)
	if err != nil {
		return fmt.Errorf("store: outbox: %w", err)
	}
	if l, err = o.admit(l); err != nil {
		return err
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	if l.key != nil {
		return nil
	}
	if err := o.flush(); err != nil {
		return fmt.Errorf("store: outbox: event %s is kept in memory only: %w", event.ID, err)
	}
	return nil
}

// admit lists a letter, or returns the one that says the same if there is one.
func (o *Outbox) admit(l *letter) (*letter, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range o.kept {
		if known.identity == l.identity {
			return known, nil
		}
	}
	if len(o.kept) >= o.room {
		return nil, fmt.Errorf("store: outbox: event %s: %w", l.event.ID, sessions.ErrOutboxFull)
	}
	o.kept = append(o.kept, l)
	return l, nil
}

// flush writes every letter that is not on the disk.
func (o *Outbox) flush() error {
	o.mu.Lock()
	due := slices.DeleteFunc(slices.Clone(o.kept), func(l *letter) bool { return l.key != nil })
	o.mu.Unlock()
	if len(due) == 0 {
		return nil
	}
	keys := make([][]byte, len(due))
	err := o.change(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketOutbox)
		for i, l := range due {
			number, err := bucket.NextSequence()
			if err != nil {
				return err
			}
			keys[i] = positionKey(events.Position(number))
			if err := bucket.Put(keys[i], l.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, l := range due {
		l.key = keys[i]
	}
	return nil
}

// change is one change that is on the disk when it returns. A file that turns
// out to be spoilt is not touched again: the next start looks into it.
func (o *Outbox) change(fn func(*bbolt.Tx) error) error {
	if o.fault != nil {
		return o.fault
	}
	err := contained(func() error { return o.db.Update(fn) })
	if spoilt, ok := errors.AsType[*damage](err); ok {
		o.fault = &DamagedError{Flaw: spoilt.flaw, Reason: spoilt.reason}
		return o.fault
	}
	return err
}

// All implements sessions.Letters.
func (o *Outbox) All() []events.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]events.Event, len(o.kept))
	for i, l := range o.kept {
		all[i] = l.event
	}
	return all
}

// Drop implements sessions.Outbox.
func (o *Outbox) Drop(id string) error { return o.DropAll([]string{id}) }

// DropAll implements sessions.Letters.
func (o *Outbox) DropAll(ids []string) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	var keys [][]byte
	o.mu.Lock()
	o.kept = slices.DeleteFunc(o.kept, func(l *letter) bool {
		gone := slices.Contains(ids, l.event.ID)
		if gone && l.key != nil {
			keys = append(keys, l.key)
		}
		return gone
	})
	o.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	err := o.change(func(tx *bbolt.Tx) error {
		for _, key := range keys {
			if err := tx.Bucket(bucketOutbox).Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store: outbox: drop: %w", err)
	}
	return nil
}

// Close closes the file. Closing again does nothing.
func (o *Outbox) Close() error {
	o.writing.Lock()
	defer o.writing.Unlock()
	fault := o.fault
	o.fault = errClosed
	switch {
	case errors.Is(fault, errClosed):
		return nil
	case fault != nil:
		return o.file.Close() // the locks in db may be held for ever
	default:
		return o.db.Close()
	}
}
