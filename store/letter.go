package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"curfew/events"
)

// letterSumLen is the length of the checksum before what is sealed: it tells a
// letter that is spoilt from one that the ring has no key for.
const letterSumLen = 8

// write puts an event into the form it has on the disk: its form on the wire,
// sealed, behind a checksum.
func (c Config) write(event events.Event) (*letter, error) {
	message, err := events.Encode(event)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	sealed, err := c.Ring.Seal(plain)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(sealed))
	return &letter{
		event: event, identity: identityOf(event),
		value: append(sum[:letterSumLen:letterSumLen], sealed...),
	}, nil
}

// identityOf is what tells an event from all others: of ends, those that come
// later on a subject say nothing new.
func identityOf(event events.Event) string {
	switch fact := event.Fact.(type) {
	case events.LogoutReceived, events.Ended:
		return fact.Subject()
	default:
		return event.ID
	}
}

// readLetter is write's other way. The error is a *KeyError or damage.
func (c Config) readLetter(key, value []byte) (*letter, error) {
	if len(value) < letterSumLen {
		return nil, damaged("letter %x is cut off", key)
	}
	sum := sha256.Sum256(value[letterSumLen:])
	if !bytes.Equal(sum[:letterSumLen], value[:letterSumLen]) {
		return nil, damaged("letter %x is spoilt", key)
	}
	plain, err := c.Ring.Open(events.Sealed(value[letterSumLen:]))
	if err != nil {
		return nil, &KeyError{c.Path}
	}
	var message events.Message
	if err := json.Unmarshal(plain, &message); err != nil {
		return nil, damaged("letter %x: %v", key, err)
	}
	event, err := events.Decode(message)
	if err != nil {
		return nil, damaged("letter %x: %v", key, err)
	}
	return &letter{event: event, identity: identityOf(event), value: bytes.Clone(value), key: bytes.Clone(key)}, nil
}

// read lists the letters in a file. It goes on after one that is spoilt, and
// returns the last such damage.
func (o *Outbox) read(tx *bbolt.Tx) error {
	if name, _ := tx.Cursor().First(); name == nil {
		return nil // whoever was about to make it was killed
	}
	meta, box := tx.Bucket(bucketMeta), tx.Bucket(bucketOutbox)
	if meta == nil || box == nil {
		return &damage{Foreign, "not an outbox"}
	}
	if have := meta.Get(metaSchema); !bytes.Equal(have, outboxSchema) {
		return &damage{OtherVersion, fmt.Sprintf("its schema is %q, not %q", have, outboxSchema)}
	}
	var spoilt error
	err := box.ForEach(func(key, value []byte) error {
		l, err := o.config.readLetter(key, value)
		switch _, wrong := errors.AsType[*KeyError](err); {
		case wrong:
			return err
		case err != nil:
			spoilt = err
		default:
			o.kept = append(o.kept, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return spoilt
}
