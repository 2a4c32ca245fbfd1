package demo

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// inTurn sends each request to the next replica, and to the one after that if
// nobody is there.
type inTurn struct{ front *front }

// RoundTrip sends the request on. The replica's name is in the answer's
// X-Demo-Replica header.
func (t inTurn) RoundTrip(r *http.Request) (*http.Response, error) {
	replicas := t.front.Replicas
	first := int(t.front.turn.Add(1))
	var failed error
	for i := range replicas {
		replica := replicas[(first+i)%len(replicas)]
		response, err := t.front.send(r, replica)
		if err == nil {
			response.Header.Set(headerReplica, replica.Name)
			return response, nil
		}
		failed = err
		if !neverSent(err) {
			break
		}
	}
	return nil, failed
}

// headerReplica names the replica that answered.
const headerReplica = "X-Demo-Replica"

// send asks one replica. The request's body is left open if it was never sent.
func (f *front) send(r *http.Request, to Replica) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = to.Base.Scheme, to.Base.Host
	if r.Body != nil {
		out.Body = io.NopCloser(r.Body)
	}
	return f.Transport.RoundTrip(out)
}

// neverSent reports whether no connection was made, so that nobody can have
// acted on the request, whatever its method.
func neverSent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// stripIdentity removes whatever a browser could tell an application or a
// replica in a proxy's name.
func stripIdentity(h http.Header) {
	for name := range h {
		for _, ours := range []string{"X-Auth-Request-", "Remote-", "X-Curfew-", "X-Forwarded-", "X-Original-"} {
			if strings.HasPrefix(name, ours) {
				delete(h, name)
			}
		}
	}
	delete(h, "Forwarded")
	delete(h, "X-Real-Ip")
}
