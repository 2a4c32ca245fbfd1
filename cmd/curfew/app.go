package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"curfew/backchannel"
	"curfew/events"
	"curfew/events/natslog"
	"curfew/sessions"
	"curfew/sessions/guard"
	"curfew/sessions/pages"
	"curfew/sessions/rp"
	"curfew/store"
)

// App is one replica: all its parts, wired. Make one with newApp, Run it once.
type App struct {
	config  config
	logger  *slog.Logger
	replica string
	// instance tells this process from others of the same name.
	instance string

	ring     *store.Keyring
	store    *store.Store
	outbox   *store.Outbox
	rows     *rows
	log      *natslog.Log
	registry *sessions.Registry
	lease    *sessions.Lease
	fleet    *sessions.Fleet
	stored   *sessions.LogClock
	backlog  *sessions.Backlog
	logouts  *sessions.Logouts
	ender    *sessions.Ender
	toucher  *sessions.Toucher
	// refresher is at work until refreshed is closed.
	refresher *sessions.Refresher
	refreshed chan struct{}
	client    *http.Client // to the OPs
	clients   []*rp.Client
	party     *rp.Party
	guard     *guard.Guard
	logoutTo  *backchannel.Handler
	pages     *pages.Pages
	metrics   *metrics
	swept     time.Time // of the log's clock; touched by follow alone
	// trouble is why the log cannot be applied, or not kept; nil while it can.
	trouble atomic.Pointer[decision]
	// met is how far the fleet has heard the log.
	met atomic.Pointer[events.Mark]
	// before are the instances that used this data folder on this machine since it
	// was booted: it is used by one at a time, so they are gone.
	before  []string
	movedIn bool // whether this one is noted there too; touched by beat alone
	// beaten is where the newest heartbeat of this process is; zero until there is
	// one. Touched by beat alone.
	beaten events.Mark
	// rival is another instance of this replica's name that is waited for; nil if
	// there is none.
	rival atomic.Pointer[string]

	public, admin net.Listener
}

// shutdown bounds the orderly end, all of it together well under ten seconds.
const (
	drainTime    = 5 * time.Second
	farewellTime = time.Second
)

// newApp opens what a replica needs. It asks the OP first, so that a
// configuration which the OP contradicts leaves nothing behind. Whatever it
// returns, the caller must Close it, whether it runs or not.
func newApp(ctx context.Context, c config, logger *slog.Logger) (*App, error) {
	a := &App{config: c, instance: events.NewID(), metrics: newMetrics(), logger: logger}
	a.client = &http.Client{Timeout: 10 * time.Second}
	a.clients = a.newClients()
	for _, step := range []func(context.Context) error{
		a.checkProviders, a.openData, a.openOutbox, a.openLog, a.wireSessions, a.wireProviders, a.openListeners,
	} {
		if err := step(ctx); err != nil {
			return a, err
		}
	}
	return a, nil
}

// openData opens the data folder: the replica's name, the keys, the store.
func (a *App) openData(context.Context) error {
	if err := a.openFolder(); err != nil {
		return a.refused(opening, a.config.data, err)
	}
	outbox := a.outboxConfig()
	err := store.PeekOutbox(outbox)
	if err != nil {
		return a.refused(openingOutbox, outbox.Path, err)
	}
	path := filepath.Join(a.config.data, "store.db")
	a.store, err = store.Open(store.Config{
		Path:   path,
		Ring:   a.ring,
		Now:    timeOfDay,
		Logger: a.logger,
		Spoilt: a.spoilt(openingStore, path),
	})
	if err != nil {
		return a.refused(openingStore, path, err)
	}
	a.meet(known{where: openingStore, mark: a.store.Mark()})
	a.rows = newRows(a.store, a.ring)
	return nil
}

func (a *App) openFolder() (err error) {
	if err := os.MkdirAll(a.config.data, 0o700); err != nil {
		return fmt.Errorf("curfew: data folder: %w", err)
	}
	if a.replica, err = replicaNameOf(a.config); err != nil {
		return err
	}
	a.logger = a.logger.With("replica", a.replica)
	if a.ring, err = openKeyring(a.config); err != nil {
		return err
	}
	warnOfOpen(a.config.data, a.logger)
	return nil
}

func (a *App) openLog(context.Context) (err error) {
	a.log, err = natslog.New(natslog.Config{
		URL:      a.config.natsURL,
		Creds:    a.config.natsCreds,
		CA:       a.config.natsCA,
		Cert:     a.config.natsCert,
		Key:      a.config.natsKey,
		Stream:   a.config.natsStream,
		Replicas: a.config.natsReplicas,
		MaxAge:   a.config.lifetime + afterlife,
		Dir:      filepath.Join(a.config.data, "log"),
		Name:     a.replica,
		Logger:   a.logger,
	})
	if a.config.natsURL != "" {
		return err
	}
	return a.refused(opening, filepath.Join(a.config.data, "log"), err)
}

// wireSessions builds what answers from memory, out of what the store has kept.
func (a *App) wireSessions(context.Context) error {
	a.lease = &sessions.Lease{Length: a.config.maxStaleness, Clock: readClock}
	a.fleet = &sessions.Fleet{Instance: a.instance, Lease: a.config.maxStaleness, Clock: readClock}
	a.stored = &sessions.LogClock{Clock: readClock, Lull: a.config.maxStaleness}
	a.registry = sessions.NewRegistry(a.store.Hasher(), sessions.Policy{
		UntilAccess: a.config.untilAccess, Idle: a.config.idle, Issuers: a.config.issuers(),
	})
	a.backlog = sessions.NewBacklog(a.log, a.registry, logoutsKept{a.outbox, a.meet, a.metrics, a.logger})
	if err := a.load(); err != nil {
		return err
	}
	a.logouts = &sessions.Logouts{
		Log: a.log, Registry: a.registry, Fleet: a.fleet, Backlog: a.backlog,
		Wait: a.config.logoutWait, Replica: a.replica, Now: timeOfDay,
	}
	a.ender = sessions.NewEnder(sessions.Ender{
		Log: a.log, Registry: a.registry, Shelf: a.rows, Stored: a.stored,
		Replica: a.replica, Now: timeOfDay, Logger: a.logger,
	})
	a.toucher = sessions.NewToucher(sessions.Toucher{
		Log: a.log, Idle: a.config.idle, Replica: a.replica, Logger: a.logger,
	})
	a.metrics.watch(a.registry, a.lease, a.fleet, a.backlog)
	return nil
}

// load fills the registry and the fleet from the store, and has what is in the
// outbox take effect.
func (a *App) load() error {
	err := a.store.Load(func(change sessions.Change) {
		if change.Member != nil {
			a.fleet.Hear(*change.Member)
		}
		a.registry.Load(change)
	})
	path := filepath.Join(a.config.data, "store.db")
	if err != nil {
		d := a.meet(known{where: openingStore, path: path, err: err})
		if d.remedy != rebuild {
			return &recoveryError{d}
		}
		return a.refused(openingStore, path, a.startOver(d))
	}
	mark := a.store.Mark()
	a.registry.LoadMark(mark)
	a.met.Store(&mark)
	a.restore(false)
	return nil
}

// wireProviders builds what speaks with the OPs, which need not be there yet.
func (a *App) wireProviders(context.Context) (err error) {
	if a.pages, err = pages.Open(a.config.prefix, a.config.pagesDir); err != nil {
		return fmt.Errorf("CURFEW_PAGES: %w", err)
	}
	a.party = a.newParty()
	a.refresher, a.refreshed = a.newRefresher(), make(chan struct{})
	a.guard = a.newGuard()
	a.logoutTo = &backchannel.Handler{
		Verifiers: a.newVerifiers(),
		Logouts:   a.logouts, Logger: a.logger, Now: timeOfDay,
	}
	return a.party.Validate()
}

// Close gives back what newApp opened. It may be called more than once.
func (a *App) Close() error {
	var faults []error
	for _, l := range []net.Listener{a.public, a.admin} {
		if l != nil {
			// A server that has run has closed its listener already.
			_ = l.Close()
		}
	}
	if a.log != nil {
		a.log.Close()
	}
	if a.store != nil {
		faults = append(faults, a.store.Close())
		a.store = nil
	}
	if a.outbox != nil {
		faults = append(faults, a.outbox.Close())
	}
	return errors.Join(faults...)
}

// Run serves until ctx ends, then drains, says that it leaves, and returns nil.
// It returns an error if the replica cannot go on. A log that is not fit is found
// before anything is served, unless it is slow to answer: then the guard answers
// 503 meanwhile, and a logout is kept, which no provider would send again.
func (a *App) Run(ctx context.Context) error {
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop(nil)
	start := func(name string, run func(context.Context) error) {
		parts.Go(func() {
			if err := run(working); err != nil && working.Err() == nil {
				stop(fmt.Errorf("curfew: %s: %w", name, err))
			}
		})
	}
	start("log", a.log.Run)
	checked := make(chan error, 1)
	start("the log's fitness", func(ctx context.Context) error {
		err := a.checkLog(ctx)
		checked <- err
		return err
	})
	select {
	case err := <-checked:
		if err != nil {
			return err
		}
	case <-time.After(glance):
	case <-ctx.Done():
	}
	start("follow", a.follow)
	start("heartbeat", a.beat)
	start("confirmations", a.listen)
	start("ends", a.ender.Run)
	start("uses", a.toucher.Run)
	start("open tabs", a.guard.Run)
	start("refreshes", a.refresh)
	start("answers", a.refresher.Resume)
	for _, c := range a.clients {
		start("provider", c.Provider.Run)
		start("revocations", c.Revoker.Run)
	}
	start("store", a.store.Run)
	servers := a.servers()
	start("public listener", serveOn(servers[0], a.public))
	start("admin listener", serveOn(servers[1], a.admin))
	a.logger.InfoContext(ctx, "serving", "public", a.config.public.String(), "listen", a.public.Addr().String(),
		"admin", a.admin.Addr().String(), "version", version())

	select {
	case <-ctx.Done():
	case <-working.Done():
	}
	a.refresher.Rest()
	a.leave(servers)
	if cause := context.Cause(working); cause != nil {
		return cause
	}
	a.logger.InfoContext(ctx, "stopped")
	return nil
}

// leave finishes the requests under way, lets nobody in any more, and only then
// tells the others that they need not wait for this replica.
func (a *App) leave(servers [2]*webServer) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for _, server := range servers {
		if err := server.drain(ctx); err != nil {
			a.logger.Warn("requests cut off", "error", err)
		}
	}
	a.restRefreshes(ctx)
	a.lease.Drop()
	ctx, cancel = context.WithTimeout(context.Background(), farewellTime)
	defer cancel()
	a.drainLast(ctx)
	farewell := events.NewEvent(events.Left{Replica: a.replica, Instance: a.instance}, a.replica, timeOfDay())
	if _, err := a.log.Append(ctx, farewell, events.Always()); err != nil {
		a.logger.Warn("left without saying so: logouts elsewhere may wait for the lease", "error", err)
	}
}
