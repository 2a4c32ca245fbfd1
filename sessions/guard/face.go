package guard

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"curfew/events"
	"curfew/sessions"
)

// headers are what an application is told about who is let in, in the order of
// face.values. They are sent always, empty where unknown, so that they replace
// whatever a client has sent under the same names.
var headers = [...]string{
	"X-Auth-Request-User",
	"Remote-User",
	"X-Auth-Request-Sub",
	"X-Auth-Request-Email",
	"X-Auth-Request-Preferred-Username",
	"X-Auth-Request-Groups",
	"Remote-Name",
	"Remote-Email",
	"Remote-Groups",
	"X-Curfew-Session",
}

// face is a session's user as applications see them.
type face struct {
	sealed events.Position // which sealed part this was made of
	groups []string
	values [len(headers)]string
	about  about
}

// maxFaces bounds how many opened sessions are kept in memory, about 2 KB each.
const maxFaces = 16384

// faces keeps the users of the sessions asked about lately, so that nothing is
// decrypted twice. An entry is good for the sealed part it was made of.
type faces struct {
	mu   *sync.RWMutex
	held map[events.SessionID]*face
}

func newFaces() faces {
	return faces{mu: new(sync.RWMutex), held: make(map[events.SessionID]*face)}
}

func (f *faces) get(id events.SessionID, sealed events.Position) *face {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if held := f.held[id]; held != nil && held.sealed == sealed {
		return held
	}
	return nil
}

// put keeps a face. When there is no room, some other goes: which one does not
// matter, it is opened again when asked for.
func (f *faces) put(id events.SessionID, made *face) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for other := range f.held {
		if len(f.held) < maxFaces {
			break
		}
		delete(f.held, other)
	}
	f.held[id] = made
}

// face returns the user of a session whose row was found alive.
func (g *Guard) face(id events.SessionID, row sessions.Row) (*face, error) {
	if held := g.faces.get(id, row.Sealed); held != nil {
		return held, nil
	}
	private, err := g.Rows.Private(id)
	if err != nil {
		return nil, err
	}
	if private.Secret != row.Secret {
		return nil, errSecret
	}
	made := newFace(private, row)
	if made.values[0] == "" {
		return nil, errNameless
	}
	g.faces.put(id, made)
	return made, nil
}

var (
	errSecret = errors.New("guard: the log has another secret for the session than was sealed with it")
	// An application may take an empty name for that of its first user.
	errNameless = errors.New("guard: nothing is left of the username without what has no place in a header")
)

func newFace(p sessions.Private, row sessions.Row) *face {
	groups := make([]string, 0, len(p.User.Groups))
	for _, group := range p.User.Groups {
		// A comma in a name would make two groups of it in the header, and
		// cleaning may make another group's name of it: the user may not be in
		// those.
		if group != "" && group == sessions.Clean(group) && !strings.Contains(group, ",") {
			groups = append(groups, group)
		}
	}
	joined := strings.Join(groups, ",")
	username, email, name := sessions.Clean(p.User.Username), sessions.Clean(p.User.Email), sessions.Clean(p.User.Name)
	return &face{
		sealed: row.Sealed,
		groups: groups,
		values: [...]string{
			username,
			username,
			sessions.Clean(p.Sub),
			email,
			sessions.Clean(p.User.PreferredUsername),
			joined,
			name,
			email,
			joined,
			p.Session.String(),
		},
		about: about{
			Session:  p.Session,
			Issuer:   p.Issuer,
			Sub:      p.Sub,
			Sid:      p.Sid,
			Username: p.User.Username,
			Email:    p.User.Email,
			Name:     p.User.Name,
			Groups:   groups,
			Started:  row.At.Time(),
			Expires:  row.Expires.Time(),
		},
	}
}

// show sets the identity headers. The slices are the face's own: net/http reads
// them and does not write.
func (f *face) show(h http.Header) {
	for i, name := range headers {
		h[name] = f.values[i : i+1 : i+1]
	}
}

// inGroups reports whether the user is in the groups that a request asks for:
// of each parameter "groups", a comma-separated list, at least one. Each further
// parameter makes it stricter, so a client whose query a proxy appends gains
// nothing; and a query that cannot be read asks for what nobody has.
func (f *face) inGroups(u *url.URL) bool {
	if u.RawQuery == "" || !strings.Contains(u.RawQuery, "groups") {
		return true
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return false
	}
	for _, asked := range query["groups"] {
		if !slices.ContainsFunc(strings.Split(asked, ","), f.inGroup) {
			return false
		}
	}
	return true
}

func (f *face) inGroup(asked string) bool { return slices.Contains(f.groups, strings.TrimSpace(asked)) }
