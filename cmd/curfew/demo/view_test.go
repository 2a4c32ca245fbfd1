package demo

import (
	"testing"
	"time"
)

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:             "0.0 ms",
		0:                        "0.0 ms",
		1849 * time.Microsecond:  "1.8 ms",
		99 * time.Millisecond:    "99.0 ms",
		240 * time.Millisecond:   "240 ms",
		2040 * time.Millisecond:  "2.0 s",
		15000 * time.Millisecond: "15.0 s",
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestInitials(t *testing.T) {
	for name, want := range map[string]string{
		"": "", " ": "", "ada": "A", "Ada Lindqvist": "AL", "ada maria von lindqvist": "AL", "Ödön Ąė": "ÖĄ", "\xff x": "\uFFFDX",
	} {
		if got := initials(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for id, want := range map[string]string{"": "", "abc": "abc", "019ab6d4-71e0-7c32-9f1d-4be2a0c10058": "a0c10058"} {
		if got := short(id); got != want {
			t.Errorf("%q is %q, want %q", id, got, want)
		}
	}
}

func TestKindInWords(t *testing.T) {
	for kind, want := range map[string]string{
		"curfew.session.started.v1": "session started", "curfew.logout.received.v1": "logout received", "signed out": "signed out", "": "",
	} {
		if got := kindInWords(kind); got != want {
			t.Errorf("%q is %q, want %q", kind, got, want)
		}
	}
}
