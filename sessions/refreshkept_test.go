package sessions_test

import (
	"testing"
	"time"

	"curfew/events"
	"curfew/events/memlog"
)

// What the log will never take is not kept for ever, and neither is an answer for a
// session that was lost with its log.
func TestAnswerThatTheLogNeverTakesIsNotKept(t *testing.T) {
	for name, happens := range map[string]func(*street, *node){
		"too large": func(s *street, _ *node) {
			s.op.between = func() {
				refuse := func(event events.Event) memlog.Fault {
					if _, answer := event.Fact.(events.Refreshed); answer {
						return memlog.TooLarge
					}
					return memlog.None
				}
				s.fail.Store(&refuse)
			}
		},
		"the log is lost": func(s *street, _ *node) { s.op.between = s.log.Wipe },
	} {
		t.Run(name, func(t *testing.T) {
			onStreet(t, func(t *testing.T, s *street) {
				id := s.signIn()
				happens(s, s.nodes[0])
				s.checks(id, fresh+5*time.Second, time.Second)
				pass(time.Minute)
				for _, n := range s.nodes {
					if kept := n.post.All(); len(kept) != 0 {
						t.Errorf("%s keeps %v", n.name, kept)
					}
				}
				if s.op.asked() == 0 {
					t.Error("nobody asked")
				}
			})
		})
	}
}
