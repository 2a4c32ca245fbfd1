package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// way is one way to sign out. It returns what a replica answered, and where the
// application would send the browser on to.
type way func(ctx context.Context, r *http.Request, w http.ResponseWriter, who person) (Answer, string, error)

func (f *front) ways() map[string]way {
	return map[string]way{
		"/demo/provider":   f.atProvider,
		"/demo/app":        f.inApp,
		"/demo/everywhere": f.everywhere,
	}
}

// atProvider ends the provider's session that this one came from.
func (f *front) atProvider(ctx context.Context, r *http.Request, _ http.ResponseWriter, _ person) (Answer, string, error) {
	sid, err := f.sid(ctx, r)
	if err != nil {
		return Answer{}, "", err
	}
	answer, err := f.LogoutSession(ctx, sid)
	return answer, "", err
}

// everywhere ends every session of the user, in whichever browser.
func (f *front) everywhere(ctx context.Context, _ *http.Request, _ http.ResponseWriter, who person) (Answer, string, error) {
	answer, err := f.LogoutUser(ctx, who.Sub)
	return answer, "", err
}

// inApp is what the application's own button does: POST /auth/logout. The
// redirect to the provider that comes back is kept for a link, so that the
// verdicts stay in sight.
func (f *front) inApp(ctx context.Context, r *http.Request, w http.ResponseWriter, _ person) (Answer, string, error) {
	logout := f.onBehalf(ctx, r, http.MethodPost, "/logout")
	logout.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sent := f.Now()
	response, err := inTurn{f}.RoundTrip(logout)
	if err != nil {
		return Answer{}, "", err
	}
	defer response.Body.Close()
	took := f.Now().Sub(sent)
	drain(response)
	if response.StatusCode >= http.StatusBadRequest {
		return Answer{}, "", fmt.Errorf("demo: sign out in the application: answered %d", response.StatusCode)
	}
	for _, cookie := range response.Header.Values("Set-Cookie") {
		w.Header().Add("Set-Cookie", cookie)
	}
	return Answer{
		Status: response.StatusCode, Fence: response.Header.Get("Curfew-Fence"),
		Took: took, Replica: response.Header.Get(headerReplica),
	}, f.elsewhere(r, response.Header.Get("Location")), nil
}

// elsewhere is location if that is on another origin.
func (f *front) elsewhere(r *http.Request, location string) string {
	if u, err := url.Parse(location); err != nil || u.Host == "" || u.Host == r.Host {
		return ""
	}
	return location
}

var (
	errNoSid      = errors.New("the session bears no session id of the provider")
	errNobodyTold = errors.New("demo: sign out: no replica was told")
)

// sid asks curfew for the provider's session id.
func (f *front) sid(ctx context.Context, r *http.Request) (string, error) {
	response, err := inTurn{f}.RoundTrip(f.onBehalf(ctx, r, http.MethodGet, "/session"))
	if err != nil {
		return "", fmt.Errorf("demo: session: %w", err)
	}
	defer response.Body.Close()
	var session struct {
		Sid string `json:"sid"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&session); err != nil {
		return "", fmt.Errorf("demo: session: %w", err)
	}
	if session.Sid == "" {
		return "", fmt.Errorf("demo: session: %w", errNoSid)
	}
	return session.Sid, nil
}

// outcome is what became of a sign-out.
type outcome struct {
	Answer   Answer
	Verdicts []verdict
	// Onward is where the application would have sent the browser.
	Onward string
	Err    error
}

const (
	// signOutLimit is how long the provider may take.
	signOutLimit = 15 * time.Second
	// afterglow is how long the replicas are watched once a logout has been
	// answered. A fence that is complete needs none of it.
	afterglow = time.Second
	// pace is how long a watch waits before it asks again; after haste it
	// takes slowPace, so that a logout that drags on is no burden.
	pace     = 100 * time.Microsecond
	slowPace = time.Millisecond
	haste    = 50 * time.Millisecond
)

func (f *front) signOut(leave way) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := f.askInTurn(r)
		if found.State != letsIn {
			f.turnAway(w, r, found)
			return
		}
		who := personOf(found.header)
		out := f.watch(r, func(ctx context.Context) (Answer, string, error) { return leave(ctx, r, w, who) })
		status := http.StatusOK
		if out.Err != nil {
			f.Logger.WarnContext(r.Context(), "a sign-out came to nothing", "path", r.URL.Path, "error", out.Err)
			status = http.StatusBadGateway
		}
		f.show(w, status, "library", libraryPage{
			Who: who, Checked: found.Replica, Documents: documents, Panel: f.panelAfter(out),
		})
	})
}

// watch signs out and sees, with the browser's own cookie, when each replica
// stops letting it in. The watching has ended when it returns.
func (f *front) watch(r *http.Request, leave func(context.Context) (Answer, string, error)) outcome {
	ctx, cancel := context.WithTimeout(r.Context(), signOutLimit)
	defer cancel()
	watched, stop := context.WithCancel(ctx)
	defer stop()
	turned := make([]time.Time, len(f.Replicas))
	out := outcome{Verdicts: make([]verdict, len(f.Replicas))}
	var watchers sync.WaitGroup
	for i, replica := range f.Replicas {
		watchers.Go(func() { out.Verdicts[i], turned[i] = f.await(watched, r, replica) })
	}
	out.Answer, out.Onward, out.Err = leave(ctx)
	sent := out.Answer.Sent
	if sent.IsZero() {
		sent = f.Now().Add(-out.Answer.Took)
	}
	if out.Err == nil && out.Answer.Status == 0 {
		out.Err = errNobodyTold
	}
	if out.Err != nil {
		stop()
	}
	timer := time.AfterFunc(afterglow, stop)
	watchers.Wait()
	timer.Stop()
	for i, at := range turned {
		if !at.IsZero() {
			out.Verdicts[i].Detail = milliseconds(at.Sub(sent))
		}
	}
	return out
}

// await asks a replica until it lets the browser in no more, and says when that
// was; the zero time if the watch ended before.
func (f *front) await(ctx context.Context, r *http.Request, replica Replica) (verdict, time.Time) {
	last := verdict{Replica: replica.Name, State: letsIn, Label: "lets you in"}
	for began := f.Now(); ; {
		found := f.ask(ctx, r, replica)
		if ctx.Err() != nil {
			return last, time.Time{}
		}
		if found.State != letsIn {
			return found, f.Now()
		}
		last = found
		wait := pace
		if f.Now().Sub(began) > haste {
			wait = slowPace
		}
		select {
		case <-ctx.Done():
			return last, time.Time{}
		case <-time.After(wait):
		}
	}
}
