// Package events holds the facts that curfew's log is made of, their form on
// the wire, and what curfew asks of a log.
//
// A fact is something that has happened: a session started, was refreshed or
// ended; a logout was received; a replica is alive or has left. Facts are never
// changed. Everything else in curfew (who is signed in, who is not) is what the
// facts add up to, and package sessions does the adding.
//
// On the wire each fact is a CloudEvents 1.0 event in the NATS binding's binary
// mode: attributes in headers, the fact itself as a JSON body. Tokens and
// profile claims travel in the member "sealed" alone, which this package never
// opens.
package events
