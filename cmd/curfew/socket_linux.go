package main

import "syscall"

// narrow has a socket be born with a mode at most: what bind makes takes the mode
// of the socket itself, less the umask, and until then nobody can reach it.
func narrow(mode uint32) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		if fault := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), mode) }); fault != nil {
			return fault
		}
		return err
	}
}
