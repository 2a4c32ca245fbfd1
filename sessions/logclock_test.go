package sessions

import (
	"testing"
	"time"
)

func TestLogClock(t *testing.T) {
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var up time.Duration
	c := &LogClock{Lull: 15 * time.Second, Clock: func() Reading { return Reading{Boot: up} }}
	if now, _ := c.now(); now != 0 || !c.earlier(began).IsZero() {
		t.Errorf("before a record: %v", now.Time())
	}
	for _, step := range []struct {
		what         string
		up           time.Duration
		stored       time.Duration // of a record that comes then; below zero: none does
		now, back    time.Duration // since began
		ownIsEarlier bool          // than the log's, at began and up
	}{
		{"the first record", 0, 0, 0, 0, false},
		{"a while after it", 4 * time.Second, -1, 4 * time.Second, 0, false},
		{"the next", 5 * time.Second, 5 * time.Second, 5 * time.Second, 0, false},
		{"one of a clock that is ahead", 10 * time.Second, 130 * time.Second, 130 * time.Second, 130 * time.Second, true},
		{"and of one that is right", 15 * time.Second, 15 * time.Second, 15 * time.Second, 15 * time.Second, false},
		{"one that is a little behind", 20 * time.Second, 19 * time.Second, 19 * time.Second, 15 * time.Second, false},
		{"a silence", 40 * time.Second, -1, 39 * time.Second, 39 * time.Second, false},
		{"its end", 45 * time.Second, 44 * time.Second, 44 * time.Second, 44 * time.Second, false},
	} {
		up = step.up
		if step.stored >= 0 {
			c.Heard(began.Add(step.stored))
		}
		now, back := c.now()
		if got, want := now.Time().Sub(began), step.now; got != want {
			t.Errorf("%s: it is %s, want %s", step.what, got, want)
		}
		if got, want := back.Time().Sub(began), step.back; got != want {
			t.Errorf("%s: no silence since %s, want %s", step.what, got, want)
		}
		own := began.Add(step.up)
		if got := c.earlier(own).Equal(own) && step.now != step.up; got != step.ownIsEarlier {
			t.Errorf("%s: %v is the earlier one", step.what, c.earlier(own))
		}
	}
}
