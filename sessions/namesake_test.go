package sessions

import (
	"testing"
	"time"
)

// Another process of one's name counts until its lease is surely over, unless it
// has left, or is known to be gone.
func TestNamesake(t *testing.T) {
	inFleet(t, "", func(p peers) {
		want := func(what, instance string, gone ...string) {
			t.Helper()
			found, is := p.Namesake("replica-b", gone)
			if is != (instance != "") || found.Instance != instance {
				t.Errorf("%s: found %q %t, want %q", what, found.Instance, is, instance)
			}
		}
		want("nobody", "")
		p.heartbeat("c", 1, 0)
		want("one of another name", "")
		p.heartbeat("b", 2, 0)
		want("one of this name", "b")
		want("one that is gone", "", "a", "b")
		want("one beside one that is gone", "b", "a")
		pause(leaseEnd - time.Millisecond)
		want("at the end of its lease", "b")
		pause(time.Millisecond)
		want("and past it", "")
		p.heartbeat("b", 3, 0)
		want("again", "b")
		p.farewell("b", 4)
		want("after its farewell", "")
		p.Hear(Member{Replica: "replica-b", Instance: "b2", Log: *p.log, Heard: 5, Lease: length})
		want("the next of this name", "b2")
		p.Hear(Member{Replica: "replica-b", Instance: "b3", Log: *p.log, Heard: 6, Lease: length})
		want("who has waited for those before", "", "b3")
	})
}
