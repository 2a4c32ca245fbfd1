package main

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"curfew/sessions/rp/optest"
	"curfew/sessions/rp/optest/realop"
)

// TestScripts runs the program as people do: see testdata/script. Scripts find
// an OP at $OP, a NATS server at $NATS, one whose stream is not fit at $MISFIT,
// one where a stream of another name has the log's events at $TAKEN, and an
// address where nobody listens at $NOBODY.
func TestScripts(t *testing.T) {
	op := &optest.Provider{Now: time.Now, Clients: []optest.Client{{ID: "curfew", Secret: "hush"}}}
	realop.Serve(t, op, nil)
	fit, _ := startNATS(t, t.TempDir(), "-1")
	misfit, _ := startNATS(t, t.TempDir(), "-1")
	makeStream(t, misfit, "CURFEW")
	taken, _ := startNATS(t, t.TempDir(), "-1")
	makeStream(t, taken, "ELSE")
	nobody := httptest.NewServer(nil)
	nobody.Close()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("OP", op.Issuer)
			env.Setenv("NATS", fit)
			env.Setenv("MISFIT", misfit)
			env.Setenv("TAKEN", taken)
			env.Setenv("NOBODY", nobody.URL)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await,
			"mode":  mode,
		},
	})
}

// makeStream makes a stream that takes curfew's events and is not curfew's.
func makeStream(t *testing.T, url, name string) {
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"curfew.session.>"}, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
}

// await is a script's command: await FILE TEXT waits until the file holds the
// text, which a program in the background writes.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(content), args[1]) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s does not hold %q:\n%s", args[0], args[1], content)
		}
	}
}

// mode is a script's command: mode 0600 PATH… wants these permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	for _, pattern := range args[1:] {
		paths, err := filepath.Glob(ts.MkAbs(pattern))
		if err != nil || len(paths) == 0 {
			ts.Fatalf("%s: no such file (%v)", pattern, err)
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			ts.Check(err)
			if got := info.Mode().Perm().String(); (got == args[0]) == neg {
				ts.Fatalf("%s has mode %s, want %s", path, got, args[0])
			}
		}
	}
}
