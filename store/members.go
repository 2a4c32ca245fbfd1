package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"curfew/sessions"
)

// writeMembers keeps the newest that each process has said of itself, and
// forgets those that had long been silent when the newest of all spoke.
func writeMembers(bucket *bbolt.Bucket, members []sessions.Member) error {
	if len(members) == 0 {
		return nil
	}
	for _, m := range members {
		old, err := parseMember(bucket.Get([]byte(m.Instance)))
		if err != nil {
			return err
		}
		if old.Heard >= m.Heard {
			continue
		}
		value, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := bucket.Put([]byte(m.Instance), value); err != nil {
			return err
		}
	}
	return forgetMembers(bucket, members[len(members)-1].Stored)
}

func forgetMembers(bucket *bbolt.Bucket, now sessions.Instant) error {
	var gone [][]byte
	err := bucket.ForEach(func(key, value []byte) error {
		m, err := parseMember(value)
		if long := 100*m.Lease + time.Hour; now-m.Stored > sessions.Instant(long.Milliseconds()) {
			gone = append(gone, bytes.Clone(key))
		}
		return err
	})
	for _, key := range gone {
		err = errors.Join(err, bucket.Delete(key))
	}
	return err
}

// parseMember reads what writeMembers wrote; nothing is the zero member.
func parseMember(value []byte) (m sessions.Member, err error) {
	if value == nil {
		return m, nil
	}
	if err := json.Unmarshal(value, &m); err != nil || m.Instance == "" {
		return m, damaged("a member of %d bytes", len(value))
	}
	return m, nil
}
