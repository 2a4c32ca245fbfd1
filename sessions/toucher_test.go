package sessions

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
	"curfew/events/memlog"
)

// What a toucher remembers stays small, however many sessions are in use.
func TestToucherForgetsWhenManyAreInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New(time.Now)
		toucher := Toucher{Log: log, Idle: time.Hour, Replica: "a", Logger: slog.New(slog.DiscardHandler)}
		written := make(map[events.SessionID]time.Time)
		for range 2*maxUses + 1 {
			toucher.write(t.Context(), use{events.NewSessionID(), time.Now()}, written)
			if len(written) > maxUses {
				t.Fatalf("%d uses remembered, want %d at most", len(written), maxUses)
			}
		}
		status, err := log.Status(t.Context())
		if err != nil || status.Last != 2*maxUses+1 {
			t.Errorf("%d uses written, %v, want %d", status.Last, err, 2*maxUses+1)
		}
	})
}
