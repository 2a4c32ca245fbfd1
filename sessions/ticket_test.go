package sessions

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"curfew/events"
)

// hmacSigner is a Signer with one key.
type hmacSigner string

func (s hmacSigner) MAC(message []byte) [32]byte {
	mac := hmac.New(sha256.New, []byte(s))
	mac.Write(message)
	return [32]byte(mac.Sum(nil))
}

func (s hmacSigner) CheckMAC(message, mac []byte) bool {
	want := s.MAC(message)
	return len(mac) >= 16 && hmac.Equal(want[:len(mac)], mac)
}

func someTicket() Ticket {
	t := Ticket{Session: idOf(3), Mark: events.Mark{Log: log1, At: 0x0102030405060708}}
	for i := range t.Secret {
		t.Secret[i] = byte(7 * i)
	}
	return t
}

func TestTicketRoundTrip(t *testing.T) {
	signer := hmacSigner("key")
	for _, want := range []Ticket{
		someTicket(), {}, {Session: events.NewSessionID(), Secret: NewSecret()},
		{Mark: events.Mark{Log: events.LogID{255, 255, 255, 255, 255, 255, 255, 255}, At: 1<<64 - 1}},
	} {
		text := want.Encode(signer)
		got, signed, err := ParseTicket(text, signer)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "ticket", got, want)
		expect(t, "signed", signed(), true)
		expect(t, "written again", got.Encode(signer), text)
		if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%q needs escaping in a cookie", text)
		}
	}
	secret, other := NewSecret(), NewSecret()
	expect(t, "two secrets alike", secret == other, false)
	expect(t, "hash", secret.Hash(), events.SecretHash(sha256.Sum256(secret[:])))
}

// A cookie that a newer key has signed, or an older one, still names its
// session; only its position is not believed.
func TestTicketOfAnotherSigner(t *testing.T) {
	text := someTicket().Encode(hmacSigner("retired"))
	got, signed, err := ParseTicket(text, hmacSigner("key"))
	expect(t, "error", err, nil)
	expect(t, "ticket", got, someTicket())
	expect(t, "signed", signed(), false)
}

// Every bit of every character counts: the text is the only one that is taken
// for this ticket, and none near it is taken for another.
func TestTicketWithAnyBitChanged(t *testing.T) {
	signer := hmacSigner("key")
	text := someTicket().Encode(signer)
	for i := range len(text) {
		for bit := range 8 {
			changed := []byte(text)
			changed[i] ^= 1 << bit
			refuse(t, fmt.Sprintf("character %d, bit %d", i, bit), string(changed))
		}
	}
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	for i := range 8 * len(raw) {
		changed := bytes.Clone(raw)
		changed[i/8] ^= 1 << (i % 8)
		refuse(t, fmt.Sprintf("byte %d, bit %d", i/8, i%8), base64.RawURLEncoding.EncodeToString(changed))
	}
}

func refuse(t *testing.T, what, text string) {
	t.Helper()
	got, signed, err := ParseTicket(text, hmacSigner("key"))
	if !errors.Is(err, ErrTicket) || got != (Ticket{}) || signed != nil {
		t.Errorf("%s: got %v, %t and %v, want %v alone", what, got, signed != nil, err, ErrTicket)
	}
}

// Base64 can be spelled in more than one way: only ours is taken, so that one
// ticket is one text.
func TestTicketSpelledOtherwise(t *testing.T) {
	text := someTicket().Encode(hmacSigner("key"))
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	loose := []byte(text) // the last character has four bits that mean nothing
	loose[len(loose)-1]++
	if same, err := base64.RawURLEncoding.DecodeString(string(loose)); err != nil || !bytes.Equal(same, raw) {
		t.Fatalf("the loose spelling is another ticket: %v", err)
	}
	for what, text := range map[string]string{
		"nothing":                "",
		"loose last bits":        string(loose),
		"padded":                 text + "==",
		"padded in place":        text[:len(text)-2] + "==",
		"standard alphabet":      base64.RawStdEncoding.EncodeToString(raw),
		"hexadecimal":            hex.EncodeToString(raw),
		"newline behind":         text + "\n",
		"newline inside":         text[:20] + "\n" + text[20:],
		"newline for the last":   text[:len(text)-1] + "\n",
		"newline for the first":  "\n" + text[1:],
		"return inside":          text[:20] + "\r" + text[20:],
		"return for a character": text[:20] + "\r" + text[21:],
		"blank before":           " " + text,
		"blank behind":           text + " ",
		"in quotes":              `"` + text + `"`,
		"one short":              text[:len(text)-1],
		"one long":               text + "A",
		"twice":                  text + text,
		"zeros":                  strings.Repeat("A", len(text)),
		"not of ASCII":           strings.Repeat("ä", len(text)/2),
	} {
		refuse(t, what, text)
	}
}

func TestTicketOfAnotherVersion(t *testing.T) {
	raw, _ := base64.RawURLEncoding.DecodeString(someTicket().Encode(hmacSigner("key")))
	for version := range 256 {
		if version == ticketVersion {
			continue
		}
		raw[0] = byte(version)
		self := selfCode(raw)
		copy(raw[atSelf:], self[:])
		refuse(t, fmt.Sprint("version ", version), base64.RawURLEncoding.EncodeToString(raw))
	}
}

// Who has a cookie, and so its secret, can write others of the same session,
// but cannot sign a position or take the code of another ticket for it.
func TestTicketPositionIsSigned(t *testing.T) {
	signer := hmacSigner("key")
	mine, other := someTicket(), someTicket()
	other.Secret[0]++
	rewrite := func(change func(raw []byte)) func() bool {
		raw, _ := base64.RawURLEncoding.DecodeString(mine.Encode(signer))
		change(raw)
		self := selfCode(raw)
		copy(raw[atSelf:], self[:])
		_, signed, err := ParseTicket(base64.RawURLEncoding.EncodeToString(raw), signer)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	otherRaw, _ := base64.RawURLEncoding.DecodeString(other.Encode(signer))
	expect(t, "as it was", rewrite(func([]byte) {})(), true)
	expect(t, "another session", rewrite(func(raw []byte) { raw[atSession]++ })(), false)
	expect(t, "another secret", rewrite(func(raw []byte) { raw[atSecret]++ })(), false)
	expect(t, "another log", rewrite(func(raw []byte) { raw[atLog]++ })(), false)
	expect(t, "another position", rewrite(func(raw []byte) { raw[atMark+7]++ })(), false)
	expect(t, "another code", rewrite(func(raw []byte) { raw[atSigned]++ })(), false)
	expect(t, "another ticket's code", rewrite(func(raw []byte) { copy(raw[atSigned:atSelf], otherRaw[atSigned:]) })(), false)
}

// The secret is printed by nothing, alone or inside a ticket.
func TestSecretIsNotPrinted(t *testing.T) {
	ticket := someTicket()
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%08v", "%t", "%y"} {
		fmt.Fprintf(&out, verb+"\n"+verb+"\n"+verb+"\n", ticket, &ticket, ticket.Secret)
	}
	fmt.Fprintln(&out, ticket, ticket.Secret, &ticket.Secret, []Secret{ticket.Secret})
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("ticket", "ticket", ticket, "pointer", &ticket, "secret", ticket.Secret, slog.Group("g", "s", &ticket.Secret))
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"ticket": ticket, "secret": ticket.Secret}); err != nil {
		t.Error(err)
	}
	out.WriteString(ticket.Secret.String())
	// Bytes 7, 14 … of the secret, as the verbs would show them.
	for _, leak := range []string{"7 14 21", "7, 14, 21", "7,14,21", "070e15", "07 0e 15", "070E15", "0xe, 0x15", "0xe 0x15", "016 025", "1110 10101", "U+000E", "0x0e", "0e1"} {
		if i := strings.Index(out.String(), leak); i >= 0 {
			t.Errorf("%q is printed: …%.120s…", leak, out.String()[max(0, i-60):])
		}
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("the secret's place is not marked")
	}
}

func FuzzParseTicket(f *testing.F) {
	signer := hmacSigner("key")
	f.Add("")
	f.Add(someTicket().Encode(signer))
	f.Add(someTicket().Encode(hmacSigner("other")))
	f.Add(strings.Repeat("A", ticketText.EncodedLen(ticketLen)))
	f.Fuzz(func(t *testing.T, text string) {
		ticket, signed, err := ParseTicket(text, signer)
		if err != nil {
			if !errors.Is(err, ErrTicket) || ticket != (Ticket{}) {
				t.Fatalf("got %v with %v", ticket, err)
			}
			return
		}
		if signed() && ticket.Encode(signer) != text {
			t.Fatalf("%q is another spelling of %q", text, ticket.Encode(signer))
		}
	})
}
