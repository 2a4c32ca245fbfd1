package memlog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"curfew/events"
)

func logout(jti string) events.Event {
	return events.NewEvent(events.LogoutReceived{
		Issuer: "https://op.example", Sid: "s", JTI: jti, Reason: events.Backchannel, Replica: "r",
	}, "r", time.Unix(1, 0))
}

func TestFaults(t *testing.T) {
	tests := []struct {
		fault       Fault
		taken       bool
		unavailable bool
	}{
		{Refused, false, false},
		{TooLarge, false, false},
		{Unavailable, false, true},
		{AnswerLost, true, true},
	}
	for _, tt := range tests {
		log := New(time.Now)
		log.Fail = func(events.Event) Fault { return tt.fault }
		event := logout("1")
		_, err := log.Append(t.Context(), event, events.IfFirst())
		if err == nil || errors.Is(err, events.ErrUnavailable) != tt.unavailable {
			t.Errorf("fault %d: err = %v, unavailable want %t", tt.fault, err, tt.unavailable)
		}
		if got := len(log.Records()) == 1; got != tt.taken {
			t.Errorf("fault %d: taken %t, want %t", tt.fault, got, tt.taken)
		}
		log.Fail = nil
		if at, err := log.Append(t.Context(), event, events.IfFirst()); at != 1 || err != nil {
			t.Errorf("fault %d: again: %d, %v, want 1", tt.fault, at, err)
		}
	}
}

// TestAway has a follower see what it may and no more while the log is
// stopped, or held from it.
func TestAway(t *testing.T) {
	tests := map[string]struct {
		leave, back func(*Log)
	}{
		"stopped": {(*Log).Stop, (*Log).Start},
		"held":    {(*Log).Hold, (*Log).Release},
	}
	for name, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			log := New(time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var got events.Batch
			go func() {
				// It ends with the test.
				_ = log.Follow(ctx, events.Mark{}, func(b events.Batch) error { got = b; return nil })
			}()
			tt.leave(log)
			synctest.Wait()
			got = events.Batch{}
			message, _ := events.Encode(logout("1"))
			log.Put(message)
			synctest.Wait()
			if got.Position != 0 {
				t.Errorf("%s: follower came to %d", name, got.Position)
			}
			tt.back(log)
			synctest.Wait()
			if got.Position != 1 || len(got.Records) != 1 {
				t.Errorf("%s: then follower came to %d with %d records, want 1, 1", name, got.Position, len(got.Records))
			}
		})
	}
}

func TestStoppedAnswersNothing(t *testing.T) {
	log := New(time.Now)
	log.Stop()
	if _, err := log.Append(t.Context(), logout("1"), events.Always()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Append: %v", err)
	}
	if _, err := log.Status(t.Context()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Status: %v", err)
	}
	if err := log.Announce("i", events.Mark{At: 1}); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Announce: %v", err)
	}
}

// TestStoredIsTheLatest has a clock go back between two appends, as that of the
// next leader may.
func TestStoredIsTheLatest(t *testing.T) {
	clock := time.Unix(100, 0)
	log := New(func() time.Time { clock = clock.Add(-time.Second); return clock })
	first := clock.Add(-time.Second) // the log itself was made before
	for _, jti := range []string{"1", "2"} {
		if _, err := log.Append(t.Context(), logout(jti), events.Always()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got events.Batch
	_ = log.Follow(ctx, events.Mark{}, func(b events.Batch) error { got = b; cancel(); return nil })
	if len(got.Records) != 2 || !got.Stored.Equal(first) {
		t.Errorf("%d records, stored at %s, want 2 and %s", len(got.Records), got.Stored, first)
	}
}
