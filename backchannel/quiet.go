package backchannel

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often the log hears of what anybody can send: so many lines at once, then
// one each time this has passed.
const (
	linesAtOnce = 10
	lineEvery   = 10 * time.Second
)

// quiet keeps strangers from filling the log. The zero value is ready.
type quiet struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	unsaid  int
}

// admit reports whether a line may be written, and how many have not been since
// the last that was: that is for the line to say.
func (q *quiet) admit(now time.Time) (unsaid int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limiter == nil {
		q.limiter = rate.NewLimiter(rate.Every(lineEvery), linesAtOnce)
	}
	if !q.limiter.AllowN(now, 1) {
		q.unsaid++
		return 0, false
	}
	unsaid, q.unsaid = q.unsaid, 0
	return unsaid, true
}
