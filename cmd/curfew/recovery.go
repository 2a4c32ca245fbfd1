package main

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"curfew/events"
	"curfew/store"
)

// place is where somebody was when store, log and outbox did not agree.
type place uint8

const (
	opening       place = iota // the data folder, at the start
	openingStore               // the store in it, until it is loaded
	openingOutbox              // the outbox in it
	restoring                  // what the outbox holds, to take effect
	resuming                   // about to follow the log
	following                  // following it
	committing                 // what the log brought, to the store
	rebuilding                 // an empty store in the place of another
	keeping                    // something, in the outbox
)

// part is what stops, or does not keep up, where there is trouble, in
// curfew_faults_total.
func (p place) part() string {
	if p == committing || p == rebuilding {
		return "store"
	}
	return "follow"
}

// known is what there is to decide by.
type known struct {
	where place
	err   error // what came of it; nil if the question is only how things stand
	path  string

	mark events.Mark // how far the store has come
	// log is how the log stands; zero where nobody has asked it.
	log events.Status
	// heard is when the store last knew its log, by the log's clock; zero if it
	// never did. since is where the oldest event is that the log took after that;
	// zero if there is none.
	heard time.Time
	since events.Position
	now   time.Time
	// memory is how far back the log remembers everything that was not
	// superseded, at the least.
	memory time.Duration
	owed   int // logouts in the outbox
	anew   bool
}

// away is how long the store has not known its log.
func (k known) away() time.Duration { return k.now.Sub(k.heard) }

// recovery decides what to do when store, log and outbox disagree, or the disk
// does not take them: the one place where that is decided. docs/recovery.md has a
// row for each case.
//
// Three thoughts behind it:
//
// What the log has lost. It ends before the store's mark then. Or it has been
// written on since, while this replica was away, and has other events up to the
// mark than the store has, a logout perhaps. Each of these was stored after the
// newest that the store had heard, so the oldest event stored since then tells:
// in a log that has lost nothing it stands after the mark. Those of them that
// were superseded meanwhile do not show, and are not missed.
//
// What the log has forgotten. A log that begins after the place next to the
// store's mark has lost something that the store never saw. Either it was
// superseded, and what took its place is still to come: that is no loss. Or it
// was too old. The log keeps everything for a session's lifetime and an hour, or
// longer: a stream that does not is refused at each connect, and the embedded
// one is helped. So within that time of when the store last knew its log nothing
// that came since can have become too old, and the store goes on. After it, a
// logout may be missing. With one lifetime for ever that would do no harm, since
// the sessions it covers have run out before it is forgotten. But lifetimes
// change: sessions begun under twelve hours outlive a stream that has been cut
// to two since, and a store that missed their logout would let them in. So it is
// set aside; a store built from the log alone cannot know a session longer than
// its logout, since each session's start came before its end. The half hour is
// for clocks that differ. What is not noticed is a stream that was cut and
// lengthened again while this replica was away for less.
//
// A disk that does not take a batch. Who may pass is answered from memory, and
// memory is what the log adds up to, whether it was kept or not. The lease is
// proved by what comes back through the log, and never by the disk. So the
// replica is as right as its neighbours and stays fresh; the store is behind,
// at a mark that is true, and a restart reads the rest from the log again. What
// is owed to the disk is held in memory until it takes it: at most what is alive.
//
//nolint:cyclop // one look must show every case
func recovery(k known) decision {
	damage, damaged := errors.AsType[*store.DamagedError](k.err)
	_, locked := errors.AsType[*store.KeyError](k.err)
	unreadable, stuck := errors.AsType[*events.UnreadableError](k.err)
	_, refused := errors.AsType[syscall.Errno](k.err)
	asked := k.log.ID != events.LogID{} && k.mark != events.Mark{}
	switch {
	case k.err != nil && k.where == keeping:
		return outboxNotWritten.over(k.err)
	case locked && k.where == openingOutbox:
		return outboxLocked.over(k.err, "path", k.path)
	case locked:
		return storeLocked.over(k.err, "path", k.path)
	case errors.Is(k.err, store.ErrInUse), errors.Is(k.err, syscall.EWOULDBLOCK):
		return folderInUse.over(k.err, "path", k.path)
	case damaged && k.where == openingOutbox:
		return outboxSpoilt.over(k.err, "path", k.path, "reason", damage.Reason)
	case damaged && k.where != openingStore:
		return storeSpoiltInUse.over(k.err, "reason", damage.Reason, "moved", damage.Moved)
	case damaged && damage.Flaw == store.OtherVersion:
		return storeOtherVersion.over(k.err, "path", k.path, "reason", damage.Reason)
	case damaged && damage.Flaw == store.Foreign:
		return storeForeign.over(k.err, "path", k.path)
	case damaged:
		return storeSpoilt.over(k.err, "path", k.path, "reason", damage.Reason)
	case refused && k.where == committing:
		return storeNotWritten.over(k.err)
	case refused && k.where == rebuilding:
		return storeNotMade.over(k.err)
	case isFull(k.err):
		return diskFull.over(k.err, "path", k.path)
	case errors.Is(k.err, fs.ErrPermission), errors.Is(k.err, syscall.EROFS):
		return folderNotWritable.over(k.err, "path", k.path)
	case asked && k.mark.Log != k.log.ID && k.log.Created.After(k.heard):
		return logMadeAnew.over(k.err, "log", k.log.ID, "was", k.mark.Log, "made", k.log.Created, "heard", k.heard, "outbox", k.owed)
	case asked && k.mark.Log != k.log.ID:
		return logAnother.over(k.err, "log", k.log.ID, "was", k.mark.Log, "made", k.log.Created, "heard", k.heard, "outbox", k.owed)
	case asked && (k.mark.At > k.log.Last || k.since != 0 && k.since <= k.mark.At):
		return logRolledBack.over(k.err, "log", k.log.ID, "ends", k.log.Last, "since", k.since, "applied", k.mark.At, "heard", k.heard, "outbox", k.owed)
	case stuck:
		return logUnreadable.over(k.err, "position", unreadable.At)
	case k.err != nil && (k.where == following || k.where == committing):
		return logNotApplied.over(k.err)
	case k.err != nil:
		return notOpened.over(k.err, "path", k.path)
	case k.where == restoring && k.anew:
		return outboxOfAnotherLog.over(nil, "events", k.owed)
	case k.where == restoring:
		return outboxWaits.over(nil, "events", k.owed)
	case k.mark == events.Mark{}:
		return storeNew.over(nil)
	case asked && k.log.First > k.mark.At+1 && k.away() > k.memory-afterlife/2:
		return logForgot.over(nil, "begins", k.log.First, "applied", k.mark.At, "heard", k.heard, "away", k.away())
	case asked && k.log.First > k.mark.At+1:
		return logCompacted.over(nil, "begins", k.log.First, "applied", k.mark.At)
	default:
		return storeCurrent.over(nil, "applied", k.mark.At)
	}
}

// isFull takes a quota, and a limit for files, for a full disk.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
