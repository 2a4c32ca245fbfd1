package events

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var write = flag.Bool("write", false, "write the golden files that are missing")

// golden is a message as testdata/v1 holds it. The files are what subscribers
// were promised: they may be added to and never edited.
type golden struct {
	Subject string            `json:"subject"`
	Header  map[string]string `json:"header"`
	Body    string            `json:"body"`
}

func (g golden) message() Message {
	m := Message{Subject: g.Subject, Header: make(map[string][]string), Body: []byte(g.Body)}
	for name, value := range g.Header {
		m.Header[name] = []string{value}
	}
	return m
}

func goldenOf(m Message) golden {
	g := golden{Subject: m.Subject, Header: make(map[string]string), Body: string(m.Body)}
	for name := range m.Header {
		g.Header[name] = m.attribute(name)
	}
	return g
}

var (
	sampleID = SessionID{0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 0x02, 0xa9, 0x9a, 0x80, 0x57}
	sampleAt = time.Date(2026, 11, 23, 10, 20, 30, 456_789_000, time.UTC)
)

// sampleFacts are one of each kind with everything set, and one with as little
// as may be. Each is the golden file of its name.
func sampleFacts() map[string]Fact {
	secret := SecretHash{}
	for i := range secret {
		secret[i] = byte(i)
	}
	return map[string]Fact{
		"started": Started{
			Session: sampleID, Issuer: "https://op.example/", Sub: "Zoë <1>", Sid: "a.b*>+/=", Secret: secret,
			Begun: 41, BegunAt: sampleAt.Add(-time.Minute), At: sampleAt, AuthTime: sampleAt.Add(-time.Hour).Truncate(time.Second),
			Expires: sampleAt.Add(12 * time.Hour), Access: sampleAt.Add(5 * time.Minute), Renewable: true,
			Client: Client{Address: "192.0.2.7", UserAgent: `Mozilla/5.0 "x",\ (X11)`}, Sealed: "gAAAAABh-_0123456789==",
		},
		"started-least": Started{
			Session: sampleID, Issuer: "https://op.example", Sub: "u", Secret: secret,
			BegunAt: sampleAt, At: sampleAt, Expires: sampleAt.Add(time.Hour), Sealed: "gAAAAAA",
		},
		"refreshed": Refreshed{
			Session: sampleID, At: sampleAt, Access: sampleAt.Add(time.Hour), Renewable: true, Sealed: "gAAAAAB=",
		},
		"refreshed-least": Refreshed{Session: sampleID, At: sampleAt, Sealed: "gAAAAAB="},
		"refreshed-claim": Refreshed{Session: sampleID, At: sampleAt, Claim: 43, Sealed: "gAAAAAB="},
		"claimed":         Claimed{Session: sampleID, Replica: "replica-1", Instance: "i-1", At: sampleAt},
		"claimed-returned": Claimed{
			Session: sampleID, Replica: "replica-1", Instance: "i-1", At: sampleAt, Returned: true, Wait: 2_000, Doubt: true,
		},
		"seen": Seen{Session: sampleID, At: sampleAt},
		"ended": Ended{
			Session: sampleID, Issuer: "https://op.example/", Sub: "u", Sid: "s", Reason: Backchannel, At: sampleAt,
		},
		"logout": LogoutReceived{
			Issuer: "https://op.example/", Sub: "u", Sid: "a b.*>", JTI: "8chars..", IssuedAt: sampleAt.Truncate(time.Second), Until: sampleAt.Truncate(time.Second),
			Reason: Backchannel, Replica: "replica-1",
		},
		"logout-sid": LogoutReceived{Issuer: "https://op.example", Sid: "s", JTI: "j", Reason: Backchannel, Replica: "r"},
		"logout-all": LogoutReceived{Issuer: "https://op.example", All: true, JTI: "j", Reason: Admin, Replica: "r"},
		"alive":      Alive{Replica: "replica-1", Position: 42, Instance: "i-1", Lease: 15_000},
		"alive-log": Alive{
			Replica: "replica-1", Position: 42, Instance: "i-1", Lease: 15_000,
			Log: LogID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
		},
		"left": Left{Replica: "replica-1", Instance: "i-1"},
	}
}

func sampleEvent(fact Fact) Event {
	return Event{ID: "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6", Source: "/curfew/replica-1", Time: sampleAt, Fact: fact}
}

func TestGolden(t *testing.T) {
	facts := sampleFacts()
	for name, fact := range facts {
		event := sampleEvent(fact)
		encoded, err := Encode(event)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		path := filepath.Join("testdata", "v1", name+".json")
		want, err := readGolden(path)
		if os.IsNotExist(err) && *write {
			want, err = goldenOf(encoded), writeGolden(path, goldenOf(encoded))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := goldenOf(encoded); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is encoded as\n%+v, want\n%+v", name, got, want)
		}
		if got, err := Decode(want.message()); err != nil || !reflect.DeepEqual(got, event) {
			t.Errorf("%s is decoded as\n%+v, %v, want\n%+v", name, got, err, event)
		}
	}
	if have, want := goldenNames(t), slices.Sorted(maps.Keys(facts)); !slices.Equal(have, want) {
		t.Errorf("golden files are %q, want %q", have, want)
	}
}

func goldenNames(t *testing.T) []string {
	paths, err := filepath.Glob(filepath.Join("testdata", "v1", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".json"))
	}
	slices.Sort(names)
	return names
}

func readGolden(path string) (golden, error) {
	var g golden
	text, err := os.ReadFile(path)
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal(text, &g)
}

func writeGolden(path string, g golden) error {
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
