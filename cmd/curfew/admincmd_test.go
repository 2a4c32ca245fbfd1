package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"curfew/events"
)

// ran is what a command has printed, and its exit status.
type ran struct {
	status   int
	out, err string
}

// curfew runs a command in this process.
func curfew(ctx context.Context, args ...string) ran {
	var out, err bytes.Buffer
	status := execute(ctx, args, &out, &err)
	return ran{status, out.String(), err.String()}
}

// at has commands of this test look for the replica of the house.
func (h *appHouse) at(t *testing.T) {
	t.Setenv("CURFEW_ADMIN_LISTEN", strings.TrimPrefix(h.admin(), "http://"))
}

// want wants an exit status, and texts in what was printed.
func (r ran) want(t *testing.T, what string, status int, says ...string) {
	t.Helper()
	for _, text := range says {
		if r.status != status || !strings.Contains(r.out+r.err, text) {
			t.Errorf("%s: status %d, want %d and %q:\n%s%s", what, r.status, status, text, r.out, r.err)
		}
	}
}

func TestSessionsCommands(t *testing.T) {
	h := newAppHouse(t)
	h.at(t)
	first, _ := h.signedIn("ada")
	second, _ := h.signedIn("ada")
	third, _ := h.signedIn("grace")
	run := func(args ...string) ran { return curfew(t.Context(), append([]string{"sessions"}, args...)...) }

	list := run("list")
	list.want(t, "list", exitOK, "SESSION", "USER", "ada", "grace", "alive", "127.0.0.1", first.Session.String())
	if lines := strings.Split(strings.TrimSpace(list.out), "\n"); len(lines) != 4 || list.err != "" {
		t.Errorf("list prints\n%s%s", list.out, list.err)
	}
	var page sessionPage
	if err := json.Unmarshal([]byte(run("list", "--json", "--sub", first.Sub).out), &page); err != nil || !slices.Equal(page.Sessions, []sessionView{first, second}) {
		t.Errorf("got %+v, %v", page, err)
	}
	if err := json.Unmarshal([]byte(run("list", "--json", "--sid", third.Sid).out), &page); err != nil || !slices.Equal(page.Sessions, []sessionView{third}) {
		t.Errorf("got %+v, %v", page, err)
	}
	more := run("list", "--limit", "2")
	more.want(t, "list of two", exitOK, "There are more")
	if strings.Contains(more.out, third.Session.String()) || strings.Contains(more.out, "There are more") {
		t.Errorf("a list of two prints\n%s", more.out)
	}
	run("list", "--limit", "0").want(t, "all", exitOK, third.Session.String())

	id := first.Session.String()
	run("show", id).want(t, "show", exitOK, id, "ada@example.com", first.Sub, h.op.Issuer, "Go-http-client")
	run("end", id).want(t, "end", exitOK, "ended: no replica lets it pass")
	run("show", id).want(t, "show what is over", exitOK, "reason", "admin")
	run("list").want(t, "list", exitOK, "ended ", ", admin")
	run("end", "--sid", second.Sid).want(t, "end by sid", exitOK, "ended: no replica")
	run("end", "--sub", third.Sub).want(t, "end by sub", exitOK, "ended: no replica")
	if got := run("list").out; strings.Contains(got, "alive") {
		t.Errorf("after all are ended:\n%s", got)
	}
	fourth, _ := h.signedIn("grace")
	run("end", "--all").want(t, "end all", exitOK, "ended: no replica")
	run("show", fourth.Session.String(), "--json").want(t, "show", exitOK, `"reason": "admin"`)

	unknown := events.NewSessionID().String()
	run("end", unknown).want(t, "end of an unknown id", exitFailed, "not found: there is no session", unknown)
	run("show", "../replicas").want(t, "show of no id", exitFailed, "not found")
}

func TestEndWantsToKnowWhose(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--all=false"}, {"--sub", ""}, {"x", "--all"}, {"x", "--sub", "u"}, {"--sub", "u", "--all"}, {"--sid", "s", "--all"}, {"x", "y"}, {""},
	} {
		curfew(t.Context(), append([]string{"sessions", "end"}, args...)...).want(t, strings.Join(args, " "), exitUsage, "name one")
	}
	curfew(t.Context(), "sessions", "lst").want(t, "a command spelt wrong", exitUsage, `unknown command "lst"`)
	curfew(t.Context(), "events", "tial").want(t, "a command spelt wrong", exitUsage, `unknown command "tial"`)
	curfew(t.Context(), "sessions").want(t, "no command", exitOK, "Available Commands")
	curfew(t.Context(), "sessions", "list", "--limit", "-1").want(t, "a limit below 0", exitUsage, "--limit")
}

// What is wrong with a flag is said before any replica is asked: there is none.
func TestTailNamesAWrongFlag(t *testing.T) {
	t.Setenv("CURFEW_ADMIN_LISTEN", "127.0.0.1:1")
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"--since", "x"}, []string{`--since is "x"`}},
		{[]string{"--since", "-1"}, []string{`--since is "-1"`}},
		{[]string{"--subject", "a..b"}, []string{`--subject is "a..b"`}},
		{[]string{"--subject", "other.>"}, []string{`--subject is "other.>"`}},
		{[]string{"--since", "x", "--subject", "a..b"}, []string{"--since", "--subject"}},
		{[]string{"x"}, []string{"unknown command"}},
	} {
		curfew(t.Context(), append([]string{"events", "tail"}, c.args...)...).want(t, strings.Join(c.args, " "), exitUsage, c.says...)
	}
	curfew(t.Context(), "events", "tail", "--since", "0").want(t, "no replica", exitFailed, "no replica answers")
}

// A command that is not there has no help to show.
func TestHelpOfUnknownCommands(t *testing.T) {
	for _, args := range []string{"keys bogus --help", "keys bogus -h", "keys --help bogus", "bogus --help", "help bogus", "help keys bogus", "sessions --config x bogus --help"} {
		r := curfew(t.Context(), strings.Fields(args)...)
		r.want(t, args, exitUsage, `unknown command "bogus"`)
		if r.out != "" {
			t.Errorf("%s prints\n%s", args, r.out)
		}
	}
	for _, args := range []string{"keys --help", "help keys", "help", "help sessions end", "keys new --help", "--help"} {
		curfew(t.Context(), strings.Fields(args)...).want(t, args, exitOK, "--help", "Examples:")
	}
}

// Pages are put together, whatever the order of their sizes.
func TestListAsksForAsManyPagesAsItTakes(t *testing.T) {
	var ids []events.SessionID
	for range 2500 {
		ids = append(ids, events.NewSessionID())
	}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		var page sessionPage
		var limit int
		if err := json.Unmarshal([]byte(r.URL.Query().Get("limit")), &limit); err != nil || limit > maxPage {
			t.Errorf("limit %q", r.URL.Query().Get("limit"))
		}
		begin := 0
		if after := r.URL.Query().Get("after"); after != "" {
			begin = 1 + slices.IndexFunc(ids, func(id events.SessionID) bool { return id.String() == after })
		}
		for _, id := range ids[begin:min(begin+limit, len(ids))] {
			page.Sessions = append(page.Sessions, sessionView{Session: id})
		}
		if end := begin + limit; end < len(ids) {
			page.Next = &ids[end-1]
		}
		writeJSON(w, http.StatusOK, "application/json", page)
	}))
	t.Cleanup(server.Close)
	client := newAdminClient(config{adminListen: server.Listener.Addr().String()})
	for _, c := range []struct {
		limit, want, pages int
		more               bool
	}{{0, 2500, 3, false}, {10, 10, 1, true}, {1000, 1000, 1, true}, {1001, 1001, 2, true}, {2500, 2500, 3, false}, {9000, 2500, 3, false}} {
		asked = 0
		page, err := client.list(t.Context(), map[string][]string{}, c.limit)
		if err != nil || len(page.Sessions) != c.want || asked != c.pages || (page.Next != nil) != c.more {
			t.Errorf("limit %d: %d sessions on %d pages, more %v, %v", c.limit, len(page.Sessions), asked, page.Next != nil, err)
		}
		for i, s := range page.Sessions {
			if s.Session != ids[i] {
				t.Fatalf("limit %d: another at %d", c.limit, i)
			}
		}
	}
}

func TestReplicasCommand(t *testing.T) {
	h := newAppHouse(t)
	h.at(t)
	curfew(t.Context(), "replicas").want(t, "replicas", exitOK, "REPLICA", "only (asked)", "fresh, for ", "The log ends at ")
	var list replicaList
	if err := json.Unmarshal([]byte(curfew(t.Context(), "replicas", "--json").out), &list); err != nil || len(list.Replicas) != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestStatesOfReplicasInWords(t *testing.T) {
	for want, r := range map[string]replicaView{
		"fresh, for 1.5s":       {Fresh: true, Lease: 1.5},
		"left":                  {Left: true},
		"stale: lets nobody in": {Self: true},
		"silent":                {},
	} {
		if got := r.state(); !strings.HasPrefix(got, want) {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}

func TestEventsTail(t *testing.T) {
	h := newAppHouse(t)
	h.at(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- execute(ctx, []string{"events", "tail", "--since", "0", "--subject", "curfew.session.*.started"}, writer, &stderr)
		_ = writer.Close()
	}()
	view, _ := h.signedIn("ada")
	line := make(chan eventView)
	go func() {
		var event eventView
		if err := json.NewDecoder(reader).Decode(&event); err != nil {
			t.Error(err)
		}
		line <- event
	}()
	select {
	case event := <-line:
		if event.Type != events.TypeStarted || !strings.Contains(event.Subject, view.Session.String()) || event.Position == 0 {
			t.Errorf("got %+v", event)
		}
	case <-time.After(patient):
		t.Fatal("no event")
	}
	stop()
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	if got := <-status; got != exitOK || stderr.Len() > 0 {
		t.Errorf("Ctrl-C ends it with %d: %s", got, stderr.String())
	}
}

func TestTailSaysWhyItEnds(t *testing.T) {
	for stream, says := range map[string]string{
		"": "broke off", ": hello\n\n": "broke off", "data: {}\n\n": "broke off",
		"event: problem\ndata: {\"title\":\"Service Unavailable\",\"detail\":\"this replica is stopping\"}\n\n": "service unavailable: this replica is stopping",
		"event: problem\ndata: x\n\n":         "broke off",
		"data: " + strings.Repeat("x", 2<<20): "broke off",
	} {
		err := readStream(strings.NewReader(stream), func([]byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", stream, err, says)
		}
	}
}

func TestEventsOnATerminal(t *testing.T) {
	var out bytes.Buffer
	err := showLine(&out, []byte(`{"position":7,"time":"2026-01-02T03:04:05Z","type":"curfew.session.ended.v1","subject":"curfew.session.a.ended",`+
		`"data":{"reason":"admin","sub":"\u001b[2Ju","session":"a"}}`))
	if err != nil || strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "7  session.a.ended  reason=admin  sub=") {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestCommandsSayWhereTheyLooked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	socket := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"sessions", "list"}, {"sessions", "end", "--all"}, {"replicas"}, {"events", "tail"}} {
		for _, where := range []string{address, "unix:" + socket} {
			curfew(t.Context(), append(args, "--admin-listen", where)...).
				want(t, args[0], exitFailed, "no replica answers at "+where, "CURFEW_ADMIN_LISTEN", "--admin-listen")
		}
	}
	stranger := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	curfew(t.Context(), "replicas", "--admin-listen", stranger.Listener.Addr().String()).
		want(t, "a stranger", exitFailed, "404", "as no replica's admin listener does")
}

func TestCommandsLoadNoMoreThanTheyNeed(t *testing.T) {
	h := newAppHouse(t, "CURFEW_ADMIN_TOKEN", "operator-token")
	address := strings.TrimPrefix(h.admin(), "http://")
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("CURFEW_ADMIN_LISTEN", address)
	curfew(t.Context(), "replicas").want(t, "no token", exitFailed, "unauthorized", "CURFEW_ADMIN_TOKEN_FILE")
	t.Setenv("CURFEW_ADMIN_TOKEN", "wrong")
	curfew(t.Context(), "replicas").want(t, "a wrong token", exitFailed, "unauthorized")
	t.Setenv("CURFEW_ADMIN_TOKEN", "")
	t.Setenv("CURFEW_ADMIN_TOKEN_FILE", write("token", "operator-token\n"))
	curfew(t.Context(), "replicas").want(t, "a token file", exitOK, "only")

	// Others' settings are neither needed nor looked at, be they as they may.
	t.Setenv("CURFEW_SESSION_LIFETIME", "soon")
	t.Setenv("OIDC_CLIENT_SECRET_FILE", filepath.Join(dir, "none"))
	curfew(t.Context(), "replicas").want(t, "other settings", exitOK, "only")

	t.Setenv("CURFEW_ADMIN_LISTEN", "")
	t.Setenv("CURFEW_ADMIN_TOKEN_FILE", "")
	file := write("curfew.yaml", "curfew_admin_listen: "+address+"\ncurfew_admin_token: operator-token\noidc_client_secret_file: /nowhere\ncurfew_prefix: x\n")
	curfew(t.Context(), "replicas", "--config", file).want(t, "a file", exitOK, "only")

	curfew(t.Context(), "replicas", "--config", filepath.Join(dir, "none.yaml")).want(t, "no file", exitUsage, "--config", "none.yaml")
	curfew(t.Context(), "replicas", "--admin-listen", "4181").want(t, "no address", exitUsage, "CURFEW_ADMIN_LISTEN: ")
	curfew(t.Context(), "replicas", "--admin-listen", "192.0.2.1:1").want(t, "no token", exitUsage, "CURFEW_ADMIN_TOKEN: is required")
}

func TestWhereAListenerIsReached(t *testing.T) {
	for listen, want := range map[string][2]string{
		"127.0.0.1:4181":    {"tcp", "127.0.0.1:4181"},
		":4181":             {"tcp", "127.0.0.1:4181"},
		"0.0.0.0:4181":      {"tcp", "127.0.0.1:4181"},
		"[::]:4181":         {"tcp", "[::1]:4181"},
		"[::1]:4181":        {"tcp", "[::1]:4181"},
		"admin.example:1":   {"tcp", "admin.example:1"},
		"unix:/run/x/admin": {"unix", "/run/x/admin"},
	} {
		network, target := dialTarget(listen)
		if got := [2]string{network, target}; got != want {
			t.Errorf("%s: %q, want %q", listen, got, want)
		}
	}
}

func TestTimesAreShort(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.Local)
	for want, at := range map[string]time.Time{
		"-":            {},
		"09:08:07":     time.Date(2026, 11, 23, 9, 8, 7, 6, time.Local),
		"22 Nov 23:59": time.Date(2026, 11, 22, 23, 59, 59, 0, time.Local),
		"23 Nov 2025":  time.Date(2025, 11, 23, 15, 0, 0, 0, time.Local),
	} {
		if got := shortTime(at.UTC(), now); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
}

func TestTablesObeyNoEscape(t *testing.T) {
	for text, want := range map[string]string{
		"": "-", "ada": "ada", "Åda 😀": "Åda 😀", "\x1b[2J": "·[2J", "a\tb\nc": "a·b·c", "\u202egnp": "·gnp", "a\u00a0b": "a·b",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is printed %q, want %q", text, got, want)
		}
	}
}
