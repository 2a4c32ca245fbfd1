package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"curfew/cmd/curfew/demo"
	"curfew/sessions/rp/optest"
	"curfew/store"
)

func demoCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on this machine: a log, three replicas, a provider, a page",
		Long: `Run all there is on this machine, with nothing installed: a log, three replicas
with a store each, a small OpenID Provider with three users, and an application
behind the guard. All of it listens on loopback only, keeps its data in a
temporary folder, and is gone without a trace when you press Ctrl-C.`,
		Example: "  curfew demo\n  curfew demo --listen 127.0.0.1:9000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), listen, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "loopback address of the page (default 127.0.0.1:8080, or any free port)")
	return cmd
}

const (
	demoClient   = "demo"
	demoReplicas = 3
	usualDemo    = "127.0.0.1:8080"
	// triedClient is for a replica that somebody tries at the demo's provider, at
	// serve's usual address.
	triedClient = "serve"
	triedURL    = "http://127.0.0.1:4180"
)

// stage is the demo's machinery.
type stage struct {
	dir  string
	nats *server.Server
	// natsToken is what the log's server asks of who connects.
	natsToken string
	site      net.Listener // where the page is
	op        net.Listener // where the provider is
	taken     error        // why the page is not at the usual place
	secret    string
	tried     string // the secret of triedClient
	key       string
	provider  *optest.Provider
	apps      []*App
	logger    *slog.Logger
}

func runDemo(ctx context.Context, listen string, stdout, stderr io.Writer) (err error) {
	s := &stage{
		secret: store.GenerateKey(),
		key:    store.GenerateKey(),
		tried:  rand.Text(),
		logger: slog.New(untilEnd{slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}), ctx}),
	}
	defer func() { err = errors.Join(err, s.clear()) }()
	if err := s.set(listen); err != nil {
		return err
	}
	return s.play(ctx, func() { s.announce(stdout) })
}

func (s *stage) url(l net.Listener) string { return "http://" + l.Addr().String() }

// set builds everything and starts the log and the listeners.
func (s *stage) set(listen string) (err error) {
	if s.dir, err = os.MkdirTemp("", "curfew-demo-"); err != nil {
		return err
	}
	if s.site, s.taken, err = demoListener(listen); err != nil {
		return err
	}
	if s.op, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if err := s.startLog(); err != nil {
		return err
	}
	s.provider = &optest.Provider{
		Issuer: s.url(s.op),
		Clients: []optest.Client{{
			ID: demoClient, Secret: s.secret, Name: "Harbour Library",
			RedirectURIs:   []string{s.url(s.site) + "/auth/callback"},
			PostLogoutURIs: []string{s.url(s.site) + "/auth/signed-out"},
			BackchannelURI: s.url(s.site) + "/auth/backchannel-logout",
		}, {
			ID: triedClient, Secret: s.tried, Name: "Your own replica",
			RedirectURIs:   []string{triedURL + "/auth/callback"},
			PostLogoutURIs: []string{triedURL + "/auth/signed-out"},
			BackchannelURI: triedURL + "/auth/backchannel-logout",
		}},
		Users:        optest.DemoUsers(),
		ShowAccounts: true,
		Now:          timeOfDay,
		HTTP:         &http.Client{Timeout: 10 * time.Second},
		Logger:       s.logger,
	}
	return nil
}

// demoListener takes the usual port, or any other if that cannot be had, for which
// it returns the reason.
func demoListener(address string) (l net.Listener, taken, err error) {
	if address != "" {
		if err := checkDemoAddress(address); err != nil {
			faults := new(configError)
			faults.add("--listen", err)
			return nil, nil, faults
		}
		l, err = net.Listen("tcp", address)
		return l, nil, err
	}
	if l, taken = net.Listen("tcp", usualDemo); taken == nil {
		return l, nil, nil
	}
	if refused, ok := errors.AsType[syscall.Errno](taken); ok {
		taken = refused // the address is said already
	}
	l, err = net.Listen("tcp", "127.0.0.1:0")
	return l, taken, err
}

func checkDemoAddress(address string) error {
	if strings.HasPrefix(address, "unix:") {
		return fmt.Errorf("%s is nothing that a browser opens: want HOST:PORT", address)
	}
	host, err := hostOf(address)
	switch {
	case err != nil:
		return err
	case host == "":
		return fmt.Errorf("%q names no host: want one on loopback, such as 127.0.0.1%s", address, address)
	case !isLoopback(host):
		return fmt.Errorf("%s is not on loopback, which the demo's passwords are not fit for", address)
	}
	return nil
}

// startLog starts a NATS server that nobody else on this machine can speak to.
func (s *stage) startLog() (err error) {
	s.natsToken = rand.Text()
	s.nats, err = server.NewServer(&server.Options{
		ServerName: "curfew-demo", Host: "127.0.0.1", Port: server.RANDOM_PORT, Authorization: s.natsToken,
		JetStream: true, StoreDir: filepath.Join(s.dir, "log"), NoSigs: true, NoLog: true,
	})
	if err != nil {
		return err
	}
	s.nats.Start()
	if !s.nats.ReadyForConnections(patience) {
		return errors.New("demo: the log did not start")
	}
	return nil
}

func (s *stage) natsURL() string {
	return "nats://" + s.natsToken + "@" + s.nats.Addr().String()
}

// replica is configured as an operator would configure it.
func (s *stage) replica(ctx context.Context, name string) error {
	env := map[string]string{
		"OIDC_ENDPOINT":             s.provider.Issuer,
		"OIDC_CLIENT_ID":            demoClient,
		"OIDC_CLIENT_SECRET":        s.secret,
		"OIDC_TOKEN_ENCRYPTION_KEY": s.key,
		"CURFEW_PUBLIC_URL":         s.url(s.site),
		"CURFEW_LISTEN":             "127.0.0.1:0",
		"CURFEW_ADMIN_LISTEN":       "127.0.0.1:0",
		"CURFEW_DATA":               filepath.Join(s.dir, name),
		"CURFEW_REPLICA":            name,
		"CURFEW_NATS_URL":           s.natsURL(),
	}
	c, err := loadConfig(sources{env: func(variable string) (string, bool) {
		value, set := env[variable]
		return value, set
	}})
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.site.Addr().String())
	if err != nil {
		return err
	}
	// Cookies do not tell ports apart, and there may be other demos on this machine.
	c.cookie = "curfew-" + port
	app, err := newApp(ctx, c, s.logger)
	s.apps = append(s.apps, app)
	return err
}

// play serves until ctx ends, or something breaks. The provider is there before
// the replicas, and the page after them.
func (s *stage) play(ctx context.Context, announce func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var parts sync.WaitGroup
	defer parts.Wait()
	start := func(run func() error) {
		parts.Go(func() {
			if err := run(); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				stop(err)
			}
		})
	}
	serve := func(l net.Listener, handler http.Handler) (end func()) {
		web := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
		start(func() error { return web.Serve(l) })
		// What is cut off is a page of the demo, which is over.
		return func() { _ = web.Close() }
	}
	provider, err := s.provider.Handler()
	if err != nil {
		return err
	}
	defer serve(s.op, provider)()
	for i := range demoReplicas {
		if err := s.replica(ctx, fmt.Sprintf("replica-%d", i+1)); err != nil {
			return err
		}
	}
	taken := new(feed)
	page, err := s.page(taken).Handler()
	if err != nil {
		return err
	}
	if err := s.watch(ctx, taken, start); err != nil {
		return err
	}
	defer serve(s.site, page)()
	var replicas sync.WaitGroup
	for _, app := range s.apps {
		replicas.Go(func() {
			if err := app.Run(ctx); err != nil {
				stop(err)
			}
		})
	}
	if s.ready(ctx) {
		announce()
	}
	replicas.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// ready waits until every replica can let people in, and returns false if ctx
// ended before.
func (s *stage) ready(ctx context.Context) bool {
	for _, app := range s.apps {
		for !app.lease.Fresh() {
			if !rest(ctx, 10*time.Millisecond) {
				return false
			}
		}
	}
	return true
}

// page is the site, wired to the replicas and the provider.
func (s *stage) page(taken *feed) demo.Site {
	provider, err := url.Parse(s.provider.Issuer)
	if err != nil {
		panic(err) // made of our own listener's address
	}
	site := demo.Site{
		Host: s.site.Addr().String(), Provider: provider, Events: taken.events, Now: timeOfDay, Logger: s.logger,
		LogoutSession: func(ctx context.Context, sid string) (demo.Answer, error) {
			return answerOf(s.provider.LogoutSession(ctx, sid))
		},
		LogoutUser: func(ctx context.Context, sub string) (demo.Answer, error) {
			return answerOf(s.provider.LogoutUser(ctx, sub))
		},
	}
	for _, app := range s.apps {
		base, err := url.Parse(s.url(app.public))
		if err != nil {
			panic(err) // made of our own listener's address
		}
		site.Replicas = append(site.Replicas, demo.Replica{Name: app.replica, Base: base})
	}
	return site
}

// answerOf is what the demo's own client said to a logout token.
func answerOf(deliveries []optest.Delivery, err error) (demo.Answer, error) {
	for _, d := range deliveries {
		if d.Client == demoClient {
			return demo.Answer{Status: d.Status, Fence: d.Fence, Sent: d.Sent, Took: d.Took}, d.Err
		}
	}
	return demo.Answer{}, err
}

// clear takes the stage down and leaves nothing behind.
func (s *stage) clear() error {
	var faults []error
	for _, app := range s.apps {
		faults = append(faults, app.Close())
	}
	for _, l := range []net.Listener{s.site, s.op} {
		if l != nil {
			// Its server has closed it if there was one.
			_ = l.Close()
		}
	}
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	if s.dir != "" {
		faults = append(faults, os.RemoveAll(s.dir))
	}
	return errors.Join(faults...)
}
