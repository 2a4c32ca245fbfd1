package events

import (
	"encoding/json"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	tests := []struct {
		text           string
		session, isLog bool
	}{
		{"01890a5d-ac96-774b-bcce-b302a99a8057", true, false},
		{"01890A5D-ac96-774b-bcce-b302a99a8057", false, false},
		{"{01890a5d-ac96-774b-bcce-b302a99a8057}", false, false},
		{"urn:uuid:01890a5d-ac96-774b-bcce-b302a99a8057", false, false},
		{"01890a5dac96774bbcceb302a99a8057", false, false},
		{"00000000-0000-0000-0000-000000000000", false, false},
		{"01890a5d-ac96-774b-bcce-b302a99a805g", false, false},
		{"", false, false},
		{"*", false, false},
		{"0123456789abcdef", false, true},
		{"0123456789abcdeg", false, false},
		{"0123456789abcdef0", false, false},
	}
	for _, tt := range tests {
		id, err := ParseSessionID(tt.text)
		if (err == nil) != tt.session || tt.session && id.String() != tt.text || tt.session == id.IsZero() {
			t.Errorf("session %q: %s, %v", tt.text, id, err)
		}
		log, err := ParseLogID(tt.text)
		if (err == nil) != tt.isLog || tt.isLog && log.String() != tt.text {
			t.Errorf("log %q: %s, %v", tt.text, log, err)
		}
	}
}

// TestSessionIDOrder has ids sort as they are made, which the stores rely on
// for their speed.
func TestSessionIDOrder(t *testing.T) {
	last := NewSessionID()
	for range 1000 {
		id := NewSessionID()
		if id.String() <= last.String() {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
}

func TestSecretHashText(t *testing.T) {
	for text, ok := range map[string]bool{
		`"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"`:   true,
		`"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"`:     false,
		`"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00"`: false,
		`"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1exx"`:   false,
		`""`: false,
	} {
		var hash SecretHash
		if err := json.Unmarshal([]byte(text), &hash); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMarkIn(t *testing.T) {
	here, elsewhere := LogID{1}, LogID{2}
	for mark, want := range map[Mark]Position{
		{Log: here, At: 7}:      7,
		{Log: elsewhere, At: 7}: 0,
		{At: 7}:                 0,
		{}:                      0,
	} {
		if got := mark.In(here); got != want {
			t.Errorf("%+v: %d, want %d", mark, got, want)
		}
	}
}

// TestLogoutSubject has logouts that differ in one part, or whose parts run
// together, on subjects of their own, and the same one on the same.
func TestLogoutSubject(t *testing.T) {
	base := LogoutReceived{Issuer: "i", Sub: "ab", Sid: "c", JTI: "j", IssuedAt: sampleAt, Replica: "r", Reason: Backchannel}
	again := base
	again.Replica, again.IssuedAt = "another", sampleAt.In(time.FixedZone("", 3600))
	if base.Subject() != again.Subject() {
		t.Errorf("the same logout at another replica is on %s, not %s", again.Subject(), base.Subject())
	}
	seen := map[string]LogoutReceived{base.Subject(): base}
	for _, change := range []func(*LogoutReceived){
		func(f *LogoutReceived) { f.Issuer = "i2" },
		func(f *LogoutReceived) { f.JTI = "j2" },
		func(f *LogoutReceived) { f.IssuedAt = sampleAt.Add(time.Second) },
		func(f *LogoutReceived) { f.IssuedAt = time.Time{} },
		func(f *LogoutReceived) { f.Sub, f.Sid = "a", "bc" },
		func(f *LogoutReceived) { f.Sub, f.Sid = "abc", "" },
		func(f *LogoutReceived) { f.Sub, f.Sid = "", "abc" },
		func(f *LogoutReceived) { f.Issuer, f.JTI = "ij", "" },
	} {
		f := base
		change(&f)
		if other, taken := seen[f.Subject()]; taken {
			t.Errorf("%+v and %+v share a subject", f, other)
		}
		seen[f.Subject()] = f
	}
}

// TestOrder says what comes before what.
func TestOrder(t *testing.T) {
	one, two := LogID{1}, LogID{2}
	for _, tt := range []struct {
		a, b Mark
		want bool
	}{
		{Mark{one, 1}, Mark{one, 2}, true},
		{Mark{one, 2}, Mark{one, 2}, false},
		{Mark{one, 3}, Mark{one, 2}, false},
		{Mark{two, 1}, Mark{one, 2}, false},
		{Mark{}, Mark{one, 2}, false},
	} {
		if got := tt.a.Before(tt.b); got != tt.want {
			t.Errorf("%v before %v: %t", tt.a, tt.b, got)
		}
	}
	if end := (Status{ID: one, First: 3, Last: 7}).End(); end != (Mark{one, 7}) {
		t.Errorf("the log ends at %v", end)
	}
	if low, high := (SessionID{1}), (SessionID{2}); low.Compare(high) != -1 || high.Compare(low) != 1 || low.Compare(low) != 0 {
		t.Error("ids are out of order")
	}
}

// TestScope says where each condition is checked.
func TestScope(t *testing.T) {
	facts := sampleFacts()
	for name, fact := range facts {
		if _, _, asked := Always().Scope(fact); asked {
			t.Errorf("%s: Always asks for something", name)
		}
		if subject, last, asked := IfFirst().Scope(fact); subject != fact.Subject() || last != 0 || !asked {
			t.Errorf("%s: IfFirst asks for %d on %s", name, last, subject)
		}
	}
	for _, name := range []string{"started", "refreshed", "claimed", "seen", "ended"} {
		subject, last, asked := IfLast(7).Scope(facts[name])
		if subject != SessionScope(sampleID) || last != 7 || !asked {
			t.Errorf("%s: IfLast asks for %d on %s", name, last, subject)
		}
	}
	if subject, last, asked := IfLast(7).Scope(facts["alive"]); subject != facts["alive"].Subject() || last != 7 || !asked {
		t.Errorf("alive: IfLast asks for %d on %s", last, subject)
	}
}
