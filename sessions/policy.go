package sessions

import (
	"slices"
	"time"
)

// Policy is what an operator decides about the life of sessions.
type Policy struct {
	// UntilAccess ends a session with its access token where there is no
	// refresh token to get another.
	UntilAccess bool
	// Idle ends a session that nobody has used for so long; zero, never.
	Idle time.Duration
	// Issuers are those whose sessions stand; nil, anybody's. One that has been
	// taken out of the configuration has nobody any more who could end its
	// sessions: its logout tokens are refused.
	Issuers []string
}

func (p Policy) issuers(hasher Hasher) []Key {
	keys := make([]Key, len(p.Issuers))
	for i, issuer := range p.Issuers {
		keys[i] = hasher.Issuer(issuer)
	}
	return keys
}

// strange reports whether a session is of an issuer whose sessions do not stand.
func (r *Registry) strange(row Row) bool {
	return r.policy.Issuers != nil && !slices.Contains(r.issuers, row.Issuer)
}

// standing gives the verdict on a session that has started. What ended it is
// remembered for as long as it could have lived; after that it was only a
// session whose time was up, or none at all.
func (r *Registry) standing(row Row, now Instant) Verdict {
	if row.Ended != 0 || r.tombstones.cover(row) {
		return row.over(now)
	}
	if r.strange(row) {
		return Unknown
	}
	return r.lapsed(row, now)
}

// lapsed is the verdict on a session by time alone: whose time is up has an end,
// though its issuer counts no more.
func (r *Registry) lapsed(row Row, now Instant) Verdict {
	switch {
	case now >= row.Expires:
		return Expired
	case r.policy.UntilAccess && !row.Renewable && row.Access != 0 && now >= row.Access:
		return Expired
	case r.policy.Idle > 0 && now >= row.LastSeen()+Instant(r.policy.Idle.Milliseconds()):
		return Idle
	default:
		return Alive
	}
}

// IssuerOf tells which of some issuers a session is from: its row has no name in
// it, but a key. It is empty if it is from none of them.
func (r *Registry) IssuerOf(row Row, issuers []string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, issuer := range issuers {
		if r.hasher.Issuer(issuer) == row.Issuer {
			return issuer
		}
	}
	return ""
}
