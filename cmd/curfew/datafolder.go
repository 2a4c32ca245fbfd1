package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"curfew/events"
	"curfew/store"
)

// replicaNameOf is the configured name, or the one kept in the data folder, or
// a new one that is kept there.
func replicaNameOf(c config) (string, error) {
	if c.replica != "" {
		return c.replica, nil
	}
	path := filepath.Join(c.data, "replica")
	name, err := keep(path, newReplicaName)
	if err != nil {
		return "", fmt.Errorf("curfew: replica's name: %w", err)
	}
	if err := events.CheckReplicaName(name); err != nil {
		return "", fmt.Errorf("curfew: %s: %w", path, err)
	}
	return name, nil
}

// newReplicaName is the host's name, as far as it fits, and something that no
// other replica on the host has.
func newReplicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "replica"
	}
	fit := strings.Map(func(c rune) rune {
		if events.CheckReplicaName(string(c)) != nil {
			return '-'
		}
		return c
	}, host)
	return fit[:min(len(fit), 40)] + "-" + strings.ToLower(rand.Text()[:6])
}

// openKeyring returns the configured keys. With the embedded log, whose data no
// other replica reads, a key is made and kept where none is configured, unless
// there is something that another key has sealed.
func openKeyring(c config) (*store.Keyring, error) {
	if c.ring != nil {
		return c.ring, nil
	}
	path := filepath.Join(c.data, "key")
	faults := new(configError)
	if sealed := sealedIn(c.data); sealed != "" && !exists(path) {
		faults.add("OIDC_TOKEN_ENCRYPTION_KEY", fmt.Errorf("%s is gone, with which %s was sealed: put the file back, or set the key that was in it; "+
			"if it is lost, move the folder %s away, and everybody signs in again", path, sealed, c.data))
		return nil, faults
	}
	text, err := keep(path, store.GenerateKey)
	if err != nil {
		return nil, fmt.Errorf("curfew: encryption key: %w", err)
	}
	ring, err := store.ParseKeyring(text)
	if err != nil {
		faults.add("OIDC_TOKEN_ENCRYPTION_KEY", fmt.Errorf("%s: %w", path, err))
		return nil, faults
	}
	return ring, nil
}

// sealedIn names what a folder holds that needs its key; empty for nothing.
func sealedIn(folder string) string {
	for _, name := range []string{"store.db", "log"} {
		if path := filepath.Join(folder, name); exists(path) {
			return path
		}
	}
	return ""
}

// exists is true in doubt, so that nothing is made in the place of a file that
// only cannot be looked at.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// keep returns what a file of the data folder holds, and if there is no such
// file, makes it. The file appears whole or not at all.
func keep(path string, create func() string) (string, error) {
	content, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(content)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	made := create()
	return made, replaceFile(path, made)
}

// replaceFile has a file hold a text: the whole of it, or what it held before.
func replaceFile(path, text string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = temporary.WriteString(text + "\n")
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

// maxBefore is how many instances a data folder remembers. The last that has sent
// a heartbeat matters, and it may not have got to that.
const maxBefore = 4

// readBefore finds out which instances used the data folder before this one, which
// has locked it by now. A folder that cannot say so has this replica wait for the
// lease of the last.
func (a *App) readBefore() {
	content, err := os.ReadFile(a.instancesFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.logger.Warn("who has used the data folder is not known: this replica waits until the last one's lease is over", "error", err)
	}
	boot := bootID()
	for line := range strings.Lines(string(content)) {
		if instance, on, _ := strings.Cut(strings.TrimSpace(line), " "); on == boot {
			a.before = append(a.before, instance)
		}
	}
}

// moveIn notes that this instance uses the data folder: before its first
// heartbeat, for which the next may else wait.
func (a *App) moveIn() {
	boot := bootID()
	var list []string
	for _, instance := range append([]string{a.instance}, a.before...) {
		list = append(list, instance+" "+boot)
	}
	if err := replaceFile(a.instancesFile(), strings.Join(list[:min(len(list), maxBefore)], "\n")); err != nil {
		a.logger.Warn("who uses the data folder is not kept: a start after a crash waits until this lease is over", "error", err)
	}
}

func (a *App) instancesFile() string { return filepath.Join(a.config.data, "instances") }

// bootID tells one machine, from one start of it to the next, from all others: a
// data folder may be a copy, whose original is in use elsewhere. It is empty where
// the system has none.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// warnOfOpen tells an operator what in the data folder others on this machine
// can get at. A folder made here is its owner's alone: somebody has meant it so,
// or has never looked.
func warnOfOpen(folder string, logger *slog.Logger) {
	for _, path := range []string{folder, filepath.Join(folder, "key"), filepath.Join(folder, "store.db")} {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			logger.Warn("others on this machine can get at what is kept here: chmod go= PATH", "path", path, "mode", info.Mode().Perm())
		}
	}
}
