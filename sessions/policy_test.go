package sessions

import (
	"testing"
	"time"

	"curfew/events"
)

// A provider that was taken out of the configuration has nobody let in any more:
// its logouts would be refused.
func TestIssuersOfThePolicy(t *testing.T) {
	for name, tt := range map[string]struct {
		issuers []string
		want    Verdict
	}{
		"not said":      {nil, Alive},
		"its own":       {[]string{"https://other.example", issuer}, Alive},
		"another alone": {[]string{"https://other.example"}, Unknown},
		"a slash more":  {[]string{issuer + "/"}, Unknown},
		"none":          {[]string{}, Unknown},
	} {
		r := registryOf(Policy{Issuers: tt.issuers}, at(12, signIn(nil)))
		expect(t, name, verdictOf(r, after(60)), tt.want)
		if _, got := r.Get(idOf(1), after(60)); got != tt.want {
			t.Errorf("%s: %v to Get, want %v", name, got, tt.want)
		}
		hasher := NewHasher([32]byte{9})
		r.Reset(hasher)
		r.Apply(batchOf(at(12, signIn(nil))))
		expect(t, name+", with another key", verdictOf(r, after(60)), tt.want)
	}
	r := registryOf(Policy{Issuers: []string{"https://other.example"}}, at(12, signIn(nil)), at(13, ended(idOf(1), "signed_out")))
	expect(t, "one that has ended", verdictOf(r, after(120)), Ended)
}

// Who listens for its end is told when its time is up, as of any other.
func TestSessionOfAnotherIssuerHasItsEnd(t *testing.T) {
	p := newPast(Policy{Issuers: []string{"https://other.example"}, Idle: time.Minute})
	id := p.signIn("u1", "s1", p.at, time.Hour)
	if due := p.Due(p.now, p.now); len(due) != 0 {
		t.Errorf("before its time: %v", due)
	}
	for _, tt := range []struct {
		after time.Duration
		want  events.Reason
	}{{time.Minute, events.Idle}, {time.Hour, events.Expired}} {
		now := p.now.Add(tt.after)
		if due := p.Due(now, now); len(due) != 1 || due[0].Session != id || due[0].Reason != tt.want {
			t.Errorf("after %s: %v", tt.after, due)
		}
	}
}

func TestIssuerOf(t *testing.T) {
	r := registryOf(Policy{}, at(12, signIn(nil)))
	row, _ := r.Get(idOf(1), after(60))
	for want, issuers := range map[string][]string{
		issuer: {"https://other.example", issuer},
		"":     {"https://other.example"},
	} {
		expect(t, "issuer", r.IssuerOf(row, issuers), want)
	}
}
