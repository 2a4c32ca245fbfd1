package sessions

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"curfew/events"
)

// plainSealer seals nothing, so that tests see what would be sealed.
type plainSealer struct{ fault error }

func (s plainSealer) Seal(plain []byte) (events.Sealed, error) {
	return events.Sealed(base64.URLEncoding.EncodeToString(plain)), s.fault
}

func (s plainSealer) Open(sealed events.Sealed) ([]byte, error) {
	plain, err := base64.URLEncoding.DecodeString(string(sealed))
	return plain, errors.Join(err, s.fault)
}

func privateOf(id events.SessionID) Private {
	return Private{
		Session: id, Issuer: issuer, Sub: alice, Sid: "s1",
		User:    Identity{Username: "al", PreferredUsername: "al", Email: "al@example.com", Name: "Al", Groups: []string{"a", "b"}},
		Tokens:  Tokens{ID: "i.d.t", Access: "access-token", Refresh: "refresh-token"},
		Client:  events.Client{Address: "192.0.2.1", UserAgent: "ua"},
		Started: dawn,
	}
}

func TestPrivateRoundTrip(t *testing.T) {
	for _, want := range []Private{privateOf(idOf(1)), {Session: idOf(1)}} {
		sealed, err := want.Seal(plainSealer{})
		expect(t, "seal", err, nil)
		got, err := OpenPrivate(plainSealer{}, idOf(1), sealed)
		expect(t, "open", err, nil)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// Whoever can write to the log may move what is sealed for one session to
// another's place: it opens there for nobody.
func TestPrivateOfAnotherSessionIsRefused(t *testing.T) {
	sealed, _ := privateOf(idOf(1)).Seal(plainSealer{})
	got, err := OpenPrivate(plainSealer{}, idOf(2), sealed)
	if !errors.Is(err, errOtherSession) || !reflect.DeepEqual(got, Private{}) {
		t.Errorf("got %+v and %v, want nothing and %v", got, err, errOtherSession)
	}
	_, err = OpenPrivate(plainSealer{}, events.SessionID{}, sealed)
	if !errors.Is(err, errOtherSession) {
		t.Errorf("for no session: got %v", err)
	}
	nobodys, _ := plainSealer{}.Seal([]byte(`{"issuer":"x"}`))
	if _, err := OpenPrivate(plainSealer{}, idOf(1), nobodys); !errors.Is(err, errOtherSession) {
		t.Errorf("sealed for nobody: got %v", err)
	}
}

func TestPrivateFaults(t *testing.T) {
	fault := errors.New("no key opens it")
	sealed, _ := privateOf(idOf(1)).Seal(plainSealer{})
	spoilt, _ := plainSealer{}.Seal([]byte("access-token is not JSON"))
	_, sealErr := privateOf(idOf(1)).Seal(plainSealer{fault})
	_, openErr := OpenPrivate(plainSealer{fault}, idOf(1), sealed)
	_, readErr := OpenPrivate(plainSealer{}, idOf(1), spoilt)
	for what, err := range map[string]error{"seal": sealErr, "open": openErr, "read": readErr} {
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		if what != "read" && !errors.Is(err, fault) {
			t.Errorf("%s: got %v, want it to wrap %v", what, err, fault)
		}
		if !strings.HasPrefix(err.Error(), "sessions: ") || !strings.Contains(err.Error(), idOf(1).String()) {
			t.Errorf("%s: %q does not say whose it is", what, err)
		}
		if strings.Contains(err.Error(), "token") {
			t.Errorf("%s: %q tells what was sealed", what, err)
		}
	}
}
