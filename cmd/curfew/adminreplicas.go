package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"curfew/events"
	"curfew/sessions"
)

// replicaView is a replica as this one knows it.
type replicaView struct {
	Replica  string `json:"replica"`
	Instance string `json:"instance"`
	// Self marks the replica that answers.
	Self bool `json:"self"`
	// Position is how far it has applied the log: another's, as it last said.
	Position events.Position `json:"position"`
	// Lag is how far it was behind the log's end when it said so.
	Lag events.Position `json:"lag"`
	// Fresh says that it may be letting people in.
	Fresh bool `json:"fresh"`
	// Lease is how long, in seconds, it may go on without further proof.
	Lease float64 `json:"lease_seconds"`
	// Left says that it has said goodbye.
	Left bool `json:"left"`

	heard events.Position
}

// replicaList is every replica, and where the log ends.
type replicaList struct {
	Replicas []replicaView   `json:"replicas"`
	Last     events.Position `json:"last"`
}

// statusPatience bounds the wait for the log to say where it ends. What is known
// of that from the follower does instead.
const statusPatience = time.Second

func (api *adminAPI) replicas(w http.ResponseWriter, r *http.Request) error {
	last := api.metrics.end()
	ctx, cancel := context.WithTimeout(r.Context(), statusPatience)
	defer cancel()
	if status, err := api.log.Status(ctx); err == nil {
		last = status.Last
	}
	views := []replicaView{api.self(last)}
	for _, peer := range api.fleet.Peers() {
		views = append(views, viewOf(peer))
	}
	writeJSON(w, http.StatusOK, "application/json", replicaList{current(views), last})
	return nil
}

func (api *adminAPI) self(last events.Position) replicaView {
	applied := api.registry.Applied().At
	view := replicaView{
		Replica: api.replica, Instance: api.instance, Self: true, Position: applied,
		Lag: behind(applied, last), Fresh: api.lease.Fresh(), heard: last,
	}
	if age, proven := api.lease.Age(); proven && view.Fresh {
		view.Lease = seconds(api.lease.Length - age)
	}
	return view
}

func viewOf(peer sessions.Peer) replicaView {
	view := replicaView{
		Replica: peer.Replica, Instance: peer.Instance, Position: peer.Applied,
		Left: peer.Left, Fresh: !peer.Left && peer.Remaining > 0, heard: peer.Heard,
	}
	if view.Fresh {
		view.Lease = seconds(peer.Remaining)
		// Its own heartbeat was not in the log yet when it looked.
		view.Lag = behind(peer.Applied, max(peer.Heard, 1)-1)
	}
	return view
}

func behind(at, end events.Position) events.Position { return max(at, end) - at }

// seconds is a duration to the millisecond.
func seconds(d time.Duration) float64 { return d.Truncate(time.Millisecond).Seconds() }

// current leaves out the processes that another of the same name has taken the
// place of, once they let nobody in any more.
func current(views []replicaView) []replicaView {
	newest := map[string]events.Position{}
	for _, v := range views {
		newest[v.Replica] = max(newest[v.Replica], v.heard)
	}
	views = slices.DeleteFunc(views, func(v replicaView) bool {
		return !v.Self && !v.Fresh && v.heard < newest[v.Replica]
	})
	slices.SortFunc(views, func(a, b replicaView) int { return strings.Compare(a.Replica+a.Instance, b.Replica+b.Instance) })
	return views
}
