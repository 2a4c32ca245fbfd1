package sessions

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"curfew/events"
)

func randomKey(rng *rand.Rand) (key Key) {
	if rng.IntN(4) > 0 {
		fill(rng, key[:])
	}
	return key
}

func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// number is often at an edge.
func number(rng *rand.Rand) uint64 {
	return pick(rng, 0, 1, math.MaxInt64, math.MaxUint64, 1<<63, rng.Uint64())
}

func randomRow(rng *rand.Rand) Row {
	place := func() events.Position { return events.Position(number(rng)) }
	instant := func() Instant { return Instant(number(rng)) }
	row := Row{
		Issuer: randomKey(rng), Sid: randomKey(rng), Sub: randomKey(rng),
		Begun: place(), Started: place(), Sealed: place(), Claimed: place(), Used: place(), Ended: place(),
		Authenticated: instant(), At: instant(), Seen: instant(), Expires: instant(), Access: instant(), Over: instant(),
		Renewed: instant(), Asked: instant(), Renewable: rng.IntN(2) == 0,
		wait: rng.Uint32(), returned: rng.IntN(2) == 0, doubt: rng.IntN(2) == 0, why: cause(rng.IntN(len(causes))),
	}
	fill(rng, row.Secret[:])
	return row
}

func randomTombstone(rng *rand.Rand) Tombstone {
	return Tombstone{
		Position: events.Position(number(rng)),
		Issuer:   randomKey(rng), Sid: randomKey(rng), Sub: randomKey(rng),
		Until: Instant(number(rng)), Stored: Instant(number(rng)),
		why: cause(rng.IntN(len(causes))),
	}
}

func TestBinaryRoundTrip(t *testing.T) {
	seed := seedOf(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		row, stone := randomRow(rng), randomTombstone(rng)
		b, err := row.AppendBinary([]byte("before"))
		expect(t, "append row", err, nil)
		var row2 Row
		expect(t, "read row", row2.UnmarshalBinary(bytes.TrimPrefix(b, []byte("before"))), nil)
		expect(t, "row", row2, row)

		b, err = stone.AppendBinary([]byte("before"))
		expect(t, "append tombstone", err, nil)
		var stone2 Tombstone
		expect(t, "read tombstone", stone2.UnmarshalBinary(bytes.TrimPrefix(b, []byte("before"))), nil)
		expect(t, "tombstone", stone2, stone)
		if t.Failed() {
			return
		}
	}
}

// Every member must be on the disk: each, changed alone, changes the bytes.
func TestBinaryHoldsEveryMember(t *testing.T) {
	key := Key{1}
	for i, row := range []Row{
		{Secret: events.SecretHash{31: 1}}, {Issuer: key}, {Sid: key}, {Sub: key}, {Begun: 1}, {Started: 1}, {Sealed: 1},
		{Used: 1}, {Ended: 1}, {Authenticated: 1}, {At: 1}, {Seen: 1}, {Expires: 1}, {Access: 1}, {Over: 1}, {Renewable: true}, {why: 1},
		{Claimed: 1}, {Renewed: 1}, {Asked: 1}, {wait: 1}, {returned: true}, {doubt: true},
	} {
		b, _ := row.AppendBinary(nil)
		var back Row
		if err := back.UnmarshalBinary(b); err != nil || back != row || back == (Row{}) {
			t.Errorf("row %d: got %+v and %v, want %+v", i, back, err, row)
		}
	}
	for i, stone := range []Tombstone{{Position: 1}, {Issuer: key}, {Sid: key}, {Sub: key}, {Until: 1}, {Stored: 1}, {why: 1}} {
		b, _ := stone.AppendBinary(nil)
		var back Tombstone
		if err := back.UnmarshalBinary(b); err != nil || back != stone || back == (Tombstone{}) {
			t.Errorf("tombstone %d: got %+v and %v, want %+v", i, back, err, stone)
		}
	}
}

func TestBinaryRefuses(t *testing.T) {
	row, _ := Row{Renewable: true, why: 1}.AppendBinary(nil)
	stone, _ := Tombstone{why: 1}.AppendBinary(nil)
	for _, c := range []struct {
		name string
		good []byte
		into func() interface{ UnmarshalBinary([]byte) error }
		want error
	}{
		{"row", row, func() interface{ UnmarshalBinary([]byte) error } { return new(Row) }, errRowBytes},
		{"tombstone", stone, func() interface{ UnmarshalBinary([]byte) error } { return new(Tombstone) }, errTombstoneBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, "good", c.into().UnmarshalBinary(c.good), nil)
			for n := range len(c.good) + 20 {
				if n != len(c.good) {
					b := append(bytes.Clone(c.good), make([]byte, 20)...)[:n]
					expect(t, "of another length", c.into().UnmarshalBinary(b), c.want)
				}
			}
			for version := range 256 {
				if b := bytes.Clone(c.good); version != int(c.good[0]) {
					b[0] = byte(version)
					expect(t, "of another version", c.into().UnmarshalBinary(b), c.want)
				}
			}
			for why := len(causes); why < 256; why++ {
				b := bytes.Clone(c.good)
				b[len(b)-1] = byte(why)
				expect(t, "for another reason", c.into().UnmarshalBinary(b), c.want)
			}
			expect(t, "nothing", c.into().UnmarshalBinary(nil), c.want)
		})
	}
	for flag := 8; flag < 256; flag++ {
		b := bytes.Clone(row)
		b[len(b)-2] = byte(flag)
		expect(t, "a flag that is none", new(Row).UnmarshalBinary(b), errRowBytes)
	}
}

// A refused row is not half read.
func TestBinaryRefusedIsUnchanged(t *testing.T) {
	row := randomRow(rand.New(rand.NewPCG(1, 1)))
	b, _ := Row{}.AppendBinary(nil)
	was := row
	b[len(b)-1] = 255
	expect(t, "read", row.UnmarshalBinary(b), errRowBytes)
	expect(t, "row", row, was)
}

// The reasons' numbers are on disks: they stay what they are.
func TestReasonsOnDisk(t *testing.T) {
	for number, reason := range []events.Reason{
		"", events.SignedOut, events.Backchannel, events.Admin, events.RefreshRefused, events.Expired, events.Idle,
	} {
		expect(t, string(reason), causeOf(reason), cause(number))
		expect(t, string(reason)+", read", Row{why: cause(number)}.Reason(), reason)
		expect(t, string(reason)+": known to the log", reason.Valid(), number > 0)
	}
	expect(t, "an unknown reason", causeOf("other"), 0)
	expect(t, "a number past the last", cause(255).reason(), "")
	b, _ := Row{Begun: 0x0102030405060708}.AppendBinary(nil)
	expect(t, "numbers are big-endian", binary.BigEndian.Uint64(b[1+32+48:]), 0x0102030405060708)
}
