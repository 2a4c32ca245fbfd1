package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
)

// with returns a sample fact, changed.
func with[F Fact](name string, change func(*F)) Fact {
	fact := sampleFacts()[name].(F)
	change(&fact)
	return fact
}

// incomplete facts lack what no writer may leave out, or say what none may.
var incomplete = map[string]Fact{
	"started: session":          with("started", func(f *Started) { f.Session = SessionID{} }),
	"started: issuer":           with("started", func(f *Started) { f.Issuer = "" }),
	"started: sub":              with("started", func(f *Started) { f.Sub = "" }),
	"started: secret":           with("started", func(f *Started) { f.Secret = SecretHash{} }),
	"started: begun_at":         with("started", func(f *Started) { f.BegunAt = time.Time{} }),
	"started: at":               with("started", func(f *Started) { f.At = time.Time{} }),
	"started: expires":          with("started", func(f *Started) { f.Expires = time.Time{} }),
	"started: sealed":           with("started", func(f *Started) { f.Sealed = "" }),
	"started: sealed in clear":  with("started", func(f *Started) { f.Sealed = `{"sub":1}` }),
	"started: sealed with tail": with("started", func(f *Started) { f.Sealed = `gAAA","sub":"x` }),
	"refreshed: session":        with("refreshed", func(f *Refreshed) { f.Session = SessionID{} }),
	"refreshed: at":             with("refreshed", func(f *Refreshed) { f.At = time.Time{} }),
	"refreshed: sealed":         with("refreshed", func(f *Refreshed) { f.Sealed = "" }),
	"claimed: session":          with("claimed", func(f *Claimed) { f.Session = SessionID{} }),
	"claimed: at":               with("claimed", func(f *Claimed) { f.At = time.Time{} }),
	"claimed: instance":         with("claimed", func(f *Claimed) { f.Instance = "" }),
	"claimed: replica":          with("claimed", func(f *Claimed) { f.Replica = "a.b" }),
	"claimed: wait":             with("claimed", func(f *Claimed) { f.Wait = -1 }),
	"seen: session":             with("seen", func(f *Seen) { f.Session = SessionID{} }),
	"seen: at":                  with("seen", func(f *Seen) { f.At = time.Time{} }),
	"ended: session":            with("ended", func(f *Ended) { f.Session = SessionID{} }),
	"ended: at":                 with("ended", func(f *Ended) { f.At = time.Time{} }),
	"ended: no reason":          with("ended", func(f *Ended) { f.Reason = "" }),
	"ended: another reason":     with("ended", func(f *Ended) { f.Reason = "bored" }),
	"logout: issuer":            with("logout", func(f *LogoutReceived) { f.Issuer = "" }),
	"logout: nobody":            with("logout", func(f *LogoutReceived) { f.Sub, f.Sid = "", "" }),
	"logout: all and sub":       with("logout-all", func(f *LogoutReceived) { f.Sub = "u" }),
	"logout: all and sid":       with("logout-all", func(f *LogoutReceived) { f.Sid = "s" }),
	"logout: jti":               with("logout", func(f *LogoutReceived) { f.JTI = "" }),
	"logout: no reason":         with("logout", func(f *LogoutReceived) { f.Reason = "" }),
	"logout: another's reason":  with("logout", func(f *LogoutReceived) { f.Reason = Idle }),
	"alive: no name":            with("alive", func(f *Alive) { f.Replica = "" }),
	"alive: a name with a dot":  with("alive", func(f *Alive) { f.Replica = "a.b" }),
	"alive: a wildcard":         with("alive", func(f *Alive) { f.Replica = ">" }),
	"alive: a name too long":    with("alive", func(f *Alive) { f.Replica = strings.Repeat("a", 64) }),
	"alive: instance":           with("alive", func(f *Alive) { f.Instance = "" }),
	"alive: lease":              with("alive", func(f *Alive) { f.Lease = 0 }),
	"alive: a lease below zero": with("alive", func(f *Alive) { f.Lease = -1 }),
	"left: name":                with("left", func(f *Left) { f.Replica = "" }),
	"left: instance":            with("left", func(f *Left) { f.Instance = "" }),
}

// TestIncomplete has such facts refused both ways: what this version may not
// write it does not believe either.
func TestIncomplete(t *testing.T) {
	for name, fact := range incomplete {
		if _, err := Encode(sampleEvent(fact)); err == nil {
			t.Errorf("%s: encoded", name)
		}
		m := sampleMessage(t, "alive")
		m.Subject = fact.Subject()
		m.Header["ce-type"] = []string{string(fact.Type())}
		m.Body, _ = json.Marshal(fact)
		if event, err := Decode(m); err == nil {
			t.Errorf("%s: decoded as %+v", name, event)
		}
	}
	for name, event := range map[string]Event{
		"fact":   {ID: "1", Source: "/s", Time: sampleAt},
		"id":     {Source: "/s", Time: sampleAt, Fact: sampleFacts()["left"]},
		"source": {ID: "1", Time: sampleAt, Fact: sampleFacts()["left"]},
		"time":   {ID: "1", Source: "/s", Fact: sampleFacts()["left"]},
	} {
		if _, err := Encode(event); err == nil {
			t.Errorf("encoded without %s", name)
		}
	}
}

func sampleMessage(t testing.TB, name string) Message {
	t.Helper()
	m, err := Encode(sampleEvent(sampleFacts()[name]))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestBroken has messages refused that are not what they say, or say nothing.
func TestBroken(t *testing.T) {
	header := func(name string, values ...string) func(*Message) {
		return func(m *Message) { m.Header[name] = values }
	}
	body := func(text string) func(*Message) {
		return func(m *Message) { m.Body = []byte(text) }
	}
	replace := func(from, to string) func(*Message) {
		return func(m *Message) {
			if !bytes.Contains(m.Body, []byte(from)) {
				panic("no " + from)
			}
			m.Body = bytes.ReplaceAll(m.Body, []byte(from), []byte(to))
		}
	}
	other := strings.ReplaceAll(sampleID.String(), "0189", "0190")
	tests := []struct {
		name   string
		sample string
		change func(*Message)
	}{
		{"no header", "ended", func(m *Message) { m.Header = nil }},
		{"no version", "ended", header("ce-specversion")},
		{"another version", "ended", header("ce-specversion", "0.3")},
		{"two versions", "ended", header("ce-specversion", "1.0", "1.0")},
		{"no id", "ended", header("ce-id")},
		{"an empty id", "ended", header("ce-id", "")},
		{"two ids", "ended", header("ce-id", "1", "2")},
		{"no source", "ended", header("ce-source")},
		{"no time", "ended", header("ce-time")},
		{"a time that is none", "ended", header("ce-time", "yesterday")},
		{"the zero time", "ended", header("ce-time", "0001-01-01T00:00:00Z")},
		{"a time before the years", "ended", header("ce-time", "0000-01-01T00:00:00+01:00")},
		{"a type in other letters", "ended", header("ce-type", "CURFEW.session.ended.v1")},
		{"no subject", "ended", func(m *Message) { m.Subject = "" }},
		{"another session's subject", "ended", func(m *Message) { m.Subject = "curfew.session." + other + ".ended" }},
		{"another kind's subject", "ended", func(m *Message) { m.Subject = "curfew.session." + sampleID.String() + ".started" }},
		{"a subject below", "ended", func(m *Message) { m.Subject += ".x" }},
		{"another logout's subject", "logout", replace(`"jti":"8chars.."`, `"jti":"9chars.."`)},
		{"a logout's sub in its sid", "logout", replace(`"sub":"u","sid":"a b`, `"sub":"","sid":"ua b`)},
		{"another replica's subject", "alive", replace("replica-1", "replica-2")},
		{"no body", "ended", body("")},
		{"half a body", "ended", func(m *Message) { m.Body = m.Body[:len(m.Body)/2] }},
		{"null", "ended", body("null")},
		{"a list", "ended", body("[]")},
		{"two bodies", "ended", func(m *Message) { m.Body = append(m.Body, m.Body...) }},
		{"an id in capitals", "ended", replace("4b-bcce", "4B-BCCE")},
		{"an id in braces", "ended", replace(`"`+sampleID.String(), `"{`+sampleID.String()+"}")},
		{"a number for an id", "ended", replace(`"`+sampleID.String()+`"`, "1")},
		{"a number for a time", "ended", replace(`"2026-11-23T10:20:30.456789Z"`, "1")},
		{"a position below zero", "started", replace(`"begun":41`, `"begun":-1`)},
		{"a position with a fraction", "started", replace(`"begun":41`, `"begun":41.5`)},
		{"a position too large", "started", replace(`"begun":41`, `"begun":18446744073709551616`)},
		{"a short secret", "started", replace(`"0001`, `"01`)},
		{"a secret of other letters", "started", replace(`"0001`, `"zz01`)},
		{"sealed in clear", "started", replace(`"sealed":"gAAAAABh`, `"sealed":"{{{`)},
		{"sealed as an object", "started", replace(`"sealed":"gAAAAABh-_0123456789=="`, `"sealed":{"a":"b"}`)},
		{"sealed elsewhere", "refreshed-least", replace(`,"sealed":"gAAAAAB="`, `,"client":{"sealed":"gAAAAAB="}`)},
		{"sealed in a string", "refreshed-least", replace(`,"sealed":"gAAAAAB="`, `,"x":",\"sealed\":\"gAAAAAB="`)},
		{"sealed across a string", "refreshed-least", replace(`,"sealed":"gAAAAAB="`, `,"x":","sealed":"gAAAAAB="`)},
		{"a head left open", "refreshed-least", replace(`,"sealed"`, `,"x":{"y":1,"sealed"`)},
		{"a mark that is its own tail", "refreshed-least", replace(`"gAAAAAB="`, `"`)},
		{"nothing before sealed", "refreshed-least", body(`{,"sealed":"gAAAAAB="}`)},
		{"sealed twice, the last empty", "refreshed-least", replace(`"gAAAAAB="`, `"gAAAAAB=","sealed":""`)},
	}
	for _, tt := range tests {
		m := sampleMessage(t, tt.sample)
		tt.change(&m)
		if event, err := Decode(m); err == nil {
			t.Errorf("%s: decoded as %+v", tt.name, event)
		} else if !strings.HasPrefix(err.Error(), fmt.Sprintf("events: decode message on %q: ", m.Subject)) {
			t.Errorf("%s: error reads %q", tt.name, err)
		}
	}
}

// TestAnotherHand has bodies taken that another program wrote: in another
// order, with more in them, with the sealed member not last.
func TestAnotherHand(t *testing.T) {
	want := sampleFacts()["refreshed-least"]
	id, at := sampleID.String(), "2026-11-23T10:20:30.456789Z"
	for _, body := range []string{
		`{"sealed":"gAAAAAB=","at":"` + at + `","session":"` + id + `"}`,
		`{"session":"` + id + `","at":"` + at + `","sealed":"gAAAAAB=","new":[{"sealed":"x"}]}`,
		`{"session":"` + id + `","at":"` + at + `", "sealed" : "gAAAAAB=" }`,
		"{\n\"session\":\"" + id + "\",\n\"at\":\"" + at + "\"\n,\"sealed\":\"gAAAAAB=\"}",
		`{"session":"` + id + `","at":"` + at + `","sealed":"gAAAAAB\u003d"}`,
		`{"session":"` + id + `","sealed":"evil","at":"` + at + `","sealed":"gAAAAAB="}`,
		`{"session":"` + id + `","at":"` + at + `","new":",\"sealed\":\"evil","sealed":"gAAAAAB="}`,
	} {
		m := sampleMessage(t, "refreshed-least")
		m.Body = []byte(body)
		if got, err := Decode(m); err != nil || got.Fact != want {
			t.Errorf("%s\ngot %+v, %v", body, got.Fact, err)
		}
	}
}

// TestUnknownType says which kinds may be stepped over.
func TestUnknownType(t *testing.T) {
	for kind, additive := range map[string]bool{
		"curfew.session.moved.v1":    true,
		"curfew.entirely.other.v1":   true,
		"curfew.session.started.v2":  false,
		"curfew.session.started.v11": false,
		"curfew.session.started":     false,
		"com.example.thing.v1":       false,
		"":                           false,
	} {
		m := sampleMessage(t, "ended")
		m.Header["ce-type"] = []string{kind}
		_, err := Decode(m)
		unknown, ok := errors.AsType[*UnknownTypeError](err)
		if !ok || unknown.Additive != additive || unknown.Type != Type(kind) {
			t.Errorf("%q: %v, want additive %t", kind, err, additive)
		}
	}
}

// TestHeadAndTail has the quick way of decoding give what the whole way gives.
func TestHeadAndTail(t *testing.T) {
	for _, name := range []string{"started", "started-least"} {
		body := sampleMessage(t, name).Body
		quick, err1 := decodeSealed(body, func(f *Started) *Sealed { return &f.Sealed })
		whole, err2 := decodeBody[Started](body)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(quick, whole) {
			t.Errorf("%s: quick %+v, %v\nwhole %+v, %v", name, quick, err1, whole, err2)
		}
	}
}

// FuzzDecode has nothing panic, and what decodes encode to the same event.
func FuzzDecode(f *testing.F) {
	for name := range sampleFacts() {
		m := sampleMessage(f, name)
		f.Add(m.Subject, m.attribute(headerType), m.ID(), m.attribute(headerTime), m.Body)
	}
	f.Fuzz(func(t *testing.T, subject, kind, id, at string, body []byte) {
		m := sampleMessage(t, "left")
		m.Subject, m.Body = subject, body
		maps.Copy(m.Header, map[string][]string{headerType: {kind}, headerID: {id}, headerTime: {at}})
		event, err := Decode(m)
		if err != nil {
			return
		}
		again, err := Encode(event)
		if err != nil {
			t.Fatalf("%+v does not encode: %v", event, err)
		}
		if again.Subject != subject || again.ID() != id {
			t.Fatalf("message on %q is encoded on %q", subject, again.Subject)
		}
		event2, err := Decode(again)
		if err != nil {
			t.Fatalf("%s does not decode: %v", again.Body, err)
		}
		again2, err := Encode(event2)
		if err != nil || !reflect.DeepEqual(again, again2) {
			t.Fatalf("got %s, %v\nwant %s", again2.Body, err, again.Body)
		}
	})
}

func benchmarkDecode(b *testing.B, decode func([]byte) (Fact, error)) {
	fact := sampleFacts()["started"].(Started)
	fact.Sealed = Sealed(strings.Repeat("gAAAAABh-_012345", 128)) // 2 KB, as with three tokens in it
	m, err := Encode(sampleEvent(fact))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(m.Body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeadAndTail(b *testing.B) {
	benchmarkDecode(b, func(body []byte) (Fact, error) {
		return decodeSealed(body, func(f *Started) *Sealed { return &f.Sealed })
	})
}

func BenchmarkWhole(b *testing.B) { benchmarkDecode(b, decodeBody[Started]) }

// TestSealedBytes has the bits say what the alphabet is.
func TestSealedBytes(t *testing.T) {
	for i := range 256 {
		if got, want := isSealedByte(byte(i)), isNameByte(byte(i)) || i == '='; got != want {
			t.Errorf("%q: %t", rune(i), got)
		}
	}
}
