package demo

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// state is what a verdict comes down to.
type state string

const (
	letsIn state = "in"     // the next request passes
	denies state = "out"    // this session is over, or there is none
	unsure state = "unsure" // the replica has no proof, and so lets nobody in
	silent state = "silent" // the replica does not answer

	mixed state = "mixed" // of all together: some let in, some do not
)

// verdict is what one replica says of a browser's cookie.
type verdict struct {
	Replica string `json:"replica"`
	State   state  `json:"state"`
	// Label is the verdict in words, Detail a number that goes with it.
	Label  string `json:"label"`
	Detail string `json:"detail"`

	status int
	header http.Header
}

// askLimit is how long a replica may take: a guard answers from memory.
const askLimit = 2 * time.Second

// ask puts a browser's cookie to one replica, as a proxy would for each request.
func (f *front) ask(ctx context.Context, r *http.Request, to Replica) verdict {
	began := f.Now()
	response, err := f.send(f.checkFor(ctx, r), to)
	if err != nil {
		return verdict{Replica: to.Name, State: silent, Label: "does not answer"}
	}
	defer response.Body.Close()
	return f.read(response, to.Name, began)
}

// askInTurn is ask for one replica, whoever's turn it is.
func (f *front) askInTurn(r *http.Request) verdict {
	ctx, cancel := context.WithTimeout(r.Context(), askLimit)
	defer cancel()
	began := f.Now()
	response, err := inTurn{f}.RoundTrip(f.checkFor(ctx, r))
	if err != nil {
		return verdict{State: silent, Label: "does not answer"}
	}
	defer response.Body.Close()
	return f.read(response, response.Header.Get(headerReplica), began)
}

// askAll asks every replica, one after the other: together they take about a
// millisecond.
func (f *front) askAll(r *http.Request) []verdict {
	ctx, cancel := context.WithTimeout(r.Context(), askLimit)
	defer cancel()
	all := make([]verdict, 0, len(f.Replicas))
	for _, replica := range f.Replicas {
		all = append(all, f.ask(ctx, r, replica))
	}
	return all
}

// checkFor is the question that a proxy asks about r. Of the browser's own
// headers only the cookies are handed on.
func (f *front) checkFor(ctx context.Context, r *http.Request) *http.Request {
	return f.onBehalf(ctx, r, http.MethodGet, "/check")
}

func (f *front) onBehalf(ctx context.Context, r *http.Request, method, endpoint string) *http.Request {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	asked := &http.Request{
		Method: method,
		URL:    &url.URL{Path: f.Prefix + endpoint}, // send puts the replica in front
		Host:   r.Host,
		Header: http.Header{
			"X-Forwarded-For":    {address},
			"X-Forwarded-Method": {r.Method},
			"X-Forwarded-Proto":  {"http"},
			"X-Forwarded-Host":   {r.Host},
			"X-Forwarded-Uri":    {r.URL.RequestURI()},
		},
	}
	if cookies := r.Header["Cookie"]; len(cookies) > 0 {
		asked.Header["Cookie"] = cookies
	}
	return asked.WithContext(ctx)
}

func (f *front) read(response *http.Response, replica string, began time.Time) verdict {
	drain(response)
	v := verdict{Replica: replica, Detail: "answered in " + milliseconds(f.Now().Sub(began)), status: response.StatusCode, header: response.Header}
	v.State, v.Label = judge(response.StatusCode, response.Header.Get("X-Curfew-Reason"))
	return v
}

// drain reads what nobody needs, so that the connection is used again.
func drain(response *http.Response) {
	// What is not read costs a connection, and no more.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
}

func judge(status int, reason string) (state, string) {
	switch {
	case status == http.StatusOK:
		return letsIn, "lets you in"
	case status == http.StatusServiceUnavailable:
		return unsure, "not sure, so lets nobody in"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		if reason == "" {
			return denies, "refuses"
		}
		return denies, "refuses: " + strings.ReplaceAll(reason, "_", " ")
	default:
		return unsure, "answers " + strconv.Itoa(status)
	}
}

// person is who is let in, as the guard says.
type person struct {
	Name, Username, Email, Sub, Session string
	Groups                              []string
}

func personOf(h http.Header) person {
	p := person{
		Name:     h.Get("Remote-Name"),
		Username: h.Get("X-Auth-Request-User"),
		Email:    h.Get("X-Auth-Request-Email"),
		Sub:      h.Get("X-Auth-Request-Sub"),
		Session:  h.Get("X-Curfew-Session"),
	}
	if p.Name == "" {
		p.Name = p.Username
	}
	if groups := h.Get("X-Auth-Request-Groups"); groups != "" {
		p.Groups = strings.Split(groups, ",")
	}
	return p
}

// milliseconds is a duration as people read it: 1.8 ms, 240 ms, 2.0 s.
func milliseconds(d time.Duration) string {
	ms := float64(max(d, 0)) / float64(time.Millisecond)
	switch {
	case ms < 100:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	default:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	}
}
