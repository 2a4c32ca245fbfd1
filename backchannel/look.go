package backchannel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

// maxKeySet is how many bytes of a key set are taken.
const maxKeySet = 1 << 20

// flight is one look at the OP's keys. All but done and number are set before
// done is closed.
type flight struct {
	number uint64
	done   chan struct{}
	set    keySet
	err    error
}

// lookFor looks at the OP's keys afresh for the one that made a signature. A
// look that was under way before the caller came may have missed a key that
// the caller's token is the first to be signed with; so it counts if it has the
// key, and if not, another is made.
func (k *Keys) lookFor(ctx context.Context, jws *jose.JSONWebSignature, url string, before uint64) ([]byte, *KeyError) {
	for {
		look, trouble := k.look(ctx, url)
		if trouble != nil {
			return nil, trouble
		}
		if payload, good := look.set.verify(jws); good {
			return payload, nil
		}
		if look.number > before {
			return nil, &KeyError{Err: errors.New("no key of the provider made the signature")}
		}
	}
}

// look joins the look that is under way, or makes one.
func (k *Keys) look(ctx context.Context, url string) (*flight, *KeyError) {
	if err := ctx.Err(); err != nil {
		return nil, noKeys(time.Second, err)
	}
	if url == "" {
		return nil, noKeys(time.Second, errors.New("where the provider publishes them is not known yet"))
	}
	look, leads, trouble := k.join()
	if trouble != nil {
		return nil, trouble
	}
	if leads {
		k.fly(ctx, look, url)
	} else {
		select {
		case <-look.done:
		case <-ctx.Done():
			return nil, noKeys(time.Second, ctx.Err())
		}
	}
	if look.err != nil {
		return nil, noKeys(every, look.err)
	}
	return look, nil
}

func noKeys(wait time.Duration, err error) *KeyError {
	return &KeyError{Trouble: NoKeys, RetryAfter: wait, Err: err}
}

// join returns the look under way. If there is none, it begins one that the
// caller must lead, as far as the ration allows.
func (k *Keys) join() (look *flight, leads bool, trouble *KeyError) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil {
		return k.flight, false, nil
	}
	if k.limiter == nil {
		k.limiter = rate.NewLimiter(rate.Every(every), burst)
	}
	now := k.Now()
	if !k.limiter.AllowN(now, 1) {
		wait := time.Duration((1 - k.limiter.TokensAt(now)) * float64(every))
		if k.failed != nil {
			return nil, false, noKeys(wait, k.failed)
		}
		return nil, false, &KeyError{Trouble: Rationed, RetryAfter: wait, Err: errors.New("asked for too often of late to be asked for again")}
	}
	k.begun++
	k.flight = &flight{number: k.begun, done: make(chan struct{})}
	return k.flight, true, nil
}

// fly makes the look. It does not end with its leader's ctx, because others
// wait for it.
func (k *Keys) fly(ctx context.Context, look *flight, url string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	look.err = errors.New("the look broke off")
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.flight, k.failed = nil, look.err
		if look.err == nil {
			k.set = look.set
		}
		close(look.done)
	}()
	// Taken before the fetch: keys are at least this old.
	look.set = keySet{url: url, at: k.Now()}
	var body []byte
	if body, look.err = k.fetch(ctx, url); look.err == nil {
		look.set.keys, look.err = readKeys(body, k.Logger)
	}
}

func (k *Keys) fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("Cache-Control", "no-cache")
	client := k.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s breaks off: %w", url, err)
	case len(body) > maxKeySet:
		return nil, fmt.Errorf("%s answers more than %d bytes", url, maxKeySet)
	}
	return body, nil
}
