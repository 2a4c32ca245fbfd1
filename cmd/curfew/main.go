// Command curfew is a session and back-channel logout service that stands
// beside a proxy: it signs people in at an OpenID Provider, tells the proxy
// whether a request may pass, and ends sessions everywhere when the provider
// says so.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"curfew/events/natslog"
	"curfew/sessions/rp"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command or the configuration is wrong
)

func main() { os.Exit(run()) }

// run is main with an exit status, so that tests can run it as a command.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	started := false
	root := &cobra.Command{
		Use:   "curfew",
		Short: "Sign in once, pass everywhere, be signed out everywhere",
		Long: `curfew stands beside a proxy and in front of applications. It signs people in
at an OpenID Provider, answers the proxy's question whether a request may pass,
and ends sessions on every replica when the provider's logout token arrives.`,
		Example: `  curfew demo
  curfew serve --data /var/lib/curfew
  curfew sessions end --sub 248289761001`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { started = true },
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(), demoCommand(), sessionsCommand(), replicasCommand(), eventsCommand(), keysCommand(), versionCommand())
	var wrong error
	root.SetHelpFunc(helpOf(root.HelpFunc(), &wrong))
	root.SetHelpCommand(helpCommand())
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = wrong
	}
	if err == nil {
		return exitOK
	}
	// An error of this package says already who speaks.
	fmt.Fprintf(stderr, "curfew: %s%s\n", settingOf(err), strings.TrimPrefix(err.Error(), "curfew: "))
	if !started {
		fmt.Fprintf(stderr, "Run '%s --help' to see what there is.\n", cmd.CommandPath())
		return exitUsage
	}
	if isConfiguration(err) {
		return exitUsage
	}
	return exitFailed
}

// settingOf is what an operator changes about a log that is refused, to stand in
// front of what is wrong with it; empty where err is about something else.
func settingOf(err error) string {
	if _, version := errors.AsType[*natslog.VersionError](err); version {
		return "CURFEW_NATS_URL: "
	}
	if _, taken := errors.AsType[*natslog.TakenError](err); taken {
		return "CURFEW_NATS_STREAM: "
	}
	unfit, settings := errors.AsType[*natslog.SettingsError](err)
	switch {
	case !settings:
		return ""
	case slices.ContainsFunc(unfit.Wrong, func(s natslog.Setting) bool { return s.Name == "max_age" }):
		return "CURFEW_NATS_STREAM (and CURFEW_SESSION_LIFETIME, of which max_age is an hour more): "
	default:
		return "CURFEW_NATS_STREAM: "
	}
}

// isConfiguration reports whether err is the operator's to mend before curfew
// can start at all.
func isConfiguration(err error) bool {
	_, config := errors.AsType[*configError](err)
	recovered, decided := errors.AsType[*recoveryError](err)
	_, issuer := errors.AsType[*rp.IssuerError](err)
	return config || decided && recovered.remedy == refuseSet || issuer || settingOf(err) != ""
}
