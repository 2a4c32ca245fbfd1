package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"curfew/sessions/rp/optest/realop"
)

// The main job, as the README's first command shows it.
func TestDemo(t *testing.T) {
	temp := t.TempDir()
	p := startProcess(t, []string{"TMPDIR=" + temp}, "curfew", "demo", "--listen", "127.0.0.1:0")
	line := p.waitLine("it said where to look", func(line string) bool { return strings.Contains(line, "Open ") })
	page := regexp.MustCompile(`http://\S+`).FindString(line)
	if text := p.said(); !strings.Contains(text, "export OIDC_ENDPOINT=http://127.0.0.1:") || strings.Contains(text, "could not be had") {
		t.Errorf("it said\n%s", text)
	}
	browser := realop.NewBrowser(t)
	states := func() []string {
		resp, err := browser.Get(t.Context(), page+"/demo/verdicts")
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Verdicts []struct{ State string }
			Events   []struct{ Session string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, v := range answer.Verdicts {
			states = append(states, v.State)
		}
		return states
	}
	signIn := func() {
		t.Helper()
		eventually(t, "the replicas are ready", func() bool { return strings.Join(states(), " ") == "out out out" })
		resp, err := browser.SignIn(t.Context(), page+"/auth/login?rd=/", realop.User{Username: "ada", Password: "demo"})
		if err != nil || resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/" {
			t.Fatalf("the sign-in ended at %v: %v", resp, err)
		}
		if got := strings.Join(states(), " "); got != "in in in" {
			t.Fatalf("signed in, the replicas say %q", got)
		}
	}
	signIn()
	at, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	// Cookies do not tell ports apart: a second demo must have others.
	for _, cookie := range browser.Client.Jar.Cookies(at) {
		if !strings.Contains(cookie.Name, at.Port()) && !strings.HasPrefix(cookie.Name, "op_session_") {
			t.Errorf("the cookie %s may be another demo's", cookie.Name)
		}
	}
	if _, err := browser.Post(t.Context(), page+"/demo/everywhere", url.Values{}); err != nil {
		t.Fatal(err)
	}
	for _, button := range []string{"/demo/provider", "/demo/everywhere", "/demo/app"} {
		signIn()
		resp, err := browser.Post(t.Context(), page+button, url.Values{})
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v %v", button, resp, err)
		}
		if got := strings.Join(states(), " "); got != "out out out" {
			t.Errorf("after %s the replicas say %q", button, got)
		}
	}
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("did not end within ten seconds of Ctrl-C")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit status %d after %s, want 0", code, time.Since(began))
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
	if strings.Contains(p.said(), "WARN") {
		t.Errorf("a demo without a fault warned:\n%s", p.said())
	}
	if _, err := os.Stat("curfew-data"); err == nil {
		t.Error("the demo made a data folder here")
	}
}

func TestDemoSaysThatItsPortIsTaken(t *testing.T) {
	if held, err := net.Listen("tcp", usualDemo); err == nil {
		defer held.Close()
	}
	l, taken, err := demoListener("")
	if err != nil || taken == nil {
		t.Fatalf("got %v, and no port for %v", err, taken)
	}
	defer l.Close()
	var said strings.Builder
	s := &stage{site: l, op: l, taken: taken}
	s.announce(&said)
	if want := s.url(l) + "\n                (" + usualDemo + " could not be had: "; !strings.Contains(said.String(), want) {
		t.Errorf("lacks %q:\n%s", want, said.String())
	}
}

// A demo that is broken off while it starts has no fault to report.
func TestDemoBrokenOffSaysNothing(t *testing.T) {
	var said lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	logger := slog.New(untilEnd{slog.NewTextHandler(&said, nil), ctx}).With("replica", "a").WithGroup("g")
	logger.Warn("before")
	cancel()
	logger.Warn("after")
	if got := said.String(); !strings.Contains(got, "before") || strings.Contains(got, "after") {
		t.Errorf("wrote %q", got)
	}
	said = lockedBuffer{}
	if err := runDemo(ctx, "127.0.0.1:0", io.Discard, &said); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := said.String(); got != "" {
		t.Errorf("wrote %q", got)
	}
}
