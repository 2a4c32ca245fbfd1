package pages

import (
	"net/http"
	"strings"
	"time"
)

// Choice is one provider that a person may sign in at.
type Choice struct{ Title, Link string }

// ChooseProvider asks where to sign in, with a link for each choice.
func (p *Pages) ChooseProvider(w http.ResponseWriter, r *http.Request, choices []Choice) {
	v := p.view(r)
	v.Choices = choices
	p.write(w, http.StatusOK, "choose", noForm, v)
}

// Visit is one of a person's own sessions, as the page lists it.
type Visit struct {
	ID          string // the session's public id
	Device      string // the User-Agent header as it came: the page turns it into words
	Address     string
	Since, Seen time.Time // Seen zero: not known
	Current     bool      // the session of the browser that asks
}

// Overview is what the page of a person's own sessions shows.
type Overview struct {
	Username string
	Visits   []Visit // the current one first
	More     bool    // there are more than are listed
	// Action is where the forms post to. The field "session" with an ID ends
	// that session, the field "others" with "1" ends all but the current one.
	Action string
	Done   bool // something was ended just now
}

// YourSessions lists a person's own sessions, each with a button that ends it.
// The current one has none: it is ended by signing out.
func (p *Pages) YourSessions(w http.ResponseWriter, r *http.Request, o Overview) {
	v := p.view(r)
	v.Username, v.Action, v.More, v.Done = o.Username, o.Action, o.More, o.Done
	v.Link = p.prefix + "/logout"
	v.Others = o.More
	for _, seen := range o.Visits {
		v.Visits = append(v.Visits, newVisit(seen, v.texts))
		v.Others = v.Others || !seen.Current
	}
	p.write(w, http.StatusOK, "sessions", ownForm, v)
}

// visit is a Visit in words.
type visit struct {
	ID, Device, Raw, Address string
	Kind                     string // phone, computer or program
	Since, Seen              moment
	Current                  bool
}

func newVisit(v Visit, t texts) visit {
	device, kind := deviceOf(v.Device, t)
	return visit{
		ID: v.ID, Device: device, Kind: kind, Raw: v.Device, Address: v.Address,
		Since: newMoment(v.Since, t), Seen: newMoment(v.Seen, t), Current: v.Current,
	}
}

// moment is a time for programs and for people; both are empty where it is not
// known.
type moment struct{ Machine, Words string }

// newMoment says a time in UTC and names the zone: without a script a page does
// not know its reader's.
func newMoment(at time.Time, t texts) moment {
	if at.IsZero() {
		return moment{}
	}
	at = at.UTC()
	return moment{at.Format(time.RFC3339), t.fill("time.moment",
		"{day}", at.Format("2"), "{month}", t["time."+strings.ToLower(at.Month().String())],
		"{year}", at.Format("2006"), "{clock}", at.Format("15:04"))}
}
