package proof

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is the people: what they, the OP and the operators do all at once.
type crowd struct {
	house  *house
	runs   int // how often they have been at it, this time included
	logins atomic.Int64

	mu       sync.Mutex
	recent   []*login // sessions that are looked at, the newest last
	browsers map[string][]*browser
}

// watched is how many sessions are looked at.
const watched = 400

func newCrowd(h *house) *crowd {
	return &crowd{house: h, browsers: make(map[string][]*browser)}
}

// run has some people at it until ctx ends. Each time they do something else.
func (c *crowd) run(ctx context.Context) {
	var all sync.WaitGroup
	for i := range c.house.workers {
		rng := rand.New(rand.NewPCG(c.house.seed, uint64(c.runs*1000+i)))
		all.Go(func() {
			for ctx.Err() == nil {
				c.act(ctx, rng)
				pause(ctx, time.Duration(rng.IntN(int(50*time.Millisecond))))
			}
		})
	}
	all.Wait()
}

// act is one thing that somebody does.
func (c *crowd) act(ctx context.Context, rng *rand.Rand) {
	h := c.house
	dice := rng.IntN(100)
	if h.lenient && dice >= 88 && rng.IntN(10) > 0 {
		dice = 50
	}
	switch {
	case dice < 10:
		c.signIn(ctx, rng)
	case dice < 88:
		if l := c.somebody(rng); l != nil {
			h.check(ctx, l, h.pick(rng))
		}
	case dice < 92:
		c.token(ctx, rng)
	case dice < 94:
		if l := c.somebody(rng); l != nil {
			c.after(ctx, h.signOut(ctx, l, h.pick(rng)))
		}
	case dice < 96:
		c.operator(ctx, rng)
	case dice < 97:
		c.revoke(rng)
	case dice < 98:
		c.overtaken(ctx, rng)
	default:
		c.everywhere(ctx, c.somebody(rng))
	}
}

func (c *crowd) add(l *login) {
	if l.cookie == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent = append(c.recent, l)
	c.recent = c.recent[max(0, len(c.recent)-watched):]
}

// somebody is a session, a new one rather than an old.
func (c *crowd) somebody(rng *rand.Rand) *login {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.recent)
	if n == 0 {
		return nil
	}
	back := min(rng.IntN(n), rng.IntN(n))
	return c.recent[n-1-back]
}

// browser takes one of a person's, for nobody else, or opens one. One that is
// used again is known to the OP, and gets the same sid once more.
func (c *crowd) browser(rng *rand.Rand) (*browser, func()) {
	h := c.house
	name := h.op.Users[rng.IntN(len(h.op.Users))].Username
	c.mu.Lock()
	var b *browser
	if idle := c.browsers[name]; len(idle) > 0 && rng.IntN(3) == 0 {
		b, c.browsers[name] = idle[len(idle)-1], idle[:len(idle)-1]
	}
	c.mu.Unlock()
	if b == nil {
		b = h.newBrowser(name)
	}
	return b, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.browsers[name]) < 3 {
			c.browsers[name] = append(c.browsers[name], b)
		}
	}
}

// signIn is a sign-in, after which the newcomer is looked at everywhere at once.
func (c *crowd) signIn(ctx context.Context, rng *rand.Rand) {
	h := c.house
	b, done := c.browser(rng)
	defer done()
	l := b.signIn(ctx, int(c.logins.Add(1)), h.two(rng), nil)
	c.add(l)
	if l.cookie != "" {
		h.check(ctx, l, h.pick(rng))
	}
}

// overtaken is a sign-in that a logout overtakes: the person is known to the OP,
// which ends that session, or all of theirs, before the browser is back.
func (c *crowd) overtaken(ctx context.Context, rng *rand.Rand) {
	h := c.house
	b, done := c.browser(rng)
	defer done()
	first := b.signIn(ctx, int(c.logins.Add(1)), h.two(rng), nil)
	c.add(first)
	if first.cookie == "" {
		return
	}
	e := &ending{sid: first.sid}
	if rng.IntN(2) == 0 {
		e = &ending{sub: first.sub}
	}
	second := b.signIn(ctx, int(c.logins.Add(1)), h.two(rng), func() {
		if token, err := h.mint(e); err == nil {
			h.post(ctx, *e, token, h.pick(rng))
		}
	})
	c.add(second)
	c.everywhere(ctx, second)
	c.everywhere(ctx, first)
}

// token has the OP end somebody's session, or all of them. Some OPs try again
// where they get no 200, with the same token; some tokens come late.
func (c *crowd) token(ctx context.Context, rng *rand.Rand) {
	h := c.house
	l := c.somebody(rng)
	if rng.IntN(3) == 0 {
		l = c.refreshing()
	}
	if l == nil {
		return
	}
	e := &ending{}
	switch rng.IntN(4) {
	case 0:
		e.sub = l.sub
	case 1:
		e.sid, e.sub = l.sid, l.sub
	default:
		e.sid = l.sid
	}
	token, err := h.mint(e)
	if err != nil {
		h.t.Error(err)
		return
	}
	if rng.IntN(10) == 0 {
		pause(ctx, time.Duration(rng.IntN(int(3*time.Second))))
	}
	replica := h.pick(rng)
	sent := h.post(ctx, *e, token, replica)
	for range 2 {
		if sent.status == http.StatusOK || rng.IntN(2) == 0 {
			break
		}
		pause(ctx, time.Duration(rng.IntN(int(time.Second))))
		sent = h.post(ctx, *sent.again(), token, replica)
	}
	c.after(ctx, sent)
}

// refreshing is the session that was the last to be refreshed. The OP's answer
// may not have come yet.
func (c *crowd) refreshing() *login {
	sid := c.house.op.newestRefresh()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range slices.Backward(c.recent) {
		if l.sid == sid {
			return l
		}
	}
	return nil
}

func (c *crowd) operator(ctx context.Context, rng *rand.Rand) {
	l := c.somebody(rng)
	if l == nil {
		return
	}
	e := &ending{session: l.session}
	switch rng.IntN(4) {
	case 0:
		e = &ending{sub: l.sub}
	case 1:
		e = &ending{sid: l.sid}
	}
	c.after(ctx, c.house.strike(ctx, e, c.house.pick(rng)))
}

// revoke has the OP refuse somebody's refresh token from now on.
func (c *crowd) revoke(rng *rand.Rand) {
	h := c.house
	l := c.somebody(rng)
	if l == nil {
		return
	}
	at := h.history.now()
	// All that came of one session at the OP goes with it.
	h.op.set(func() { h.op.revoked[l.sid] = true })
	h.history.addEnding(&ending{door: byOP, sid: l.sid, span: span{at, never}})
}

// after looks at those whom an answered ending has ended, everywhere at once.
func (c *crowd) after(ctx context.Context, e *ending) {
	if !e.complete {
		return
	}
	c.mu.Lock()
	named := slices.Clone(c.recent)
	c.mu.Unlock()
	n := 0
	for _, l := range slices.Backward(named) {
		if e.names(l) && e.covers(l) == covered {
			c.everywhere(ctx, l)
			if n++; n == 3 {
				return
			}
		}
	}
}

// everywhere looks at a session at every replica.
func (c *crowd) everywhere(ctx context.Context, l *login) {
	if l == nil || l.cookie == "" {
		return
	}
	var all sync.WaitGroup
	for _, r := range c.house.replicas {
		all.Go(func() { c.house.check(ctx, l, r) })
	}
	all.Wait()
}
