package main

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// The umask of these tests is whatever it is; the modes are not.
func TestSocketModes(t *testing.T) {
	dir := t.TempDir()
	a := &App{config: config{listen: "unix:" + filepath.Join(dir, "public"), adminListen: "unix:" + filepath.Join(dir, "admin")}}
	for range 2 { // afresh, and over sockets that a killed process left
		if err := a.openListeners(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]os.FileMode{"public": 0o660, "admin": 0o600} {
			if got := modeOf(t, filepath.Join(dir, name)); got != want {
				t.Errorf("the %s socket has mode %o, want %o", name, got, want)
			}
		}
		for _, l := range []net.Listener{a.public, a.admin} {
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSocketIsBornNarrow looks at the socket before its mode is set by name.
func TestSocketIsBornNarrow(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // docs/configuration.md says what holds elsewhere
	}
	path := filepath.Join(t.TempDir(), "socket")
	for _, mode := range []os.FileMode{0, 0o600, 0o660} {
		config := net.ListenConfig{Control: narrow(uint32(mode))}
		l, err := config.Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if got := modeOf(t, path); got&^mode != 0 {
			t.Errorf("the socket is born with mode %o, want %o at most", got, mode)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
