// Package proof holds curfew to its promises while everything breaks. It is
// tests and nothing else.
//
// It runs what is shipped: three to five `curfew serve` processes, a three-node
// JetStream cluster and an OpenID Provider, with people who sign in, go about
// and sign out at random. A nemesis kills and stops processes, cuts any two
// parties apart, loses and doubles messages, sets clocks, slows disks and loses
// the whole log. Everything that was asked and answered goes into a history, and
// what the log took into another. The judge then reads both and knows nothing
// of curfew's insides: for every session and replica it asks whether there is an
// order of events that would explain what was answered, and holds the times
// against the lease.
//
// What is broken for the sake of the proof is broken from outside, but for the
// clock: the program under test is built with another clock.go, which reads how
// far it is off from a file. Mutants are built the same way, from sources in
// which one promise is broken by a few lines: a judge that does not find each of
// them out is no judge.
//
//	go test ./cmd/curfew/proof                       # a glimpse
//	go test ./cmd/curfew/proof -run TestPromises -for 10m -seed 7
//	make soak                                        # an hour, and docs/soak.md
package proof
