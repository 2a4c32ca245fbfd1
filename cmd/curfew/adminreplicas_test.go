package main

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"curfew/events"
	"curfew/sessions"
)

func (h *appHouse) fleet() replicaList {
	h.t.Helper()
	var list replicaList
	answer := h.call("GET", "/v1/replicas", "")
	if err := json.Unmarshal(answer.body, &list); err != nil {
		h.t.Fatalf("%d %s", answer.StatusCode, answer.body)
	}
	return list
}

func TestReplicasAreShownAsTheyAre(t *testing.T) {
	h := newAppHouse(t)
	if list := h.fleet(); len(list.Replicas) != 1 || list.Last == 0 {
		t.Fatalf("got %+v", list)
	} else if r := list.Replicas[0]; r.Replica != "only" || !r.Self || !r.Fresh || r.Left || r.Lease <= 0 || r.Lease > 3 || r.Position == 0 || r.Instance == "" {
		t.Errorf("got %+v", r)
	}
	other := func(want func(replicaView) bool) {
		t.Helper()
		eventually(t, "the other replica is shown as it is", func() bool {
			list := h.fleet()
			return len(list.Replicas) == 2 && list.Replicas[1].Replica == "other" && !list.Replicas[1].Self && want(list.Replicas[1])
		})
	}
	h.take(events.Alive{Replica: "other", Instance: "1", Position: 0, Lease: 60_000})
	other(func(r replicaView) bool { return r.Fresh && r.Position == 0 && r.Lag > 0 && r.Lease > 50 && !r.Left })
	h.take(events.Left{Replica: "other", Instance: "1"})
	other(func(r replicaView) bool { return !r.Fresh && r.Left && r.Lease == 0 })
	h.take(events.Alive{Replica: "other", Instance: "2", Position: 2, Lease: 60_000})
	other(func(r replicaView) bool { return r.Fresh && r.Instance == "2" })
}

func TestOfOneNameTheNewestIsShown(t *testing.T) {
	views := current([]replicaView{
		{Replica: "b", Instance: "old", heard: 3},
		{Replica: "b", Instance: "lingers", heard: 4, Fresh: true},
		{Replica: "b", Instance: "new", heard: 9, Left: true},
		{Replica: "a", Instance: "self", Self: true},
		{Replica: "a", Instance: "before", heard: 8},
		{Replica: "c", Instance: "gone", heard: 1},
	})
	var got []string
	for _, v := range views {
		got = append(got, v.Instance)
	}
	want := []string{"before", "self", "lingers", "new", "gone"}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLagIsOfTheMomentItWasSaid(t *testing.T) {
	for _, c := range []struct {
		heard, applied events.Position
		remaining      time.Duration
		want           events.Position
	}{
		{10, 9, time.Second, 0},
		{10, 7, time.Second, 2},
		{10, 12, time.Second, 0}, // it has confirmed more since
		{0, 0, time.Second, 0},
		{10, 2, 0, 0}, // it lets nobody in: its lag is nobody's concern
		{math.MaxUint64, 0, time.Second, math.MaxUint64 - 1},
	} {
		peer := sessions.Peer{Member: sessions.Member{Heard: c.heard, Applied: c.applied}, Remaining: c.remaining}
		if got := viewOf(peer).Lag; got != c.want {
			t.Errorf("%+v: lag %d, want %d", c, got, c.want)
		}
	}
}
