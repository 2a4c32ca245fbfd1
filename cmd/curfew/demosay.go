package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"curfew/sessions/rp/optest"
)

// announce says where to look, once there is something to see.
func (s *stage) announce(stdout io.Writer) {
	taken := ""
	if s.taken != nil {
		taken = fmt.Sprintf("\n                (%s could not be had: %v)", usualDemo, s.taken)
	}
	fmt.Fprintf(stdout, `
  curfew demo

  Open          %s%s
  Provider      %s
  Sign in as    %s (password "demo")
  Replicas      %d, each with a store of its own, on one log

  Sign in, then sign out at the provider and watch every replica refuse.
  Press Ctrl-C to end; nothing is left behind.

  To have curfew serve sign people in at this provider, in another terminal:

  export OIDC_ENDPOINT=%s OIDC_CLIENT_ID=%s
  export OIDC_CLIENT_SECRET=%s CURFEW_PUBLIC_URL=%s

`, s.url(s.site), taken, s.url(s.op), demoNames(), demoReplicas, s.url(s.op), triedClient, s.tried, triedURL)
}

func demoNames() string {
	var names []string
	for _, user := range optest.DemoUsers() {
		names = append(names, user.Username)
	}
	return strings.Join(names, ", ")
}

// untilEnd hands log records on until ctx ends: what breaks off after that was
// broken off, and is no fault.
type untilEnd struct {
	slog.Handler
	ctx context.Context
}

// Enabled reports whether ctx goes on and the handler wants the level.
func (h untilEnd) Enabled(ctx context.Context, level slog.Level) bool {
	return h.ctx.Err() == nil && h.Handler.Enabled(ctx, level)
}

// WithAttrs keeps to ctx.
func (h untilEnd) WithAttrs(attrs []slog.Attr) slog.Handler {
	return untilEnd{h.Handler.WithAttrs(attrs), h.ctx}
}

// WithGroup keeps to ctx.
func (h untilEnd) WithGroup(name string) slog.Handler {
	return untilEnd{h.Handler.WithGroup(name), h.ctx}
}
