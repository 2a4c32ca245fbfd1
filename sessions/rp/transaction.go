package rp

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"curfew/events"
)

// transaction is a login on its way: what must be known when the OP sends the
// browser back. It travels with the browser, sealed, in a cookie of its own,
// so that two tabs do not get into each other's way.
type transaction struct {
	// Use tells it from anything else that is sealed with the same ring.
	Use      string `json:"use"`
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
	Target   string `json:"target"`
	Issuer   string `json:"issuer"`
	// BegunAt is when it began, by the clock of the replica it began at; the
	// seal covers it, so it is also what the age is told by.
	BegunAt time.Time `json:"begun_at"`
	// Log and At are where the log ended when it began.
	Log string          `json:"log"`
	At  events.Position `json:"at"`
}

const (
	transactionUse = "login"
	// transactionLife is how long a user may take to sign in at the OP.
	transactionLife = 30 * time.Minute
	// skew is what the OP's clock, or another replica's, and this one may
	// differ by. Nothing but plausibility hangs on it.
	skew = 5 * time.Minute
)

func newTransaction(issuer, target string, begun events.Mark, now time.Time) transaction {
	return transaction{
		Use:      transactionUse,
		State:    rand.Text(),
		Nonce:    rand.Text(),
		Verifier: oauth2.GenerateVerifier(),
		Target:   target,
		Issuer:   issuer,
		BegunAt:  now.UTC().Truncate(time.Millisecond),
		Log:      begun.Log.String(),
		At:       begun.At,
	}
}

// mark is where the log ended when the login began. One that cannot be read
// counts as the beginning.
func (t transaction) mark() events.Mark {
	log, err := events.ParseLogID(t.Log)
	if err != nil {
		return events.Mark{}
	}
	return events.Mark{Log: log, At: t.At}
}

func (t transaction) expired(now time.Time) bool {
	age := now.Sub(t.BegunAt)
	return age > transactionLife || age < -skew
}

// seal writes t as a cookie's value. Escaping for HTML would only make a long
// query longer.
func (t transaction) seal(ring Ring) (string, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(t); err != nil {
		return "", fmt.Errorf("rp: login cookie: %w", err)
	}
	sealed, err := ring.Seal(plain.Bytes())
	if err != nil {
		return "", fmt.Errorf("rp: login cookie: %w", err)
	}
	return string(sealed), nil
}

var errTransaction = errors.New("rp: login cookie: not one of ours")

// openTransaction reads what seal wrote, whatever its age.
func openTransaction(ring Ring, value string) (transaction, error) {
	plain, err := ring.Open(events.Sealed(value))
	if err != nil {
		return transaction{}, fmt.Errorf("rp: login cookie: %w", err)
	}
	var t transaction
	if err := json.Unmarshal(plain, &t); err != nil || t.Use != transactionUse || t.State == "" || t.Nonce == "" || t.Verifier == "" {
		return transaction{}, errTransaction
	}
	return t, nil
}

// stateName is the part of a login cookie's name that tells it from those of
// other logins.
func stateName(state string) string {
	sum := sha256.Sum256([]byte(state))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
