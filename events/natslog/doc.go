// Package natslog is the log on NATS JetStream: one stream on a server
// elsewhere, or on one inside this process for a replica that stands alone.
//
// # What is promised
//
// An append is answered once the stream's leader has stored the event, on most
// of the stream's replicas. The embedded server has synced it to disk by then
// (which costs what the disk takes for it, since appends are not grouped). A
// server elsewhere syncs when its own configuration says so, and that is every
// two minutes unless it says sync_interval: always; with several replicas in
// several places an event survives all the same.
//
// While there is no connection to a stream that has been checked, appends and
// status fail at once with events.ErrUnavailable; nothing is kept back to be
// sent later, behind the caller's back. Followers wait, and go on where they
// were. A server that takes connections and cannot speak for the stream is left
// for the next, where the URL names several.
//
// # What is not
//
// An append without a condition is recognised the second time for two minutes
// only, the stream's duplicate window; one with a condition always.
//
// On a stream of several replicas, events.IfLast is exact towards other appends
// with IfLast. Towards others about the same session it does not see the ones
// that the leader has taken but the replicas have not: a refresh may be stored
// just after an end that it knew nothing of. The fold makes nothing of it.
//
// A Status is refused that comes from a node without a leader, or from a leader
// that has not heard from most of its replicas for three seconds: a node that is
// cut off tells for as long as it is alone how the log was. Where only some of
// the nodes are cut from each other, a leader that was replaced a moment ago may
// still be believed. No rule of curfew's rests on Status alone: a replica proves
// that it is up to date by having its own heartbeat come back.
package natslog
