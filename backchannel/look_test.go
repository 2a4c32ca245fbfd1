package backchannel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeysUnderFlood sends 10,000 unknown key ids at once, twice, and a genuine
// token among them each time.
func TestKeysUnderFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMint(t), goodProvider(t)
		k := keysOf(p, time.Now)
		genuine := m.token("rsa", nil)
		verifies(t, k, genuine)
		p.trouble(func(r *http.Request) (*http.Response, error) {
			<-time.After(time.Second)
			return response(http.StatusOK, `{"keys":[`+string(published(t, m.keys["rsa"], "rsa", ""))+`]}`), nil
		})
		for round := range 2 {
			results := make(chan error)
			for i := range 10_000 {
				forged := fmt.Sprintf("%s.e30.AAAA", encode([]byte(fmt.Sprintf(`{"alg":"RS256","kid":"%d-%d"}`, round, i))))
				go func() {
					_, err := k.VerifySignature(t.Context(), forged)
					results <- err
				}()
			}
			synctest.Wait()
			start := time.Now()
			verifies(t, k, genuine)
			if waited := time.Since(start); waited != 0 {
				t.Errorf("round %d: the genuine token waited %v", round, waited)
			}
			troubles := make(map[KeyTrouble]int)
			for range 10_000 {
				trouble, ok := errors.AsType[*KeyError](<-results)
				if !ok {
					t.Fatal("a forged token was verified")
				}
				troubles[trouble.Trouble]++
			}
			if troubles[NoKeys] != 0 || round == 0 && troubles[NotSigned] != 10_000 {
				t.Errorf("round %d: got %v", round, troubles)
			}
		}
		if p.asked() > burst {
			t.Errorf("got %d looks, want at most %d", p.asked(), burst)
		}
	})
}

// TestKeysRation counts looks over time.
func TestKeysRation(t *testing.T) {
	m, p := newMint(t), goodProvider(t)
	now := testTime()
	k := keysOf(p, func() time.Time { return now })
	verifies(t, k, m.token("rsa", nil))
	forged := m.token("stranger", nil)
	ask := func() error { _, err := k.VerifySignature(t.Context(), forged); return err }
	for range burst - 1 {
		wantTrouble(t, ask(), NotSigned)
	}
	wantTrouble(t, ask(), Rationed)
	for range 3 {
		now = now.Add(every - time.Millisecond)
		wantTrouble(t, ask(), Rationed)
		now = now.Add(time.Millisecond)
		wantTrouble(t, ask(), NotSigned)
		wantTrouble(t, ask(), Rationed)
	}
	if p.asked() != burst+3 {
		t.Errorf("got %d looks, want %d", p.asked(), burst+3)
	}
	// A key made while looks are rationed is found as soon as one is allowed.
	p.publish(published(t, m.keys["stranger"], "stranger", "sig"))
	wantTrouble(t, ask(), Rationed)
	now = now.Add(every)
	verifies(t, k, forged)
}

// TestKeysLookBegunBefore has a token come while a look is under way that began
// before the OP's keys were rotated, and so misses its key.
func TestKeysLookBegunBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMint(t), goodProvider(t)
		k := keysOf(p, time.Now)
		verifies(t, k, m.token("rsa", nil))
		old, release := goodProvider(t), make(chan struct{})
		p.trouble(func(r *http.Request) (*http.Response, error) {
			<-release
			return old.RoundTrip(r)
		})
		forger := make(chan error, 1)
		go func() {
			_, err := k.VerifySignature(t.Context(), signedBy(m, "stranger", "unknown"))
			forger <- err
		}()
		synctest.Wait()
		p.publish(published(t, m.keys["stranger"], "new", "sig"))
		genuine := make(chan error, 1)
		go func() {
			_, err := k.VerifySignature(t.Context(), signedBy(m, "stranger", "new"))
			genuine <- err
		}()
		synctest.Wait()
		close(release)
		wantTrouble(t, <-forger, NotSigned)
		if err := <-genuine; err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// TestKeysCallersLeave has each of several waiting callers give up: the leader
// of the look, or another.
func TestKeysCallersLeave(t *testing.T) {
	for leaver := range 2 {
		t.Run([]string{"leader", "follower"}[leaver], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, p := newMint(t), goodProvider(t)
				keys := p.keys
				p.trouble(func(r *http.Request) (*http.Response, error) {
					select {
					case <-time.After(2 * time.Second):
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
					body, err := json.Marshal(map[string]any{"keys": keys})
					return response(http.StatusOK, string(body)), err
				})
				k := keysOf(p, time.Now)
				results := make([]chan error, 3)
				for i := range results {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if i == leaver {
						time.AfterFunc(time.Second, cancel)
					}
					results[i] = make(chan error, 1)
					go func() {
						_, err := k.VerifySignature(ctx, m.token("rsa", nil))
						results[i] <- err
					}()
					synctest.Wait()
				}
				for i, result := range results {
					err := <-result
					if i == 1 && leaver == 1 {
						wantTrouble(t, err, NoKeys)
						if !errors.Is(err, context.Canceled) {
							t.Errorf("got %v", err)
						}
					} else if err != nil {
						t.Errorf("caller %d: got %v", i, err)
					}
				}
				if p.asked() != 1 {
					t.Errorf("got %d looks, want 1", p.asked())
				}
			})
		})
	}
}

func TestKeysCallerGoneBefore(t *testing.T) {
	p := goodProvider(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := keysOf(p, testTime).VerifySignature(ctx, newMint(t).token("rsa", nil))
	wantTrouble(t, err, NoKeys)
	if p.asked() != 0 {
		t.Error("a look was made for nobody")
	}
}
