// Package store keeps what the log adds up to on this replica's disk, sealed,
// so that a replica that starts again need not read the whole log.
//
// The log is the truth and the store a copy: losing it costs time and nothing
// else. So commits are synced once a second only, committing something again is
// harmless, and a file that is in doubt is put aside and made anew, never
// trusted and never deleted. The registry of package sessions does the folding;
// what is kept here are its results.
//
// The file tells whoever reads it opaque ids, times, positions and keyed hashes.
// Names, claims and tokens stand in it only as the log brought them, sealed.
package store
