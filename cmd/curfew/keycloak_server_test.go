package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"curfew/events/natslog/natstest"
)

// keycloak is the real Keycloak, in a process of its own until the test ends.
type keycloak struct {
	// front is what everybody speaks to: Keycloak behind a wire.
	front *httptest.Server
	wire  *wire
	// home is its folder.
	home string
}

const (
	keycloakFiles = "testdata/keycloak"
	keycloakRealm = "house"
	// keycloakPatience bounds Keycloak's start. Seventeen seconds are usual on two
	// cores that have little else to do, and 24 more where it is built first.
	keycloakPatience = 4 * time.Minute
	keycloakAdmin    = "operator"
	keycloakSecret   = "secret of the operator"
)

// startKeycloak runs Keycloak in development mode with our realm. Where its
// archive or a Java could not be had, which .ci/parts says, the test is skipped,
// with CI=true too: the archive is large, and those who build without it have lost
// nothing but this test.
func startKeycloak(t *testing.T) *keycloak {
	t.Helper()
	unpacked := keycloakFolder(t)
	java := newestJava(t)
	k := &keycloak{home: filepath.Join(t.TempDir(), "keycloak")}
	copyFolder(t, k.home, unpacked)
	built := unpacked + "-built"
	if _, err := os.Stat(built); err == nil {
		quarkus := filepath.Join(k.home, "lib", "quarkus")
		if err := os.RemoveAll(quarkus); err != nil {
			t.Fatal(err)
		}
		copyFolder(t, quarkus, built)
	}
	realm, err := os.ReadFile(filepath.Join(keycloakFiles, "realm.json"))
	if err != nil {
		t.Fatal(err)
	}
	imports := filepath.Join(k.home, "data", "import")
	if err := os.MkdirAll(imports, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(imports, keycloakRealm+".json"), string(realm))
	// Keycloak binds it seconds later: no connection of anybody's may have got it
	// meanwhile.
	address := fmt.Sprint("127.0.0.1:", natstest.NewPorts(t).Next())
	k.wire = newWire("http://" + address)
	k.front = httptest.NewServer(k.wire)
	t.Cleanup(k.front.Close)
	k.keepBuild(t, k.run(t, java, address), built)
	return k
}

// keycloakFolder is where .ci/parts has unpacked the archive that
// archive.sha256 names, after it has compared its digest.
func keycloakFolder(t *testing.T) string {
	t.Helper()
	line, err := os.ReadFile(filepath.Join(keycloakFiles, "archive.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	sum, archive, found := strings.Cut(strings.TrimSpace(string(line)), "  ")
	if !found || len(sum) != 64 {
		t.Fatalf("archive.sha256 is %q", line)
	}
	cache := cmp.Or(os.Getenv("XDG_CACHE_HOME"), filepath.Join(os.Getenv("HOME"), ".cache"))
	folder := filepath.Join(cache, "curfew", strings.TrimSuffix(archive, ".zip")+"-"+sum[:12])
	if _, err := os.Stat(folder); err != nil {
		t.Skip("NOT TESTED: Keycloak is not there: .ci/parts fetches it, and says why where it cannot: " + err.Error())
	}
	return folder
}

var javaVersion = regexp.MustCompile(`(?m)^JAVA_VERSION="(\d+)`)

// newestJava is the home of the newest Java that is installed. Keycloak 26 needs
// 17 or newer.
func newestJava(t *testing.T) (home string) {
	t.Helper()
	homes, _ := filepath.Glob("/usr/lib/jvm/*") // where Debian has them
	homes = append(homes, os.Getenv("JAVA_HOME"))
	if path, err := exec.LookPath("java"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(path)))
		}
	}
	newest := 16
	for _, candidate := range homes {
		release, err := os.ReadFile(filepath.Join(candidate, "release"))
		found := javaVersion.FindSubmatch(release)
		if err != nil || found == nil {
			continue
		}
		var major int
		if _, err := fmt.Sscan(string(found[1]), &major); err == nil && major > newest {
			newest, home = major, candidate
		}
	}
	if home == "" {
		t.Skip("NOT TESTED: Keycloak is there and no Java to run it: install 17 or newer")
	}
	return home
}

func copyFolder(t *testing.T, folder, from string) {
	t.Helper()
	if err := os.CopyFS(folder, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// run starts Keycloak at an address that only the wire speaks to, and waits for
// it.
func (k *keycloak) run(t *testing.T, java, address string) *process {
	t.Helper()
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.Command("sh", filepath.Join(keycloakFiles, "run.sh"), k.home, "--db=dev-mem", "--import-realm",
		"--http-host=127.0.0.1", "--http-port="+port, "--hostname="+k.front.URL)
	cmd.Env = append(os.Environ(), "JAVA_HOME="+java, "JAVA_OPTS_KC_HEAP=-Xms256m -Xmx512m",
		"JAVA_OPTS_APPEND=-XX:TieredStopAtLevel=1", // it does not live long enough for more
		"KC_BOOTSTRAP_ADMIN_USERNAME="+keycloakAdmin, "KC_BOOTSTRAP_ADMIN_PASSWORD="+keycloakSecret)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, lines: make(chan string, 10000), ended: make(chan struct{})}
	go p.read(stdout)
	t.Cleanup(func() { endKeycloak(t, p, stdin) })
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), keycloakPatience)
	defer cancel()
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, "[io.quarkus]") && strings.Contains(line, "started in") {
				t.Logf("Keycloak with %s took %s to start", filepath.Base(java), time.Since(began).Round(time.Second/10))
				return p
			}
		case <-p.ended:
			t.Fatalf("Keycloak ended before it had started:\n%s", p.said())
		case <-ctx.Done():
			t.Fatalf("Keycloak did not start within %s:\n%s", keycloakPatience, p.said())
		}
	}
}

func endKeycloak(t *testing.T, p *process, stdin io.Closer) {
	_ = stdin.Close() // run.sh ends it then
	select {
	case <-p.ended:
	case <-time.After(patient):
		t.Errorf("Keycloak did not end within %s", patient)
	}
	if t.Failed() {
		t.Logf("output of Keycloak:\n%s", p.said())
	}
}

// keepBuild keeps what Keycloak builds of its parts when it starts for the first
// time, or with other options, so that it does so once on a machine.
func (k *keycloak) keepBuild(t *testing.T, p *process, built string) {
	t.Helper()
	if !strings.Contains(p.said(), "Updating the configuration") {
		return
	}
	//nolint:usetesting // it is renamed to where it stays, which no other file system can do
	beside, err := os.MkdirTemp(filepath.Dir(built), "keycloak-building-")
	if err != nil {
		t.Logf("what Keycloak has built is not kept: %v", err)
		return
	}
	defer func() { _ = os.RemoveAll(beside) }()
	copyFolder(t, beside, filepath.Join(k.home, "lib", "quarkus"))
	// Where another test is at it too, either's will do.
	if err := errors.Join(os.RemoveAll(built), os.Rename(beside, built)); err != nil {
		t.Logf("what Keycloak has built is not kept: %v", err)
	}
}
