package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// The modes of Unix sockets, whatever the umask: who can write to one can connect
// to it. Whoever connects to the public one is trusted as a proxy, and a proxy is
// most often another user of the same group.
const (
	publicMode os.FileMode = 0o660
	adminMode  os.FileMode = 0o600
)

func (a *App) openListeners(ctx context.Context) (err error) {
	if a.public, err = listenOn(ctx, a.config.listen, publicMode); err != nil {
		return fmt.Errorf("curfew: CURFEW_LISTEN: %w", err)
	}
	if a.admin, err = listenOn(ctx, a.config.adminListen, adminMode); err != nil {
		return fmt.Errorf("curfew: CURFEW_ADMIN_LISTEN: %w", err)
	}
	return nil
}

// listenOn opens HOST:PORT, or unix:PATH with a mode. A socket that nobody listens
// on any more, left by a process that was killed, is replaced.
func listenOn(ctx context.Context, address string, mode os.FileMode) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	l, err := listenUnix(ctx, path, mode)
	if err == nil {
		return l, nil
	}
	if conn, dialErr := net.Dial("unix", path); dialErr == nil {
		conn.Close()
		return nil, err
	}
	if info, statErr := os.Lstat(path); statErr != nil || info.Mode()&os.ModeSocket == 0 {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return listenUnix(ctx, path, mode)
}

// listenUnix opens a socket that is never wider than mode, and then gives it what
// the umask has taken.
func listenUnix(ctx context.Context, path string, mode os.FileMode) (net.Listener, error) {
	config := net.ListenConfig{Control: narrow(uint32(mode))}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
