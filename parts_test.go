package curfew

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newcomer is a machine that lacks all parts, as .ci/parts sees it: a folder with
// the programs that it has, which write down how they are called.
type newcomer struct {
	t         *testing.T
	tree, bin string
	env       []string
}

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	n := &newcomer{t: t, tree: t.TempDir(), bin: t.TempDir()}
	script, err := os.ReadFile(".ci/parts")
	if err != nil {
		t.Fatal(err)
	}
	n.write(filepath.Join(n.tree, ".ci", "parts"), string(script))
	for _, folder := range []string{"cmd/curfew/testdata/oidc-provider", "cmd/curfew/testdata/axe", "deploy/subscribers/in-javascript"} {
		n.write(filepath.Join(n.tree, folder, "package-lock.json"), "{}")
	}
	n.write(filepath.Join(n.tree, "cmd/curfew/testdata/keycloak/archive.sha256"), strings.Repeat("0", 64)+"  keycloak-quarkus-dist-1.2.3.zip\n")
	for _, tool := range []string{"bash", "chmod", "dirname", "mkdir", "mktemp", "mv", "readlink", "rm", "sed", "sha256sum", "sleep", "sort", "tail", "timeout"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(n.bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	n.has("id", "echo 0")
	n.has("apt-cache", `[ "$2" != caddy ]`) // which it does not know
	n.has("apt-get", "")
	n.env = []string{
		"PATH=" + n.bin, "HOME=" + t.TempDir(), "PARTS_POLICY=" + filepath.Join(t.TempDir(), "policy"),
		"CI_MISSED=" + filepath.Join(n.tree, "missed"),
	}
	return n
}

func (n *newcomer) write(path, content string) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		n.t.Fatal(err)
	}
}

// has gives the machine a program.
func (n *newcomer) has(program, script string) {
	n.t.Helper()
	n.write(filepath.Join(n.bin, program), "#!"+filepath.Join(n.bin, "bash")+"\necho \"$(printf '%s ' "+program+" \"$@\")\" >>"+n.tree+"/calls\n"+script+"\n")
}

// parts runs the script, and returns what it said and what was called.
func (n *newcomer) parts(env ...string) (said, calls string) {
	n.t.Helper()
	command := exec.CommandContext(n.t.Context(), filepath.Join(n.bin, "bash"), filepath.Join(n.tree, ".ci", "parts"))
	command.Env = append(n.env, env...)
	out, err := command.CombinedOutput()
	if err != nil {
		n.t.Fatalf(".ci/parts ends with %v:\n%s", err, out)
	}
	missed, _ := os.ReadFile(filepath.Join(n.tree, "missed"))
	for line := range strings.Lines(string(missed)) {
		if !strings.Contains(string(out), line) {
			n.t.Errorf("%q is written down, and was not said", line)
		}
	}
	if said := strings.Count(string(out), "!! parts: "); said != strings.Count(string(missed), "\n") {
		n.t.Errorf("%d things are said, and written down is\n%s", said, missed)
	}
	made, _ := os.ReadFile(filepath.Join(n.tree, "calls"))
	return string(out), string(made)
}

func (n *newcomer) want(what, text string, parts ...string) {
	n.t.Helper()
	for _, part := range parts {
		if strings.Count(text, part) != 1 {
			n.t.Errorf("%s: want %q once in\n%s", what, part, text)
		}
	}
}

func TestPartsAskDebianOnceForAll(t *testing.T) {
	n := newNewcomer(t)
	said, calls := n.parts()
	n.want("called", calls, " update", " install -y", "--no-install-recommends make gcc libc6-dev curl strace ", " chromium fonts-liberation nodejs npm ")
	n.want("said", said, "apt knows no caddy\n", "NO gcc: ", "NO caddy: ", "no Envoy")
	if _, err := os.Stat(n.env[2][len("PARTS_POLICY="):]); err == nil {
		t.Error("services are kept from starting for good")
	}
}

func TestPartsInstallWhatCanBeWhereNotAllCan(t *testing.T) {
	n := newNewcomer(t)
	n.has("apt-get", `case "$*" in *install*npm*) echo "npm is broken" >&2; exit 100;; esac`)
	said, calls := n.parts()
	n.want("called", calls, "--no-install-recommends strace \n", "--no-install-recommends chromium \n")
	n.want("said", said, "apt could not install npm\n")
}

// Each is bounded, and all of them together; what ran out is said.
func TestPartsEndInTime(t *testing.T) {
	for _, c := range []struct{ program, says string }{
		{"apt-get", "s: apt-get update"},
		{"npm", "s: npm ci in cmd/curfew/testdata/oidc-provider"},
	} {
		n := newNewcomer(t)
		n.has("node", "echo 20")
		n.has("npm", "")
		n.has(c.program, "sleep 600")
		began := time.Now()
		said, _ := n.parts("PARTS_BUDGET=4")
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s: took %s", c.program, took)
		}
		n.want(c.program, said, "OUT OF TIME after ", c.says, "NO TIME LEFT for npm ci in deploy/subscribers/in-javascript")
	}
}

func TestPartsSayWhyNpmFailedAndRunNoScripts(t *testing.T) {
	n := newNewcomer(t)
	n.has("node", "echo 20")
	n.has("npm", `case "$PWD" in */axe) echo "npm error code ENOTFOUND" >&2; exit 1;; esac`)
	said, calls := n.parts()
	n.want("said", said, "npm error code ENOTFOUND", "npm could not install axe: ")
	if got := strings.Count(calls, "npm ci --ignore-scripts "); got != 3 {
		t.Errorf("npm ci without scripts is called %d times, want 3:\n%s", got, calls)
	}
}

func TestPartsAreHadOnce(t *testing.T) {
	n := newNewcomer(t)
	if said, calls := n.parts("PARTS_DONE=true"); said+calls != "" {
		t.Errorf("asked again, it said %q and called %q", said, calls)
	}
}
