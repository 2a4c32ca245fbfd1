package main

import (
	"log/slog"
)

// remedy is what curfew does about a disagreement. The zero value ends the
// process.
type remedy uint8

const (
	refuse      remedy = iota // exit status 1: it may be better the next time
	refuseSet                 // exit status 2: somebody has to change something
	rebuild                   // set the store aside, and fill another from the log
	salvage                   // set the outbox aside, and go on with what can be read of it
	waitOutside               // try again; nobody is let in once the lease has run out
	goOn
)

// String is the remedy in the log and in docs/recovery.md.
func (r remedy) String() string {
	return [...]string{"exit 1", "exit 2", "rebuild", "salvage", "wait", "go on"}[r]
}

// matter is one way in which store, log and outbox can disagree.
type matter struct {
	name   string
	remedy remedy
	level  slog.Level
	// says tells whoever is woken by it what has happened, what curfew does, and
	// what there is to do.
	says string
}

// The matters. None is logged that is at the level debug and goes on.
var (
	storeNew = matter{"store-new", goOn, slog.LevelInfo,
		"there is no store yet: it is filled from the log, and nobody is let in before that is done"}
	storeCurrent = matter{"store-current", goOn, slog.LevelDebug,
		"the store goes on in the log where it was"}
	storeSpoilt = matter{"store-spoilt", rebuild, slog.LevelError,
		"the store on this disk is torn or does not add up: it is moved aside and another is filled from the log, and nobody is let in before that is done. " +
			"Nothing is lost. Look for what spoilt it, a power cut or a failing disk; delete the file that was moved when you have seen enough"}
	storeForeign = matter{"store-foreign", rebuild, slog.LevelError,
		"what stands in the place of the store is no store: it is moved aside and one is filled from the log. " +
			"If the file is somebody's, give it back, and give curfew a folder of its own in CURFEW_DATA"}
	storeOtherVersion = matter{"store-other-version", rebuild, slog.LevelWarn,
		"another version of curfew wrote the store: it is moved aside and another is filled from the log. " +
			"Nothing is lost, and there is nothing to do; delete the file that was moved when you will not go back"}
	storeSpoiltInUse = matter{"store-spoilt-in-use", rebuild, slog.LevelError,
		"the store was found spoilt while in use: it is moved aside and another is filled from the log, and nobody is let in before that is done. " +
			"Nothing is lost. Look into the system's log for a failing disk, and whether somebody else writes in CURFEW_DATA"}
	storeLocked = matter{"store-wrong-key", refuseSet, slog.LevelError,
		"the store was sealed with a key that OIDC_TOKEN_ENCRYPTION_KEY does not have, and nothing was touched: " +
			"add the key it was sealed with to the end of the list. If that key is lost, so are the sessions: move store.db away, and everybody signs in again"}
	storeNotWritten = matter{"store-not-written", goOn, slog.LevelError,
		"the disk does not take what the log brings: this replica goes on in memory, which is right, and stays ready; a restart would read the log again from where the store has come to. " +
			"Make room on the disk of CURFEW_DATA, or mend it, soon: until then memory grows, and logouts and tokens that wait for the log are not safe from a crash"}
	storeNotMade = matter{"store-not-made", waitOutside, slog.LevelError,
		"the store was moved aside and the disk does not take another: this replica lets nobody in and tries again each second. " +
			"Make room on the disk of CURFEW_DATA, or mend it"}

	logMadeAnew = matter{"log-made-anew", rebuild, slog.LevelError,
		"the log is gone and another, made since, is in its place: the store is moved aside and another is filled from the new log, and no session of the lost one lives. " +
			"Everybody signs in again. Find out who deleted the stream, or why NATS came up without its data"}
	logAnother = matter{"log-another", rebuild, slog.LevelError,
		"the log is another than the store's, and is older than the store's last word from its own: the store is moved aside and another is filled from this log, whose sessions are the ones that live here now. " +
			"Look whether CURFEW_NATS_URL or CURFEW_NATS_STREAM points elsewhere than it did, or CURFEW_DATA is another replica's"}
	logRolledBack = matter{"log-rolled-back", rebuild, slog.LevelError,
		"THE LOG HAS LOST EVENTS THAT IT HAD TAKEN: it ends before the place that this replica has applied, or has other events there. LOGOUTS AMONG THEM ARE UNDONE, on every replica, and sessions begun since then are gone. " +
			"The store is moved aside and another is filled from what is left. If a logout must hold, end the sessions of that time again, all of them if in doubt: curfew sessions end --all. " +
			"Then find out why NATS lost what it had acknowledged: a backup put back, or sync_interval not at always"}
	logForgot = matter{"log-forgot", rebuild, slog.LevelWarn,
		"this replica was away for longer than the log remembers, so that a logout may be missing from what it has yet to read: the store is moved aside and another is filled from the log. " +
			"Nothing is lost, and there is nothing to do; delete the file that was moved"}
	logCompacted = matter{"log-compacted", goOn, slog.LevelDebug,
		"the log has dropped events that later ones have taken the place of: the store goes on"}
	logUnreadable = matter{"log-unreadable", waitOutside, slog.LevelError,
		"something stands in the log that this version cannot read: it goes no further, lets nobody in once its lease has run out, and tries again each second. " +
			"If a newer curfew wrote it, update this one. Else something that is not curfew writes to the stream: stop it, and put an event that may be skipped in its place, as docs/threats.md tells"}
	logNotApplied = matter{"log-not-applied", waitOutside, slog.LevelError,
		"the log cannot be applied from here on: this replica lets nobody in once its lease has run out, and tries again each second"}

	outboxWaits = matter{"outbox-waits", goOn, slog.LevelWarn,
		"logouts from an earlier run wait for the log: they work on this replica, and it lets nobody in before the log has them. There is nothing to do"}
	outboxOfAnotherLog = matter{"outbox-of-another-log", goOn, slog.LevelWarn,
		"logouts that the lost log never took are given to the new one before anybody is let in. There is nothing to do"}
	outboxLocked = matter{"outbox-wrong-key", refuseSet, slog.LevelError,
		"the outbox holds a logout, or tokens, sealed with a key that OIDC_TOKEN_ENCRYPTION_KEY does not have, and nothing was touched: " +
			"add the key it was sealed with to the end of the list. Move outbox.db away only if that key is lost: a logout in it is then lost too"}
	outboxSpoilt = matter{"outbox-spoilt", salvage, slog.LevelError,
		"the outbox is spoilt: it is moved aside, and what can be read of it is kept. A LOGOUT IN IT THAT THE LOG DOES NOT HAVE MAY BE LOST: " +
			"if a provider was answered 503 lately, end the sessions it meant again with curfew sessions end"}
	outboxNotWritten = matter{"outbox-not-written", goOn, slog.LevelError,
		"the disk does not take what waits for the log: it works on this replica and is given to the log when that answers, but a crash before that loses it. " +
			"Make room on the disk of CURFEW_DATA, or mend it, and do not stop this replica before its outbox is empty"}

	diskFull = matter{"disk-full-at-start", refuse, slog.LevelError,
		"the disk of CURFEW_DATA is full, and nothing was touched: make room, and start again"}
	folderInUse = matter{"folder-in-use", refuse, slog.LevelError,
		"another process works in CURFEW_DATA, and nothing was touched: is curfew running on this folder already? Each replica needs one of its own"}
	folderNotWritable = matter{"folder-not-writable", refuseSet, slog.LevelError,
		"CURFEW_DATA cannot be written to, and nothing was touched: give the folder and what is in it to the user that runs curfew. If the system has made the disk read-only, look into its log first"}
	notOpened = matter{"folder-not-opened", refuse, slog.LevelError,
		"CURFEW_DATA cannot be worked with as it is, and nothing was touched"}
)

// over is the matter with what led to it and the facts of the case, in slog's
// pairs.
func (m matter) over(cause error, facts ...any) decision { return decision{m, cause, facts} }

// decision is what recovery comes to.
type decision struct {
	matter
	cause error
	facts []any
}

// String names the case, what it means and what led to it.
func (d decision) String() string {
	text := d.name + ": " + d.says
	if d.cause != nil {
		text += ": " + d.cause.Error()
	}
	return text
}

// recoveryError is a decision that is not to go on.
type recoveryError struct{ decision }

// Error is what an operator reads who has nothing but the last line.
func (e *recoveryError) Error() string { return "curfew: " + e.String() }

// Unwrap is what led to it.
func (e *recoveryError) Unwrap() error { return e.cause }
