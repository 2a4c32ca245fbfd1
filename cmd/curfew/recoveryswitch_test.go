package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"curfew/events"
	"curfew/store"
)

// TestRecoverySwitch holds the edges between cases, and those that are hard to
// make for real.
func TestRecoverySwitch(t *testing.T) {
	ours, theirs := events.LogID{1}, events.LogID{2}
	heard := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	at := func(first, last events.Position) events.Status {
		return events.Status{ID: ours, Created: heard.Add(-time.Hour), First: first, Last: last}
	}
	stands := func(log events.Status, away time.Duration) known {
		return known{
			where: resuming, mark: events.Mark{Log: ours, At: 10}, log: log,
			heard: heard, now: heard.Add(away), memory: 13 * time.Hour,
		}
	}
	other := func(made time.Duration) known {
		return stands(events.Status{ID: theirs, Created: heard.Add(made), First: 1, Last: 100}, 0)
	}
	since := func(position events.Position) known {
		k := stands(at(1, 20), 0)
		k.since = position
		return k
	}
	unknown := other(-time.Hour)
	unknown.heard = time.Time{}
	err := func(where place, cause error) known {
		return known{where: where, err: fmt.Errorf("store: x: %w", cause)}
	}
	damage := func(where place, flaw store.Flaw) known { return err(where, &store.DamagedError{Flaw: flaw}) }
	for _, test := range []struct {
		name string
		k    known
		want matter
	}{
		{"nothing yet", known{where: resuming, log: at(1, 5)}, storeNew},
		{"the end", stands(at(1, 10), 0), storeCurrent},
		{"behind the end", stands(at(1, 11), 0), storeCurrent},
		{"nothing between", stands(at(11, 20), 100*time.Hour), storeCurrent},
		{"emptied behind us", stands(at(11, 10), 100*time.Hour), storeCurrent},
		{"one between", stands(at(12, 20), 0), logCompacted},
		{"one between, long ago", stands(at(12, 20), 12*time.Hour), logCompacted},
		{"one between, too long ago", stands(at(12, 20), 12*time.Hour+31*time.Minute), logForgot},
		{"one short", stands(at(1, 9), 0), logRolledBack},
		{"written on", since(10), logRolledBack},
		{"written after", since(11), storeCurrent},
		{"empty", stands(at(1, 0), 0), logRolledBack},
		{"made since", other(time.Second), logMadeAnew},
		{"made before", other(-time.Second), logAnother},
		{"made when we last heard", other(0), logAnother},
		{"never heard", unknown, logMadeAnew},
		{"torn", damage(openingStore, store.Torn), storeSpoilt},
		{"foreign", damage(openingStore, store.Foreign), storeForeign},
		{"newer", damage(openingStore, store.OtherVersion), storeOtherVersion},
		{"torn while committing", damage(committing, store.Torn), storeSpoiltInUse},
		{"torn outbox", damage(openingOutbox, store.Torn), outboxSpoilt},
		{"newer outbox", damage(openingOutbox, store.OtherVersion), outboxSpoilt},
		{"torn outbox in use", damage(keeping, store.Torn), outboxNotWritten},
		{"wrong key", err(openingStore, &store.KeyError{}), storeLocked},
		{"wrong key to the outbox", err(openingOutbox, &store.KeyError{}), outboxLocked},
		{"in use", err(openingStore, store.ErrInUse), folderInUse},
		{"embedded log in use", err(opening, syscall.EWOULDBLOCK), folderInUse},
		{"full", err(openingStore, syscall.ENOSPC), diskFull},
		{"full outbox", err(openingOutbox, syscall.ENOSPC), diskFull},
		{"quota", err(opening, syscall.EDQUOT), diskFull},
		{"full while committing", err(committing, syscall.ENOSPC), storeNotWritten},
		{"failing while committing", err(committing, syscall.EIO), storeNotWritten},
		{"full while rebuilding", err(rebuilding, syscall.ENOSPC), storeNotMade},
		{"full while keeping", err(keeping, syscall.ENOSPC), outboxNotWritten},
		{"not ours", err(opening, fs.ErrPermission), folderNotWritable},
		{"read-only", err(openingStore, syscall.EROFS), folderNotWritable},
		{"failing at the start", err(openingStore, syscall.EIO), notOpened},
		{"moved by somebody while rebuilding", err(rebuilding, errors.New("x")), notOpened},
		{"does not decode", err(following, &events.UnreadableError{At: 3, Err: errors.New("x")}), logUnreadable},
		{"anything else", err(following, errors.New("x")), logNotApplied},
		{"a network's fault is none of the disk", err(following, syscall.ECONNREFUSED), logNotApplied},
		{"another log's mark", err(committing, errors.New("x")), logNotApplied},
		{"kept from before", known{where: restoring, owed: 1}, outboxWaits},
		{"kept from another log", known{where: restoring, owed: 1, anew: true}, outboxOfAnotherLog},
	} {
		if got := recovery(test.k); got.name != test.want.name {
			t.Errorf("%s: got %s, want %s", test.name, got.name, test.want.name)
		}
	}
	if got := recovery(known{err: errors.New("x")}); got.remedy != refuse {
		t.Errorf("what nobody has thought of: %s", got.remedy)
	}
}

// TestRecoveryIsWrittenDown has the page for operators name each case, with what
// is done about it, and no other; and the switch come to each.
func TestRecoveryIsWrittenDown(t *testing.T) {
	read := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	declared := regexp.MustCompile(`(?m)^\t(\w+)\s+= matter\{"([a-z-]+)", (\w+),`).FindAllStringSubmatch(read("recoverycases.go"), -1)
	if len(declared) < 20 || len(declared) != len(mattersInCode(t)) {
		t.Fatalf("found %d cases", len(declared))
	}
	remedies := map[string]remedy{
		"refuse": refuse, "refuseSet": refuseSet, "rebuild": rebuild, "salvage": salvage, "waitOutside": waitOutside, "goOn": goOn,
	}
	rows := map[string]string{} // by case: what curfew does
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|(.*)\\|$").FindAllStringSubmatch(read("../../docs/recovery.md"), -1) {
		columns := strings.Split(row[2], "|")
		if _, twice := rows[row[1]]; twice || len(columns) != 3 {
			t.Errorf("%s: %d columns, or there twice", row[1], len(columns))
			continue
		}
		rows[row[1]] = strings.TrimSpace(columns[1])
	}
	decides := read("recovery.go")
	for _, m := range declared {
		does, found := rows[m[2]]
		if !found || !strings.HasPrefix(does, remedies[m[3]].String()) {
			t.Errorf("docs/recovery.md: %s: it says %q, want %q first", m[2], does, remedies[m[3]])
		}
		if strings.Count(decides, "return "+m[1]+".over(") != 1 {
			t.Errorf("the switch does not come to %s, or more than once", m[2])
		}
		delete(rows, m[2])
	}
	if len(rows) != 0 {
		t.Errorf("docs/recovery.md has rows of no case: %v", rows)
	}
}
