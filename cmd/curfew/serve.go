package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one replica",
		Long: `Run one replica of curfew.

Each setting comes from its flag, else from its environment variable, else from
the YAML file that --config names, whose keys are the variables' names, else from
the default. The file may also hold a list of providers for people to choose from,
each with its name and OIDC_ settings. A secret can be kept in a file:
OIDC_CLIENT_SECRET_FILE=PATH and the like. A wrong configuration names every fault
at once and starts nothing.

` + settingsHelp(),
		Example: `  export OIDC_ENDPOINT=https://id.example.com/realms/main
  export OIDC_CLIENT_ID=curfew OIDC_CLIENT_SECRET_FILE=/run/secrets/curfew
  export CURFEW_PUBLIC_URL=https://app.example.com
  curfew serve --data /var/lib/curfew`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML file with settings, and the list of several providers")
	for _, s := range settings() {
		if !s.secret {
			name := s.name
			if s.required {
				name += ", required"
			}
			cmd.Flags().String(s.flag(), s.value, s.help+" ("+name+")")
		}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		from := sources{flags: map[string]string{}, env: os.LookupEnv, file: file}
		for _, s := range settings() {
			if f := cmd.Flags().Lookup(s.flag()); f != nil && f.Changed {
				from.flags[s.name] = f.Value.String()
			}
		}
		c, err := loadConfig(from)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), c, newLogger(c, cmd.ErrOrStderr()))
	}
	return cmd
}

// settingsHelp lists the variables that are no flags.
func settingsHelp() string {
	var b strings.Builder
	b.WriteString("Settings without a flag, because they are secret:\n")
	for _, s := range settings() {
		if s.secret {
			b.WriteString("  " + s.name + " (or " + s.name + "_FILE)\n      " + s.help + "\n")
		}
	}
	return b.String()
}

// patience is how long a start waits for the OP and the log to answer, so as to
// name a fault there at once. One that does not answer is waited for behind.
const patience = 5 * time.Second

// glance is how much of that is waited with the listeners open and nothing served.
const glance = 500 * time.Millisecond

// serve runs one replica until ctx ends.
func serve(ctx context.Context, c config, logger *slog.Logger) (err error) {
	app, err := newApp(ctx, c, logger)
	defer func() { err = errors.Join(err, app.Close()) }()
	if err != nil {
		return err
	}
	return app.Run(ctx)
}

// checkProviders finds every issuer that its OP contradicts. That an OP does not
// answer is no fault of the configuration.
func (a *App) checkProviders(ctx context.Context) error {
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found := make([]error, len(a.clients))
	var asked sync.WaitGroup
	for i, c := range a.clients {
		asked.Go(func() { found[i] = c.Provider.Discover(patient) })
	}
	asked.Wait()
	var wrong []error
	for i, err := range found {
		switch {
		case isConfiguration(err):
			wrong = append(wrong, fmt.Errorf("%s: %w", a.config.providers[i].in("OIDC_ENDPOINT"), err))
		case err != nil && ctx.Err() == nil:
			a.logger.WarnContext(ctx, "the provider does not answer: nobody can sign in there until it does",
				"issuer", a.clients[i].Provider.Issuer, "error", err)
		case err == nil && len(a.clients) > 1 && a.config.providers[i].sharesCallback():
			if metadata, _ := a.clients[i].Provider.Metadata(); !metadata.IssParameter {
				a.logger.WarnContext(ctx, "the provider does not say that its answers name it, and its callback may be another's too: "+
					"without iss in an answer nobody can sign in there; leave out its OIDC_REDIRECT_URI", "provider", a.clients[i].Name)
			}
		}
	}
	return errors.Join(wrong...)
}

// checkLog finds a stream or a server that is not fit for the log, once the log
// runs. That it does not answer is no fault of the configuration.
func (a *App) checkLog(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := a.log.Ready(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		a.logger.WarnContext(ctx, "the log does not answer: nobody is let in until it does")
		return nil
	}
	return err
}

func newLogger(c config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "text" || c.logFormat == "" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
