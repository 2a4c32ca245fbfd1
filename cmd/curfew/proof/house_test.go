package proof

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"curfew/events/natslog/natstest"
	"curfew/store"
)

// setting is what a run is made of.
type setting struct {
	program  string
	seed     uint64
	replicas int
	people   int
	workers  int
	lease    time.Duration
	length   time.Duration
	// lenient has fewer sessions ended, so that more are refreshed.
	lenient bool
	// wipeEvery is how often the whole log is lost; zero is never.
	wipeEvery time.Duration
	// faults are the nemesis' deeds; nil is all of them.
	faults []string
}

// house is everything that a run needs, under way.
type house struct {
	setting
	t        *testing.T
	history  *history
	cluster  *natstest.Cluster
	replicas []*replica
	op       *op
	witness  *witness
	people   *crowd
	public   string          // the one public address
	key      string          // of all stores
	direct   *http.Transport // to replicas
}

// newHouse starts everything and waits until people can be let in.
func newHouse(t *testing.T, s setting) *house {
	t.Helper()
	ports := natstest.NewPorts(t)
	h := &house{setting: s, t: t, history: newHistory(), public: fmt.Sprint("http://localhost:", ports.Next())}
	h.key = store.GenerateKey()
	h.cluster = natstest.Start(t, 3, func(o *server.Options) { o.NoSigs = true })
	h.op = newOP(t, h.history, h.public, s.people)
	h.direct = &http.Transport{MaxIdleConnsPerHost: s.workers}
	t.Cleanup(h.direct.CloseIdleConnections)
	env := []string{
		"OIDC_ENDPOINT=https://" + opHost, "OIDC_CLIENT_ID=" + clientID, "OIDC_CLIENT_SECRET=" + clientSecret,
		"OIDC_TOKEN_ENCRYPTION_KEY=" + h.key, "SSL_CERT_FILE=" + h.op.caFile,
		"CURFEW_PUBLIC_URL=" + h.public, "CURFEW_NATS_REPLICAS=3",
		"CURFEW_MAX_STALENESS=" + s.lease.String(), "CURFEW_LOGOUT_WAIT=2s", "CURFEW_SESSION_IDLE=30m",
		"CURFEW_LOG_FORMAT=text", "CURFEW_LOG_LEVEL=info",
	}
	dir := t.TempDir()
	for i := range s.replicas {
		r := newReplica(t, i, s.program, dir, ports, env)
		var urls []string
		r.nats, urls = newNATSLink(t, s.seed+uint64(i), h.brokers())
		r.op = newOPLink(t, h.op)
		r.env = append(r.env, "CURFEW_NATS_URL="+strings.Join(urls, ","), "HTTPS_PROXY=http://"+r.op.listener.Addr().String())
		h.replicas = append(h.replicas, r)
		r.start()
	}
	h.awaitReady(60 * time.Second)
	h.witness = newWitness(t, h.history, h.cluster.URLs())
	h.people = newCrowd(h)
	return h
}

func (h *house) brokers() []string {
	var addresses []string
	for i := range h.cluster.Size() {
		u, err := url.Parse(h.cluster.URL(i))
		if err != nil {
			h.t.Fatal(err)
		}
		addresses = append(addresses, u.Host)
	}
	return addresses
}

// awaitReady waits until every replica lets people in and owes the log nothing.
func (h *house) awaitReady(patience time.Duration) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	for _, r := range h.replicas {
		for {
			is, why := r.ready(ctx)
			if is {
				break
			}
			pause(ctx, 20*time.Millisecond)
			if ctx.Err() != nil {
				h.t.Fatalf("replica %d is not ready within %s: %s\n%s", r.number, patience, why, r.tail())
			}
		}
	}
}

// heal ends every fault. Processes that are gone are started again.
func (h *house) heal() {
	h.cluster.Heal()
	h.op.heal()
	for _, r := range h.replicas {
		r.busy.Lock()
		r.nats.heal()
		r.op.set(false)
		r.set(0, r.slept)
		if !r.running() {
			r.start()
		}
		r.busy.Unlock()
	}
}

// dialOP goes to the OP whatever address is asked for.
func (h *house) dialOP(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, h.op.server.Listener.Addr().String())
}

func (h *house) toOP() *http.Transport {
	return &http.Transport{DialContext: h.dialOP, TLSClientConfig: &tls.Config{RootCAs: h.op.roots}}
}

func (h *house) pick(rng *rand.Rand) *replica { return h.replicas[rng.IntN(len(h.replicas))] }

func (h *house) String() string {
	return fmt.Sprintf("%d replicas, seed %d, lease %s", h.setting.replicas, h.seed, h.lease)
}
