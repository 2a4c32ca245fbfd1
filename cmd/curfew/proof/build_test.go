package proof

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the module's folder, as seen from this one.
const root = "../../.."

// build makes the program under test, with a clock that can be set and with
// some sources changed. It returns the program's path.
func build(t *testing.T, changes ...change) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{
		abs(t, root, "cmd/curfew/clock.go"):       abs(t, "testdata/clock.go.txt"),
		abs(t, root, "cmd/curfew/clock_linux.go"): abs(t, "testdata/empty.go.txt"),
	}}
	for i, c := range changes {
		source := abs(t, root, c.file)
		if before, changed := overlay.Replace[source]; changed {
			source = before
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), c.old); n != 1 {
			t.Fatalf("%s: what is to be changed stands there %d times, want once: the mutant must follow the source\n%s", c.file, n, c.old)
		}
		changed := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[abs(t, root, c.file)] = changed
	}
	description, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "curfew")
	if err := os.WriteFile(list, description, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("go", "build", "-overlay", list, "-o", program, "./cmd/curfew")
	command.Dir = abs(t, root)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// change replaces one passage of one source.
type change struct{ file, old, new string }

func abs(t *testing.T, parts ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
